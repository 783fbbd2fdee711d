"""The content of the user's files as plain data, or one error that names the file.

Every reader begins here, so that what a file may be is decided once.  It is an ordinary
file: opening a pipe would wait for ever.  Text is UTF-8, with or without a byte order
mark, or UTF-16 with one, as Windows writes it.  Whatever a parser raises on damaged
content becomes a `UsageError`.  What a value means is told by `fields`.
"""

import codecs
import json as _json
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from xml.etree import ElementTree

import numpy as np

from jaxvision.errors import UsageError

LARGEST_YAML = 1 << 20
"""Bytes: names for 20,000 classes.  The parser takes some ten seconds for as much."""
LARGEST_XML = 1 << 24
"""Bytes: the objects of one image, a hundred thousand of them."""
_DEFLATE = 1_032  # bytes that DEFLATE makes of one, at most

PathLike = str | os.PathLike[str]


def open_file(path: PathLike) -> IO[bytes]:
    """Open a file to read its bytes.  Raises `OSError`, also for what is no file."""
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("it is a pipe, a socket or a device, and not a file")
    return file


def read_bytes(path: PathLike) -> bytes:
    """The bytes of a file.  Raises `OSError`, also for what is no file."""
    with open_file(path) as file:
        return file.read()


def content(path: PathLike, largest: int | None = None) -> bytes:
    """The bytes of a file.

    Raises `UsageError` if it cannot be read, or has more than `largest` bytes.
    """
    try:
        with open_file(path) as file:
            found = file.read(-1 if largest is None else largest + 1)
    except (OSError, ValueError) as error:  # such as zero bytes in a path
        raise UsageError(f"{path} cannot be read: {_reason(error)}") from error
    if largest is not None and len(found) > largest:
        raise UsageError(
            f"{path} is too large: a file of its kind has at most {largest:,} bytes"
        )
    return found


def text(path: PathLike, largest: int | None = None) -> str:
    """The text of a file.  Raises `UsageError` if it is not UTF-8, or is no text."""
    encoded = content(path, largest)
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if encoded.startswith(marks) else "utf-8-sig"
    try:
        decoded = encoded.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + encoded.count(b"\n", 0, error.start)
        raise UsageError(
            f"{path} is not UTF-8: line {line} has the byte "
            f"{encoded[error.start]:#04x}.  Save it as UTF-8 in an editor, or convert "
            "it: iconv -f latin1 -t utf-8"
        ) from error
    if "\0" in decoded:
        raise UsageError(f"{path} is no text: it holds zero bytes")
    return decoded


def lines(path: PathLike) -> list[str]:
    """The lines of a text, without their ends and without spaces around them."""
    return [line.strip() for line in text(path).splitlines()]


def json(path: PathLike) -> Any:
    """What a JSON file holds.  Raises `UsageError` if it is none."""
    encoded = text(path)
    try:
        return json_value(encoded)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON, or damaged: {error}") from error


def json_value(encoded: str) -> Any:
    """What a JSON text holds.  Raises `ValueError` if it is none.

    NaN and infinities, which Python would read, are not JSON.
    """
    try:
        return _json.loads(encoded, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deep") from None


def yaml(path: PathLike) -> Any:
    """What a YAML file holds: lists, dicts, and the text of each scalar as written.

    No scalar is taken for what it looks like, since `no`, `010`, `12:30` and
    `2024-01-01` are names as well.  Raises `UsageError` if it is none.
    """
    import yaml as _yaml

    encoded = text(path, LARGEST_YAML)
    try:
        return _yaml.load(encoded, _yaml.BaseLoader)
    except RecursionError:
        reason = "its lists and mappings are nested too deep"
    except _yaml.YAMLError as error:
        reason = str(error)
    raise UsageError(f"{path} is not YAML, or damaged: {reason}")


def xml(path: PathLike) -> ElementTree.Element:
    """The root of an XML file, in any encoding that it declares and Python knows.

    Raises `UsageError` if it is none.
    """
    encoded = content(path, LARGEST_XML)
    try:
        return ElementTree.fromstring(encoded)
    except (ElementTree.ParseError, LookupError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not XML, or damaged: {error}") from error


def array_names(path: PathLike) -> list[str]:
    """The names of the arrays in an `.npz`.  Raises `UsageError` if it is none."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return [member.removesuffix(".npy") for member in archive.namelist()]
    except Exception as error:  # of a dozen kinds
        raise UsageError(
            f"{path} is not an .npz file, or damaged ({_reason(error)}): write it with "
            "numpy.savez(path, image=images, label=labels)"
        ) from error


def array_header(path: PathLike, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in an `.npz`, as many bytes as it then must have.

    Raises `UsageError` if it cannot be read or is not of numbers or strings.
    """
    with _member(path, name) as (info, file):
        return _header(info, file)


def array(path: PathLike, name: str) -> np.ndarray:
    """An array in an `.npz`.  Raises `UsageError` if it cannot be read."""
    with _member(path, name) as (info, file):
        _, dtype = _header(info, file)
        file.seek(0)
        found = np.lib.format.read_array(file, allow_pickle=False)
        if dtype.kind == "U" and dtype.itemsize:  # which NumPy does not check
            codes = np.ascontiguousarray(found).view(f"{dtype.byteorder}u4")
            if (codes > sys.maxunicode).any():
                raise ValueError("it holds characters that do not exist")
        return found


@contextmanager
def _member(path: PathLike, name: str) -> Iterator[tuple[zipfile.ZipInfo, IO[bytes]]]:
    try:
        with (
            open_file(path) as whole,
            zipfile.ZipFile(whole) as archive,
            archive.open(f"{name}.npy") as file,
        ):
            yield archive.getinfo(f"{name}.npy"), file
    except Exception as error:  # of a dozen kinds
        raise UsageError(
            f"{name} in {path} cannot be read ({_reason(error)}): write it again with "
            "numpy.savez, as an array of numbers and not of objects"
        ) from error


def _header(info: zipfile.ZipInfo, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"its format has the version {version}")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    # Before memory is asked for: a few bytes may claim to be an array of any size.
    size = dtype.itemsize
    for length in shape:
        size *= length
    there = info.file_size - file.tell()
    if size != there or there > _DEFLATE * (info.compress_size + 1):
        raise ValueError(
            f"it claims to be {dtype} {list(shape)}, which is not what it holds"
        )
    return shape, dtype


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _no_number(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which is not a number")


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror or str(error) or type(error).__name__
