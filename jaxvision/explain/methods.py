"""All ways to say where in an image something is seen, in one table."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.explain.attention import attention_rollout
from jaxvision.explain.cam import grad_cam, grad_cam_plus_plus
from jaxvision.explain.gradients import integrated_gradients, saliency, smooth_grad
from jaxvision.explain.occlusion import occlusion
from jaxvision.explain.scores import Forward
from jaxvision.types import Array, Outputs


class Setting(NamedTuple):
    """What a method may need to know beside the image."""

    forward: Forward
    """`images -> named activations`."""
    of: Callable[[Outputs], Array]
    """`outputs -> [B]`: the score that is explained."""
    layer: str | None
    """The map in which it is looked for; None: the network has no maps."""
    baseline: Array
    """[H,W,C]: an image without content, as the network takes it."""
    key: Array

    def score(self, images: Array) -> Array:
        """[B]."""
        return self.of(self.forward(images))


class Method(NamedTuple):
    """A way to say where in an image something is seen."""

    title: str
    says: str
    """What is drawn, in a sentence."""
    call: Callable[[Setting, Array], Array]
    """`(setting, image [H,W,C]) -> [h,w]`, not below 0."""
    needs: str = ""
    """`"map"`: a layer that is one; `"attention"`: tokens that look at each other."""


def _strongest(values: Array) -> Array:
    """The largest magnitude of the channels of each pixel."""
    return jnp.abs(values[0]).max(-1)


def _saliency(setting: Setting, image: Array) -> Array:
    return _strongest(saliency(setting.score, image[None]))


def _smooth_grad(setting: Setting, image: Array) -> Array:
    return _strongest(smooth_grad(setting.score, image[None], setting.key))


def _integrated(setting: Setting, image: Array) -> Array:
    parts = integrated_gradients(setting.score, image[None], setting.baseline[None])
    return jax.nn.relu(parts[0].sum(-1))


def _occlusion(setting: Setting, image: Array) -> Array:
    side = min(image.shape[:2])
    window = max(side // 7, 2)
    falls = occlusion(
        setting.score,
        image,
        image.mean((0, 1), keepdims=True),
        window=window,
        stride=max(window // 2, 1),
    )
    return jax.nn.relu(falls)


def _grad_cam(setting: Setting, image: Array) -> Array:
    return grad_cam(*_at_layer(setting), image[None])[0]


def _grad_cam_plus_plus(setting: Setting, image: Array) -> Array:
    return grad_cam_plus_plus(*_at_layer(setting), image[None])[0]


def _at_layer(
    setting: Setting,
) -> tuple[Forward, Callable[[Outputs], Array], str]:
    assert setting.layer is not None
    return setting.forward, setting.of, setting.layer


def _rollout(setting: Setting, image: Array) -> Array:
    return attention_rollout(setting.forward, image[None])[0]


METHODS: Mapping[str, Method] = {
    "saliency": Method(
        "Saliency",
        "How fast the score changes with each pixel (Simonyan 2014).",
        _saliency,
    ),
    "smooth_grad": Method(
        "SmoothGrad",
        "The same, averaged over 25 noisy copies (Smilkov 2017).",
        _smooth_grad,
    ),
    "integrated_gradients": Method(
        "Integrated gradients",
        "What each pixel adds to the score on the way from the image without content "
        "(Sundararajan 2017).",
        _integrated,
    ),
    "occlusion": Method(
        "Occlusion",
        "How much the score falls where a square has the mean colour of the image "
        "(Zeiler 2014).",
        _occlusion,
    ),
    "grad_cam": Method(
        "Grad-CAM",
        "The channels of {layer}, weighted by their mean gradients (Selvaraju 2017).",
        _grad_cam,
        needs="map",
    ),
    "grad_cam_plus_plus": Method(
        "Grad-CAM++",
        "The same with a weight for each place (Chattopadhyay 2018).",
        _grad_cam_plus_plus,
        needs="map",
    ),
    "attention_rollout": Method(
        "Attention rollout",
        "What the tokens look at through all layers, whatever is explained "
        "(Abnar 2020).",
        _rollout,
        needs="attention",
    ),
}
