"""Convolutions, pooling and up-sampling on CPU: ours against XLA's and PyTorch's.

    python -m benchmarks.ops                                  (about two minutes)
    python -m benchmarks.ops --torch-python PATH --output ops.json

The numbers are the milliseconds of our output, gradient with respect to the images and
gradient with respect to the kernel, and by what factor XLA and PyTorch take longer for
the same: above 1 ours is faster.  All sides take turns in one run.  XLA's side is
`lax.conv_general_dilated`, `lax.reduce_window` and `jax.image.resize` with the
gradients that JAX derives, in `jax.jit`; PyTorch computes in channels-last.

With `--compare` the command fails if a ratio is less than a third of the recorded one.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console
from rich.table import Table

from benchmarks import cli, records
from benchmarks.peers import peer
from benchmarks.timing import timer
from jaxvision import onednn
from jaxvision.errors import unknown
from jaxvision.ops.convolution import Geometry, conv2d, native
from jaxvision.ops.pooling import max_pool, max_pool_with_switches, max_unpool
from jaxvision.ops.upsample import conv_transpose, conv_transpose_2x2, resize, upsample

RECORD = records.COMMITTED / "ops.json"
PARTS = ("output", "by_images", "by_kernel")
SECONDS = 0.05
"""Approximate duration of a turn of one side."""
PAUSE = 0.1
"""Seconds before each turn, since idle threads of the side before spin for a while."""


class Op(NamedTuple):
    """An operation, written three times."""

    images: tuple[int, int, int, int]
    """Shape [B,H,W,C]."""
    kernel: tuple[int, int, int, int] | None
    """Shape [K,K,C,O]; None: there is no kernel."""
    ours: Callable
    xla: Callable
    torch: str
    """Its name for `peers/ops_torch.py`."""
    options: dict[str, Any]
    """Keyword arguments of PyTorch's function."""


def convolution(images, kernel, strides=1, groups=1) -> Op:
    half = kernel[0] // 2
    pads = ((half, half), (half, half))
    slide = {"strides": strides, "padding": pads, "groups": groups}
    geometry = Geometry((strides, strides), pads, groups=groups)
    xla = partial(native.convolve, geometry=geometry)
    options = {"stride": strides, "padding": half, "groups": groups}
    return Op(images, kernel, partial(conv2d, **slide), xla, "conv2d", options)


def pooling(images, window, strides, padding) -> Op:
    pads = ((padding, padding), (padding, padding))

    def xla(x):
        edges = ((0, 0), *pads, (0, 0))
        tile, step = (1, window, window, 1), (1, strides, strides, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, tile, step, edges)

    ours = partial(max_pool, window=window, strides=strides, padding=pads)
    options = {"kernel_size": window, "stride": strides, "padding": padding}
    return Op(images, None, ours, xla, "max_pool2d", options)


