"""`ImageClassifier`: any network of the registry as a classifier of scikit-learn."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from jaxvision import data, models, onednn, optim, pretrained, tasks
from jaxvision.data.feed.preparation import Preparation
from jaxvision.data.files.reading import read_bytes
from jaxvision.data.rows import take
from jaxvision.engine.bad_loss import Diverged
from jaxvision.errors import UsageError, check, unknown
from jaxvision.estimators import images
from jaxvision.estimators.images import Images
from jaxvision.models.registry import build
from jaxvision.ops import augment as ops
from jaxvision.ops.augment import Transform
from jaxvision.printing import make_console
from jaxvision.runs.predictor import padded
from jaxvision.runs.training import fitted
from jaxvision.types import Experiment, Model, Variables

PER_DISPATCH = 8
"""Training steps that run on the device for each call from Python."""

AUGMENTATIONS = ("crop", "crop_flip")

MOST_EXECUTABLES = 16
"""Compiled training steps that are kept; the oldest ones go."""


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """A network that is trained on images and classifies others.

    X is an array [N,H,W] or [N,H,W,C] of bytes (uint8) or of numbers (float), or a list
    of the paths of image files.  Numbers may have any range: they are normalised by the
    statistics of the images of `fit`, except with `weights`, which expect images from 0
    to 1.  y [N] are labels of any type.

    Args:
      model: a name of `models.names()`.  For images of 32 pixels `"resnet20"` suits
        better than networks that are made for ImageNet.
      model_options: of `models.create`, such as `{"width": 32}`.
      weights: to begin with, as in `pretrained.load`: a file, a hub id, `"default"`.
        The layer of class scores is new.  None: all weights are random.
      image_shape: (H, W) or (H, W, C) of images that come flattened, as rows [N,F]; one
        of them may be -1.
      image_size: the side to which images are resized.  None: arrays stay as they are,
        and files get the size of the model's paper.
      epochs: passes of `fit` over the images.
      batch_size: images of a training step, at most.
      learning_rate: the highest of AdamW, after a warm-up and before a cosine to zero;
        in `partial_fit` it is constant.
      weight_decay: of kernels.
      augment: `"crop"`: arrays are shifted by up to an eighth of their side, and files
        cropped at random; `"crop_flip"`: they are mirrored too, for classes that have
        no left and right; None; or a transform of `ops.augment`, for images as they
        are given.
      validation: share of the images of each class that is not trained on, and chooses
        the best epoch; 0: there is none, and the last epoch counts.
      random_state: decides the initial weights, the order and the augmentation.
      verbose: whether progress is printed.

    Attributes:
      classes_: the labels, sorted [K].
      variables_: of the network, `{"params": …, …}`, on the host.  `"normalisation"`
        among them has the mean and the scale of each channel.
      image_shape_: (H, W, C) of the images of `fit`; None for files.
      image_dtype_: `"uint8"` or `"float32"`.
      history_: the rows of the training log, each a dict.
      n_features_in_, feature_names_in_: of the columns, where images come flattened.

    What cannot be meant raises `UsageError`, a `ValueError`, before it trains.
    """

    def __init__(
        self,
        model: str = "resnet18",
        *,
        model_options: dict[str, Any] | None = None,
        weights: Any = None,
        image_shape: tuple[int, ...] | None = None,
        image_size: int | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        augment: str | Transform | None = "crop",
        validation: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        self.model = model
        self.model_options = model_options
        self.weights = weights
        self.image_shape = image_shape
        self.image_size = image_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.augment = augment
        self.validation = validation
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y) -> "ImageClassifier":
        """Train on the images X with the labels y, from the beginning."""
        self._check_options()
        found = self._images(X, reset=True)
        classes, numbers = np.unique(self._labels(found, y), return_inverse=True)
        self._begin(found, classes)
        self._train(
            found,
            numbers,
            epochs=self.epochs,
            annealed=True,
            initial=lambda: self._first_variables(found),
            validation=float(self.validation),
        )
        return self

    def partial_fit(self, X, y, classes=None) -> "ImageClassifier":
        """Train further, by one pass over the images X with the labels y.

        classes: all that there will be; needed in the first call, unless after `fit`.

        What normalises the images is that of the first call.  Each call begins with
        new moments of AdamW, so that few large calls serve better than many small ones.
        """
        self._check_options()
        first = not hasattr(self, "variables_")
        if first and classes is None:
            raise UsageError("classes must be passed on the first call to partial_fit")
        known = self.classes_ if classes is None else np.unique(classes)
        found = self._images(X, reset=first)
        labels = self._labels(found, y)
        strangers = np.setdiff1d(labels, known)
        check(
            (
                first or np.array_equal(known, self.classes_),
                f"classes are {known}, and in the calls before they were other ones",
            ),
            (not len(strangers), f"y has the labels {strangers}, not among {known}"),
        )
        if first:
            self._begin(found, known)
        self._train(
            found,
            np.searchsorted(known, labels),
            epochs=1,
            annealed=False,
            initial=lambda: self._first_variables(found) if first else self.variables_,
        )
        return self

    def predict(self, X) -> np.ndarray:
        """The most probable label of each image [N]."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X) -> np.ndarray:
        """The probabilities float32 [N,K] of the labels, in the order of `classes_`."""
        check_is_fitted(self, "variables_")
        found = self._images(X, reset=False)
        program = _program(self._module(), self._resized())
        parts = []
        for first in range(0, len(found), self.batch_size):
            batch = found[first : first + self.batch_size]
            if isinstance(batch, list):
                batch = self._preparation().images(batch)
            made = program(self.variables_, padded(batch, self.batch_size))
            parts.append(np.asarray(made)[: len(batch)])
        return np.concatenate(parts)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        flattened = self.image_shape is not None
        tags.input_tags.two_d_array = flattened
        tags.input_tags.three_d_array = not flattened
        tags.input_tags.string = not flattened
        return tags

    # What was given, read and checked.

    def _check_options(self) -> None:
        if isinstance(self.augment, str) and self.augment not in AUGMENTATIONS:
            raise unknown("augmentation", self.augment, AUGMENTATIONS)
        at_least_one = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "image_size": self.image_size,
        }
        check(
            *(
                (value is None or value >= 1, f"{name} must be at least 1, got {value}")
                for name, value in at_least_one.items()
            ),
            (
                0 <= self.validation < 1,
                f"validation must be a share in [0, 1), got {self.validation}",
            ),
        )

    def _images(self, X, *, reset: bool) -> Images:
        """X, read.  Unless `reset`, it has to be what `fit` has seen."""
        if self.image_shape is not None:
            found: Images = images.of_rows(self, X, self.image_shape, reset=reset)
        else:
            found = images.paths_of(X) or images.of_arrays(self, X)
        shape, dtype = images.kind(found)
        if reset:
            self.image_shape_, self.image_dtype_ = shape, dtype
        saw = self.image_shape_, self.image_dtype_
        if (shape, dtype) != saw:
            raise UsageError(
                f"X is {images.words(shape, dtype)}, and fit saw {images.words(*saw)}: "
                "give images that are made in the same way"
            )
        if self.weights is not None:
            images.check_range(found, "the weights expect images")
        return found

    def _labels(self, found: Images, y) -> np.ndarray:
        if y is None:
            raise UsageError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None: give the label of each image"
            )
        labels = column_or_1d(y, warn=True)
        check_array(labels, dtype=None, ensure_2d=False, input_name="y")
        check_consistent_length(found, labels)
        check_classification_targets(labels)
        return labels

    # Training.

    def _begin(self, found: Images, classes: np.ndarray) -> None:
        """What is before any training."""
        check((len(classes) > 1, f"y has one class only, {classes}: give two or more"))
        seeds = check_random_state(self.random_state)
        self._seed = int(seeds.randint(np.iinfo(np.int32).max))
        self._updates = 0
        self.classes_ = classes
        self.__dict__.pop("variables_", None)  # of another fit

    def _train(
        self,
        found: Images,
        numbers: np.ndarray,
        *,
        epochs: int,
        annealed: bool,
        initial: Callable[[], Variables],
        validation: float = 0.0,
    ) -> None:
        """Make `variables_` by the loop that trains every experiment."""
        train = _source(found, numbers, self.classes_, self._channels())
        if validation:
            train, held_out = data.carve(train, validation)
        else:  # the loop wants some, and nothing depends on them
            few = np.arange(min(train.size, self.batch_size))
            held_out = take(train, lambda: few, name=train.name, size=len(few))
        seed = (self._seed + self._updates) % 2**31
        own = [self.augment] if callable(self.augment) else []
        resize = _resize(self._resized())
        crops = self._crops() if isinstance(found, list) else (None, None)
        pipeline = data.train(
            train,
            _even(train.size, self.batch_size),
            transform=ops.compose(*own, resize, *self._motions()),
            seed=seed,
            crop=crops[0],
        )
        evaluation = data.evaluation(
            held_out, self.batch_size, transform=resize, crop=crops[1]
        )
        model, steps = _normalising(self._module()), pipeline.steps(epochs)
        rate = self.learning_rate
        cosine = optim.warmup_cosine(rate, steps=steps, warmup=steps // 5)
        experiment = Experiment(
            model=model,
            task=tasks.classification(len(self.classes_)),
            optimizer=optim.adamw(
                cosine if annealed else optim.constant(rate),
                weight_decay=self.weight_decay,
                no_weight_decay=model.no_weight_decay,
            ),
            train=pipeline,
            validation=evaluation,
            test=evaluation,
            steps=steps,
            seed=seed,
            initial=initial,
            eval_every=pipeline.num_batches if validation else steps,
            steps_per_dispatch=PER_DISPATCH,
        )
        kind = (
            *(self._module(), self.image_shape_, self.image_size, self.augment),
            *(self.learning_rate, self.weight_decay, annealed, steps),
            pipeline.num_batches,
        )
        done = self._fit(experiment, functools.partial(_compiled_once, kind))
        state = done.best if validation else done.last
        params, rest = jax.tree.map(np.asarray, (state.params, dict(state.model_state)))
        self.variables_: Variables = {"params": params, **rest}
        self.history_ = done.rows
        self._updates += steps

    def _fit(self, experiment: Experiment, share_step: Callable[..., Any]):
        """The training, without a run that is left behind."""
        console = make_console() if self.verbose else None
        try:
            return fitted(experiment, console=console, share_step=share_step)
        except Diverged as error:
            raise UsageError(
                "the loss or the parameters are not finite any more: lower the "
                f"learning_rate, {self.learning_rate}"
            ) from error

    def _first_variables(self, found: Images) -> Variables:
        """Those that a fit does not draw: what normalises images, published weights."""
        if isinstance(found, np.ndarray) and self.weights is None:
            mean, scale = found.mean((0, 1, 2), float), found.std((0, 1, 2), float)
        else:
            published = models.normalisation(self.model, **self._options())
            unit = 255 if self.image_dtype_ == "uint8" else 1
            mean, scale = (unit * np.asarray(numbers) for numbers in published)
            if self._channels() != len(mean):
                mean, scale = (
                    np.full(self._channels(), x.mean()) for x in (mean, scale)
                )
        normalisation = {"mean": mean, "scale": np.where(scale > 0, scale, 1)}
        return {
            **({} if self.weights is None else self._published()),
            "normalisation": jax.tree.map(np.float32, normalisation),
        }

    def _published(self) -> Variables:
        height, width, channels = self.image_shape_ or (*self._side(), self._channels())
        if self.image_size is not None:
            height = width = self.image_size
        return pretrained.load(
            self.model,
            self.weights,
            num_classes=len(self.classes_),
            input_shape=(height, width, channels),
            key=jax.random.key(self._seed),
            **self._options(),
        )

    def _motions(self) -> list[Transform]:
        """What moves images in training."""
        if not isinstance(self.augment, str):
            return []
        mirror = [ops.random_flip] if self.augment == "crop_flip" else []
        if self.image_shape_ is None:  # the host crops
            return mirror
        height, width = (
            (self.image_size,) * 2 if self.image_size else self.image_shape_[:2]
        )
        # Mirrored at the edges, which suits numbers of any range.
        distance = min(height, width) // 8
        shift = ops.random_crop((height, width), padding=distance, mode="reflect")
        return [shift, *mirror]

    # The network, and what it is given.

    def _options(self) -> dict[str, Any]:
        given = self.model_options or {}
        return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}

    def _module(self) -> Any:
        return build(self.model, **self._options(), num_classes=len(self.classes_))

    def _channels(self) -> int:
        return (self.image_shape_ or models.default_input(self.model))[2]

    def _resized(self) -> int | None:
        """The side to which the device resizes; images of files have it already."""
        return None if self.image_shape_ is None else self.image_size

    def _side(self) -> tuple[int, int]:
        """The size of images of files."""
        height, width, _ = models.default_input(self.model)
        return (height, width) if self.image_size is None else (self.image_size,) * 2

    def _preparation(self) -> Preparation:
        """Of files, on the host."""
        return Preparation(self._channels(), self._crops()[1], ops.compose())

    def _crops(self):
        """Of files: in training and else."""
        central = data.central_crop(self._side())
        if isinstance(self.augment, str):
            return data.random_resized_crop(self._side(), scale=(0.35, 1)), central
        return central, central


