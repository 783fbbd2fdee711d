"""Asking XLA for oneDNN: where it helps, never where it could end the process."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from jaxvision import flags
from jaxvision.ops.convolution import onednn

ROOT = Path(__file__).parents[1]


@pytest.fixture
def machine(monkeypatch):
    """One on which oneDNN is asked for."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(flags, "_version", lambda package: flags.JAXLIB[0])
    monkeypatch.setattr(flags, "_has_plugins", lambda: False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1")
    return monkeypatch


def asked() -> bool:
    before = os.environ["XLA_FLAGS"]
    flags.ask_for_onednn()
    assert os.environ["XLA_FLAGS"].startswith(before)
    return all(name in os.environ["XLA_FLAGS"] for name in flags.ONEDNN)


def test_the_flags_join_those_of_the_user_once(machine):
    assert asked()
    once = os.environ["XLA_FLAGS"]
    flags.ask_for_onednn()
    assert os.environ["XLA_FLAGS"] == once


@pytest.mark.parametrize("name", flags.ONEDNN)
def test_a_flag_of_the_users_own_is_left_alone(machine, name):
    machine.setenv("XLA_FLAGS", f"{name}=false")
    flags.ask_for_onednn()
    assert os.environ["XLA_FLAGS"] == f"{name}=false"


def test_other_processors_systems_and_versions_are_not_asked(machine):
    for module, name, value in (
        (platform, "machine", "arm64"),
        (platform, "system", "Darwin"),
    ):
        with machine.context() as other:
            other.setattr(module, name, lambda value=value: value)
            assert not asked()
    for version in ("0.11", "0.13", None):
        with machine.context() as other:
            other.setattr(flags, "_version", lambda package, version=version: version)
            assert not asked()


def test_a_plugin_of_an_accelerator_never_meets_the_flags(machine):
    machine.setattr(flags, "_has_plugins", lambda: True)
    assert not asked()
    machine.setenv("JAX_PLATFORMS", "cpu")
    assert asked()


def test_the_version_that_we_install_is_one_that_was_tried():
    """A new one: run `make bench`, look at `bench_ops`, then add it to `JAXLIB`."""
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    version = re.search(r"^jaxlib==(\d+\.\d+)", pinned, re.MULTILINE)[1]
    assert version in flags.JAXLIB


here = pytest.mark.skipif(
    platform.system() != "Linux"
    or platform.machine() != "x86_64"
    or flags._version("jaxlib") not in flags.JAXLIB,
    reason="oneDNN is not asked for on this machine",
)


@here
def test_xla_hands_convolutions_to_onednn_in_this_process():
    assert onednn.available(jnp.dtype("float32"))


LATE = """
import jax
jax.devices()
import jax.numpy as jnp
from jaxvision.ops.convolution import conv2d, onednn
x = jnp.ones((1, 8, 8, 16))
assert not onednn.available(x.dtype)
assert conv2d(x, jnp.ones((3, 3, 16, 1)))[0, 4, 4, 0] == 144
"""


@here
def test_flags_that_come_too_late_cost_speed_alone():
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", LATE]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
