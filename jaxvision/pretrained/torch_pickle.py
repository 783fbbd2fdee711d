"""PyTorch's checkpoint files, read and written without PyTorch.

A pickle is a program: it may name any function and call it.  This reader knows the few
names that a checkpoint of tensors needs, has stand-ins that do nothing for the plain
values which training scripts save beside them, and refuses a file at any other name,
before anything is called.  Both formats are read: the zip archive of PyTorch 1.6 and
later (one pickle, and one member for each storage) and the stream of pickles before it
(storages after the pickle that refers to them).
"""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxvision.errors import UsageError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "QInt8Storage": np.int8,
    "QUInt8Storage": np.uint8,
    "QInt32Storage": np.int32,
    "UntypedStorage": np.uint8,
}


class Storage:
    """A flat array; in the old format its numbers follow the tensors that use it."""

    def __init__(self, dtype: np.dtype, size: int):
        self.dtype = dtype
        self.size = size
        self.values: np.ndarray | None = None

    def fill(self, data: bytes) -> None:
        values = np.frombuffer(data, self.dtype)
        if values.size != self.size:
            raise ValueError(f"a storage of {self.size} numbers holds {values.size}")
        self.values = values


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        values = self.storage.values
        if values is None:
            raise ValueError("a tensor without its numbers")
        if 0 in self.shape:
            return np.zeros(self.shape, values.dtype)
        steps = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        if min([self.offset, *steps]) < 0 or self.offset + sum(steps) >= values.size:
            raise ValueError("a tensor that reaches beyond its storage")
        strides = [step * values.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, strides, writeable=False
        )
        return np.array(view)


@dataclass(frozen=True)
class Unusable:
    """Stands for a tensor that is no plain array."""

    kind: str


class Skipped:
    """Stands for a plain value that is no tensor, such as a namespace of arguments.

    It takes whatever the pickle gives it and keeps none of it.
    """

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass


def write(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Save arrays as a state dict that `torch.load` reads.

    As for modules of PyTorch, the version of the outermost one goes with it: MNASNet of
    torchvision asks for it, which no other kind of file can hold.
    """
    empty = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    program = [pickle.PROTO + b"\x02", empty, pickle.MARK]
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, array) in enumerate(state.items()):
            kind = next(kind for kind, dtype in DTYPES.items() if dtype == array.dtype)
            strides = np.empty_like(array, order="C").strides
            program += [
                _plain(name), _name("torch._utils", "_rebuild_tensor_v2"), pickle.MARK,
                pickle.MARK, _plain("storage"), _name("torch", kind),
                _plain(str(number)), _plain("cpu"), _plain(array.size), pickle.TUPLE,
                pickle.BINPERSID, _plain(0), _plain(array.shape),
                _plain(tuple(step // array.itemsize for step in strides)),
                _plain(False), empty, pickle.TUPLE, pickle.REDUCE,
            ]  # fmt: skip
            archive.writestr(f"weights/data/{number}", array.tobytes())
        version = _plain({"_metadata": {"": {"version": 2}}})
        program += [pickle.SETITEMS, version, pickle.BUILD, pickle.STOP]
        archive.writestr("weights/data.pkl", b"".join(program))
        archive.writestr("weights/byteorder", "little")
        archive.writestr("weights/version", "3\n")


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _plain(value: Any) -> bytes:
    """The part of a pickle that makes a value, without its beginning and its end."""
    return pickle.dumps(value, protocol=2)[2:-1]


def read(path: Path) -> Any:
    """What was saved, with NumPy arrays for tensors, and `Unusable` or `Skipped` for
    what cannot be one.

    Raises `UsageError` for a file that is damaged, of another kind, or that names
    anything but tensors and plain values.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive)
        with path.open("rb") as stream:
            return _read_legacy(stream)
    except UsageError as error:
        raise UsageError(f"{path} {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise UsageError(
            f"{path} is not a PyTorch checkpoint, or a damaged one ({error}): download "
            "or save it again"
        ) from error


