"""A state goes through files and comes back the same, on whatever devices, or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxvision.engine import sharding, snapshot
from jaxvision.engine.state import TrainState

PARAMS = {
    "kernel": np.arange(3 * 16 * 24, dtype=np.float32).reshape(3, 16, 24),
    "half": np.linspace(-1, 1, 32).astype(jnp.bfloat16).reshape(8, 4),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
}
SPECS = {"kernel": P(None, "model", "fsdp"), "half": P("fsdp"), "mask": P()}


def state_on(*axes):
    """The state on a mesh of some sizes of data, fsdp and model."""
    names = dict(zip(("data", "fsdp", "model"), axes, strict=True))
    mesh = sharding.make_mesh(int(np.prod(axes)), names)

    def place(name, array):
        return jax.device_put(array, NamedSharding(mesh, SPECS.get(name, P())))

    params = {name: place(name, array) for name, array in PARAMS.items()}
    scalar = place("scalar", np.int32(7))
    key = place("key", np.array([1, 2**31], np.uint32))
    return TrainState(scalar, params, {}, (), key, {"count": scalar})


def assert_same(state, like):
    assert jax.tree.structure(state) == jax.tree.structure(like)
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert one.sharding == other.sharding
        np.testing.assert_array_equal(one, other)


def write(folder, state):
    snapshot.write(folder, snapshot.take(state, {}), {"batch": 3})
    return folder / "shards-0.npz"


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        ((1, 1, 1), (1, 1, 1)),
        ((2, 2, 2), (2, 2, 2)),
        ((1, 1, 1), (1, 4, 2)),
        ((2, 4, 1), (1, 1, 1)),
        ((1, 8, 1), (1, 2, 4)),  # shards that overlap and do not contain each other
        ((1, 1, 8), (2, 4, 1)),
    ],
)
def test_what_was_saved_on_one_mesh_is_read_on_another(tmp_path, saved, wanted):
    write(tmp_path, state_on(*saved))
    like = state_on(*wanted)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
    )
    assert_same(snapshot.read(tmp_path, abstract), like)
    contents = snapshot.read_contents(tmp_path)
    assert (contents["step"], contents["extra"]) == (7, {"batch": 3})
    assert contents["arrays"]["params/half"] == {"shape": [8, 4], "dtype": "bfloat16"}


def test_each_part_is_held_once(tmp_path):
    """Copies on other devices are not written, nor copied to the host."""
    taken = snapshot.take(state_on(4, 2, 1), {})
    assert sum(array.nbytes for array in taken.shards.values()) == sum(
        leaf.nbytes for leaf in jax.tree.leaves(state_on(1, 1, 1))
    )
    assert "params/kernel[0:3,0:16,12:24]" in taken.shards
    assert "step[]" in taken.shards


def test_no_flipped_bit_and_no_cut_goes_unnoticed(tmp_path):
    state = state_on(1, 2, 1)
    file = write(tmp_path, state)
    content, draw, noticed = file.read_bytes(), np.random.default_rng(0), 0
    for number in range(400):
        damaged = bytearray(content)
        if number % 4:
            damaged[draw.integers(len(damaged))] ^= 1 << int(draw.integers(8))
        else:
            del damaged[draw.integers(len(damaged)) :]
        file.write_bytes(damaged)
        try:
            contents = snapshot.read_contents(tmp_path)
            restored = snapshot.read(tmp_path, state)
        except Exception:
            noticed += 1
            continue
        # Such as the time in the header of a member, which means nothing.
        assert contents["extra"] == {"batch": 3}
        assert_same(restored, state)
    assert noticed > 250


def test_a_shard_that_is_missing_is_named(tmp_path):
    state = state_on(1, 4, 1)
    file = write(tmp_path, state)
    with np.load(file) as archive:
        kept = {k: archive[k] for k in archive.files if "12:18" not in k}
    np.savez(file, **kept)
    with pytest.raises(ValueError, match="a shard of params/kernel is missing"):
        snapshot.read(tmp_path, state)
