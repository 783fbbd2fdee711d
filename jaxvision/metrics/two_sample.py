"""Whether two samples come from one distribution."""

import numpy as np


def neighbours_accuracy(real: np.ndarray, made: np.ndarray) -> float:
    """How often the nearest other example tells real ones from made ones.

    One half where nothing tells them apart, 1 where all is told, and less than one half
    where what was made are copies of what is real.  (Lopez-Paz and Oquab 2017,
    https://arxiv.org/abs/1610.06545, with one nearest neighbour.)

    Args:
      real, made: as many of each, [N,…].
    """
    both = np.concatenate([real, made]).reshape(len(real) + len(made), -1)
    both = both.astype(np.float64)
    squares = np.square(both).sum(1)
    distances = squares[:, None] + squares[None] - 2 * both @ both.T
    np.fill_diagonal(distances, np.inf)
    is_real = np.arange(len(both)) < len(real)
    return float((is_real[distances.argmin(1)] == is_real).mean())
