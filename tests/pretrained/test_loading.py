"""Weights into models and back: round trips, purposeful differences, mistakes."""

import hashlib
import http.client
import os
import re
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models, pretrained
from jaxvision.errors import UsageError
from jaxvision.pretrained import keys, loading, published
from tools import parity_inputs as inputs

SMALL = dict(width=8, num_classes=5)
"""A ResNet-18 of an eighth of the width."""


def abstract(name, input_shape=None, **options):
    shape = (1, *(input_shape or models.default_input(name)))
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    model = models.create(name, **options)
    return keys.flatten(jax.eval_shape(model.init, jax.random.key(0), images))


def state_dict(name, source=None, **options):
    """What a checkpoint of the model holds, with arbitrary numbers."""
    found = models.sources(name)
    rules = found[source or next(iter(found))]
    shapes = {
        keys.published_key(path, rules): keys.published_shape(path, leaf.shape)
        for path, leaf in abstract(name, **options).items()
    }
    return {key: inputs.weight(key, shape, 1.0) for key, shape in shapes.items()}


def assert_same(ours, theirs):
    ours, theirs = keys.flatten(ours), keys.flatten(theirs)
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[path], err_msg=str(path))


@pytest.mark.parametrize(
    "name, options",
    [
        ("resnet18", SMALL),
        ("vit_tiny_patch16_224", dict(depth=4, num_classes=5)),
        ("swin_t", dict(depths=(2, 1, 1, 1), features=32, heads=1, num_classes=5)),
        ("swin_v2_t", dict(depths=(2, 1, 1, 1), features=32, heads=1, num_classes=5)),
        ("resnet20", dict(width=4)),
        ("lenet5", {}),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_saved_file_gives_the_same_variables(tmp_path, name, options, suffix):
    state = state_dict(name, **options)
    variables = pretrained.load(name, state, **options)
    assert keys.flatten(variables).keys() == abstract(name, **options).keys()
    path = tmp_path / f"weights.{suffix}"
    pretrained.save(path, name, variables)
    saved = pretrained.read(path)
    for key, array in state.items():
        np.testing.assert_array_equal(saved[key], array)
    assert_same(pretrained.load(name, path, **options), variables)


@pytest.mark.parametrize("name", ["mnasnet0_5", "swin_t", "resnet18"])
def test_torchvision_loads_a_saved_file_strictly(tmp_path, name):
    python = os.environ.get("TORCH_PYTHON")
    if python is None:
        pytest.skip("TORCH_PYTHON names no interpreter with PyTorch")
    path = tmp_path / "weights.pth"
    pretrained.save(path, name, pretrained.load(name, state_dict(name)))
    program = f"""if True:
        import torch, torchvision
        model = torchvision.models.get_model({name!r}, weights=None)
        model.load_state_dict(torch.load({str(path)!r}), strict=True)
    """
    subprocess.run([python, "-c", program], check=True)


def test_kernels_are_transposed_and_named_as_published():
    state = state_dict("resnet18", **SMALL)
    assert state["conv1.weight"].shape == (8, 3, 7, 7)
    assert "layer4.1.bn2.running_var" in state
    variables = pretrained.load("resnet18", state, **SMALL)
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.shape == (7, 7, 3, 8)
    np.testing.assert_array_equal(
        kernel[2, 3], np.asarray(state["conv1.weight"])[:, :, 2, 3].T
    )
    np.testing.assert_array_equal(
        variables["params"]["fc"]["kernel"], state["fc.weight"].T
    )
    np.testing.assert_array_equal(
        variables["batch_stats"]["bn1"]["var"], state["bn1.running_var"]
    )


def test_every_mistake_is_listed_at_once():
    state = state_dict("resnet18", **SMALL)
    state["conv1.weight"] = state["conv1.weight"][:, :, :3]
    del state["layer1.0.bn1.bias"]
    state["layer9.weight"] = np.zeros(3)
    state["layer1.0.bn1.num_batches_tracked"] = np.array(3)
    with pytest.raises(UsageError) as error:
        pretrained.load("resnet18", state, **SMALL)
    assert str(error.value).splitlines()[1:] == [
        "  missing: layer1.0.bn1.bias",
        "  unexpected: layer9.weight",
        "  wrong shape: conv1.weight is (8, 3, 3, 7), expected (8, 3, 7, 7)",
    ]


def test_weights_of_another_model_are_recognised():
    state = state_dict("squeezenet1_1")
    with pytest.raises(UsageError, match="look like those of squeezenet1_1"):
        pretrained.load("squeezenet1_0", state)


def test_another_number_of_classes_drops_the_head_only_if_asked():
    state = state_dict("resnet18", **SMALL)
    options = dict(width=8)
    with pytest.raises(UsageError, match=r"fc\.weight is \(5, 64\)"):
        pretrained.load("resnet18", state, **options)
    loaded = pretrained.load("resnet18", state, num_classes=7, **options)
    assert loaded["params"]["fc"]["kernel"].shape == (64, 7)
    assert jnp.any(loaded["params"]["fc"]["kernel"] != 0)
    same = pretrained.load("resnet18", state, num_classes=5, **options)
    np.testing.assert_array_equal(same["params"]["fc"]["bias"], state["fc.bias"])
    features = pretrained.load("resnet18", state, num_classes=0, **options)
    assert "fc" not in features["params"]
    body = {key: value for key, value in state.items() if not key.startswith("fc")}
    headless = pretrained.load("resnet18", body, num_classes=7, **options)
    assert_same(headless["batch_stats"], loaded["batch_stats"])
    del body["conv1.weight"]
    with pytest.raises(UsageError, match=r"missing: conv1\.weight"):
        pretrained.load("resnet18", body, num_classes=7, **options)


def test_another_number_of_channels_adapts_the_first_layer():
    state = state_dict("resnet18", **SMALL)
    kernel = state["conv1.weight"]
    loaded = pretrained.load("resnet18", state, input_shape=(64, 64, 1), **SMALL)
    ours = np.asarray(loaded["params"]["conv1"]["kernel"])
    np.testing.assert_allclose(ours[:, :, 0].transpose(2, 0, 1), kernel.sum(1), 1e-6)

    loaded = pretrained.load("resnet18", state, input_shape=(64, 64, 5), **SMALL)
    ours = np.asarray(loaded["params"]["conv1"]["kernel"]).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(ours[:, 3], kernel[:, 0] * 3 / 5, 1e-6)
    with pytest.raises(UsageError, match=r"wrong shape: conv1\.weight"):
        pretrained.load("resnet18", state | {"conv1.weight": kernel[:, :1]}, **SMALL)


def test_another_input_size_resamples_position_embeddings():
    options = dict(depth=4, num_classes=5)
    state = state_dict("vit_b_16", **options)
    # A linear ramp stays one, whatever the size of the grid.
    y, x = np.mgrid[:14, :14]
    ramp = np.zeros((1, 197, 768), np.float32)
    ramp[0, 1:, 0], ramp[0, 1:, 1], ramp[0, 0] = y.ravel(), x.ravel(), 5
    state["encoder.pos_embedding"] = ramp
    loaded = pretrained.load("vit_b_16", state, input_shape=(224, 448, 3), **options)
    ours = np.asarray(loaded["params"]["encoder.pos_embedding"])
    assert ours.shape == (1, 1 + 14 * 28, 768)
    np.testing.assert_array_equal(ours[0, 0], ramp[0, 0])
    grid = ours[0, 1:].reshape(14, 28, -1)
    np.testing.assert_allclose(grid[:, 5, 0], np.arange(14), atol=1e-4)
    np.testing.assert_allclose(
        grid[3, 4:-4, 1], (np.arange(28) / 2 - 0.25)[4:-4], atol=1e-4
    )


def test_every_source_of_a_model_gives_the_same_variables():
    options = dict(depth=4, num_classes=5)
    ours = state_dict("vit_b_16", **options)
    timm = state_dict("vit_b_16", source="timm", **options)
    assert "blocks.3.attn.qkv.weight" in timm
    assert "encoder.layers.encoder_layer_3.self_attention.in_proj_weight" in ours
    values = {key: np.full_like(value, 2.0) for key, value in timm.items()}
    loaded = pretrained.load("vit_b_16", values, **options)
    assert all((leaf == 2).all() for leaf in keys.flatten(loaded).values())


@pytest.mark.parametrize(
    "name, source",
    [
        ("efficientnet_b0", "timm/tf_efficientnet_b0.ns_jft_in1k"),
        ("efficientnet_b0", "downloads/tf_efficientnet_b0_ns-c0e6a31c.pth"),
        ("swin_v2_t", "timm/swinv2_tiny_window16_256.ms_in1k"),
        ("regnet_x_400mf", "timm/regnetx_004.pycls_in1k"),
    ],
)
def test_networks_of_timm_with_other_padding_or_windows_are_refused(name, source):
    with pytest.raises(UsageError, match="looks like weights of timm's"):
        pretrained.load(name, source)


def test_a_hub_id_of_the_right_network_is_read(monkeypatch):
    state = state_dict("mobilenet_v3_small", source="timm")
    monkeypatch.setattr(loading, "read", lambda source: state)
    with pytest.raises(UsageError, match="give epsilon=1e-05 here and to models"):
        pretrained.load("mobilenet_v3_small", "timm/mobilenetv3_small_100.lamb_in1k")
    loaded = pretrained.load(
        "mobilenet_v3_small", "timm/mobilenetv3_small_100.lamb_in1k", epsilon=1e-5
    )
    np.testing.assert_array_equal(
        loaded["params"]["classifier.3"]["bias"], state["classifier.bias"]
    )


def test_a_dense_layer_may_be_a_convolution():
    state = state_dict("alexnet", num_classes=3)
    dense = pretrained.load("alexnet", state, num_classes=3)
    conv = pretrained.load("alexnet_fcn", state, num_classes=3)
    kernel = conv["params"]["classifier.1"]["kernel"]
    assert kernel.shape == (6, 6, 256, 4096)
    # Dense layers see channels first.
    np.testing.assert_array_equal(
        kernel.transpose(2, 0, 1, 3).reshape(-1, 4096),
        dense["params"]["classifier.1"]["kernel"],
    )


def test_default_weights_are_downloaded_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    server = tmp_path / "server"
    server.mkdir()
    monkeypatch.setattr(published, "BASE", server.as_uri() + "/")
    with pytest.raises(UsageError, match="cannot be downloaded"):
        published.fetch("resnet18")
    (server / published.FILES["resnet18"]).write_bytes(b"damaged")
    with pytest.raises(UsageError, match="SHA-256"):
        published.fetch("resnet18")
    name = f"resnet18-{hashlib.sha256(b'damaged').hexdigest()[:8]}.pth"
    monkeypatch.setitem(published.FILES, "resnet18", name)
    (server / name).write_bytes(b"damaged")
    path = published.fetch("resnet18")
    assert path.read_bytes() == b"damaged"
    (server / name).unlink()
    assert published.fetch("resnet18") == path
    with pytest.raises(UsageError, match="no default weights"):
        pretrained.load("lenet5", "default")


def test_a_download_that_breaks_off_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)

    def broken(url, timeout):
        raise http.client.IncompleteRead(b"half")

    monkeypatch.setattr("urllib.request.urlopen", broken)
    with pytest.raises(UsageError, match="give its path"):
        published.fetch("resnet18")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_default_weights_are_known_for_models_that_exist():
    assert set(published.FILES) <= set(models.names())
    for file in published.FILES.values():
        assert re.search(r"-[0-9a-f]{8,}\.pth$", file)


def test_other_kinds_of_files_are_not_written(tmp_path):
    with pytest.raises(UsageError, match="safetensors"):
        pretrained.save(tmp_path / "x.npz", "lenet5", {"params": {}})


def zeros(name, **options):
    model = models.create(name, **options)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def test_keys_of_dense_networks_depend_on_the_encoder(tmp_path):
    options = {"encoder": "mobilenet_v3_small"}
    variables = zeros("pspnet", **options)
    kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 16), np.float32)
    variables["params"]["backbone"]["features.0.0"]["kernel"] = kernel
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, "pspnet", variables, **options)
    saved = pretrained.read(file)
    np.testing.assert_array_equal(
        saved["encoder.model.conv_stem.weight"], kernel.transpose(3, 2, 0, 1)
    )
    assert {"decoder.psp.blocks.0.pool.1.0.bias", "segmentation_head.0.weight"} <= {
        *saved
    }
    loaded = pretrained.load("pspnet", file, **options)
    taken = loaded["params"]["backbone"]["features.0.0"]["kernel"]
    np.testing.assert_array_equal(taken, kernel)


def test_stages_that_a_decoder_does_not_use_are_ignored():
    options = {"encoder": "resnet18", "encoder_options": {"width": 4}}
    rules = models.sources("pspnet", **options)["smp"]
    flat = keys.flatten(zeros("pspnet", **options))
    state = {
        keys.published_key(path, rules): keys.to_published(path, leaf)
        for path, leaf in flat.items()
    }
    unused = {"encoder.layer4.0.conv1.weight": np.zeros((32, 16, 3, 3), np.float32)}
    loaded = pretrained.load("pspnet", state | unused, **options)
    assert keys.flatten(loaded).keys() == flat.keys()
    kernel = np.zeros((1, 1), np.float32)
    with pytest.raises(UsageError, match=r"unexpected: encoder\.layer5"):
        pretrained.load("pspnet", {**state, "encoder.layer5.weight": kernel}, **options)
