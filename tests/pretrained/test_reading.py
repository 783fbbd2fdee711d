"""Files of weights, good and bad.  Those in files/ were saved by PyTorch itself."""

import os
import pickle
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save, save_file

from jaxvision.errors import UsageError
from jaxvision.pretrained import read

FILES = Path(__file__).parent / "files"
NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)
STATE = {
    "numbers": NUMBERS,
    "transposed": NUMBERS.T,
    "row": NUMBERS[1],
    "parameter": np.full(2, 0.5, np.float32),
    "half": np.array([1.5], np.float16),
    "bfloat": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "count": np.array(7),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth"])
def test_reads_what_pytorch_saves_without_pytorch(file):
    found = read(FILES / file)
    assert list(found) == list(STATE)
    for name, expected in STATE.items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    "file, skipped",
    [
        ("wrapped.pth", "epoch"),
        # A namespace, NumPy's scalar and array, a path, a date, a default dict, a set.
        ("beside.pth", "args, accuracy, array, path, time, history …"),
        ("old.th", "best_prec1"),  # before PyTorch 0.4, data-parallel
    ],
)
def test_what_training_scripts_save_beside_the_weights_is_skipped(file, skipped):
    with pytest.warns(UserWarning, match=f"{file} holds more.*skipped: {skipped}"):
        found = read(FILES / file)
    assert found
    for name, array in found.items():
        np.testing.assert_array_equal(array, STATE[name])


@pytest.mark.parametrize(
    "file, kind",
    [
        ("complex", "complex64"),
        ("fp8", "float8_e4m3fn"),
        ("meta", "without numbers"),
        ("quantised", "quantised"),
        ("sparse", "sparse"),
    ],
)
def test_a_tensor_that_cannot_be_used_is_called_what_it_is(file, kind):
    with pytest.raises(UsageError, match=f"weight: a .*{kind}.*convert it"):
        read(FILES / f"{file}.pth")


@pytest.mark.parametrize("dtype", ["complex64", ml_dtypes.float8_e4m3fn, "<U3"])
def test_an_array_that_cannot_be_used_is_called_what_it_is(dtype):
    with pytest.raises(UsageError, match=r"weight: a tensor of .*(complex|float8|U3)"):
        read({"weight": np.zeros(2, dtype)})


def test_reads_safetensors_npz_and_state_dicts(tmp_path):
    arrays = {"a.weight": NUMBERS, "b": np.array([1.5, -2.0], ml_dtypes.bfloat16)}
    save_file({"a.weight": NUMBERS}, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **{"a.weight": NUMBERS})
    for source in (
        tmp_path / "x.safetensors",
        str(tmp_path / "x.npz"),
        arrays,
        {"module.a.weight": NUMBERS},
        {"model.a.weight": NUMBERS},
        {"module._orig_mod.a.weight": NUMBERS, "n_averaged": np.array(3)},
        {"model": {"a.weight": NUMBERS}},
        {"model": {"state_dict": {"a.weight": NUMBERS}}},
    ):
        np.testing.assert_array_equal(read(source)["a.weight"], NUMBERS)


def test_safetensors_may_begin_like_a_pickle_or_an_archive(tmp_path):
    """They begin with the length of what follows, whose lowest bytes may be any."""
    begun = set()
    for padding in range(0, 256, 8):
        file = tmp_path / f"{padding}.safetensors"
        save_file({"weight": NUMBERS}, file, metadata={"x": "x" * padding})
        begun.add(file.read_bytes()[:1])
        np.testing.assert_array_equal(read(file)["weight"], NUMBERS)
    assert b"\x80" in begun


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"weight": Malicious()})
    path = tmp_path / "evil.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"(posix|nt)\.system.*refused"):
        read(path)
    assert not (tmp_path / "executed").exists()


def test_a_whole_module_is_refused():
    with pytest.raises(UsageError, match=r"torch\.nn\.modules.*state dict"):
        read(FILES / "module.pth")


@pytest.mark.parametrize("attribute", ["__class__", "system", "__subclasses__"])
def test_names_near_the_allowed_ones_are_refused(tmp_path, attribute):
    content = f"cos\n{attribute}\n.".encode()
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", content)
    with pytest.raises(UsageError, match="refused"):
        read(tmp_path / "x.pt")


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path):
    with zipfile.ZipFile(FILES / "zip.pth") as good:
        members = {name: good.read(name) for name in good.namelist()}
    (name,) = (name for name in members if name.endswith("data.pkl"))
    # The second row of `numbers` begins after three of six: let it after 200.
    row = members[name].index(b"row")
    start = members[name].index(b"K\x03", row)
    members[name] = members[name][:start] + b"K\xc8" + members[name][start + 2 :]
    write(tmp_path / "x.pth", members)
    with pytest.raises(UsageError, match="beyond its storage"):
        read(tmp_path / "x.pth")


