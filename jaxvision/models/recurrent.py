"""Images read row by row by a recurrent network, which says what it believes so far.

Elman 1990, https://doi.org/10.1207/s15516709cog1402_1; Hochreiter and Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al. 2014,
https://arxiv.org/abs/1406.1078
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from jaxvision.errors import unknown

CELLS: Mapping[str, Callable[..., Any]] = {
    "rnn": nn.SimpleCell,
    "lstm": nn.OptimizedLSTMCell,
    "gru": nn.GRUCell,
}


class Recurrent(nn.Module):
    """One cell, a row of the image at each of its H steps, and a linear read-out.

    Outputs: `states` [B,H,width], `logits_by_row` [B,H,num_classes] and `logits`, which
    are those after the last row.
    """

    cell: str = "lstm"
    """A name of `CELLS`."""
    width: int = 64
    num_classes: int = 10

    @nn.compact
    def __call__(self, images, *, train: bool):
        if self.cell not in CELLS:
            raise unknown("recurrent cell", self.cell, CELLS)
        rows = images.reshape(*images.shape[:2], -1)
        states = nn.RNN(CELLS[self.cell](self.width, name="cell"))(rows)
        logits = nn.Dense(self.num_classes, name="read_out")(states)
        return {"states": states, "logits_by_row": logits, "logits": logits[:, -1]}
