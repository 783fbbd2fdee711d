"""Whatever is wrong with a set of files, it is refused in words or what it says it is.

A small valid set of each kind is damaged at random: bytes and fields, the members of
archives with their checksums put right, and the files themselves.  Then it is loaded
and read.  That succeeds, and what comes out keeps to the conventions, or ends with the
package's own error; never with another exception, without an end, or with memory that
the files do not justify.
"""

import io
import json
import os
import re
import resource
import signal
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from jaxvision import data
from jaxvision.data.files import fields
from jaxvision.data.files.decoding import SWITCH, decode
from jaxvision.data.made.signals import sounds, tracks
from jaxvision.errors import UsageError

# Pillow, NumPy and the readers warn of damage, once for each kind.
pytestmark = pytest.mark.filterwarnings("ignore")

SECONDS = 20
MEMORY = 512 << 20
"""Bytes by which an input may make the process grow."""

Files = dict[bytes, bytes]
"""Contents by their paths."""


# ---- Small valid sets


def image(level: int = 0, form: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 6), level).save(file, form)
    return file.getvalue()


def _folder() -> Files:
    forms = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
    return {
        f"train/{name}/{form}.{form.lower()}": image(level, form)
        for level, form in enumerate(forms)
        for name in ("cat", "dog")
    } | {
        "test/cat/1.png": image(),
        "test/dog/1.png": image(),
        "words.txt": b"cat Katze\ndog Hund\n",
        "exclude.txt": b"train/cat/GIF.gif\n",
    }


def _table(lines: list[str], suffix: str) -> Files:
    images = {f"{i}.png": image(i) for i in range(6)}
    return images | {f"table.{suffix}": "\n".join(lines).encode()}


def _csv() -> Files:
    rows = [f"{i}.png,{i % 2}.0,{'val' if i > 3 else 'train'}" for i in range(6)]
    return _table(["path,label,split", *rows], "csv")


def _landmarks() -> Files:
    rows = [f"{i}.png,{i % 8},{i % 6},4.5,3,,\n" for i in range(6)]
    files = {f"train/{i}.png": image(i) for i in range(4)}
    files |= {f"test/{i}.png": image(i) for i in range(4, 6)}
    head = "path,x0,y0,x1,y1,x2,y2\n"
    files["train.csv"] = (head + "".join(rows[:4])).encode()
    files["test.csv"] = (head + "".join(rows[4:])).encode()
    return files


def _jsonl() -> Files:
    rows = [{"path": f"{i}.png", "labels": ["cat", "dog"][: i % 3]} for i in range(6)]
    return _table([json.dumps(row) for row in rows], "jsonl")


def _npz() -> Files:
    file = io.BytesIO()
    np.savez(
        file,
        x_train=np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4),
        y_train=np.arange(6) % 2,
        x_test=np.zeros((2, 4, 4), np.uint8),
        y_test=np.array([0, 1]),
        class_names=np.array(["cat", "dog"]),
    )
    return {"set.npz": file.getvalue()}


def _masks() -> Files:
    mask = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    files = {"classes.txt": b"sky\ntree\nroad\n"}
    for i in range(6):
        files[f"images/{i}.png"], files[f"masks/{i}.png"] = image(i), file.getvalue()
    return files


def _coco() -> Files:
    files: Files = {}
    for split, count in (("train", 4), ("val", 2)):
        objects = [
            {
                "id": i,
                "image_id": i,
                "category_id": 1 + i % 2,
                "bbox": [1, 1, 4, 3],
                "iscrowd": 0,
                "keypoints": [2, 2, 2, 0, 0, 0],
                "segmentation": [[1, 1, 5, 1, 5, 4]]
                if i % 2
                else {"size": [6, 8], "counts": [10, 5, 33]},
            }
            for i in range(count)
        ]
        images = [
            {"id": i, "file_name": f"{i}.png", "width": 8, "height": 6}
            for i in range(count)
        ]
        bones = {"keypoints": ["left ear", "right ear"], "skeleton": [[1, 2]]}
        categories = [
            {"id": k, "name": name, **bones} for k, name in ((1, "cat"), (2, "dog"))
        ]
        lists = {"images": images, "annotations": objects, "categories": categories}
        files[f"annotations/instances_{split}.json"] = json.dumps(lists).encode()
        files |= {f"{split}/{i}.png": image(i) for i in range(count)}
    return files


