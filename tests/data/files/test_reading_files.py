"""Whatever a user's file holds, it is read, or one error names it."""

import io
import os
import socket
import struct
import zipfile

import numpy as np
import pytest

from jaxvision.data.files import reading
from jaxvision.errors import UsageError


@pytest.fixture
def file(tmp_path):
    def write(content: bytes | str, name: str = "file"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_pipe_a_socket_and_a_device_are_refused_and_not_waited_for(pipe, tmp_path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
    for path in (pipe, tmp_path / "socket", "/dev/zero"):
        with pytest.raises(OSError, match=r"pipe|No such device"):
            reading.open_file(path)
        for read in (reading.text, reading.json, reading.yaml, reading.xml):
            with pytest.raises(UsageError, match=f"{path} cannot be read"):
                read(path)


@pytest.mark.parametrize("what", ["nothing", "folder", "zero", "long"])
def test_what_cannot_be_opened_is_named(tmp_path, what):
    (tmp_path / "folder").mkdir()
    name = {"zero": "a\0b", "long": "x" * 5_000}.get(what, what)
    with pytest.raises(UsageError, match="cannot be read"):
        reading.text(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_may_have_a_byte_order_mark(file, encoding):
    path = file("Käse\r\n 猫 \n".encode(encoding))
    assert reading.text(path) == "Käse\r\n 猫 \n"
    assert reading.lines(path) == ["Käse", "猫"]


def test_other_encodings_are_refused_by_line(file):
    with pytest.raises(UsageError, match=r"not UTF-8: line 2 has the byte 0xe4"):
        reading.text(file("Brot\nKäse".encode("latin-1")))
    for content in (b"a\0b", "Käse".encode("utf-32")):
        with pytest.raises(UsageError, match="zero bytes"):
            reading.text(file(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON, or damaged"),
        ("[" * 100_000, "nested too deep"),
        ("[NaN]", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("9" * 5_000, "is not JSON, or damaged"),
        (b'["K\xe4se"]', "is not UTF-8"),
    ],
)
def test_what_is_no_json(file, content, message):
    with pytest.raises(UsageError, match=message):
        reading.json(file(content))


def test_scalars_of_yaml_are_texts(file):
    text = "[yes, NO, on, 010, 12:30, 2024-01-01, 1e3, !!int 7, null, 0x1F, .inf, '']"
    want = ["yes", "NO", "on", "010", "12:30", "2024-01-01", "1e3", "7", "null"]
    assert reading.yaml(file(text)) == [*want, "0x1F", ".inf", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[a", "is not YAML, or damaged"),
        ("a: !!python/object:os.system [", "is not YAML, or damaged"),
        ("? [a]\n: b", "is not YAML, or damaged"),
        ("&a [*a]", "is not YAML, or damaged"),
        ("[" * 50_000, "nested too deep"),
        ("# " + "x" * reading.LARGEST_YAML, "too large"),
    ],
)
def test_what_is_no_yaml(file, content, message):
    with pytest.raises(UsageError, match=message):
        reading.yaml(file(content))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "cp1252"])
def test_xml_declares_its_encoding(file, encoding):
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    assert reading.xml(file(f"{head}<a>Käse</a>".encode(encoding))).text == "Käse"


LAUGHS = "<!DOCTYPE a [<!ENTITY l0 'ha'>{}]><a>&l30;</a>".format(
    "".join(f"<!ENTITY l{i} '&l{i - 1};&l{i - 1};'>" for i in range(1, 31))
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<a>",
        '<?xml version="1.0" encoding="no-such"?><a/>',
        '<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>K\xe4se</a>",
        "<a>&undefined;</a>",
        pytest.param(LAUGHS, id="billion laughs"),
    ],
)
def test_what_is_no_xml(file, content):
    with pytest.raises(UsageError, match="is not XML, or damaged"):
        reading.xml(file(content))


# Arrays


def archive(file, **members: bytes):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, member in members.items():
            zipped.writestr(f"{name}.npy", member)
    return file(content.getvalue())


def npy(header: str, content: bytes = b"", version=b"\1\0") -> bytes:
    return (
        b"\x93NUMPY"
        + version
        + struct.pack("<H", len(header))
        + header.encode()
        + content
    )


def header(shape, descr="'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_described_and_read(tmp_path, compressed):
    found = {"a": np.zeros((3, 40, 40), np.uint8), "b": np.array(["x", "yz"])}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **found)
    assert reading.array_names(tmp_path / "a.npz") == ["a", "b"]
    for name, array in found.items():
        wanted = (array.shape, array.dtype)
        assert reading.array_header(tmp_path / "a.npz", name) == wanted
        np.testing.assert_array_equal(reading.array(tmp_path / "a.npz", name), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(header("(100000000000,)"), b"x"), "not what it holds"),
        (npy(header("(-1,)"), b""), "not what it holds"),
        (npy(header("(4,)"), b"12345"), "not what it holds"),
        (npy(header("(1,)", "'|O'"), b"N."), "Python objects"),
        (npy(header("(True,)")), ""),
        (npy("{'shape': ("), ""),
        (npy("[" * 5_000), ""),
        (npy("{}"), ""),
        (npy(header("(1,)"), b"x", version=b"\7\0"), "version"),
        (b"\x93NUM", ""),
        (b"", ""),
    ],
)
def test_headers_that_claim_what_is_not_there(file, content, message):
    path = archive(file, a=content)
    for read in (reading.array_header, reading.array):
        with pytest.raises(UsageError, match=f"a in {path} cannot be read.*{message}"):
            read(path, "a")


def test_characters_that_do_not_exist(file):
    content = npy(header("(1,)", "'<U1'"), b"\0\0\x11\0")
    with pytest.raises(UsageError, match="characters that do not exist"):
        reading.array(archive(file, a=content), "a")


def test_encrypted_cut_and_missing_members(file, tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(1_000))
    whole = (tmp_path / "a.npz").read_bytes()
    flags = bytearray(whole)
    for mark, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        flags[whole.index(mark) + at] |= 1
    with pytest.raises(UsageError, match=r"a in .* cannot be read .*encrypted"):
        reading.array(file(bytes(flags)), "a")
    with pytest.raises(UsageError, match=r"b in .* cannot be read"):
        reading.array(file(whole), "b")
    with pytest.raises(UsageError, match=r"is not an \.npz file"):
        reading.array_names(file(whole[:-30]))
