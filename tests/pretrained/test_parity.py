"""Every model against its reference implementation, with the same weights and images.

The reference values were made by tools/make_parity_references.py with PyTorch.  The
smallest models of most families are compared in `make test`, one of each kind by CI
(see tests/models/zoo.py), and all in `make test-all`.  `make parity` also writes the
table of differences, computes convolutions as on CPU, and with TORCH_PYTHON=PATH makes
the values anew.
"""

import json
import math
import os
import zlib
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxvision import models, pretrained
from jaxvision.engine.state import count
from jaxvision.errors import UsageError
from jaxvision.layers.conv_norm import basic_conv
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.models import inception
from jaxvision.ops import convolution
from jaxvision.pretrained import keys
from tests.models.zoo import marked, one_of_each_kind
from tools import box_inputs
from tools import parity_inputs as inputs

COMMITTED = Path(__file__).parent / "references.json"
REFERENCES = json.loads(
    Path(os.environ.get("PARITY_REFERENCES", COMMITTED)).read_text()
)

TOLERANCE = 1e-4
"""Of features and scores, relative to the largest entry."""

GRADIENT_TOLERANCE = 1e-2
"""A rectifier whose input is rounded to the other side of 0 changes the gradients of
what is before it: MNASNet's differ by 2e-3 in float32, and by 2e-15 in float64."""

SMALLEST = (
    "resnet18", "squeezenet1_1", "vit_tiny_patch16_224", "resnet20", "lenet5",
    "lenet5_relu", "convnet", "perceptron", "mlp", "unet_small", "segnet_basic",
)  # fmt: skip
"""Some that compile fast; `make test-all` compares every one."""

SMALLEST_TIMM = ("mobilenet_v2",)
"""The same of the models that are compared with timm as well."""

TRAINED_TOLERANCE = 2e-6
"""References have seven digits."""

SMALLEST_TRAINED = ("resnet20", "unet_small")

SMALLEST_WITH_OPTIONS = (
    "mobilenet_v3_large/output_stride=16",
    "pspnet/encoder=resnet18",
)

FOR_THE_TABLE = os.environ.get("PARITY") == "all"
"""Whether this is `make parity`."""

TABLE = Path(__file__).parent / "parity.tsv"


def known(names, fast, slow=()):
    """The names, marked; what is neither fast nor slow is exhaustive."""
    assert set(fast) <= set(names)
    return marked(names, fast, slow)


NETWORKS = [name for name in REFERENCES if "/" not in name]
ALL = known(NETWORKS, SMALLEST, one_of_each_kind(NETWORKS))
ALL_TIMM = known(
    [name.removeprefix("timm/") for name in REFERENCES if name.startswith("timm/")],
    SMALLEST_TIMM,
)

WITH_OPTIONS = [name for name in REFERENCES if "=" in name]
ALL_WITH_OPTIONS = known(WITH_OPTIONS, SMALLEST_WITH_OPTIONS)


def test_every_network_is_compared():
    """A name stands for the network of its paper, and not for one like it."""
    assert set(models.names()) <= REFERENCES.keys()


ALL_TRAINED = known(
    [name for name in REFERENCES if "trained" in REFERENCES[name]], SMALLEST_TRAINED
)


@pytest.fixture(autouse=True)
def convolution_as_on_accelerators(monkeypatch):
    """The forms for CPU have tests of their own, and take the compiler twice as long.

    `make parity` compares networks that are made of them.
    """
    if not FOR_THE_TABLE:
        monkeypatch.setattr(
            convolution.cpu,
            "convolve",
            convolution.native.convolve,
        )


def published_shapes(name, size, source=None, **options):
    """The names and shapes of the state dict, by our account."""
    variables = models.shapes.variables(name, size, **options)
    sources = models.sources(name, **options)
    rules = sources[source or next(iter(sources))]
    return variables, keys.published_shapes(variables, rules)


def difference(ours, reference):
    """Largest difference of the selected entries, relative to the largest entry."""
    ours = np.asarray(ours)
    assert list(ours.shape) == reference["shape"]
    values = np.ascontiguousarray(ours).reshape(-1)[inputs.probe(ours.shape)]
    return np.abs(values - np.array(reference["values"])).max() / reference["scale"]