def unpooling(images, window) -> Op:
    """Pooling and its inverse, since neither side knows the places beforehand."""
    batch, height, width, channels = images
    shape = (batch, height // window, window, width // window, window, channels)

    def ours(x):
        return max_unpool(*max_pool_with_switches(x, window), window, x.shape[1:3])

    def xla(x):
        apart = x.reshape(shape).transpose(0, 1, 3, 5, 2, 4)
        windows = apart.reshape(-1, window * window)
        places = jnp.arange(len(windows)), windows.argmax(-1)
        spread = jnp.zeros_like(windows).at[places].set(windows[places])
        return spread.reshape(apart.shape).transpose(0, 1, 4, 2, 5, 3).reshape(images)

    return Op(images, None, ours, xla, "unpooled", {"kernel_size": window})


def doubling(images, method) -> Op:
    batch, height, width, channels = images
    shape = (batch, 2 * height, 2 * width, channels)
    xla = partial(jax.image.resize, shape=shape, method=method)
    return Op(images, None, partial(upsample, method=method), xla, method, {})


def transposed(images, out_channels) -> Op:
    def xla(x, kernel):
        return lax.conv_transpose(x, kernel, (2, 2), "VALID")

    def ours(x, kernel):  # JAX's transposed convolution mirrors its kernel
        return conv_transpose_2x2(x, kernel[::-1, ::-1])

    kernel = (2, 2, images[3], out_channels)
    return Op(images, kernel, ours, xla, "conv_transpose2d", {"stride": 2})


def resizing(images, factor, align_corners) -> Op:
    batch, height, width, channels = images
    size = (factor * height, factor * width)
    if align_corners:
        # Its pixels have their centres between whole numbers.
        scale = jnp.array(
            [(w - 1) / (h - 1) for h, w in zip(images[1:3], size, strict=True)]
        )

        def xla(x):
            shape = (batch, *size, channels)
            return jax.image.scale_and_translate(
                x, shape, (1, 2), scale, 0.5 - 0.5 * scale, "linear", antialias=False
            )

    else:
        xla = partial(jax.image.resize, shape=(batch, *size, channels), method="linear")
    options = {"size": size, "mode": "bilinear", "align_corners": align_corners}
    ours = partial(resize, size=size, align_corners=align_corners)
    return Op(images, None, ours, xla, "interpolate", options)


def transposed_4x4(images, out_channels) -> Op:
    def xla(x, kernel):
        return lax.conv_transpose(x, kernel, (2, 2), "SAME")

    def ours(x, kernel):  # JAX's transposed convolution mirrors its kernel
        return conv_transpose(x, kernel[::-1, ::-1].swapaxes(2, 3))

    kernel, options = (4, 4, images[3], out_channels), {"stride": 2, "padding": 1}
    return Op(images, kernel, ours, xla, "conv_transpose2d", options)


OPS = {
    "7×7/2 3→64 at 64²": convolution((32, 64, 64, 3), (7, 7, 3, 64), 2),
    "5×5 1→6 at 32²": convolution((128, 32, 32, 1), (5, 5, 1, 6)),
    "3×3 16→16 at 32²": convolution((128, 32, 32, 16), (3, 3, 16, 16)),
    "3×3 64→64 at 16²": convolution((64, 16, 16, 64), (3, 3, 64, 64)),
    "3×3 256→256 at 8²": convolution((64, 8, 8, 256), (3, 3, 256, 256)),
    "3×3 512→512 at 2²": convolution((64, 2, 2, 512), (3, 3, 512, 512)),
    "3×3/2 64→128 at 16²": convolution((64, 16, 16, 64), (3, 3, 64, 128), 2),
    "1×1 64→256 at 56²": convolution((32, 56, 56, 64), (1, 1, 64, 256)),
    "1×1/2 256→512 at 16²": convolution((32, 16, 16, 256), (1, 1, 256, 512), 2),
    "3×3 depthwise 144 at 16²": convolution(
        (64, 16, 16, 144), (3, 3, 1, 144), groups=144
    ),
    "5×5/2 depthwise 96 at 16²": convolution(
        (64, 16, 16, 96), (5, 5, 1, 96), 2, groups=96
    ),
    "3×3 in 32 groups of 4 at 16²": convolution(
        (32, 16, 16, 128), (3, 3, 4, 128), groups=32
    ),
    "3×3 in 8 groups of 16 at 16²": convolution(
        (32, 16, 16, 128), (3, 3, 16, 128), groups=8
    ),
    "2×2 max-pool 32 at 28²": pooling((128, 28, 28, 32), 2, 2, 0),
    "3×3/2 max-pool 64 at 32²": pooling((32, 32, 32, 64), 3, 2, 1),
    "2×2 max-pool and unpool 64 at 32²": unpooling((32, 32, 32, 64), 2),
    "nearest ×2 64 at 32²": doubling((16, 32, 32, 64), "nearest"),
    "bilinear ×2 64 at 32²": doubling((16, 32, 32, 64), "bilinear"),
    "bilinear ×8 21 at 28²": resizing((8, 28, 28, 21), 8, False),
    "bilinear ×4 21 at 56², corners aligned": resizing((8, 56, 56, 21), 4, True),
    "2×2 transposed 64→32 at 32²": transposed((16, 32, 32, 64), 32),
    "4×4 transposed 64→64 at 32²": transposed_4x4((16, 32, 32, 64), 64),
}


@dataclasses.dataclass(frozen=True)
class Config:
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: without PyTorch's side."""
    ops: tuple[str, ...] = tuple(OPS)
    """Operations to measure."""
    rounds: int = 5
    """Turns of each side; the fastest counts, since noise only makes work slower."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a ratio is less than a third of the recorded one."""


def main(config: Config) -> int:
    for name in config.ops:
        if name not in OPS:
            raise unknown("operation", name, OPS)
    numbers = records.begin("ops")
    with contextlib.ExitStack() as stack:
        torch = None
        if config.torch_python is not None:
            torch = stack.enter_context(peer(config.torch_python, "ops_torch.py"))
            numbers["version_torch"] = torch("version")
        for name in config.ops:
            found = measure(OPS[name], torch, config.rounds)
            print(name, *(f"{k} {v:.3g}" for k, v in found.items()), sep="  ")
            numbers |= {f"{name} {key}": value for key, value in found.items()}
    records.write(numbers, config.output)
    Console().print(as_table(config.ops, numbers))
    return records.regressions(numbers, RECORD) if config.compare else 0


def measure(op: Op, torch: Callable[..., Any] | None, rounds: int) -> dict[str, float]:
    """Milliseconds of ours, and the others' times as multiples of it, for each part."""
    draw = np.random.default_rng(0)
    shapes = [op.images] if op.kernel is None else [op.images, op.kernel]
    operands = [jnp.asarray(draw.standard_normal(s), jnp.float32) for s in shapes]
    if torch is not None:
        torch("make", op.torch, op.images, op.kernel, op.options)

    found = {}
    for part, title in enumerate(PARTS[: 1 + len(shapes)]):
        sides = {
            "ours": timer(compile_part(onednn.jit, op.ours, operands, part)),
            "xla": timer(compile_part(jax.jit, op.xla, operands, part)),
        }
        if torch is not None:
            sides["torch"] = partial(torch, "seconds", part)
        calls = {side: max(1, round(SECONDS / s(1))) for side, s in sides.items()}
        least = dict.fromkeys(sides, float("inf"))
        for _ in range(rounds):
            for side, seconds in sides.items():
                time.sleep(PAUSE)
                least[side] = min(least[side], seconds(calls[side]))
        found[f"{title}_ms"] = 1000 * least["ours"]
        found[f"{title}_xla_ratio"] = least["xla"] / least["ours"]
        if torch is not None:
            found[f"{title}_torch_ratio"] = least["torch"] / least["ours"]
    return found


def compile_part(
    jit: Callable[..., Callable],
    function: Callable,
    operands: list[jax.Array],
    part: int,
) -> Callable:
    """A compiled function without arguments that computes one part.

    Part 0 is the output, part i its gradient with respect to operand i - 1.
    """
    if part == 0:
        return partial(jit(function), *operands)
    dy = function(*operands) + 1

    def gradient(dy, *operands):
        return jax.vjp(function, *operands)[1](dy)[part - 1]

    return partial(jit(gradient), dy, *operands)


def as_table(ops: tuple[str, ...], numbers: dict[str, Any]) -> Table:
    table = Table("", title="Milliseconds; times as long in XLA and in PyTorch")
    for part in PARTS:
        table.add_column(part.replace("_", " "), justify="right")
    for op in ops:
        cells = []
        for part in PARTS:
            values = (
                numbers.get(f"{op} {part}_{name}")
                for name in ("ms", "xla_ratio", "torch_ratio")
            )
            cells.append("  ".join(f"{v:.2f}" for v in values if v is not None))
        table.add_row(op, *cells)
    return table


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
