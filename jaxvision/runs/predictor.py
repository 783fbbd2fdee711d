"""A trained network as a value that can be used.

A `Predictor` holds all parts of it, and can do what they can.  Its `Prediction` is one
function of arrays: what is computed in batches, exported, and served.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import data, onednn
from jaxvision.data.feed.crops import uncropped
from jaxvision.data.feed.loader import on_canvas
from jaxvision.data.feed.preparation import Picture, Preparation
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import Evaluated, Evaluator, example_keys
from jaxvision.engine.forward import in_evaluation
from jaxvision.engine.state import of_variables, parted
from jaxvision.errors import UsageError, check, unknown
from jaxvision.recipes import recipe_of
from jaxvision.types import (
    Array,
    Galleries,
    Model,
    Pipeline,
    PyTree,
    Show,
    Task,
    Variables,
)

FRAME = 64
"""Pixels in whose multiples pictures at their own size are computed."""

compiled = functools.lru_cache(maxsize=16)(onednn.jit)
"""The program of a function, which is the same whenever it is asked for."""


class Prediction(NamedTuple):
    """What predicts, how pictures reach it, and how its predictions are shown."""

    call: Callable[..., Mapping[str, Array]]
    """`(variables, frozen, images, first) -> predictions`, pure: uint8 [B,S,T,C] as
    `preparation.images` makes them to arrays by name [B,…].  `first`, int32, is the
    place of the first image among all, by which tasks that draw have their keys."""
    variables: Variables
    frozen: PyTree
    preparation: Preparation
    classes: Sequence[str]
    show: Show | None
    in_original: Callable[..., Mapping[str, Array]] | None = None
    """`(variables, frozen, images, first, taken, canvas) -> predictions`, for the
    pixels of the originals, see `types.Batch`; None of an export."""

    def images(self, count: int) -> jax.ShapeDtypeStruct:
        """The shape and type of as many prepared images."""
        shape = (count, *self.preparation.crop.size, self.preparation.channels)
        return jax.ShapeDtypeStruct(shape, jnp.uint8)

    def batches(
        self,
        pictures: Sequence[Picture],
        batch_size: int,
        unreadable: Callable[[int, str], None] | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """What is predicted of `batch_size` pictures after the other, by name [≤B,…].

        One program serves all, since the last batch is filled up.  The host prepares
        the next batch while one is computed.  Raises `UsageError` that names all
        pictures of a batch that cannot be read, or calls `unreadable` with the place
        and the reason of each; what is predicted of it means nothing then.
        """
        check(
            (len(pictures) > 0, "there are no pictures: give one or more"),
            (batch_size >= 1, f"batch_size must be positive, got {batch_size}"),
        )
        program = compiled(self.call)
        arrays = jax.device_put((self.variables, self.frozen))
        ahead: Mapping[str, Array] = {}
        for first in range(0, len(pictures), batch_size):
            some = pictures[first : first + batch_size]
            tell = None
            if unreadable is not None:
                tell = functools.partial(_counted_from, first, unreadable)
            images = self.preparation.images(some, tell)
            if first:
                yield {k: np.asarray(each) for k, each in ahead.items()}
            ahead = program(*arrays, padded(images, batch_size), np.int32(first))
        yield {k: np.asarray(each)[: len(images)] for k, each in ahead.items()}

    def predict(
        self, pictures: Sequence[Picture], *, batch_size: int = 32
    ) -> dict[str, np.ndarray]:
        """What is predicted of each picture, by name [N,…], see `Predictor.predict`."""
        parts = list(self.batches(pictures, batch_size))
        return {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }

    def at_full_size(
        self,
        picture: Picture,
        place: int = 0,
        unreadable: Callable[[int, str], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """What is predicted of one picture, by name […], maps at its own size.

        `place` is that of the picture among all.  A program serves all pictures whose
        sides are the same multiples of `FRAME`, rounded up.  Raises `UsageError` for an
        export, and for a picture that cannot be read, or calls `unreadable` with its
        place and the reason and returns nothing.
        """
        if self.in_original is None:
            raise UsageError(
                "an exported network predicts images as they were prepared, and not at "
                "their own size: give the run that it was exported from"
            )
        reasons: list[str] = []
        tell = None if unreadable is None else lambda _, why: reasons.append(why)
        images, sizes, taken = self.preparation.prepared([picture], tell)
        if unreadable is not None and reasons:
            unreadable(place, reasons[0])
            return {}
        height, width = sizes[0].tolist()
        frame = (-(-height // FRAME) * FRAME, -(-width // FRAME) * FRAME)
        arrays = jax.device_put((self.variables, self.frozen))
        found = compiled(self.in_original)(
            *arrays,
            images,
            np.int32(place),
            taken,
            on_canvas(jnp.asarray(sizes), frame),
        )
        return {
            name: array[:height, :width] if array.shape[:2] == frame else array
            for name, array in ((k, np.asarray(each)[0]) for k, each in found.items())
        }


def _counted_from(first: int, tell: Callable[[int, str], None], i: int, why: str):
    tell(first + i, why)


def described(
    show: Show | None, prediction: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The prediction of one picture as JSON can hold it, by what the task says of it,
    or else all its arrays."""
    if show is None or show.values is None:
        return {name: np.asarray(each).tolist() for name, each in prediction.items()}
    return dict(show.values(prediction))


