"""What an evaluation keeps of every example, on the host: in memory, or on the disk."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

MEMORY_LIMIT = 256 << 20
"""Bytes of rows beyond which they are written to temporary files."""


class Rows:
    """Collects rows by batches, in their order.  As a context, removes its files."""

    def __init__(self, limit: int = MEMORY_LIMIT):
        self._limit, self._bytes = limit, 0
        self._parts: dict[str, list[np.ndarray]] = {}
        self._kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        self._folder: tempfile.TemporaryDirectory | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self._parts.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """Rows [n,…] by name; the same names each time."""
        for name, array in rows.items():
            self._kinds[name] = array.dtype, array.shape[1:]
            self._parts.setdefault(name, []).append(array)
            self._bytes += array.nbytes
        if self._bytes > self._limit:
            self._spill()

    def finish(self) -> dict[str, np.ndarray]:
        """All rows, by name [N,…]: mapped files, where they exceeded the limit."""
        if self._folder is None:
            return {name: np.concatenate(parts) for name, parts in self._parts.items()}
        self._spill()
        return {
            name: np.memmap(self._file(name), dtype, "r").reshape(-1, *shape)
            for name, (dtype, shape) in self._kinds.items()
        }

    def _spill(self) -> None:
        """Append what is in memory to the files."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="jaxvision-rows-")
        for name, parts in self._parts.items():
            with self._file(name).open("ab") as file:
                for part in parts:
                    np.ascontiguousarray(part).tofile(file)
            parts.clear()
        self._bytes = 0

    def _file(self, name: str) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, str(list(self._kinds).index(name)))