def _voc() -> Files:
    files: Files = {"classes.txt": b"cat\ndog\n"}
    for i in range(4):
        files[f"{i}.png"] = image(i)
        files[f"{i}.xml"] = (
            "<annotation><size><width>8</width><height>6</height></size><object>"
            f"<name>{['cat', 'dog'][i % 2]}</name><difficult>0</difficult><bndbox>"
            "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>3</ymax></bndbox>"
            "</object></annotation>"
        ).encode()
    return files


def _yolo() -> Files:
    yaml = b"train: images/train\nval: images/val\nnc: 2\nnames: {0: cat, 1: dog}\n"
    files: Files = {"data.yaml": yaml}
    for split in ("train", "val"):
        for i in range(3):
            files[f"images/{split}/{i}.png"] = image(i)
            rows = f"{i % 2} 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.9 0.1 0.5 0.8\n"
            files[f"labels/{split}/{i}.txt"] = rows.encode()
    return files


def _sounds() -> Files:
    file = io.BytesIO()
    wavfile.write(file, 8_000, (1_000 * np.sin(np.arange(400))).astype(np.int16))
    return {f"{k}/{i}.wav": file.getvalue() for k in "ab" for i in range(2)}


def _series() -> Files:
    rows = "1 0.5 0.25 1\n2 1 2 3.5\n"
    ts = "@data\n0.5,0.25,1:1\n1,2,3.5:2\n"
    return {"X_TRAIN.tsv": rows.encode(), "X_TEST.ts": ts.encode()}


def _tracks() -> Files:
    return {f"{k}/{i}.csv": b"x,y,t\n1,2,0\n3,4.5,1\n" for k in "ab" for i in range(2)}


SETS: dict[str, tuple[str, Callable[[], Files]]] = {
    "folder": ("", _folder),
    "csv": ("/table.csv", _csv),
    "jsonl": ("/table.jsonl", _jsonl),
    "landmarks": ("", _landmarks),
    "npz": ("/set.npz", _npz),
    "masks": ("", _masks),
    "coco": ("", _coco),
    "voc": ("", _voc),
    "yolo": ("", _yolo),
    "sounds": ("", _sounds),
    "series": ("", _series),
    "tracks": ("", _tracks),
}
"""Where the set is, and its files with their paths as texts."""


# ---- Damage

