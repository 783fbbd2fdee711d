"""Test-time augmentation: several views of each image, and the mean of what they say.

`with_views(task, mirrored)` is a task that learns as before, and whose metrics and
predictions are those of the mean over the views:

    experiment._replace(task=with_views(experiment.task, ten_crops(224)))
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.recipes import TASKS, VIEWS
from jaxvision.types import Array, Batch, Forward, Outputs, Task

Views = Callable[[Array], Sequence[Array]]
"""`images [B,H,W,C] -> views`, each a batch of images."""

Merge = Callable[[Sequence[Outputs]], Outputs]
"""The outputs of each view -> those that stand for all of them."""


def mean_of_classes(outputs: Sequence[Outputs]) -> Outputs:
    """The mean of class probabilities, as in Krizhevsky et al. 2012, section 4.1
    (https://doi.org/10.1145/3065386).

    `logits` are its logarithm, whose softmax it is; other outputs are not there, since
    views differ in what they show.
    """
    logs = [jax.nn.log_softmax(each["logits"]) for each in outputs]
    return {"logits": functools.reduce(jnp.logaddexp, logs) - jnp.log(len(logs))}


@TASKS.recorded
def with_views(task: Task, views: Views, merge: Merge = mean_of_classes) -> Task:
    """`task`, measured and used with what `merge` makes of the outputs for `views`.

    It learns as before.  Where outputs are maps, `merge` also moves those of each view
    back to where they belong.
    """

    def seen(call: Callable[[Array], Outputs], images: Array) -> Outputs:
        return merge([call(view) for view in views(images)])

    def again(task: Task) -> Task:
        return with_views(task, views, merge)

    def fits(images: Array) -> None:
        jax.eval_shape(views, images)

    return measured_through(task, seen, again, fits)


def measured_through(
    task: Task,
    seen: Callable[[Callable[[Array], Outputs], Array], Outputs],
    again: Callable[[Task], Task],
    fits: Callable[[Array], None] = lambda images: None,
) -> Task:
    """`task`, measured and used with `seen(call, images)` in place of the outputs of
    the model, `call(images)`, which it may ask as often as it likes.

    Args:
      again: the same wrapper, for the task that is tuned on validation.
      fits: raises `UsageError` for images of which it cannot see what it wants.
    """

    def through(forward: Forward) -> Forward:
        def call(images, **options):
            def ask(view):
                return forward.call(view, **options)[0]

            # In evaluation mode no call changes the state.
            return seen(ask, images), options.get("state")

        return forward._replace(call=call)

    def update(forward, batch: Batch, *, keys):
        return task.update(through(forward), batch, keys=keys)

    def predict(forward, batch: Batch, *, keys):
        return task.predict(through(forward), batch, keys=keys)

    def tuned(sums, rows) -> Task:
        assert task.tuned is not None
        return again(task.tuned(sums, rows))

    def fits_all(batch: Batch) -> None:
        fits(batch["image"])
        if task.fits is not None:
            task.fits(batch)

    return task._replace(
        update=update,
        predict=predict,
        tuned=tuned if task.tuned else None,
        fits=fits_all,
    )


def mirrored(images: Array) -> Sequence[Array]:
    """Two views: the image, and its mirror image."""
    return [images, images[:, :, ::-1]]


@VIEWS.recorded
def five_crops(size: int) -> Views:
    """Five views of `size`² pixels: the four corners and the centre."""
    check((size >= 1, f"size of the crops must be positive, got {size}"))

    def views(images):
        height, width = images.shape[1:3]
        check(
            (
                size <= min(height, width),
                f"crops of {size}×{size} pixels do not fit into images of "
                f"{height}×{width}: take smaller ones",
            )
        )
        low, right = height - size, width - size
        corners = [(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)]
        return [images[:, y : y + size, x : x + size] for y, x in corners]

    return views


@VIEWS.recorded
def ten_crops(size: int) -> Views:
    """`five_crops` and their mirror images, as in Krizhevsky et al. 2012."""
    five = five_crops(size)
    return lambda images: [view for crop in five(images) for view in mirrored(crop)]
