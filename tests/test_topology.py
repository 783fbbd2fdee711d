"""The same run on any topology: devices, meshes and processes change no number much.

"Much" is float32 reordering: sums of gradients and of batch statistics are taken in
another order, an error of some 1e-7 of each sum, which a few steps of training amplify.
Losses of the first steps are held to a relative 1e-4, far below what a mistake in
data, sharding or averaging would change.
"""

import functools
import itertools

import jax
import numpy as np
import pytest

from jaxvision.engine import costs, sharding
from jaxvision.engine.step import Constants, make_init, make_train_step
from jaxvision.errors import UsageError
from tests.tiny import Config, build

pytestmark = pytest.mark.slow

STEPS = 4
NETWORKS = ["mlp", "resnet", "vit"]
MESHES = [
    "data=2", "data=4", "data=8", "fsdp=2", "fsdp=4", "fsdp=8", "data=2,fsdp=2",
    "data=4,fsdp=2", "data=2,fsdp=4", "data=2,model=2", "fsdp=2,model=4",
    "data=2,fsdp=2,model=2",
]  # fmt: skip
FEW = [("data=8", "mlp"), ("fsdp=4", "resnet"), ("data=2,fsdp=2,model=2", "vit")]
OTHERS = [  # each mesh, each network with each kind of axis
    *zip(MESHES, itertools.cycle(NETWORKS)),
    ("fsdp=8", "resnet"), ("data=2,fsdp=2", "resnet"), ("fsdp=2,model=4", "vit"),
    ("data=2,fsdp=2,model=2", "mlp"),
]  # fmt: skip
CASES = [
    *FEW,
    *(
        pytest.param(*case, marks=pytest.mark.exhaustive)
        for case in OTHERS
        if case not in FEW
    ),
]


def mesh_of(text):
    axes = sharding.parse_mesh(text)
    return sharding.make_mesh(int(np.prod(list(axes.values()))), axes)


def losses(experiment, mesh):
    """The training loss after each of the first steps, and the state after them."""
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    init = make_init(experiment, mesh, constants)
    step = make_train_step(experiment, mesh, init.shardings, log_every=1)
    state, items, found = init.make(), experiment.train.items(), []
    for _ in range(STEPS):
        item = sharding.stack([next(items)])
        placed = sharding.place_items(mesh, item, experiment.train.batch_size)
        state, report = step(state, constants, placed)
        found.append(float(report.sums.task["loss"]) / experiment.train.batch_size)
    return found, state


@functools.cache
def alone(network):
    """Losses on one device."""
    return losses(build(Config(model=network)), mesh_of("data=1"))[0]


@pytest.fixture(autouse=True)
def everything_is_sharded(monkeypatch):
    monkeypatch.setattr(sharding, "FSDP_MIN_SIZE", 1)


@pytest.mark.parametrize(("mesh", "network"), CASES)
def test_losses_agree_on_every_mesh(network, mesh):
    found, _ = losses(build(Config(model=network)), mesh_of(mesh))
    np.testing.assert_allclose(found, alone(network), rtol=1e-4)


def test_fsdp_divides_what_a_device_holds():
    def held(mesh):
        _, state = losses(build(Config()), mesh_of(mesh))
        shards = jax.tree.leaves((state.params, state.opt_state))
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in shards)

    whole, eighth = held("data=8"), held("fsdp=8")
    # Biases of 4 classes and counters stay whole.
    assert eighth <= whole / 8 + 200


def test_model_axis_splits_the_layers_that_the_rules_name():
    _, state = losses(build(Config()), mesh_of("data=2,model=2"))
    kernel = state.params["Dense_0"]["kernel"]
    momentum = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
        if "Dense_0" in str(path) and "kernel" in str(path)
    ]
    assert momentum
    for array in (kernel, *momentum):
        assert array.addressable_shards[0].data.shape == (192, 32)


def test_the_same_topology_gives_the_same_bits():
    first, second = (
        losses(build(Config(model="resnet")), mesh_of("data=2,fsdp=2"))[1]
        for _ in range(2)
    )
    for one, other in zip(
        jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_accumulated_parts_have_the_gradient_of_the_batch():
    experiment = build(Config())._replace(accumulate=4)
    for mesh in ("data=1", "data=2,fsdp=2"):
        found, _ = losses(experiment, mesh_of(mesh))
        np.testing.assert_allclose(found, alone("mlp"), rtol=1e-5)


def test_batch_norm_sees_the_parts_of_an_accumulated_batch():
    found, _ = losses(build(Config(model="resnet"))._replace(accumulate=4),
                      mesh_of("data=1"))  # fmt: skip
    assert abs(found[0] / alone("resnet")[0] - 1) > 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date=4", "unknown mesh axis 'date': did you mean 'data'"),
        ("data=4,data=2", "data is given twice"),
        ("data=x", "mesh axis data must have a positive size, got 'x'"),
        ("data=0", "must have a positive size"),
        ("data", "must have a positive size, got ''"),
    ],
)
def test_meshes_that_cannot_be_read(text, message):
    with pytest.raises(UsageError, match=message):
        sharding.parse_mesh(text)


def test_a_mesh_must_multiply_to_the_devices():
    with pytest.raises(UsageError, match=r"data=4,fsdp=4 is for 16 devices, .* are 8"):
        sharding.make_mesh(None, sharding.parse_mesh("data=4,fsdp=4"))
    with pytest.raises(UsageError, match="data=4 is for 4 devices, and there are 8"):
        sharding.make_mesh(None, sharding.parse_mesh("data=4"))


def test_rules_that_do_not_fit_are_named():
    from jax.sharding import PartitionSpec as P

    def initialise(*rules):
        experiment = build(Config())._replace(sharding=rules)
        make_init(experiment, mesh_of("data=2,model=4"), Constants.of(experiment))

    with pytest.raises(UsageError, match=r"'Danse' fits no parameter; .*Dense_0/bias"):
        initialise(("Danse", P()))
    with pytest.raises(UsageError, match=r"did you mean 'model'"):
        initialise(("Dense", P("modle")))
    with pytest.raises(UsageError, match=r"more axes than Dense_0/bias"):
        initialise(("Dense_0", P(None, "model")))


def test_bytes_per_device_are_those_of_the_arrays():
    experiment, mesh = build(Config()), mesh_of("fsdp=8")
    init = make_init(experiment, mesh, Constants.of(experiment))
    made = init.make()
    table = costs.parameter_table(init.state)
    for path, _, _, size in table:
        layer, name = path.split("/")
        array = made.params[layer][name]
        assert size == array.addressable_shards[0].data.nbytes
