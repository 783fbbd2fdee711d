"""Every transform at several strengths, for the page of pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import augment
from jaxvision.ops.augment.recipes import Transform
from jaxvision.types import Batch


class Shown(NamedTuple):
    """A transform, and the strengths at which it is shown."""

    make: Callable[[Any], Transform]
    strengths: tuple[Any, ...]
    unit: str = ""


def gallery(batch: Batch, num_classes: int) -> dict[str, Shown]:
    """What is shown, by name, of a batch of K classes: mixtures where it has labels,
    windows around objects where it has these, and objects pasted where it has their
    pixels."""
    side = batch["image"].shape[1]
    few, some, many = side // 16, side // 8, side // 4
    shown = {
        "horizontal_flip": Shown(augment.horizontal_flip, (0.5, 1.0)),
        "vertical_flip": Shown(augment.vertical_flip, (0.5, 1.0)),
        "random_shift": Shown(augment.random_shift, (few, some, many), " pixels"),
        "random_crop": Shown(
            lambda mode: augment.random_crop(side, padding=many, mode=mode),
            ("constant", "edge", "reflect"),
        ),
        "random_resized_crop": Shown(
            lambda low: augment.random_resized_crop(side, scale=(low, 1.0)),
            (0.5, 0.25, 0.08),
            " of the area, at least",
        ),
        "random_translation": Shown(augment.random_translation, (0.1, 0.2, 0.4)),
        "random_rotation": Shown(augment.random_rotation, (15.0, 45.0, 180.0), "°"),
        "random_zoom": Shown(
            lambda most: augment.random_zoom((1 / most, most)),
            (1.25, 1.5, 2.0),
            " times, or one over it",
        ),
        "random_shear": Shown(augment.random_shear, (0.1, 0.3, 0.6)),
        "random_perspective": Shown(augment.random_perspective, (0.2, 0.5, 0.8)),
        "random_elastic": Shown(
            augment.random_elastic, (side / 50, side / 20, side / 10), " pixels"
        ),
        "colour_jitter: brightness": Shown(
            lambda s: augment.colour_jitter(s, 0, 0, 0, probability=1), (0.2, 0.4, 0.8)
        ),
        "colour_jitter: contrast": Shown(
            lambda s: augment.colour_jitter(0, s, 0, 0, probability=1), (0.2, 0.4, 0.8)
        ),
        "colour_jitter: saturation": Shown(
            lambda s: augment.colour_jitter(0, 0, s, 0, probability=1), (0.2, 0.4, 0.8)
        ),
        "colour_jitter: hue": Shown(
            lambda s: augment.colour_jitter(0, 0, 0, s, probability=1),
            (0.05, 0.2, 0.5),
            " turns",
        ),
        "colour_jitter": Shown(
            lambda s: augment.colour_jitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s),
            (0.25, 0.5, 1.0),
            " of SimCLR's",
        ),
        "random_greyscale": Shown(augment.random_greyscale, (0.2, 1.0)),
        "gaussian_blur": Shown(
            lambda sigma: augment.gaussian_blur(
                (sigma, sigma), kernel=many // 2 * 2 + 1, probability=1
            ),
            (side / 200, side / 100, side / 50),
            " pixels",
        ),
        "gaussian_noise": Shown(
            lambda most: augment.gaussian_noise((most, most)),
            (10.0, 25.0, 50.0),
            " levels",
        ),
        "cutout": Shown(augment.cutout, (some, many, side // 2), " pixels"),
        "random_erasing": Shown(
            lambda most: augment.random_erasing(1, area=(0.02, most)),
            (0.1, 0.2, 0.4),
            " of the area, at most",
        ),
        "rand_augment": Shown(
            lambda m: augment.rand_augment(2, m), (3.0, 6.0, 9.0), " of 10"
        ),
        "trivial_augment": Shown(lambda _: augment.trivial_augment(), ("wide",)),
        "auto_augment": Shown(augment.auto_augment, ("imagenet", "cifar10", "svhn")),
    }
    if "boxes" in batch:
        shown |= {
            "mosaic": Shown(
                lambda zoom: augment.mosaic(zoom=(zoom, zoom)),
                (0.5, 1.0, 2.0),
                " times",
            ),
            "random_expansion": Shown(
                lambda most: augment.random_expansion(most, probability=1),
                (1.5, 2.0, 4.0),
                " times, at most",
            ),
            "random_iou_crop": Shown(
                lambda iou: augment.random_iou_crop(side, ious=(iou,)),
                (0.0, 0.3, 0.7),
                " of IoU, at least",
            ),
        }
    if "instances" in batch:
        shown["copy_paste"] = Shown(
            lambda share: augment.copy_paste(share=share), (0.25, 0.5, 1.0), " of them"
        )
    if "label" in batch:
        shown |= {
            "mixup": Shown(
                lambda alpha: _of_labels(augment.mixup(num_classes, alpha)),
                (0.2, 1.0, 4.0),
            ),
            "cutmix": Shown(
                lambda alpha: _of_labels(augment.cutmix(num_classes, alpha)),
                (0.2, 1.0, 4.0),
            ),
        }
    return shown


def together(
    examples: Sequence[Mapping[str, np.ndarray]], size: int | None
) -> dict[str, jax.Array]:
    """Rows of batches as one batch, of squares of `size` pixels.

    None: as they are where all images have one size, else 224.
    """
    if size is None and len({example["image"].shape for example in examples}) > 1:
        size = 224
    batches = [
        {name: jnp.asarray(array)[None] for name, array in example.items()}
        for example in examples
    ]
    if size is not None:
        crop = augment.central_crop(size, share=1)
        batches = [dict(crop(jax.random.key(0), batch)) for batch in batches]
    return {
        name: jnp.concatenate([batch[name] for batch in batches]) for name in batches[0]
    }


def show(
    shown: Shown, key: jax.Array, batch: Batch
) -> dict[str, dict[str, np.ndarray]]:
    """`strength -> batch`, the images as bytes.  Strengths that are floats are traced,
    which spares compilations."""

    def bytes_again(batch: Batch) -> Batch:
        images = batch["image"]
        if images.dtype != jnp.uint8:
            images = jnp.round(images * 255).astype(jnp.uint8)
        return {**batch, "image": images}

    traced = jax.jit(lambda strength: bytes_again(shown.make(strength)(key, batch)))
    results: dict[str, dict[str, np.ndarray]] = {}
    for strength in shown.strengths:
        if isinstance(strength, float):
            result, word = traced(strength), f"{strength:g}"
        else:
            result = jax.jit(
                lambda strength=strength: bytes_again(shown.make(strength)(key, batch))
            )()
            word = str(strength)
        results[word + shown.unit] = {k: np.asarray(v) for k, v in result.items()}
    return results


def _of_labels(mix: Transform) -> Transform:
    """A mixture of floats, from bytes, in a batch of images and labels alone."""

    def transform(key, batch):
        batch = {name: batch[name] for name in ("image", "label")}
        return augment.compose(augment.normalise(0.0, 1.0), mix)(key, batch)

    return transform
