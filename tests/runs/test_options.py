"""The options that every experiment has, and what is told before a run."""

import functools
import io
import os

import jax.numpy as jnp
import pytest
from rich.console import Console
from test_experiments import launch
from test_processes import rows

from jaxvision.engine import costs, sharding
from jaxvision.errors import UsageError
from jaxvision.runs import preflight as doctor
from jaxvision.runs import run
from jaxvision.runs.options import Launch, Numerics
from tests.tiny import Config, build


def test_by_default_an_experiment_stays_as_it_is():
    experiment = build(Config())
    assert Numerics().apply(experiment) == experiment
    assert Numerics().chosen() == {}


def test_precision_rebuilds_the_model():
    import jax

    images = jnp.ones((2, 8, 8, 3))
    experiment = Numerics(precision="bf16").apply(build(Config()))
    variables = experiment.model.init(jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    outputs, _ = experiment.model.apply(variables, images)
    assert outputs["pre_logits"].dtype == jnp.bfloat16
    assert outputs["logits"].dtype == jnp.float32
    assert Numerics(precision="bf16_params").apply(build(Config())).param_dtype

    bare = build(Config())
    bare = bare._replace(model=bare.model._replace(rebuild=None))
    with pytest.raises(UsageError, match="one precision only"):
        Numerics(precision="bf16").apply(bare)
    with pytest.raises(UsageError, match="option of model mlp 'remat'"):
        Numerics(remat=True).apply(build(Config()))


@pytest.mark.parametrize(
    ("numerics", "message"),
    [
        (Numerics(accumulate=0), "accumulate must be at least 1, got 0"),
        (Numerics(spike=0.5), "spike must be a factor greater than 1, got 0.5"),
        (Numerics(ema=1.0), "decay of the average"),
    ],
)
def test_numerics_that_make_no_sense(numerics, message):
    with pytest.raises(UsageError, match=message):
        numerics.apply(build(Config()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Launch(profile="20:10"), "two steps in order, such as 10:20, got '20:10'"),
        (Launch(profile="3"), "two steps in order"),
        (Launch(save_every_steps=0), "--save-every-steps must be positive, got 0"),
        (Launch(stall_timeout=-1.0), "--stall-timeout must be positive, got -1"),
    ],
)
def test_upkeep_that_makes_no_sense(options, message):
    with pytest.raises(UsageError, match=message):
        options.maintenance()


def test_accumulated_parts_must_divide_what_a_device_gets():
    mesh = sharding.make_mesh()
    sharding.check_batch(mesh, 32, 4)
    with pytest.raises(UsageError, match=r"16 .*8 devices times 4 parts.*use 32"):
        sharding.check_batch(mesh, 16, 4)


def test_operations_are_those_of_the_layers():
    experiment, mesh = build(Config()), sharding.make_mesh(1)
    found = costs.flops_per_image(experiment, mesh, experiment.train.resident())
    inner, last = 64 * 32 + 32 * 4, 8 * 8 * 3 * 64
    # Forward and two backward products, of which the first layer needs one.
    products = 2 * (3 * inner + 2 * last)
    assert products <= found <= 2 * products
    in_parts = costs.flops_per_image(experiment._replace(accumulate=4), mesh,
                                     experiment.train.resident())  # fmt: skip
    assert in_parts == found


def test_many_parameters_are_shown_by_module():
    rows = [
        (f"block{i}/Conv_{j}/kernel", "3×3", "·, fsdp" if j else "replicated", 9)
        for i in range(10)
        for j in range(3)
    ]
    shown = doctor._by_module(rows)
    assert shown[:2] == [
        ("block0", "1 array", "replicated", 9),
        ("block0", "2 arrays", "·, fsdp", 18),
    ]
    assert sum(size for *_, size in shown) == 9 * len(rows)
    assert doctor._by_module(rows[:9]) == rows[:9]


@pytest.mark.slow
def test_the_largest_batch_fits_and_the_next_does_not():
    mesh, console = sharding.make_mesh(2), Console(file=io.StringIO())

    def remake(size):
        return build(Config(batch_size=size))

    def needed(size):
        experiment = remake(size)
        found = costs.memory(experiment, mesh, experiment.train.resident())
        return found.state_bytes + found.resident_bytes + found.working_bytes

    limit = needed(64)
    found = doctor.max_batch(console, remake, mesh, 32, limit)
    assert 64 <= found < 128 and found % 2 == 0
    assert needed(found) <= limit
    with pytest.raises(UsageError, match="not even a batch of 2 fits"):
        doctor.max_batch(console, remake, mesh, 32, 1000)


@pytest.mark.slow
def test_a_dry_run_tells_everything_and_writes_nothing(tmp_path):
    done = launch("mnist_mlp", "--smoke", "--dry-run", "--workdir", tmp_path / "run",
                  "--precision", "bf16")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words in (
        "precision     bf16",
        "7 batches of 128",
        "128×28×28×1 float32",
        "data=1: 1 × cpu",
        "Dense_0/kernel  784×300 float32",
        "940,800",
        "FLOPs per image",
        "activations per device",
    ):
        assert words in done.stdout, words
    assert not os.path.exists(tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_recomputes_activations_has_the_same_losses(tmp_path):
    """From the command line to the last row of the log."""
    losses = {}
    for option in ("--no-remat", "--remat"):
        arguments = ["--model", "vit", "--epochs", "1", "--devices", "1",
                     "--steps-per-dispatch", "1", option]  # fmt: skip
        run(build, Config, smoke={},
            arguments=[*arguments, "--workdir", str(tmp_path / option)])  # fmt: skip
        losses[option] = [
            row[name]
            for row in rows(tmp_path / option)
            for name in ("train/loss", "validation/loss")
        ]
    assert losses["--remat"] == pytest.approx(losses["--no-remat"], rel=1e-4)


def test_recomputation_is_in_the_program():
    """Without this, the test above would compare a run with itself."""
    import jax

    def program(numerics):
        model = numerics.apply(build(Config(model="vit"))).model
        images = jnp.ones((2, 8, 8, 3))
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        apply = functools.partial(model.apply, train=True, key=jax.random.key(0))
        return str(jax.make_jaxpr(apply)(variables, images))

    assert "remat" in program(Numerics(remat=True))
    assert "remat" not in program(Numerics())


@pytest.mark.slow
def test_lenet_learns_as_well_in_bf16(tmp_path):
    import json

    accuracy = {}
    for precision in ("float32", "bf16"):
        workdir = tmp_path / precision
        done = launch("mnist_lenet5", "--dataset", "mnist_5k", "--epochs", "15",
                      "--precision", precision, "--workdir", workdir)  # fmt: skip
        assert done.returncode == 0, done.stderr
        result = json.loads((workdir / "result.json").read_text())
        accuracy[precision] = result["test_accuracy"]
    # Of 833 test images: a standard error of half a per cent.
    assert accuracy["bf16"] == pytest.approx(accuracy["float32"], abs=0.015)
