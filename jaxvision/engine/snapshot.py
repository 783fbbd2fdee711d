"""A state as files: each process writes the shards that lie on its devices.

A folder holds one `.npz` for each process with shards.  Their names say what of which
array they are, such as `params/conv/kernel[0:3,0:3,0:64,0:8]`, so that a state can be
read on any topology.  NumPy writes the members of an `.npz` with CRC-32 checksums and
checks them where it reads.
"""

import contextlib
import functools
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.engine import processes
from jaxvision.engine.state import TrainState
from jaxvision.errors import UsageError
from jaxvision.paths import named_leaves, path_name
from jaxvision.types import Array, PyTree

Region = tuple[tuple[int, int], ...]
"""Where along each axis a part of an array starts and stops."""


class Snapshot(NamedTuple):
    """A state on the host, which the training no longer touches."""

    step: int
    arrays: dict[str, dict[str, Any]]
    """Shape and dtype of each array, by its path."""
    shards: dict[str, np.ndarray]
    """Those that this process writes, by their names."""


def take(state: TrainState, spare: Mapping[str, np.ndarray]) -> Snapshot:
    """Copies a state to the host.  Nothing here but the copy takes time.

    `spare` are the shards of an earlier snapshot that is not needed any more: to fill
    its memory again is several times faster than to ask the system for new.
    """
    leaves = named_leaves(state)
    shards = {
        _name(path, _region(shard.index, array.shape)): shard.data
        for number, (path, array) in enumerate(leaves.items())
        for shard in array.addressable_shards
        # Of equal shards one is written, each array's by other devices in turn.
        if shard.replica_id == number % _replicas(array)
    }
    for data in shards.values():
        data.copy_to_host_async()
    return Snapshot(
        step=int(state.step),
        arrays={
            path: {"shape": list(array.shape), "dtype": str(array.dtype)}
            for path, array in leaves.items()
        },
        shards={name: _on_host(data, spare.get(name)) for name, data in shards.items()},
    )


def write(folder: Path, snapshot: Snapshot, extra: dict[str, Any]) -> None:
    """Put a snapshot on the disk; each process calls this.  `extra` is kept as JSON."""
    members = dict(snapshot.shards)
    if processes.is_main():
        contents = {
            "format": FORMAT,
            "step": snapshot.step,
            "arrays": snapshot.arrays,
            "extra": extra,
        }
        members[CONTENTS] = np.frombuffer(json.dumps(contents).encode(), np.uint8)
    if members:
        with _file(folder, jax.process_index()).open("wb") as file:
            np.savez(file, **members)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())


FORMAT = 3
"""Of a checkpoint; another one is not read.  2 kept neither score nor log under the
checksum; those before had no number."""

CONTENTS = "contents"
"""The member of the main process's file that says what there is to be found."""


def steps(directory: Path) -> list[int]:
    """The steps of the checkpoints that are complete in a directory, ascending."""
    if not directory.is_dir():
        return []
    return sorted(
        int(path.name) for path in directory.iterdir() if path.name.isdecimal()
    )


def step_folder(directory: Path, step: int) -> Path:
    """Where the files of a checkpoint are."""
    return directory / str(step) / "state"


def read_contents(folder: Path) -> dict[str, Any]:
    """What was saved: `step`, `arrays` and `extra`."""
    # np.load does not close a file that it cannot read, if it opened it itself.
    with _file(folder, 0).open("rb") as file, np.load(file) as archive:
        contents = json.loads(archive[CONTENTS].tobytes())
    found = contents.get("format", 1)
    if found != FORMAT:
        raise UsageError(
            f"the checkpoint {folder.parent} has format {found}, and this version of "
            f"jaxvision reads format {FORMAT}: continue the run with the code it began "
            "with, or start anew with another --workdir"
        )
    return contents


def verify(folder: Path) -> None:
    """Reads all of a checkpoint, and raises if a checksum does not fit."""
    for file in sorted(folder.glob("shards-*.npz")):
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {bad!r}")


