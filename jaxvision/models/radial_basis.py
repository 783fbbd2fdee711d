"""Radial basis functions: how near is the image to each of some centres?

Broomhead and Lowe 1988, https://sci2s.ugr.es/keel/pdf/algorithm/articulo/1988-Broomhead-CS.pdf
"""

import flax.linen as nn
import jax.numpy as jnp


class RadialBasis(nn.Module):
    """Gaussians of the distances to centres, and a linear layer of class scores.

    Outputs: `activations` [B,centres] in (0, 1], `logits` [B,num_classes].  Distances
    are means over the pixels; each centre has a width of its own.
    """

    centres: int = 100
    num_classes: int = 10
    width: float = 0.2
    """Of the Gaussians at the beginning, as a root mean square of pixels."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = images.reshape(images.shape[0], -1)
        shape = (self.centres, x.shape[1])
        centres = self.param("centres", nn.initializers.uniform(1.0), shape)
        width = nn.initializers.constant(self.width)
        widths = self.param("widths", width, (self.centres,))
        # |x - c|² without an array of all differences.
        squares = jnp.square(x).sum(1)[:, None] + jnp.square(centres).sum(1)[None]
        distances = (squares - 2 * x @ centres.T) / x.shape[1]
        near = jnp.exp(-distances / (2 * jnp.square(widths)[None]))
        return {"activations": near, "logits": nn.Dense(self.num_classes)(near)}
