"""Transfer learning from end to end: what moves, what does not, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvision
from experiments import transfer
from experiments.transfer import Config, build
from jaxvision import data, models, optim, pretrained
from jaxvision.errors import UsageError
from jaxvision.export import safetensors
from jaxvision.ops.augment import normalise
from jaxvision.paths import named_leaves
from jaxvision.recipes import recipe_of
from jaxvision.runs import cached, load_variables, run
from tests import predictors

pytestmark = pytest.mark.slow

NETWORK = "resnet20"
SMALL = dict(
    dataset="synthetic:32x32x3:64", model=NETWORK, crop=32, epochs=2,
    validation=0.1, train_images=40, batch_size=20, validations=2, peak_lr=0.01,
)  # fmt: skip


def drawn(name, classes, key=0):
    """Variables none of which is at its initial value."""
    model = models.create(name, num_classes=classes)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    generator = np.random.default_rng(key)

    def values(path, leaf):
        noise = 0.1 * generator.standard_normal(leaf.shape).astype(np.float32)
        return noise if path[-1].key == "kernel" else 0.5 + np.abs(noise)

    return jax.tree_util.tree_map_with_path(values, shapes)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights for another number of classes."""
    file = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    pretrained.save(file, NETWORK, drawn(NETWORK, 7))
    return file


def trained(workdir, **options):
    words = [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    arguments = ["--smoke", "--devices", "1", "--workdir", str(workdir), *words]
    return run(build, Config, smoke=SMALL, arguments=arguments)


def assert_moved(workdir, begun, moves):
    """All arrays whose path is true of `moves` have changed, and no other has a bit."""
    for path, leaf in named_leaves(load_variables(workdir, "last")).items():
        if path not in begun or path.startswith("params/linear"):
            continue
        same = np.array_equal(leaf, begun[path])
        assert same != moves(path), path


def test_a_frozen_backbone_keeps_its_bits(weights, tmp_path):
    result = trained(tmp_path, weights=weights, method="freeze", weight_decay=0.5)
    begun = named_leaves(drawn(NETWORK, 7))
    assert_moved(tmp_path, begun, lambda path: False)
    assert result["initial_drawn"] == "params/linear/bias, params/linear/kernel"


def test_everything_moves_by_default(weights, tmp_path):
    trained(tmp_path, weights=weights)
    assert_moved(tmp_path, named_leaves(drawn(NETWORK, 7)), lambda path: True)


def test_blocks_are_released_one_by_one(weights, tmp_path):
    # Of eleven blocks one is released at each of four steps.
    trained(tmp_path, weights=weights, method="gradual")
    begun = named_leaves(drawn(NETWORK, 7))
    assert_moved(
        tmp_path,
        {path: begun[path] for path in begun if "layer3.0" not in path},
        lambda path: path.startswith(("params/layer3.1", "params/layer3.2")),
    )


def test_a_linear_probe_is_a_run_of_the_whole_network(weights, tmp_path, capsys):
    result = trained(tmp_path, weights=weights, method="probe", epochs=20)
    assert "could not be drawn" not in capsys.readouterr().out
    assert_moved(tmp_path, named_leaves(drawn(NETWORK, 7)), lambda path: False)
    assert result["initial_drawn"] == "params/linear/bias, params/linear/kernel"
    predictor = jaxvision.load(tmp_path)
    image = np.full((40, 50, 3), 99, np.uint8)  # of another size, as photographs are
    assert predictor.predict([image])["probabilities"].shape == (1, 64)
    found = predictor.evaluate(SMALL["dataset"])
    assert found["accuracy"] == pytest.approx(result["test_accuracy"], abs=1e-6)
    # Another run begins with it, whose classes are others.
    again = trained(
        tmp_path / "next", weights=tmp_path, dataset="synthetic:32x32x3:32", epochs=1
    )
    assert again["initial_digest"] != result["params_digest"]  # without its head


def test_lora_trains_what_it_adds(tmp_path):
    name = "vit_tiny_patch16_224"
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, name, drawn(name, 7))
    workdir = tmp_path / "run"
    trained(workdir, weights=file, model=name, method="lora", rank=2, epochs=1)
    found = named_leaves(load_variables(workdir, "last")["params"])
    begun = named_leaves(drawn(name, 7)["params"])
    added = [path for path in found if path not in begun]
    assert len(added) == 2 * 24 and all("/lora_" in path for path in added)
    assert all(np.abs(found[p]).max() > 0 for p in added)
    kept = [path for path in begun if not path.startswith("heads")]
    assert all(np.array_equal(found[path], begun[path]) for path in kept)


