"""Autoencoders: an encoder, a code and a decoder, each to be had by itself.

Rumelhart et al. 1986, https://doi.org/10.1038/323533a0; variational: Kingma and Welling
2014, https://arxiv.org/abs/1312.6114

    Autoencoder(DenseEncoder(), DenseDecoder((28, 28, 1)), code=16)
    Autoencoder(ConvEncoder(), ConvDecoder((28, 28, 1)), code=16, variational=True)
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from jaxvision.errors import check
from jaxvision.layers.conv import Conv
from jaxvision.layers.up_conv import ConvTranspose
from jaxvision.ops.activation import relu


class DenseEncoder(nn.Module):
    """Images [B,H,W,C] to features [B,D] by fully connected layers."""

    hidden: Sequence[int] = (128,)
    activation: Callable[[jax.Array], jax.Array] = relu

    @nn.compact
    def __call__(self, images):
        x = images.reshape(images.shape[0], -1)
        for features in self.hidden:
            x = self.activation(nn.Dense(features)(x))
        return x


class DenseDecoder(nn.Module):
    """Codes [B,D] to one number for each pixel, [B,H,W,C]."""

    shape: tuple[int, int, int]
    """Height, width and channels of the images."""
    hidden: Sequence[int] = (128,)

    @nn.compact
    def __call__(self, code):
        x = code
        for features in self.hidden:
            x = relu(nn.Dense(features)(x))
        height, width, channels = self.shape
        return nn.Dense(height * width * channels)(x).reshape(-1, *self.shape)


class ConvEncoder(nn.Module):
    """Images to features [B,D] by 3×3 convolutions that each halve the map."""

    channels: Sequence[int] = (16, 32)

    @nn.compact
    def __call__(self, images):
        x = images
        for features in self.channels:
            x = relu(Conv(features, strides=2, padding=1)(x))
        return x.reshape(x.shape[0], -1)


class ConvDecoder(nn.Module):
    """Codes to one number for each pixel by transposed convolutions that each double
    the map: the way back of a `ConvEncoder` with the same channels in reverse.

    Raises `UsageError` for images whose sides they cannot reach by doubling.
    """

    shape: tuple[int, int, int]
    """Height, width and channels of the images."""
    channels: Sequence[int] = (32, 16)
    """Of the smallest map, and of those after it but the image."""

    @nn.compact
    def __call__(self, code):
        times = 2 ** len(self.channels)
        height, width, channels = self.shape
        check(
            (
                height % times == 0 and width % times == 0,
                f"the sides of images of {height}×{width} must be multiples of {times} "
                f"for {len(self.channels)} transposed convolutions: crop or pad them",
            )
        )
        first, *rest = self.channels
        small = height // times, width // times, first
        x = relu(nn.Dense(small[0] * small[1] * first)(code)).reshape(-1, *small)
        for features in rest:
            x = relu(ConvTranspose(features)(x))
        return ConvTranspose(channels)(x)


class Autoencoder(nn.Module):
    """An image to a code and back.

    The entry `encode` returns the `code` [B,code], and with `variational` the logarithm
    of its variance as `log_variance`; the entry `decode` returns `logits` [B,H,W,C],
    whose sigmoid is the image.  The usual entry does both and draws nothing.
    """

    encoder: nn.Module
    decoder: nn.Module
    code: int
    activation: Callable[[jax.Array], jax.Array] = lambda x: x
    """Of the code."""
    variational: bool = False

    def setup(self):
        self.to_code = nn.Dense(self.code)
        if self.variational:
            self.to_log_variance = nn.Dense(self.code)

    def __call__(self, images, *, train: bool):
        encoded = self.encode(images, train=train)
        return {**encoded, **self.decode(encoded["code"], train=train)}

    def encode(self, images, *, train: bool):
        features = self.encoder(images)
        outputs = {"code": self.activation(self.to_code(features))}
        if self.variational:
            outputs["log_variance"] = self.to_log_variance(features)
        return outputs

    def decode(self, code, *, train: bool):
        return {"logits": self.decoder(code)}
