"""How the keypoints of an object are read from what a network says, and learned.

The network makes a map for each keypoint, or numbers; where the keypoint is then, and
what it costs to be wrong, is here, as a value made of pure functions.  Nothing here has
parameters.

Positions are continuous: the image covers [0, W] × [0, H], and the cell in row r and
column c of a map of stride s covers [c·s, (c + 1)·s] × [r·s, (r + 1)·s].
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.losses import absolute_error
from jaxvision.recipes import LOCALISERS, VIEWS
from jaxvision.types import Array, Outputs

Size = tuple[int, int]
"""Height and width of the image in pixels."""

REACH = 3.0
"""Standard deviations up to which a target is not zero, as in the public release."""


class Localiser(NamedTuple):
    """What surrounds the network that finds K keypoints.

    `said` is the output that it reads, with the axis of the batch.
    """

    output: str
    """The name of the output."""
    columns: Callable[[int], int]
    """`K ->` the length of its last axis."""
    losses: Callable[[Array, Array, Size], tuple[Array, Array]]
    """`(said, keypoints [B,K,3], size) -> (totals [B], weights [B])`, of the keypoints
    that are labelled, in pixels of what the network sees.  The loss of a batch is the
    sum of all totals by that of all weights; an example without a labelled keypoint has
    the weight 0."""
    decode: Callable[[Array, Size], tuple[Array, Array]]
    """`(said, size) -> (points float32 [B,K,2], scores float32 [B,K])`, in pixels of
    what the network sees."""
    turned: Callable[[Array, Array], Array]
    """`(said, counterparts int32 [K]) ->` what is said of mirror images, as it would be
    of the images."""
    mean: Callable[[Array, Array], Array]
    """What stands for two that are said of the same images."""


@LOCALISERS.recorded
def heatmaps(
    sigma: float = 2.0, *, rounded: bool = True, place: float = 0.5
) -> Localiser:
    """Of a network with `heatmaps` [B,h,w,K]: each is to show a bump at its keypoint.

    Xiao et al. 2018, https://arxiv.org/abs/1804.06208.  The targets are Gaussians of
    height 1, and zero beyond three deviations.  The loss is half the squared error,
    over all cells and keypoints of the examples that have a labelled one; keypoints
    that are not labelled cost nothing, but are counted, as in the public release.  A
    keypoint is found at the highest cell, and along each axis that has cells on both
    sides a quarter of a cell towards the higher one; its score is that height.

    Args:
      sigma: deviation of the targets, in cells.
      rounded: whether their centres are those of cells, as in the release, or the
        places of the keypoints themselves.
      place: which point of a cell it stands for, as a share of its sides: ½ its centre.
        In weights of the public release it is the centre of the first of its pixels,
        1/8 for a stride of 4.
    """
    check(
        (0 < sigma <= 100, f"sigma must be in (0, 100] cells, got {sigma}"),
        (0 <= place <= 1, f"place must be a share in [0, 1], got {place}"),
    )

    def losses(said, keypoints, size):
        found = said.astype(jnp.float32)
        cells = _in_cells(keypoints[..., :2], found, size) - place
        cells = jnp.floor(cells + 0.5) if rounded else cells
        columns, rows = (
            _bump(cells[..., axis], found.shape[2 - axis], sigma) for axis in (0, 1)
        )
        targets = rows[:, :, None] * columns[:, None]
        labelled = keypoints[..., 2] > 0
        errors = jnp.mean(jnp.square(found - targets), axis=(1, 2))
        totals = 0.5 * jnp.mean(jnp.where(labelled, errors, 0), axis=-1)
        return totals, jnp.any(labelled, axis=-1).astype(jnp.float32)

    def decode(said, size):
        found = said.astype(jnp.float32)
        _, height, width, _ = found.shape
        flat = found.reshape(len(found), height * width, -1)
        highest = jnp.argmax(flat, axis=1)
        row, column = highest // width, highest % width

        def at(rows, columns):
            index = rows.clip(0, height - 1) * width + columns.clip(0, width - 1)
            return jnp.take_along_axis(flat, index[:, None], axis=1)[:, 0]

        right = jnp.sign(at(row, column + 1) - at(row, column - 1))
        down = jnp.sign(at(row + 1, column) - at(row - 1, column))
        cells = jnp.stack([column, row], axis=-1).astype(jnp.float32)
        inside = jnp.stack(
            [
                (column > 0) & (column < width - 1),
                (row > 0) & (row < height - 1),
            ],
            axis=-1,
        )
        quarter = jnp.where(inside, 0.25 * jnp.stack([right, down], axis=-1), 0)
        scale = _stride(found, size)
        return (cells + place + quarter) * scale, jnp.max(flat, axis=1)

    return _of_maps(losses, decode, shift=round(1 - 2 * place))


@LOCALISERS.recorded
def soft_argmax(sharpness: float = 1.0) -> Localiser:
    """Of a network with `heatmaps` [B,h,w,K]: a keypoint is at the mean place of its
    map, whose softmax is taken for a distribution.

    Sun et al. 2018, https://arxiv.org/abs/1711.08229, equation 2.  The loss is the mean
    distance |dx|/W + |dy|/H over the keypoints that are labelled.  The score is the
    largest probability of a cell.

    sharpness: what the maps are multiplied by before the softmax.
    """
    check(
        (0 < sharpness <= 1e4, f"sharpness must be in (0, 10⁴], got {sharpness}"),
    )

    def logs(said):
        """Of the shares of the cells."""
        scores = said.astype(jnp.float32) * sharpness
        return jax.nn.log_softmax(scores, axis=(1, 2))

    def shares(said):
        return jnp.exp(logs(said))

    def mean(one, other):
        # Of distributions.  Half the sum of maps would be flat where their peaks are
        # a cell apart, and the mean place then that of all cells.
        return (jnp.logaddexp(logs(one), logs(other)) - jnp.log(2.0)) / sharpness

    def places(shares):
        """Along x and y, in cells, [B,K,2]."""
        across, down = (
            jnp.tensordot(
                jnp.sum(shares, axis=3 - axis),
                jnp.arange(shares.shape[axis], dtype=jnp.float32) + 0.5,
                ((1,), (0,)),
                precision="highest",
            )
            for axis in (2, 1)
        )
        return jnp.stack([across, down], axis=-1)

    def losses(said, keypoints, size):
        error = places(shares(said)) - _in_cells(keypoints[..., :2], said, size)
        cells = jnp.float32([said.shape[2], said.shape[1]])[None, None]
        distance = jnp.sum(jnp.abs(error) / cells, axis=-1)
        return _over_labelled(distance, keypoints)

    def decode(said, size):
        found = shares(said)
        return places(found) * _stride(said, size), jnp.max(found, axis=(1, 2))

    return _of_maps(losses, decode, mean)


@LOCALISERS.recorded
def coordinates(
    *,
    spread: float = 0.25,
    loss: Callable[[Array, Array], Array] = absolute_error,
) -> Localiser:
    """Of a network with `logits` [B,2K], such as any classifier: x and y of each
    keypoint, one after the other.

    A keypoint is at (½ + spread · logits) of the image's sides.  The loss is the mean
    over the keypoints that are labelled.  The score says nothing, it is 1.

    Args:
      spread: what a logit of 1 is of a side; about the deviation of the keypoints, so
        that the network learns numbers of unit variance.
      loss: of [B,K,2] to [B,K], such as `losses.absolute_error` or `huber`.
    """
    check((0 < spread <= 10, f"spread must be in (0, 10], got {spread}"))

    def pairs(said):
        return said.astype(jnp.float32).reshape(len(said), -1, 2)

    def sides(size):
        return jnp.float32([size[1], size[0]])[None, None]

    def losses(said, keypoints, size):
        targets = (keypoints[..., :2] / sides(size) - 0.5) / spread
        return _over_labelled(loss(pairs(said), targets), keypoints)

    def decode(said, size):
        points = (0.5 + spread * pairs(said)) * sides(size)
        return points, jnp.ones(points.shape[:2], jnp.float32)

    def turned(said, counterparts):
        signs = jnp.array([[[-1, 1]]], said.dtype)
        pairs = said.reshape(len(said), -1, 2)[:, counterparts]
        return (pairs * signs).reshape(said.shape)

    return Localiser(
        output="logits",
        columns=lambda count: 2 * count,
        losses=losses,
        decode=decode,
        turned=turned,
        mean=_half_the_sum,
    )


@VIEWS.recorded
def mean_with_mirror_image(
    localiser: Localiser, counterparts: Sequence[int]
) -> Callable[[Sequence[Outputs]], Outputs]:
    """The `merge` of `with_views(task, mirrored, …)`: the mean of what the network says
    of an image and of its mirror image.

    counterparts: for each keypoint the index of that which stands in its place in the
      mirror image: (0, 2, 1) for a nose and two eyes.
    """
    check(
        (
            sorted(counterparts) == list(range(len(counterparts))),
            "counterparts must name every keypoint once, got "
            f"{tuple(counterparts)!r:.200}",
        )
    )

    def merge(outputs: Sequence[Outputs]) -> Outputs:
        straight, mirrored = (each[localiser.output] for each in outputs)
        columns = localiser.columns(len(counterparts))
        check(
            (
                straight.shape[-1] == columns,
                f"counterparts are of {len(counterparts)} keypoints, and the model has "
                f"{straight.shape[-1]} {localiser.output} for them and not {columns}",
            )
        )
        turned = localiser.turned(mirrored, jnp.array(tuple(counterparts)))
        return {localiser.output: localiser.mean(straight, turned)}

    return merge


def _half_the_sum(one: Array, other: Array) -> Array:
    return (one + other) / 2


def _of_maps(losses, decode, mean=_half_the_sum, shift: int = 0) -> Localiser:
    """shift: columns by which maps of mirror images are off when turned back."""

    def turned(said, counterparts):
        back = said[:, :, ::-1, counterparts]
        if shift == 0:
            return back
        return jnp.concatenate([back[:, :, :shift], back[:, :, :-shift]], axis=2)

    return Localiser(
        output="heatmaps",
        columns=lambda count: count,
        losses=losses,
        decode=decode,
        turned=turned,
        mean=mean,
    )


def _stride(maps: Array, size: Size) -> Array:
    """Pixels for each cell, across and down, [1,1,2].

    Raises `UsageError` unless the cells share the image evenly.
    """
    (height, width), (rows, columns) = size, maps.shape[1:3]
    check(
        (
            height % rows == width % columns == 0,
            f"heatmaps of {rows}×{columns} cells do not divide an image of "
            f"{height}×{width} pixels (height × width), so that no cell has a place: "
            "take images whose sides are multiples of the encoder's largest stride, "
            "32 for most",
        )
    )
    return jnp.float32([width / columns, height / rows])[None, None]


def _in_cells(points: Array, maps: Array, size: Size) -> Array:
    return points / _stride(maps, size)


def _bump(centres: Array, count: int, sigma: float) -> Array:
    """[B,count,K]: a Gaussian along one axis, for centres [B,K]."""
    cells = jnp.arange(count, dtype=jnp.float32)[None, :, None]
    distance = jnp.abs(cells - centres[:, None]) / sigma
    return jnp.where(distance <= REACH, jnp.exp(-jnp.square(distance) / 2), 0)


def _over_labelled(costs: Array, keypoints: Array) -> tuple[Array, Array]:
    """Sums [B] of the costs [B,K] of labelled keypoints, and how many these are."""
    labelled = keypoints[..., 2] > 0
    total = jnp.sum(jnp.where(labelled, costs, 0), axis=-1)
    return total, jnp.sum(labelled, axis=-1).astype(jnp.float32)