def _source(
    found: Images, numbers: np.ndarray, classes: np.ndarray, channels: int
) -> data.Source:
    """Images in memory or in files, with the numbers of their classes."""
    labels = {"label": numbers.astype(np.int32)}
    shape, _ = images.kind(found)
    return data.Source(
        name="images",
        size=len(found),
        image_shape=shape or (None, None, channels),
        class_names=tuple(map(str, classes)),
        read=lambda: {"image": np.asarray(found), **labels},
        targets=lambda: labels,
        encoded=None if shape else lambda i: read_bytes(found[i]),
        annotations=("label",),
    )


def _even(size: int, most: int) -> int:
    """A batch size, at most `most`, that leaves few of the images out of an epoch, and
    makes it a number of batches that whole dispatches go through."""
    batches = -(-size // most)
    if batches > PER_DISPATCH:
        batches = -(-batches // PER_DISPATCH) * PER_DISPATCH
    return max(size // batches, 1)


def _resize(side: int | None) -> Transform:
    return ops.compose() if side is None else ops.resize(side)


def _normalising(module: Any) -> Model:
    """The network for images as they are given.  What normalises them is among its
    variables, so that one compiled program serves all sets of images."""
    model = models.from_linen(module)

    def init(key, images):
        channels = images.shape[-1]
        own = {"mean": jnp.zeros(channels), "scale": jnp.ones(channels)}
        return {**model.init(key, images.astype(jnp.float32)), "normalisation": own}

    def apply(variables, images, **mode):
        own = variables["normalisation"]
        rest = {k: v for k, v in variables.items() if k != "normalisation"}
        mean, scale = (own[name].reshape(1, 1, 1, -1) for name in ("mean", "scale"))
        normalised = (images.astype(jnp.float32) - mean) / scale
        outputs, state = model.apply(rest, normalised, **mode)
        return outputs, {**state, "normalisation": own}

    return Model(init, apply, no_weight_decay=model.no_weight_decay)


@functools.lru_cache(maxsize=32)
def _program(module: Any, side: int | None) -> Callable[..., jax.Array]:
    """`(variables, images) -> probabilities`, jitted.  Estimators with the same network
    share it: what is compiled for one serves its clones."""
    model, resize = _normalising(module), _resize(side)

    @onednn.jit
    def probabilities(variables, images):
        batch = resize(jax.random.key(0), {"image": images})
        outputs, _ = model.apply(variables, batch["image"])
        return jax.nn.softmax(outputs["logits"])

    return probabilities


_EXECUTABLES: dict[Any, Any] = {}


def _compiled_once(kind: tuple, step: Callable[..., Any]) -> Callable[..., Any]:
    """The training step of a fit, compiled once for all fits that are alike: those of
    the folds of a cross-validation, or calls of `partial_fit`.

    kind: all that the step depends on, besides the shapes of its arguments.
    """

    def call(*arguments):
        shapes = [(x.shape, x.dtype.name) for x in jax.tree.leaves(arguments)]
        alike = (kind, *shapes)
        if alike not in _EXECUTABLES:
            if len(_EXECUTABLES) >= MOST_EXECUTABLES:
                _EXECUTABLES.pop(next(iter(_EXECUTABLES)), None)
            _EXECUTABLES[alike] = onednn.compiled(step, *arguments)
        return _EXECUTABLES[alike](*arguments)

    return call