def padded(images: np.ndarray, count: int) -> np.ndarray:
    """The images, filled up to `count` by the last one, so that one program serves."""
    return np.concatenate([images, *[images[-1:]] * (count - len(images))])


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network with all that its use needs."""

    model: Model
    variables: Variables
    preparation: Preparation
    task: Task
    classes: Sequence[str]
    show: Show | None

    def predict(
        self, pictures: Sequence[Picture], *, batch_size: int = 32
    ) -> dict[str, np.ndarray]:
        """What the task predicts of each picture, by name [N,…].

        Pictures are paths, contents of image files, or pixels uint8 [H,W,C].  One
        program serves any number of them.  Raises `UsageError` that names all pictures
        that cannot be read.
        """
        return self.prediction().predict(pictures, batch_size=batch_size)

    def features(
        self, pictures: Sequence[Picture], name: str, *, batch_size: int = 32
    ) -> np.ndarray:
        """The activation `name` of the model, such as `stage4`, for each picture."""
        prediction = self.prediction([name], predicts=False)
        return prediction.predict(pictures, batch_size=batch_size)[name]

    def evaluate(
        self, on: Pipeline | str, *, batch_size: int = 100, seed: int = 0
    ) -> dict[str, Any]:
        """The task's metrics over a pipeline, or over the test split of a data set.

        A data set is given by its name, as in `data.load`; its images are prepared as
        those of the run were.  Raises `UsageError` for a set of other classes.
        """
        return self._evaluated(on, batch_size, seed).metrics

    def galleries(
        self, on: Pipeline | str, *, batch_size: int = 100, seed: int = 0
    ) -> Galleries:
        """The worst predictions of what `evaluate` goes through, and a sample."""
        found = self._evaluated(on, batch_size, seed, with_galleries=True)
        assert found.galleries is not None
        return found.galleries

    def _evaluated(
        self,
        on: Pipeline | str,
        batch_size: int,
        seed: int,
        *,
        with_galleries: bool = False,
    ) -> Evaluated:
        pipeline = self.pipeline(on, batch_size) if isinstance(on, str) else on
        pipeline.check_measured_by(self.task)
        mesh = sharding.make_mesh(1)
        placed = functools.partial(sharding.place_resident, mesh)
        evaluator = Evaluator(
            self.model,
            self.task,
            pipeline,
            mesh,
            frozen=placed(self.task.frozen()),
            seed=seed,
        )
        state = placed(of_variables(self.variables, seed))
        return evaluator(state, with_galleries=with_galleries)

    def pipeline(self, dataset: str, batch_size: int) -> Pipeline:
        """The test split of a data set, prepared as the images of the run were."""
        source = data.load(dataset).test
        ours, theirs = list(self.classes), list(source.class_names)
        if ours != theirs:
            first = next(
                (
                    f"class {k} is {a!r} here and {b!r} there"
                    for k, (a, b) in enumerate(zip(ours, theirs, strict=False))
                    if a != b
                ),
                "the first are the same",
            )
            raise UsageError(
                f"the network tells {len(ours)} classes apart and {dataset} has "
                f"{len(theirs)}; {first}: evaluate on a set of the same classes, or "
                "give load(…, classes=…) if they are only called otherwise"
            )
        preparation = self.preparation
        # Without a crop the images can stay in memory.
        whole = recipe_of(preparation.crop) == recipe_of(
            uncropped(preparation.crop.size)
        )
        return data.evaluation(
            source,
            batch_size,
            transform=preparation.transform,
            crop=None if whole else preparation.crop,
            canvas="largest" if preparation.original else None,
        )

    def prediction(
        self, activations: Sequence[str] = (), *, predicts: bool = True
    ) -> Prediction:
        """Prediction as one pure function, with all that it needs.

        `activations` of the network are returned beside what the task predicts, or,
        unless it `predicts`, in its place, under their own names.
        """
        wanted = (*activations, predicts)
        if wanted not in self._predictions:
            self._predictions[wanted] = self._predict_with(activations, predicts)
        return self._predictions[wanted]

    @functools.cached_property
    def _predictions(self) -> dict[tuple, Prediction]:
        """By what was asked for: their programs are compiled once."""
        return {}

    def _predict_with(self, activations: Sequence[str], predicts: bool) -> Prediction:
        task, preparation = self.task, self.preparation

        def call(variables, frozen, images, first):
            return computed(variables, frozen, {"image": images}, first)

        def in_original(variables, frozen, images, first, taken, canvas):
            given = {"image": images, "taken": taken, "canvas": canvas}
            return computed(variables, frozen, given, first)

        def computed(variables, frozen, given, first):
            count = given["image"].shape[0]
            keys = example_keys(0, first + jnp.arange(count, dtype=jnp.int32))
            batch = preparation.transform(keys[0], given)
            forward = in_evaluation(
                self.model,
                *parted(variables),
                average=None,
                step=jnp.int32(0),
                frozen=frozen,
            )
            found = dict(task.predict(forward, batch, keys=keys)) if predicts else {}
            if activations:
                outputs, _ = forward(*task.inputs(batch))
                for name in activations:
                    if name not in outputs:
                        raise unknown("activation", name, outputs)
                    found[name] = outputs[name]
            return found

        return Prediction(
            call,
            self.variables,
            task.frozen(),
            preparation,
            tuple(self.classes),
            self.show,
            in_original,
        )