def _read_zip(archive: zipfile.ZipFile) -> Any:
    (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    order = folder + "byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise ValueError("numbers in big-endian order")
    storages: dict[str, Storage] = {}

    def find(dtype: np.dtype, key: str, size: int, *rest) -> Storage:
        if key not in storages:
            storages[key] = Storage(dtype, size)
            storages[key].fill(archive.read(f"{folder}data/{key}"))
        return storages[key]

    content = _Unpickler(io.BytesIO(archive.read(pickled)), find).load()
    return _arrays(content)


def _read_legacy(stream: io.BufferedReader) -> Any:
    storages: dict[str, Storage] = {}

    def find(dtype: np.dtype, key: str, size: int, *rest) -> Storage:
        if rest and rest[0] is not None:
            raise ValueError("a storage that is a view of another")
        return storages.setdefault(key, Storage(dtype, size))

    if _Unpickler(stream, find).load() != LEGACY_MAGIC:
        raise ValueError("it does not begin like one")
    _Unpickler(stream, find).load()  # version of the protocol
    if not _Unpickler(stream, find).load().get("little_endian", True):
        raise ValueError("numbers in big-endian order")
    content = _Unpickler(stream, find).load()
    for key in _Unpickler(stream, find).load():
        (size,) = struct.unpack("<q", stream.read(8))
        storage = storages[key]
        if size != storage.size:
            raise ValueError(f"a storage of {storage.size} numbers holds {size}")
        storage.fill(stream.read(size * storage.dtype.itemsize))
    return _arrays(content)


class _Unpickler(pickle.Unpickler):
    """Knows the names of `_ALLOWED`; `find` is asked for storages."""

    def __init__(self, stream, find):
        super().__init__(stream)
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in DTYPES:
            return np.dtype(DTYPES[name])
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if (module, name) in _SKIPPED:
            return Skipped
        if module == "torch" and name in _TORCH_TYPES:
            return name
        raise UsageError(
            f"names {module}.{name}, which is not a tensor: a pickle can run any code, "
            "so it is refused and nothing was executed. If you trust it, load it with "
            "PyTorch and save its state dict as safetensors"
        )

    def persistent_load(self, identity: Any) -> Storage:
        kind, dtype, key, _location, size, *rest = identity
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError(f"a reference to a {kind!r}")
        return self._find(dtype, str(key), int(size), *rest)


def _tensor(storage, offset, shape, strides, *_flags) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Tensor(storage, int(offset), tuple(shape), tuple(strides))


def _parameter(data, *_flags) -> Tensor:
    return data


def _rebuild_v3(storage, offset, shape, strides, grad, hooks, dtype, *_) -> Unusable:
    """Tensors of types that the first storages did not know, such as 8-bit floats."""
    return Unusable(f"a tensor of {dtype}")


def _unusable(kind: str) -> Callable[..., Unusable]:
    return lambda *_: Unusable(kind)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,  # before PyTorch 0.4
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_v3,
    ("torch._utils", "_rebuild_sparse_tensor"): _unusable("a sparse tensor"),
    ("torch._utils", "_rebuild_qtensor"): _unusable("a quantised tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _unusable(
        "a tensor without numbers (on the meta device)"
    ),
}

_SKIPPED = {
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    ("collections", "defaultdict"),
    ("collections", "Counter"),
    ("collections", "deque"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    *(("pathlib", f"{kind}Path") for kind in ("", "Posix", "Windows")),
    *((module, name) for module in ("builtins", "__builtin__") for name in (
        "set", "frozenset", "list", "dict", "tuple", "slice", "range", "xrange",
        "complex", "bytearray", "int", "float", "str", "bool",
    )),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in (
        "scalar", "_reconstruct",
    )),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("torch", "device"),
    ("torch", "per_tensor_affine"),
    ("torch", "per_channel_affine"),
    ("torch.serialization", "_get_layout"),
}  # fmt: skip
"""What training scripts save beside the weights, and parts of unusable tensors."""

_TORCH_TYPES = {
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2",
}  # fmt: skip


def _arrays(content: Any) -> Any:
    if isinstance(content, Tensor):
        return content.array()
    if isinstance(content, dict):
        return {key: _arrays(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_arrays(value) for value in content]
    return content