@pytest.mark.parametrize("name", ALL)
def test_equals_its_reference(name):
    reference = REFERENCES[name]
    # Position embeddings belong to a size; an auxiliary head needs one.
    size = (*reference.get("made_for", reference["input"]), 3)
    variables, shapes = published_shapes(name, size)
    described = "\n".join(sorted(f"{key} {shape}" for key, shape in shapes.items()))
    assert zlib.crc32(described.encode()) == reference["keys"]
    assert count(variables["params"]) == reference["parameters"]

    images = inputs.images(*reference["input"])
    state = {
        key: inputs.weight(key, shape, reference["gain"])
        for key, shape in shapes.items()
    }
    variables = dict(pretrained.load(name, state, input_shape=size))
    model = models.create(name)

    def scalar(params, images):
        outputs, _ = model.apply(variables | {"params": params}, images)
        if "logits" not in outputs:  # a detector
            return None, outputs
        weights = inputs.uniform("logits", outputs["logits"].shape)
        return (outputs["logits"] * weights).sum(), outputs

    gradients = reference.get("gradients", {})
    if gradients:
        differentiate = jax.jit(jax.grad(scalar, (0, 1), has_aux=True))
        (params, at_images), outputs = differentiate(variables["params"], images)
        ours = published(name, {"params": params}) | {"images": at_images}
    else:
        _, outputs = jax.jit(scalar)(variables["params"], images)
    if "constants" in reference:
        described = "\n".join(sorted(
            f"{key} {value.shape} {np.abs(np.float64(value)).sum():.5g}"
            for key, value in models.constants(name, state).items()
        ))  # fmt: skip
        assert zlib.crc32(described.encode()) == reference["constants"]
    said = reference.get("features", {})
    if "logits" in reference:
        said = {**said, "logits": reference["logits"]}
    entries = {k.partition("/")[0] for k in said if "/" in k}
    outputs = {**outputs, **of_regions(model, variables, outputs, entries)}
    differences = {k: difference(outputs[k], values) for k, values in said.items()}
    slopes = {key: difference(ours[key], found) for key, found in gradients.items()}
    if "aux" in reference:
        differences["aux"] = difference(auxiliary_scores(variables), reference["aux"])
    assert max(differences.values()) <= TOLERANCE, differences
    assert max(slopes.values(), default=0) <= GRADIENT_TOLERANCE, slopes
    if FOR_THE_TABLE:
        record(name, reference["parameters"], max(differences.values()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_TRAINED)
def test_trains_as_its_reference(name, monkeypatch):
    """In float64: what rectifiers do to gradients then is no matter of rounding."""
    found = REFERENCES[name]
    reference, size = found["trained"], (*found["input"], 3)
    monkeypatch.setattr(nn.Dropout, "__call__", lambda self, x: x)
    monkeypatch.setattr(StochasticDepth, "__call__", lambda self, x: x)
    _, shapes = published_shapes(name, size)
    state = {key: inputs.weight(key, s, found["gain"]) for key, s in shapes.items()}
    variables = pretrained.load(name, state, input_shape=size)
    with jax.enable_x64(True):
        model = models.create(name, dtype=np.float64)
        variables = jax.tree.map(np.float64, variables)

        def loss(params, images):
            given = {**variables, "params": params}
            outputs, state = model.apply(given, images, train=True)
            weights = inputs.uniform("logits", outputs["logits"].shape)
            return (outputs["logits"] * weights).sum(), (outputs["logits"], state)

        images = np.float64(inputs.images(*found["input"]))
        differentiate = jax.jit(jax.grad(loss, has_aux=True))
        slopes, (logits, state) = differentiate(variables["params"], images)
    gradients = published(name, {"params": slopes})
    running = published(name, state)
    differences = {
        "logits": difference(logits, reference["logits"]),
        **{k: difference(gradients[k], v) for k, v in reference["gradients"].items()},
        **{k: difference(running[k], v) for k, v in reference["running"].items()},
    }
    large = {k: v for k, v in differences.items() if v > TRAINED_TOLERANCE}
    assert not large, large


@pytest.mark.parametrize("name", ALL_TIMM)
def test_equals_timm_too(name):
    reference = REFERENCES[f"timm/{name}"]
    size = (*reference["input"], 3)
    _, shapes = published_shapes(name, size, "timm")
    for key in [key for key in shapes if name.startswith("swin_v2")]:
        if key.endswith("qkv.bias"):  # timm's have none for the keys
            third = (shapes.pop(key)[0] // 3,)
            stem = key.removesuffix("qkv.bias")
            shapes |= {f"{stem}q_bias": third, f"{stem}v_bias": third}
    sizes = "\n".join(sorted(f"{k} {math.prod(s)}" for k, s in shapes.items()))
    assert zlib.crc32(sizes.encode()) == reference["keys"]

    state = {
        key: inputs.weight(key, shape, reference["gain"])
        for key, shape in shapes.items()
    }
    _, options = models.timm(name)
    if options:
        with pytest.raises(UsageError, match=r"timm's weights.*give epsilon=1e-05"):
            pretrained.load(name, state, input_shape=size)
    variables = pretrained.load(name, state, input_shape=size, **options)
    model = models.create(name, **options)
    images = inputs.images(*reference["input"])
    logits = jax.jit(lambda v, x: model.apply(v, x)[0]["logits"])(variables, images)
    largest = difference(logits, reference["logits"])
    assert largest <= TOLERANCE
    if FOR_THE_TABLE:
        record(f"timm/{name}", reference["parameters"], largest)


@pytest.mark.parametrize("name", ALL_WITH_OPTIONS)
def test_equals_its_reference_with_other_options(name):
    reference = REFERENCES[name]
    base, _, option = name.partition("/")
    field, _, value = option.partition("=")
    options = {field: int(value) if value.isdecimal() else value}
    size = (*reference["input"], 3)
    _, shapes = published_shapes(base, size, **options)
    described = "\n".join(sorted(f"{key} {shape}" for key, shape in shapes.items()))
    assert zlib.crc32(described.encode()) == reference["keys"]
    state = {
        key: inputs.weight(key, shape, reference["gain"])
        for key, shape in shapes.items()
    }
    variables = pretrained.load(base, state, input_shape=size, **options)
    model = models.create(base, **options)
    images = inputs.images(*reference["input"])
    logits = jax.jit(lambda v, x: model.apply(v, x)[0]["logits"])(variables, images)
    largest = difference(logits, reference["logits"])
    assert largest <= TOLERANCE
    if FOR_THE_TABLE:
        record(name, reference["parameters"], largest)


def of_regions(model, variables, outputs, entries):
    """What the entries of a detector of two stages say of some regions."""
    levels = [outputs[name] for name in outputs if name.startswith("level")]
    boxes = box_inputs.regions()

    @jax.jit
    def said(variables, levels):
        found = {
            entry: model.apply(variables, boxes, *levels, entry=entry)[0]
            for entry in entries
        }
        return {
            f"{entry}/{name}": x for entry in found for name, x in found[entry].items()
        }

    return said(variables, levels) if entries else {}


def record(name, parameters, largest):
    """Put a row into the table that is committed."""
    head, *rows = TABLE.read_text().splitlines()
    table = {row.partition("\t")[0]: row for row in rows}
    table[name] = f"{name}\t{parameters}\t{largest:.1e}"
    TABLE.write_text("\n".join([head, *map(table.get, sorted(table))]) + "\n")


def published(name, variables):
    """Arrays by the names, and in the order of axes, of published weights."""
    rules = next(iter(models.sources(name).values()))
    return {
        keys.published_key(path, rules): keys.to_published(path, np.asarray(leaf))
        for path, leaf in keys.flatten(variables).items()
    }


def auxiliary_scores(variables):
    """What the auxiliary head of Inception v3 makes of a map of 17×17."""
    head = inception.AuxiliaryHead(
        1000, basic_conv(train=False), np.float32, name="AuxLogits"
    )
    own = {kind: tree["AuxLogits"] for kind, tree in variables.items()}
    return head.apply(own, inputs.uniform("aux", (2, 17, 17, 768)))