TOKENS = [
    *(b"", b"0", b"-1", b"1.0", b"0.5", b"1e400", b"-0.0", b"NaN", b"Infinity", b"1_0"),
    *(b"9" * 400, b"9" * 5_000, b"x" * 5_000, b"[" * 3_000, b"<a>" * 3_000, b"-" * 99),
    *(b"true", b"no", b"null", b"None", b"~", b"[]", b"{}", b'""', b"''", b"[1,2,3,4]"),
    *(b"\0", b"\xe9", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\u0000"),
    *(b"\\ud800", b"cafe\xcc\x81", b"caf\xc3\xa9", b"\xf0\x9f\x90\x88", b"\x1b[2J"),
    *(b"..", b"/", b"\\", b"%s", b"$x^$", b"[bold]", b",", b";", b":", b'"', b"\n"),
    *(
        b"&a [*a, *a]",
        b"*a",
        b"!!int ",
        b"&lt;",
        b"&x;",
        b"<!DOCTYPE a [",
        b"<![CDATA[",
    ),
    *(b"cat", b"dog", b"2", b"255", b"256", b"4294967296", b"100000000000"),
]

_PLACES = st.floats(0, 1, exclude_max=True)


def _at(place: float, count: int) -> int:
    return int(place * count)


def _replaced(pattern: bytes, content: bytes, place: float, token: bytes) -> bytes:
    found = [*re.finditer(pattern, content)]
    if not found:
        return content + token
    start, end = found[_at(place, len(found))].span()
    return content[:start] + token + content[end:]


def _repeated(content: bytes, place: float, token: bytes) -> bytes:
    at = _at(place, len(content))
    part = content[at : at + 1 + len(token)]
    return content[:at] + part * 3 + content[at:]


def _flipped(content: bytes, place: float, token: bytes) -> bytes:
    at = _at(place, len(content))
    return (
        content[:at]
        + bytes(b ^ 1 << len(token) % 8 for b in content[at : at + 1])
        + content[at + 1 :]
    )


def _spliced(content: bytes, place: float, token: bytes) -> bytes:
    at = _at(place, len(content) + 1)
    return content[:at] + token + content[at + len(token) % 5 :]


CONTENTS: list[Callable[[bytes, float, bytes], bytes]] = [
    lambda content, place, token: _replaced(rb"-?\d+\.?\d*", content, place, token),
    lambda content, place, token: _replaced(rb"[A-Za-z_]+", content, place, token),
    lambda content, place, token: _replaced(rb'"[^"]*"|>[^<]*<', content, place, token),
    _spliced,
    _repeated,
    _flipped,
    lambda content, place, token: content[: _at(place, len(content))],
    lambda content, place, token: content[: _at(place, len(content))] + b"\xff\xd9",
    lambda content, place, token: token,
    lambda content, place, token: content.decode("latin-1").encode("utf-16"),
]


def _in_parts(content: bytes, place: float, change: Callable[[bytes], bytes]) -> bytes:
    """Change one member of a ZIP or one chunk of a PNG, and put its checksum right."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen = [*members][_at(place, len(members))]
        members[chosen] = change(members[chosen])
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        return file.getvalue()
    if content.startswith(b"\x89PNG"):
        chunks, at = [], 8
        while at < len(content):
            length = int.from_bytes(content[at : at + 4])
            chunks.append(content[at + 4 : at + 8 + length])
            at += 12 + length
        i = _at(place, len(chunks))
        chunks[i] = chunks[i][:4] + change(chunks[i][4:])
        return content[:8] + b"".join(
            struct.pack(">I", len(chunk) - 4)
            + chunk
            + struct.pack(">I", zlib.crc32(chunk))
            for chunk in chunks
        )
    return change(content)


@st.composite
def damages(draw: st.DrawFn, kind: str) -> tuple[Files, list[tuple[bytes, str]]]:
    """The files of a set, some of them changed, and what takes the place of others."""
    files = {os.fsencode(path): content for path, content in SETS[kind][1]().items()}
    special: list[tuple[bytes, str]] = []
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(files)))
        if draw(st.integers(0, 3)):
            change = draw(st.sampled_from(CONTENTS))
            place, token = draw(_PLACES), draw(st.sampled_from(TOKENS))
            within = (
                _in_parts if draw(st.booleans()) else lambda c, place, change: change(c)
            )
            try:
                files[path] = within(
                    files[path],
                    draw(_PLACES),
                    lambda part: change(part, place, token),  # noqa: B023
                )
            except Exception:  # its members cannot be found any more
                continue
            continue
        match draw(st.sampled_from(["gone", "name", "pipe", "folder", "copy", "swap"])):
            case "gone" if len(files) > 1:
                del files[path]
            case "name":
                stem, suffix = os.path.splitext(path)
                new = draw(
                    st.sampled_from(
                        [
                            stem + suffix.upper(),
                            stem + b"\xe9" + suffix,
                            stem + b"\xcc\x81" + suffix,
                        ]
                    )
                )
                files[new] = files.pop(path)
            case "copy":
                files[path.replace(b"cat", b"caf\xc3\xa9").replace(b".", b"_.")] = (
                    files[path]
                )
            case "swap":
                other = draw(st.sampled_from(sorted(files)))
                files[path], files[other] = files[other], files[path]
            case "pipe" | "folder" as what if len(files) > 1:
                del files[path]
                special.append((path, what))
    return files, special


# ---- What must hold


def check(kind: str, root: Path) -> None:
    """Load a set and read all of it.  What was accepted keeps to the conventions."""
    splits = data.load(f"{kind}:{root}{SETS[kind][0]}")
    names = splits.train.class_names
    assert len(set(names)) == len(names) > 0
    assert all(name and fields.name(name) == name for name in names), names
    for source in splits.there().values():
        assert source.size > 0
        arrays = source.targets() if source.targets else {}
        if kind in (
            "sounds",
            "tracks",
        ):  # without compiling programs for their pictures
            read = {"sounds": sounds.read, "tracks": tracks.read}[kind]
            for path in root.rglob("*.*"):
                if path.is_file() and path.suffix.lower() in (".wav", ".csv"):
                    arrays[str(path)] = read(path)
        elif kind != "series" and None not in source.image_shape:
            arrays = source.read()
            assert arrays["image"].shape[1:] == source.image_shape
        elif source.encoded is not None:
            for i in range(source.size):
                decode(source.encoded(i), source.image_shape[2])
                maps = source.maps(i) if source.maps else {}
                assert all(each.dtype == np.uint8 for each in maps.values())
        for name, array in arrays.items():
            assert np.isfinite(array).all(), name
            if name in ("label", "classes", "segmentation"):
                known = array[array != 255] if name == "segmentation" else array
                low = -1 if name == "classes" else 0
                assert (low <= known).all() and (known < len(names)).all(), name


@contextmanager
def limited() -> Iterator[None]:
    """Fails after `SECONDS`, or if the process grows by more than `MEMORY`."""

    def stop(*_):
        raise AssertionError(f"not done after {SECONDS} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MEMORY, f"it took {grown >> 10} MiB"


def outcome(kind: str, files: Files, special: list[tuple[bytes, str]]) -> str:
    """`accepted`, or `refused` in words that can be shown."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder + "/cache")
        patch.setenv(SWITCH, "4000000")
        root = Path(folder) / "set"
        for path, content in files.items():
            full = os.fsencode(root) + b"/" + path
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as file:
                file.write(content)
        for path, what in special:
            full = os.fsencode(root) + b"/" + path
            os.makedirs(os.path.dirname(full), exist_ok=True)
            (os.mkfifo if what == "pipe" else os.mkdir)(full)
        with limited():
            try:
                check(kind, root)
            except UsageError as error:
                assert 0 < len(str(error)) < 20_000
                return "refused"
        return "accepted"


def fuzz(kind: str, inputs: int, *, random: bool) -> Counter[str]:
    """Outcomes by what they are."""
    counts: Counter[str] = Counter()

    @settings(
        max_examples=inputs,
        deadline=None,
        derandomize=not random,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(damages(kind))
    def run(damaged):
        counts[outcome(kind, *damaged)] += 1

    run()
    return counts


@pytest.mark.parametrize("kind", SETS)
def test_valid_sets_are_accepted(kind):
    files = {os.fsencode(path): content for path, content in SETS[kind][1]().items()}
    assert outcome(kind, files, []) == "accepted"


@pytest.mark.parametrize("kind", SETS)
def test_damaged_sets_are_refused_in_words_or_read(kind):
    assert fuzz(kind, 15, random=False)["refused"]


@pytest.mark.slow
def test_two_thousand_damaged_sets_are_refused_in_words_or_read():
    counts = sum((fuzz(kind, 185, random=True) for kind in SETS), Counter())
    print(f"\n{counts.total()} inputs: {dict(counts)}")
    assert counts["refused"] > 500 and counts["accepted"] > 100
