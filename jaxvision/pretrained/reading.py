"""Reads a state dict, which maps names to arrays, from a file, a hub or memory."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.errors import UsageError
from jaxvision.pretrained import keys, torch_pickle

PYTORCH = (".pth", ".pt", ".th", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", ".npz", *PYTORCH)

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What a repository of the hub calls its file of weights."""

WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
"""Keys under which training scripts save the weights, beside other things."""

PREFIXES = ("module.", "model.", "_orig_mod.")
"""Of all names: of data-parallel training, of Lightning and of `torch.compile`."""

USABLE = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|bfloat16")
"""Types of arrays, by their names in NumPy, ml_dtypes and PyTorch."""


def read(source: str | Path | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file, a Hugging Face hub id or a state dict, by their names.

    A file ends in `.safetensors`, `.npz`, or one of PyTorch's `.pth`, `.pt`, `.th` and
    `.bin`, which are read without PyTorch and never execute code.  A hub id is
    `owner/repository`.  What a training script saved beside the weights is skipped, and
    a warning names it.  Raises `UsageError` for what is none of these.
    """
    if isinstance(source, Mapping):
        return _flat(source, "the state dict")
    path = Path(source)
    if not path.exists() and is_hub_id(str(source)):
        path = download(str(source), WEIGHTS)
    if not path.is_file():
        if path.suffix.lower() in SUFFIXES:
            raise UsageError(f"there is no file {path} in {Path.cwd()}")
        raise UsageError(
            f"{source} is neither a file nor a hub id like timm/resnet50.a1_in1k: "
            f"give a file that ends in {', '.join(SUFFIXES)}"
        )
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"the kind of {path} is unknown: a file of weights ends in "
            + ", ".join(SUFFIXES)
        )
    _check_kind(path, suffix)
    if suffix == ".safetensors":
        return _flat(_read_safetensors(path), str(path))
    if suffix == ".npz":
        return _flat(_read_npz(path), str(path))
    return _flat(torch_pickle.read(path), str(path))


def is_hub_id(source: str) -> bool:
    """Whether it is `owner/repository`, and not meant to be a file or a folder."""
    owner, _, name = source.partition("/")
    return bool(
        re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source)
        and Path(name).suffix.lower() not in SUFFIXES
        and not Path(owner).exists()
    )


def _check_kind(path: Path, suffix: str) -> None:
    """Raise if the first bytes are those of another kind of file."""
    with path.open("rb") as stream:
        start = stream.read(10)
    zipped = start.startswith(b"PK")
    if start[8:9] == b"{":  # after eight bytes of any value, the length of the header
        if suffix == ".safetensors":
            return
        found = ".safetensors"
    elif zipped and suffix == ".safetensors":
        found = ".pth or .npz"
    elif start[:1] == b"\x80" and suffix in (".safetensors", ".npz"):
        found = ".pth"
    elif start.startswith((b"<", b"version https://git-lfs")):
        raise UsageError(
            f"{path} holds text, not weights: it is a web page or a Git LFS pointer; "
            "download the file itself"
        )
    else:
        return
    raise UsageError(f"{path} is not a {suffix} file: it looks like {found}; rename it")


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="flax") as file:
            return {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a safetensors file ({error})") from error


def _read_npz(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # in whatever way NumPy stumbles over damage
        raise UsageError(
            f"{path} is not an .npz file of plain arrays, or a damaged one ({error}): "
            "download or save it again"
        ) from error


def download(repository: str, names: Sequence[str]) -> Path:
    """The first of these files that a repository of the hub has, in the hub's cache."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UsageError(
            f"{repository} is on the Hugging Face hub, which needs a package of its "
            "own: pip install 'jaxvision-research[hub]'"
        ) from error
    last: Exception | None = None
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        except errors.EntryNotFoundError as error:
            last = error
        except Exception as error:
            raise UsageError(
                f"{repository} cannot be fetched from the Hugging Face hub: {error}"
            ) from error
    raise UsageError(
        f"{repository} on the Hugging Face hub has no {' or '.join(names)}: download "
        "its file of weights and give its path"
    ) from last


def _flat(content: Any, where: str) -> dict[str, np.ndarray]:
    """The state dict inside, without the prefixes that all of its names share."""
    skipped: list[Any] = []
    while wrappers := [key for key in WRAPPERS if _is_state(content, key)]:
        skipped += [key for key in content if key != wrappers[0]]
        content = content[wrappers[0]]
    if not isinstance(content, Mapping) or not content:
        raise UsageError(f"{where} holds no state dict but a {type(content).__name__}")
    found = {key: value for key, value in content.items() if _is_tensor(value)}
    others = [key for key in content if key not in found]
    if not found or not all(isinstance(key, str) for key in found):
        raise UsageError(
            f"{where} holds no arrays by name, but {_some(content)}: give the state "
            "dict alone"
        )
    unusable = [f"{key}: {kind}" for key in found if (kind := _unusable(found[key]))]
    if unusable:
        raise UsageError(
            f"{where} holds what is no array of real numbers ({_some(unusable)}): "
            "convert it to float32 where it was made"
        )
    if skipped or others:
        warnings.warn(
            f"{where} holds more than weights; skipped: {_some(skipped + others)}",
            stacklevel=2,
        )
    for prefix in _shared_prefixes(found):
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    return {key: _array(value) for key, value in found.items()}


def _some(names: Iterable[Any]) -> str:
    names = list(map(str, names))
    return ", ".join(names[:6]) + " …" * (len(names) > 6)


def _is_state(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, torch_pickle.Unusable)


def _unusable(value: Any) -> str | None:
    """What a tensor is that cannot be used, or None."""
    if isinstance(value, torch_pickle.Unusable):
        return value.kind
    if str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        return "a sparse tensor"
    dtype = str(value.dtype).removeprefix("torch.")
    return None if USABLE.fullmatch(dtype) else f"a tensor of {dtype}"


def _shared_prefixes(names: Iterable[str]) -> Iterator[str]:
    """Those of `PREFIXES` that all names begin with, one inside the other."""
    names = [name for name in names if not keys.IGNORED.search(name)]
    while prefix := next(
        (p for p in PREFIXES if names and all(n.startswith(p) for n in names)), None
    ):
        yield prefix
        names = [name.removeprefix(prefix) for name in names]


def _array(value: Any) -> np.ndarray:
    """A NumPy array of one of NumPy, JAX or PyTorch, without importing PyTorch."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)
