"""Augmentation on the device, in jit: image, mask, boxes and keypoints move together.

A transform is a function `(key, batch) -> batch`, pure and traceable, of whole batches
as `types.Batch` describes them; those that draw nothing ignore the key.  Every example
draws for itself, and what it draws depends on the key and its place in the batch alone,
whatever the number of devices.  The functions below make transforms from strengths,
which may be traced where it says so, and so can grow during training.

    augment = compose(random_crop(32, padding=4), random_flip, normalise(MEAN, STD))

- putting together: `compose`, `one_of`, `sometimes`, `of_images`
- bytes to floats: `normalise`
- mirrors: `random_flip` (one half, left to right), `horizontal_flip`, `vertical_flip`;
  `with_sides`: which keypoints change sides in them
- windows: `pad`, `random_shift`, `random_crop`, `random_resized_crop`,
  `central_crop`, `resize`; for objects: `random_expansion`, `random_iou_crop`
- warps: `random_affine`, `random_rotation`, `random_translation`, `random_zoom`,
  `random_shear`, `random_perspective`, `random_elastic`; `warp` by known matrices
- colours: `colour_jitter`, `random_greyscale`
- blur and noise: `gaussian_blur`, `gaussian_noise`
- covering: `cutout`, `random_erasing`
- policies: `rand_augment`, `trivial_augment`, `auto_augment`
- mixing examples: `mixup`, `cutmix`; with objects `mosaic`
- transforms as data: `recipe_of`, `from_recipe`

`geometry` has the rules for masks, boxes and keypoints.  Label smoothing is an option
of `tasks.classification`, repeated augmentation one of `data.train`, and test-time
augmentation is `tasks.with_views`.
"""

from jaxvision.ops.augment.blur import gaussian_blur, gaussian_noise
from jaxvision.ops.augment.colour import colour_jitter, random_greyscale
from jaxvision.ops.augment.composition import (
    compose,
    of_images,
    one_of,
    sometimes,
)
from jaxvision.ops.augment.crop import (
    central_crop,
    pad,
    random_crop,
    random_resized_crop,
    random_shift,
    resize,
)
from jaxvision.ops.augment.elastic import random_elastic
from jaxvision.ops.augment.erase import cutout, random_erasing
from jaxvision.ops.augment.flip import (
    horizontal_flip,
    random_flip,
    vertical_flip,
    with_sides,
)
from jaxvision.ops.augment.mix import cutmix, mixup
from jaxvision.ops.augment.mosaic import mosaic
from jaxvision.ops.augment.normalisation import normalise
from jaxvision.ops.augment.object_crop import random_expansion, random_iou_crop
from jaxvision.ops.augment.policies import auto_augment, rand_augment, trivial_augment
from jaxvision.ops.augment.recipes import Recipe, Transform, from_recipe, recipe_of
from jaxvision.ops.augment.warping import (
    random_affine,
    random_perspective,
    random_rotation,
    random_shear,
    random_translation,
    random_zoom,
    warp,
)

__all__ = [
    "Recipe",
    "Transform",
    "auto_augment",
    "central_crop",
    "colour_jitter",
    "compose",
    "cutmix",
    "cutout",
    "from_recipe",
    "gaussian_blur",
    "gaussian_noise",
    "horizontal_flip",
    "mixup",
    "mosaic",
    "normalise",
    "of_images",
    "one_of",
    "pad",
    "rand_augment",
    "random_affine",
    "random_crop",
    "random_elastic",
    "random_erasing",
    "random_expansion",
    "random_flip",
    "random_greyscale",
    "random_iou_crop",
    "random_perspective",
    "random_resized_crop",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_translation",
    "random_zoom",
    "recipe_of",
    "resize",
    "sometimes",
    "trivial_augment",
    "vertical_flip",
    "warp",
    "with_sides",
]