def read(folder: Path, like: TrainState) -> TrainState:
    """The state in a folder, sharded `like` another one, which may be abstract.

    Reads the shards that the devices of this process need.  What is damaged or missing
    among them raises, in whatever way the reader stumbles over it.
    """
    with _opened(folder) as shards:

        def place(path, leaf):
            path = path_name(path)
            # Popped, for what was read is not needed any more when it is on the device.
            parts = shards.pop(path, [])
            return jax.make_array_from_callback(
                leaf.shape,
                leaf.sharding,
                lambda index: _part(
                    path, leaf, parts, _region(index or (), leaf.shape)
                ),
            )

        return jax.tree_util.tree_map_with_path(place, like)


def read_arrays(folder: Path, prefix: str) -> PyTree:
    """The arrays below `prefix`, such as `params`, as nested dicts on the host.

    Needs neither the experiment nor its devices; raises as `read` does.
    """
    tree: dict[str, Any] = {}
    with _opened(folder) as shards:
        for path, about in read_contents(folder)["arrays"].items():
            if not path.startswith(f"{prefix}/"):
                continue
            like = jax.ShapeDtypeStruct(about["shape"], jnp.dtype(about["dtype"]))
            whole = tuple((0, size) for size in about["shape"])
            *parents, name = path.removeprefix(f"{prefix}/").split("/")
            node = functools.reduce(lambda d, key: d.setdefault(key, {}), parents, tree)
            node[name] = _part(path, like, shards.get(path, []), whole)
    return tree


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[dict[str, list["_Shard"]]]:
    """The shards of each array, which are read when they are asked for."""
    shards: dict[str, list[_Shard]] = {}
    with contextlib.ExitStack() as stack:
        for found in sorted(folder.glob("shards-*.npz")):
            file = stack.enter_context(found.open("rb"))
            archive = stack.enter_context(np.load(file))
            for name in archive.files:
                if name != CONTENTS:
                    path, region = _parse(name)
                    load = functools.cache(functools.partial(archive.get, name))
                    shards.setdefault(path, []).append((region, load))
        yield shards


_Shard = tuple[Region, Callable[[], np.ndarray]]


def _part(path: str, like: Any, shards: Sequence[_Shard], wanted: Region):
    """A part of an array, put together from the shards that overlap it."""
    for region, load in shards:
        if region == wanted:
            return _typed(load(), like.dtype)
    part = np.empty([stop - start for start, stop in wanted], like.dtype)
    filled = 0
    for region, load in shards:
        overlap = [
            (max(a, c), min(b, d))
            for (a, b), (c, d) in zip(region, wanted, strict=True)
        ]
        if all(start < stop for start, stop in overlap):
            piece = part[_within(overlap, wanted)]
            piece[...] = _typed(load(), like.dtype)[_within(overlap, region)]
            filled += piece.size
    if filled != part.size:
        raise ValueError(f"a shard of {path} is missing")
    return part


def _within(overlap: Sequence[tuple[int, int]], region: Region) -> tuple[slice, ...]:
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(overlap, region, strict=True)
    )


def _typed(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    # To NumPy's files bfloat16 and its like are so many bytes without a name.
    return array.view(dtype) if array.dtype.kind == "V" else array


def _replicas(array: Array) -> int:
    """How many devices hold the same part of an array."""
    held = math.prod(array.sharding.shard_shape(array.shape))
    return array.sharding.num_devices * held // array.size if array.size else 1


def _on_host(data: Array, spare: np.ndarray | None) -> np.ndarray:
    array = np.asarray(data)
    if next(iter(data.devices())).platform != "cpu":
        return array
    # That is the device's own memory.  While somebody holds it, the next step has to
    # ask for other memory, which takes it longer than this copy.
    if spare is None:
        return array.copy()
    np.copyto(spare, array)
    return spare


def _region(index: tuple[slice, ...], shape: tuple[int, ...]) -> Region:
    bounds = [part.indices(size) for part, size in zip(index, shape, strict=True)]
    return tuple((start, stop) for start, stop, _ in bounds)


def _name(path: str, region: Region) -> str:
    return f"{path}[{','.join(f'{start}:{stop}' for start, stop in region)}]"


def _parse(name: str) -> tuple[str, Region]:
    path, _, bounds = name.removesuffix("]").rpartition("[")
    pairs = [bound.split(":") for bound in bounds.split(",") if bound]
    return path, tuple((int(start), int(stop)) for start, stop in pairs)


def _file(folder: Path, process: int) -> Path:
    return folder / f"shards-{process}.npz"
