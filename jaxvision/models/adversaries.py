"""A generator of images and a critic that tells them from real ones.

Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Adversaries(nn.Module):
    """Both networks of a generative adversarial network, for `tasks.adversarial`.

    The entry `generate` makes an `image` [B,H,W,C] in (0, 1) of a latent vector
    [B,latent]; the entry `judge`, which is the usual one, returns `logits` [B],
    positive for what looks real.
    """

    generator: nn.Module
    """Latent vectors to one number for each pixel, such as a `DenseDecoder`."""
    critic: nn.Module
    """Images to features, such as a `DenseEncoder`."""
    latent: int

    def setup(self):
        self.verdict = nn.Dense(1)

    def __call__(self, images, *, train: bool):
        if self.is_initializing():  # all parameters are made here
            self.generate(jnp.zeros((1, self.latent)), train=train)
        return self.judge(images, train=train)

    def generate(self, latent, *, train: bool):
        return {"image": jax.nn.sigmoid(self.generator(latent))}

    def judge(self, images, *, train: bool):
        return {"logits": self.verdict(self.critic(images))[:, 0]}
