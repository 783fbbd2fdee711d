"""Reads a state dict, which maps names to arrays, from a file, a hub or memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.errors import UsageError
from jaxvision.pretrained import torch_pickle

PYTORCH = (".pth", ".pt", ".th", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", ".npz", *PYTORCH)

WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
"""Keys under which training scripts save the weights, beside other things."""


def read(source: str | Path | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file, a Hugging Face hub id or a state dict, by their names.

    A file ends in `.safetensors`, `.npz`, or one of PyTorch's `.pth`, `.pt` and `.bin`,
    which are read without PyTorch and never execute code.  A hub id is
    `owner/repository`.  Raises `UsageError` for what is none of these.
    """
    if isinstance(source, Mapping):
        return _flat(source, "the state dict")
    path = Path(source)
    if not path.exists() and _is_hub_id(str(source)):
        path = _download(str(source))
    if not path.is_file():
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


def _is_hub_id(source: str) -> bool:
    owner, _, name = source.partition("/")
    return bool(owner and name) and "/" not in name and not source.startswith(".")


def _check_kind(path: Path, suffix: str) -> None:
    """Raise if the first bytes are those of another kind of file."""
    with path.open("rb") as stream:
        start = stream.read(10)
    zipped = start.startswith(b"PK")
    if start[8:9] == b"{" and suffix != ".safetensors":
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
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError) as error:
        raise UsageError(
            f"{path} is not an .npz file of plain arrays ({error})"
        ) from error


def _download(repository: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UsageError(
            f"{repository} is on the Hugging Face hub, which needs a package of its "
            "own: pip install 'jaxvision-research[hub]'"
        ) from error
    last: Exception | None = None
    for name in ("model.safetensors", "pytorch_model.bin"):
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        except errors.EntryNotFoundError as error:
            last = error
        except Exception as error:
            raise UsageError(
                f"{repository} cannot be fetched from the Hugging Face hub: {error}"
            ) from error
    raise UsageError(
        f"{repository} on the Hugging Face hub has neither model.safetensors nor "
        "pytorch_model.bin: download its file of weights and give its path"
    ) from last


def _flat(content: Any, where: str) -> dict[str, np.ndarray]:
    """The state dict inside, with the `module.` of data-parallel training removed."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise UsageError(f"{where} holds no state dict but a {type(content).__name__}")
    others = [key for key, value in content.items() if not hasattr(value, "shape")]
    if others:
        raise UsageError(
            f"{where} holds values that are not arrays, such as {others[0]!r}: give "
            "the state dict alone"
        )
    prefix = "module."
    wrapped = all(key.startswith(prefix) for key in content)
    return {
        key.removeprefix(prefix) if wrapped else key: _array(value)
        for key, value in content.items()
    }


def _array(value: Any) -> np.ndarray:
    """A NumPy array of one of NumPy, JAX or PyTorch, without importing PyTorch."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)