def test_features_of_a_probe_are_those_of_a_frozen_backbone_in_training():
    source = data.subset(data.load("synthetic:32x32x3").train, 24)
    prepare = normalise(0.5, 0.25)
    pipeline = data.evaluation(source, 10, transform=prepare)
    whole, variables = drawn(NETWORK, 10), drawn(NETWORK, 10)
    calls = []

    def backbone():
        calls.append(1)
        return models.without(variables, models.head(NETWORK))

    network = models.create(NETWORK, num_classes=0)
    features = cached(network, backbone, source, pipeline, 8, seed=3)
    assert features.stored()["image"].shape == (8, 1, 1, 64) and not calls
    found = features.resident()
    items = features.items()
    batch = features.fetch(found, next(items), jax.random.key(0))
    features.resident()
    assert len(calls) == 1
    assert found["image"].shape == (24, 1, 1, 64) and found["image"].dtype == np.float32

    arrays = source.read()
    np.testing.assert_array_equal(found["label"], arrays["label"])
    images = prepare(jax.random.key(0), {"image": arrays["image"]})["image"]
    frozen = models.frozen(models.create(NETWORK), "^(?!linear/)")
    outputs, _ = jax.jit(lambda v: frozen.apply(v, images, train=True))(whole)
    np.testing.assert_allclose(
        found["image"][:, 0, 0], outputs["pre_logits"], rtol=1e-4, atol=1e-4
    )
    # Batches are those that the same seed makes of the images.
    images = data.train(source, 8, transform=prepare, seed=3)
    raw = images.gather(images.resident(), next(images.items()))
    np.testing.assert_array_equal(batch["label"], raw["label"])


def test_a_subset_has_each_class_in_proportion():
    train = data.load("synthetic:32x32x3").train
    part = data.subset(train, 50)
    assert part.size == 50 and part.name == f"{train.name}/50"
    arrays = part.read()
    counts = np.bincount(arrays["label"], minlength=10)
    whole = np.bincount(train.read()["label"], minlength=10)
    np.testing.assert_allclose(counts, 50 * whole / train.size, atol=1)
    again = data.subset(train, 50).read()
    np.testing.assert_array_equal(arrays["image"], again["image"])


BAD = {
    "scratch": (dict(method="probe"), "--method probe keeps what was learned before"),
    "other model": (dict(model="resnet18"), "not the weights of resnet18"),
    "no model": (dict(model="resnet19"), "unknown model 'resnet19'"),
    "no attention": (dict(method="lora"), "a network without attention has none"),
    "no checkpoints": (dict(weights="FOLDER"), "holds no checkpoints"),
    "no file": (dict(weights="gone.pth"), "there is no file gone.pth"),
    "validations": (dict(validations=0), "--validations must be 1 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_work(
    case, weights, tmp_path, capsys, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("the training began")

    monkeypatch.setattr("jaxvision.runs.execute.fit", never)
    changes, message = BAD[case]
    options = {"weights": None if case == "scratch" else weights, **changes}
    if options["weights"] == "FOLDER":
        options["weights"] = tmp_path
    with pytest.raises(SystemExit) as end:
        trained(tmp_path / "run", **options)
    out, err = capsys.readouterr()
    assert end.value.code == 2
    assert message in " ".join((out + err).split())
    assert not (tmp_path / "run").exists()


def test_images_are_prepared_as_the_weights_expect(weights, tmp_path):
    bicubic = data.central_crop(24, method="bicubic")
    theirs = predictors.make("resnet", crop=bicubic)
    safetensors.write(tmp_path / "theirs", theirs, {"experiment": "tiny"})

    def prepared(weights, **options):
        return transfer.preparation(
            Config(model=NETWORK, weights=weights and str(weights), **options)
        ).save()

    expected = theirs.preparation.save()
    assert prepared(tmp_path / "theirs") == expected
    at_32 = {**expected, "crop": recipe_of(data.central_crop(32, method="bicubic"))}
    assert prepared(tmp_path / "theirs", crop=32) == at_32
    # Of a file of no known name nothing is guessed, but for what the command says.
    with pytest.raises(UsageError, match="a guess would cost accuracy"):
        prepared(weights)
    usual = recipe_of(normalise(*models.normalisation(NETWORK)))
    assert prepared(weights, crop=32)["transform"] == usual != expected["transform"]
    assert prepared(None)["transform"] == usual


def test_rates_differ_by_depth():
    def rates(**options):
        """Of the first layer, of the last before the head, and of the head."""
        config = Config(**SMALL, weights="gone.pth", **options)
        model = models.create(NETWORK, num_classes=10)
        rule = optim.sgd(optim.constant(1.0))
        transform = transfer.tuned(config, model, rule, 4, (32, 32, 3))[1].transform
        params = jax.tree.map(jnp.ones_like, drawn(NETWORK, 10)["params"])
        with jax.numpy_dtype_promotion("standard"):
            updates, _ = transform.update(params, transform.init(params), params)
        names = ("conv1", "layer3.2/conv2", "linear")
        flat = named_leaves(updates)
        return [-float(flat[f"{name}/kernel"].ravel()[0]) for name in names]

    assert rates() == [1, 1, 1]
    assert rates(layer_decay=0.5) == [0.5**10, 0.5, 1]
    assert rates(backbone_rate=0.25) == [0.25, 0.25, 1]
    both = rates(layer_decay=0.5, backbone_rate=0.25)
    assert both == [0.25 * 0.5**10, 0.125, 1]
    assert rates(method="freeze", layer_decay=0.5) == [0, 0, 1]
    assert rates(method="gradual", layer_decay=0.5) == [0, 0, 1]
