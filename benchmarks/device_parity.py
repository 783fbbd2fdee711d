"""How far a device's networks are from their references, in float32 and bfloat16.

    python -m benchmarks.device_parity
    python -m benchmarks.device_parity --models resnet50 vit_tiny_patch16_224

The references are logits that other implementations computed on CPU, with the weights
and images of `tools/parity_inputs.py` (`tests/pretrained/references.json`).  A
difference is the largest one of the compared logits over the largest logit.  float32 is
computed with full products (`jax_default_matmul_precision` highest); what a device does
by default, such as TF32, is measured too.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cli, records
from jaxvision import models, pretrained
from jaxvision.errors import unknown
from jaxvision.pretrained import keys
from tools import parity_inputs as inputs

MODELS = (
    "resnet50",
    "resnet20",
    "mobilenet_v2",
    "efficientnet_b0",
    "densenet121",
    "vgg11",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_tiny_patch16_224",
    "swin_t",
)
REFERENCES = Path(__file__).parents[1] / "tests" / "pretrained" / "references.json"
MODES: dict[str, tuple[Any, str | None]] = {
    # type of the activations, precision of products
    "float32": (jnp.float32, "highest"),
    "default": (jnp.float32, None),
    "bfloat16": (jnp.bfloat16, None),
}


@dataclasses.dataclass(frozen=True)
class Config:
    models: tuple[str, ...] = MODELS
    """Names in our registry."""
    output: Path | None = None
    """Write the numbers to this JSON file, after each model."""


def main(config: Config) -> None:
    references = json.loads(REFERENCES.read_text(encoding="utf-8"))
    for name in config.models:
        if name not in references:
            raise unknown("model with a reference", name, references)
    numbers = records.begin("device_parity")
    for name in config.models:
        found = differences(name, references[name])
        numbers |= {f"{name}_{mode}": value for mode, value in found.items()}
        words = (f"{mode} {value:.1e}" for mode, value in found.items())
        print(name, *words, sep="  ", flush=True)
        records.write(numbers, config.output)


def differences(name: str, reference: dict[str, Any]) -> dict[str, float]:
    """The difference of the logits in each of `MODES`."""
    size = (*reference.get("made_for", reference["input"]), 3)
    rules = next(iter(models.sources(name).values()))
    abstract = jax.eval_shape(
        models.create(name).init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, *size), np.float32),
    )
    state = {
        key: inputs.weight(key, shape, reference["gain"])
        for key, shape in keys.published_shapes(abstract, rules).items()
    }
    variables = pretrained.load(name, state, input_shape=size)
    images = inputs.images(*reference["input"])
    found, expected = {}, reference["logits"]
    for mode, (dtype, precision) in MODES.items():
        model = models.create(name, dtype=dtype)
        with jax.default_matmul_precision(precision or "default"):
            apply = functools.partial(_logits, model)
            logits = np.asarray(jax.jit(apply)(variables, images), np.float64)
        probed = logits.reshape(-1)[inputs.probe(logits.shape)]
        error = np.abs(probed - np.array(expected["values"])).max()
        found[mode] = float(error / expected["scale"])
    return found


def _logits(model, variables, images):
    return model.apply(variables, images)[0]["logits"]


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
