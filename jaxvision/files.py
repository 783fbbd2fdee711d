"""Files that are written whole or not at all, and where caches are kept."""

import errno
import json
import math
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.errors import UsageError


class Damaged(UsageError):
    """A file does not hold what was written there; the message says what is wrong."""


def user_cache() -> Path:
    """Our folder among the user's caches; it may not exist yet."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given and sys.platform != "darwin":
        return Path(given, "jaxvision")
    try:
        home = Path.home()
    except RuntimeError:  # a user id without an account, as containers have
        return _private_folder(Path(tempfile.gettempdir(), f"jaxvision-{os.getuid()}"))
    caches = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return caches / "jaxvision"


def _private_folder(path: Path) -> Path:
    """`path`, or a new folder where that one belongs to somebody else: compiled
    programs that are read from the cache are trusted."""
    path.mkdir(mode=0o700, exist_ok=True)
    mine = path.stat().st_uid == os.getuid() and not path.is_symlink()
    return path if mine else Path(tempfile.mkdtemp(prefix="jaxvision-"))


def expanded(path: str | Path) -> Path:
    """With a user's home in place of `~`.  Raises `UsageError` if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{path} is in the home of a user that this machine does not know: write "
            "the whole path"
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what is to take the place of `path` when the block ends.

    A crash, or an exception in the block, leaves what was there before.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):  # in a folder that is gone or read-only, there is none
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what processes that were killed had begun to write in and below a folder.

    For whoever has the folder to itself: the files of a living process would go too.
    """
    for partial in folder.rglob(".*.partial"):
        partial.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Put `text` in place of what `path` holds; a crash leaves the old or the new."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


CHECKSUM = "crc32"
"""The key under which `replace_object` keeps the checksum of the others."""


def replace_object(path: Path, content: Mapping[str, Any]) -> None:
    """Put a JSON object in place of what `path` holds, with a checksum.

    Arrays become lists.  JSON has no number that is not finite: null stands for it.
    """
    content = plain(content)
    sealed = {**content, CHECKSUM: _checksum(content)}
    replace_text(path, json.dumps(sealed, indent=2) + "\n")


def read_object(path: Path, required: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object in a file, without its checksum; one without any is accepted.

    Raises `Damaged` if the file is missing, not UTF-8, no JSON, no object, lacks a key
    that is required, or if its content is not that of the checksum.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged(f"{path} is missing") from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is damaged: it is no JSON ({error})") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise Damaged(f"{path} is damaged: it holds no JSON object but a {kind}")
    found = content.pop(CHECKSUM, None)
    if found is not None and found != _checksum(content):
        raise Damaged(
            f"{path} is damaged: it was changed after it was written, and does not fit "
            "its checksum"
        )
    missing = [key for key in required if key not in content]
    if missing:
        raise Damaged(f"{path} is damaged: it lacks {', '.join(missing)}")
    return content


def _checksum(content: Mapping[str, Any]) -> int:
    """Of the content, whatever its order and layout in a file."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def plain(value: Any) -> Any:
    """What a file of `replace_object` gives back of a value."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    return value


DISK_FAULTS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EFBIG", "ESTALE", "ENODEV")
    if hasattr(errno, name)
)
"""What the system says of a disk that is full, over quota, read-only or broken."""


def os_error(error: BaseException) -> OSError | None:
    """The system's error behind an exception; None if there is none."""
    if isinstance(error, OSError):
        return error
    causes = [*getattr(error, "exceptions", ()), error.__cause__]
    return next((found for each in causes if each and (found := os_error(each))), None)


def disk_fault(error: BaseException, folder: Path | None = None) -> OSError | None:
    """The system's error behind an exception, if it is one of a disk: of the kinds of
    `DISK_FAULTS`, or any that names a file in `folder`."""
    found = os_error(error)
    if found is None or found.errno in DISK_FAULTS:
        return found
    if folder is None or not isinstance(found.filename, str | os.PathLike):
        return None
    inside = Path(found.filename).absolute().is_relative_to(folder.absolute())
    return found if inside else None
