"""A neural Turing machine learns to copy bits (Graves et al. 2014, section 4.1)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

from jaxvision import data, models, visualise
from jaxvision.measures import Measure
from jaxvision.models.neural_turing import NeuralTuring
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Array, Batch, Task
from jaxvision.visualise.neuron_diagram import layered

from .parts import Digits, Learned, Network, by_gradient

LONGEST, BITS = 8, 6
"""Rows of the longest sequence, and bits in each."""


def sequences(name: str, size: int, seed: int) -> data.Source:
    """Random bits as images [8,6,1] of bytes; the `label` is the length less one."""

    def read() -> dict[str, np.ndarray]:
        draw = np.random.default_rng(seed)
        return {
            "image": 255 * draw.integers(0, 2, (size, LONGEST, BITS, 1), np.uint8),
            "label": draw.integers(0, LONGEST, size, np.int32),
        }

    names = tuple(str(length) for length in range(1, LONGEST + 1))
    return data.Source(name, size, (LONGEST, BITS, 1), names, read)


def shown(batch: Batch) -> Array:
    """What the machine is given, [B,T,BITS+1]: the rows of a sequence, one after the
    other, then a mark in a channel of its own, then nothing while it writes."""
    length = batch["label"] + 1
    time = jnp.arange(2 * LONGEST + 1)[None, :, None]
    rows = jnp.pad(batch["image"][..., 0], ((0, 0), (0, LONGEST + 1), (0, 0)))
    length = length[:, None, None]
    rows = jnp.where(time < length, rows, 0)
    return jnp.concatenate([rows, (time == length).astype(rows.dtype)], axis=-1)


def wanted(batch: Batch) -> tuple[Array, Array]:
    """What it should say, [B,T,BITS], and when it counts, bool [B,T]."""
    length = batch["label"][:, None] + 1
    time = jnp.arange(2 * LONGEST + 1)[None]
    row = time - length - 1
    rows = batch["image"][..., 0]
    index = jnp.clip(row, 0, LONGEST - 1)[..., None]
    return jnp.take_along_axis(rows, index, axis=1), (row >= 0) & (row < length)


def copying() -> Task:
    """Sequences of bits and their lengths; the headline is how many are copied without
    a mistake."""

    def look(forward, batch: Batch):
        outputs, state = forward(shown(batch))
        target, when = wanted(batch)
        errors = optax.sigmoid_binary_cross_entropy(outputs["logits"], target).mean(-1)
        right = (outputs["logits"] > 0) == (target > 0.5)
        when = when & mask_of(batch)[:, None]
        bits = jnp.where(when, right.mean(-1), 0).sum()
        whole = (right.all(-1) | ~when).all(1) & mask_of(batch)
        sums = {
            "loss": jnp.where(when, errors, 0).sum(),
            "bits": bits,
            "rows": jnp.sum(when, dtype=jnp.int32),
            "copied": jnp.sum(whole, dtype=jnp.int32),
            "count": jnp.sum(mask_of(batch), dtype=jnp.int32),
        }
        return sums, state

    def loss(forward, batch: Batch, *, key):
        sums, state = look(forward, batch)
        return (sums["loss"], sums["rows"]), (state, sums)

    def compute(sums, rows: Mapping[str, np.ndarray]):
        steps, count = max(int(sums["rows"]), 1), max(int(sums["count"]), 1)
        return {
            "copied": int(sums["copied"]) / count,
            "bits": float(sums["bits"]) / steps,
            "loss": float(sums["loss"]) / steps,
        }

    return Task(
        loss=loss,
        update=lambda forward, batch, *, keys: (look(forward, batch)[0], {}),
        compute=compute,
        measures=(
            Measure("copied", "%", "higher", 1),
            Measure("bits", "%", "higher", 1),
            Measure("loss", better="lower"),
        ),
        predict=lambda forward, batch, *, keys: {
            "bits": jax.nn.sigmoid(forward(shown(batch))[0]["logits"])
        },
        reads=("label",),
        inputs=lambda batch: (shown(batch),),
    )


def neural_turing(digits: Digits) -> Learned:
    bits = digits._replace(
        train=sequences("bits:train", 20_000, 3 * digits.seed),
        validation=sequences("bits:validation", 400, 3 * digits.seed + 1),
        test=sequences("bits:test", 1000, 3 * digits.seed + 2),
    )
    model = models.from_linen(NeuralTuring(BITS))
    done = by_gradient(bits, model, copying(), steps=4000, rate=1e-2)
    test = bits.test.read()
    longest = np.flatnonzero(test["label"] == LONGEST - 1)[:3]
    batch = {
        "image": jnp.asarray(test["image"][longest] / np.float32(255)),
        "label": jnp.asarray(test["label"][longest]),
    }
    outputs, _ = model.apply(done.variables, shown(batch))
    when = wanted(batch)[1][..., None]
    said = jnp.where(when, jax.nn.sigmoid(outputs["logits"]), 0)
    drawn = [
        _enlarged(each)
        for i in range(len(longest))
        for each in (
            shown(batch)[i],
            said[i],
            outputs["writing"][i],
            outputs["reading"][i],
        )
    ]
    numbers = {name: done.metrics[name] for name in ("copied", "bits")}
    return Learned(numbers, visualise.sheet(drawn, 4, gap=6), done.parameters)


def _enlarged(numbers: Array, *, scale: int = 8, rows: int = 16) -> np.ndarray:
    """Numbers [T,D] from 0 to 1 as uint8 [S,T,3], time from left to right, upon as much
    white as makes `rows` of them."""
    colours = matplotlib.colormaps["viridis"](np.asarray(numbers).T)[..., :3]
    levels = (255 * colours).round().astype(np.uint8)
    room = ((0, rows - len(levels)), (0, 0), (0, 0))
    filled = np.pad(levels, room, constant_values=255)
    return filled.repeat(scale, 0).repeat(scale, 1)


NEURAL_TURING = Network(
    "Neural Turing machine",
    f"A network with a memory of 16 slots that it attends to. It is shown up to "
    f"{LONGEST} rows of {BITS} random bits and has to repeat them; the number is how "
    "many sequences it copies without a mistake. From left to right: what it is shown, "
    "what it says, where it writes and where it reads, each over time.",
    "Graves, Wayne and Danihelka 2014",
    layered(3 * ["input"], 3 * ["hidden"], 3 * ["memory"], 3 * ["output"]),
    [Measure("copied", "%", "higher", 1), Measure("bits", "%", "higher", 1)],
    neural_turing,
)
