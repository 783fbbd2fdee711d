"""Keypoints of one object: where are the joints of a person, the corners of a face?

This is the recipe that `coco_hrnet_w32`, `coco_simplebaseline_resnet50`,
`faces_landmarks`, `lsp_simplebaseline`, `mouse_simplebaseline` and `scenes_keypoints`
share, and no experiment of its own.  Each image, or crop around an object, shows one
object; what is found is measured in the pixels of the originals.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jaxvision import data, models, optim, runs, skeletons, tasks, visualise
from jaxvision.errors import UsageError, check
from jaxvision.metrics.landmarks import Norm, box
from jaxvision.ops.augment import (
    Transform,
    compose,
    horizontal_flip,
    normalise,
    random_affine,
)
from jaxvision.skeletons import Skeleton
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config:
    dataset: str
    """Any set whose images have one object with keypoints, such as `landmarks:PATH` or
    `objects:coco:PATH`."""
    size: tuple[int, int] = (256, 192)
    """Height and width in pixels of what the network sees; multiples of 32."""
    weights: str | None = None
    """Of the encoder: a file, a hub id or `default`; None: from scratch."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the set
    declares no validation split."""
    epochs: float = 210
    """Passes over the training objects."""
    batch_size: int = 32
    """Objects per step, over all devices."""
    peak_lr: float = 1e-3
    """Highest learning rate."""
    weight_decay: float = 1e-4
    """Shrinks the kernels, but neither biases nor norms."""
    degrees: float = 40.0
    """Largest angle by which training images are turned."""
    zoom: float = 0.3
    """Share by which training objects become smaller or larger at most."""
    flip_test: bool = True
    """Whether what is measured is the mean with the mirror image."""
    validations: int = 20
    """How often the validation split is measured."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their augmentation."""


PADDING = 1.25
"""Sides of crops around objects by those of their boxes, as in the authors' release."""


def build(
    config: Config,
    *,
    model: str,
    options: Mapping[str, Any],
    localiser: tasks.Localiser,
    known: Skeleton | None = None,
    norms: Mapping[int, Norm] = MappingProxyType({}),
    measured: Mapping[str, Any] = MappingProxyType({}),
    similarity: bool = False,
    margin: float | None = None,
    moves: Sequence[Transform] = (),
    drops: Sequence[float] | None = None,
    published: Mapping[str, Reference],
) -> Experiment:
    """The experiment of a config.

    Args:
      model: its name, and `options` those of `models.create`, but for the number of
        its outputs.
      localiser: how keypoints are learned and found.
      known: the skeleton of objects with as many keypoints; else it is what the set
        says.
      norms: the length of an object in which errors are measured, by how many keypoints
        it has; for others it is the longer side of the box.
      measured: further arguments of `tasks.keypoints`: how they are measured.
      similarity: whether COCO's average precision is measured, and comes first.
      margin: the network sees crops around objects, which in training are so many times
        as wide before they are turned and zoomed, so that there is something to be seen
        beyond; None: it sees images whole.
      moves: further transforms of bytes, in training.
      drops: shares of the run at which Adam's rate falls tenfold; None: AdamW, whose
        rate rises and falls once.
      published: on the test split, by the names of the sets.
    """
    check((config.validations >= 1, "--validations must be 1 or more"))
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    skeleton = skeleton_of(train, known)
    count = len(skeleton.names)
    fields = {**options, "num_classes": localiser.columns(count)}
    network = models.create(model, **fields)
    channels = train.image_shape[2]
    initial = None
    if config.weights is not None:
        shape = (*config.size, channels)  # grey images take the sum of the colours
        initial = functools.partial(
            runs.backbone, model, config.weights, shape, **fields
        )

    mean, std = models.normalisation(model, **fields)
    prepare = normalise(mean[:channels], std[:channels])
    seen = wide = data.letterbox(config.size)
    if margin is not None:
        height, width = (round(side * margin) for side in config.size)
        seen = data.object_crop(config.size, padding=PADDING)
        wide = data.object_crop((height, width), padding=PADDING * margin)
    mirror = []
    if skeleton.mirrored is not None:
        mirror = [horizontal_flip(mirrored_keypoints=skeleton.mirrored)]
    train_data = data.train(
        train,
        config.batch_size,
        transform=compose(
            *mirror,
            random_affine(
                degrees=config.degrees,
                zoom=(1 - config.zoom, 1 + config.zoom),
                size=config.size,
            ),
            *moves,
            prepare,
        ),
        crop=wide,
        seed=config.seed,
    )
    evaluation = functools.partial(
        data.evaluation,
        batch_size=config.batch_size,
        transform=prepare,
        crop=seen,
        canvas="largest",
    )
    if similarity:
        measured = {**measured, "sigmas": skeleton.sigmas, "headline": "ap"}
    norm = norms.get(count, box())
    task = tasks.keypoints(count, localiser, norm=norm, **measured)
    if config.flip_test and skeleton.mirrored is not None:
        merge = tasks.mean_with_mirror_image(localiser, skeleton.mirrored)
        task = tasks.with_views(task, tasks.mirrored, merge)
    steps = train_data.steps(config.epochs)
    every = max(1, steps // config.validations)
    if drops is None:
        update = optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
            no_weight_decay=network.no_weight_decay,
        )
    else:
        places = sorted({max(round(share * steps), 1) for share in drops})
        update = optim.adam(optim.step(config.peak_lr, drops=places))
    return Experiment(
        model=network,
        task=task,
        optimizer=update,
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        log_every=every,
        eval_every=every,
        steps_per_dispatch=4,
        initial=initial,
        classes=tuple(skeleton.names),
        show=functools.partial(visualise.keypoints, limbs=skeleton.limbs),
        reference=published.get(config.dataset),
    )


def coco(
    config: Config,
    model: str,
    options: Mapping[str, Any],
    *,
    drops: Sequence[float],
    published: Mapping[str, Reference],
) -> Experiment:
    """What the authors' release does on COCO, but for its crops of half bodies."""
    return build(
        config,
        model=model,
        options=options,
        localiser=tasks.heatmaps(),
        similarity=True,
        margin=1.5,
        drops=drops,
        published=published,
    )


def skeleton_of(source: data.Source, known: Skeleton | None) -> Skeleton:
    """`known` where the objects have as many keypoints, else what the set says."""
    targets = source.targets() if source.targets else source.read()
    if "keypoints" not in targets:
        raise UsageError(
            f"{source.name} has no keypoints, only {', '.join(sorted(targets))}: "
            "choose a set that has some, such as landmarks:PATH"
        )
    count = targets["keypoints"].shape[2]
    for found in (known, source.skeleton):
        if found is not None and len(found.names) == count:
            return found
    return skeletons.skeleton([str(k) for k in range(count)])


SMOKE = dict(
    dataset="objects:scenes:64x64x3:24:8",
    size=(64, 64),
    epochs=2,
    batch_size=8,
    validations=1,
)
"""Small values for the experiments that share this."""