def test_a_storage_of_another_size_is_refused(tmp_path):
    with zipfile.ZipFile(FILES / "zip.pth") as good:
        members = {name: good.read(name) for name in good.namelist()}
    (name,) = (name for name in members if name.endswith("data/0"))
    write(tmp_path / "x.pth", members | {name: members[name][:8]})
    with pytest.raises(UsageError, match="storage of 6 numbers holds 2"):
        read(tmp_path / "x.pth")


def write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_a_damaged_npz_file_is_refused(tmp_path, damage):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, weight=np.arange(1000))
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: {"empty": 0, "cut": 500}.get(damage)])
    with pytest.raises(UsageError, match=r"not an \.npz file.*damaged"):
        read(path)


@pytest.mark.parametrize("keep", [5, 200, 700])
@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth"])
def test_a_file_cut_short_is_refused(tmp_path, file, keep):
    (tmp_path / file).write_bytes((FILES / file).read_bytes()[:keep])
    with pytest.raises(UsageError, match="damaged"):
        read(tmp_path / file)


@pytest.mark.parametrize("first", [b"\x80", b"P", b"<"])
def test_the_length_at_the_beginning_of_safetensors_may_look_like_another_kind(
    first, tmp_path
):
    content = save({"a": NUMBERS})
    length = int.from_bytes(content[:8], "little")
    padding = (first[0] - length) % 256
    header = content[8 : 8 + length] + b" " * padding
    whole = (length + padding).to_bytes(8, "little") + header + content[8 + length :]
    assert whole.startswith(first)
    (tmp_path / "a.safetensors").write_bytes(whole)
    np.testing.assert_array_equal(read(tmp_path / "a.safetensors")["a"], NUMBERS)


def test_a_file_that_is_not_what_its_suffix_says_is_named(tmp_path):
    save_file({"a": NUMBERS}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"looks like \.safetensors"):
        read(tmp_path / "a.pth")
    (tmp_path / "b.safetensors").write_bytes((FILES / "zip.pth").read_bytes())
    with pytest.raises(UsageError, match=r"looks like \.pth"):
        read(tmp_path / "b.safetensors")
    (tmp_path / "c.npz").write_bytes((FILES / "legacy.pth").read_bytes())
    with pytest.raises(UsageError, match=r"looks like \.pth"):
        read(tmp_path / "c.npz")
    (tmp_path / "d.pth").write_text("<html>not found</html>")
    with pytest.raises(UsageError, match="web page"):
        read(tmp_path / "d.pth")
    (tmp_path / "e.npz").write_bytes(b"abc")
    with pytest.raises(UsageError, match=r"not an \.npz file"):
        read(tmp_path / "e.npz")
    (tmp_path / "f.safetensors").write_bytes(b"abc")
    with pytest.raises(UsageError, match="not a safetensors file"):
        read(tmp_path / "f.safetensors")


def test_what_is_no_source_is_explained(tmp_path, monkeypatch):
    for missing in (tmp_path / "missing.pth", "weights/missing.safetensors"):
        with pytest.raises(UsageError, match=r"there is no file .*missing\."):
            read(missing)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for missing in ("runs/resnet50", tmp_path / "resnet50", "a/b/c"):
        with pytest.raises(UsageError, match="neither a file nor a hub id"):
            read(missing)
    (tmp_path / "weights.dat").write_bytes(b"")
    with pytest.raises(UsageError, match=r"\.safetensors"):
        read(tmp_path / "weights.dat")
    with pytest.warns(UserWarning, match="the state dict .* skipped: epoch"):
        assert list(read({"epoch": 3, "weight": NUMBERS})) == ["weight"]
    for content in ({"epoch": 3}, {0: NUMBERS}, {"encoder": {"weight": NUMBERS}}):
        with pytest.raises(UsageError, match=r"no arrays by name, but (epoch|0|enc)"):
            read(content)
    with pytest.raises(UsageError, match="no state dict"):
        read({})
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"jaxvision-research\[hub\]"):
        read("timm/resnet50.a1_in1k")


def test_a_hub_id_is_downloaded(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    save_file({"a": NUMBERS}, tmp_path / "model.safetensors")
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    np.testing.assert_array_equal(read("timm/resnet50.a1_in1k")["a"], NUMBERS)
    assert asked == [("timm/resnet50.a1_in1k", "model.safetensors")]
