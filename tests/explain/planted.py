"""A network that is known by heart: it looks for a pattern in images."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.convolution import conv2d
from jaxvision.ops.pooling import max_pool

SIDE, PATTERN = 16, 5
DRAWS = np.random.default_rng(0)
PATTERNS = DRAWS.choice([-1.0, 1.0], (PATTERN, PATTERN, 1, 2)).astype(np.float32)
"""One for each of two classes."""
PLACE = (9, 3)
"""Row and column at which the pattern of class 0 begins in `image`."""
INSIDE = np.zeros((SIDE, SIDE), bool)
INSIDE[PLACE[0] : PLACE[0] + PATTERN, PLACE[1] : PLACE[1] + PATTERN] = True


def image(seed=0):
    """[16,16,1]: noise with the pattern of class 0."""
    noise = np.random.default_rng(seed).normal(0, 0.2, (SIDE, SIDE, 1))
    rows, columns = (slice(first, first + PATTERN) for first in PLACE)
    noise[rows, columns] += PATTERNS[..., 0]
    return jnp.asarray(noise, jnp.float32)


def forward(images):
    """`maps` [B,16,16,2]: where the patterns are; `coarse` [B,4,4,2]: the same by
    quarters; `logits` [B,2]: how surely they are somewhere."""
    maps = jax.nn.relu(conv2d(images, jnp.asarray(PATTERNS)) / PATTERN)
    coarse = max_pool(maps, 4)
    logits = jax.nn.logsumexp(coarse, axis=(1, 2))
    return {"maps": maps, "coarse": coarse, "logits": logits}
