"""Whole networks in ONNX Runtime."""

import json
import sys

import numpy as np
import pytest

from jaxvision import models, tasks, visualise
from jaxvision.errors import UsageError
from jaxvision.export import agreement, onnx
from tests import predictors, tiny

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")

NETWORKS = {
    "convnext_tiny": 64,
    "googlenet": 96,
    "inception_v3": 96,
    "fpn": 64,
    "maxvit_t": 224,
    "mobilenet_v3_small": 64,
    "pspnet": 64,
    "regnet_x_400mf": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_v2_t": 64,
    "unet_small": 64,
}
"""What differs in its operators from the others, with a size of its images."""


def apart(made, file, activations=()):
    """How far the outputs of ONNX Runtime are from JAX's."""
    found = made.prediction(activations)
    onnx.write(file, found, {"experiment": "tiny"})
    size = made.preparation.crop.size[0]
    pictures = predictors.pictures(3, size)
    results = onnx.run(file, made.preparation.images(pictures))
    return agreement.differences(found.predict(pictures, batch_size=3), results)


@pytest.mark.parametrize("network", tiny.MODELS)
def test_a_network_computes_the_same(network, tmp_path):
    file = tmp_path / "net.onnx"
    found = apart(predictors.make(network), file, ["logits"])
    assert found.keys() == {"probabilities", "logits"}
    assert max(found.values()) < 1e-5


FEW = ("convnext_tiny", "fpn", "mobilenet_v3_small", "swin_v2_t")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FEW else pytest.mark.exhaustive)
        for name in NETWORKS
    ],
)
def test_a_large_network_computes_the_same(name, tmp_path):
    made = predictors.make(
        size=NETWORKS[name], model=models.create(name, num_classes=4)
    )
    if name in ("fpn", "pspnet", "unet_small"):
        made = predictors.make(
            size=NETWORKS[name],
            model=made.model,
            task=tasks.segmentation(4),
            show=visualise.segmentation(predictors.CLASSES),
        )
    assert apart(made, tmp_path / "net.onnx", ["logits"])["logits"] < 1e-4


def test_a_file_says_what_goes_in_and_what_comes_out(tmp_path):
    import onnx as reader

    file = tmp_path / "net.onnx"
    made = predictors.make("mlp")
    onnx.write(file, made.prediction(), {"experiment": "tiny"})
    model = reader.load(file)
    (images,) = model.graph.input
    sizes = [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim]
    assert images.name == "images" and sizes == ["b", 8, 8, 3]
    assert [each.name for each in model.graph.output] == ["probabilities"]
    known = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert known["classes"] == list(predictors.CLASSES)
    assert known["preparation"] == made.preparation.save()
    assert known["about"] == {"experiment": "tiny"}


def test_batch_normalisation_costs_no_more_than_a_product_and_a_sum(tmp_path):
    import onnx as reader

    file = tmp_path / "net.onnx"
    onnx.write(file, predictors.make("resnet").prediction())
    kinds = {node.op_type for node in reader.load(file).graph.node}
    assert "Conv" in kinds and not kinds & {"Sqrt", "Reciprocal"}


def test_an_unknown_activation_is_refused(tmp_path):
    made = predictors.make("mlp").prediction(["logit"])
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        onnx.write(tmp_path / "net.onnx", made)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"jaxvision-research\[export\]"):
        onnx.write(tmp_path / "net.onnx", predictors.make("mlp").prediction())
    (tmp_path / "net.onnx").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match=r"ONNX Runtime cannot run .*net\.onnx"):
        onnx.run(tmp_path / "net.onnx", np.zeros((1, 8, 8, 3), np.uint8))
