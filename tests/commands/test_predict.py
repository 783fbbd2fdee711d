"""`python -m jaxvision predict` on what people keep photographs in."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxvision
from jaxvision import data, models, pretrained, tasks, visualise
from jaxvision.commands.main import main
from jaxvision.commands.source import Network
from jaxvision.types import Model
from tests import predictors

NAMES = [f"class {k}" for k in range(10)]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Weights of LeNet-5 that nobody has published, and the names of its classes."""
    folder = tmp_path_factory.mktemp("network")
    images = np.zeros((1, 32, 32, 1), np.float32)
    variables = models.create("lenet5").init(jax.random.key(0), images)
    pretrained.save(folder / "mine.safetensors", "lenet5", variables)
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """One of each kind that cameras, scanners and programs leave behind."""
    folder = tmp_path_factory.mktemp("photographs")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    image.convert("L").save(folder / "grey.png")
    image.convert("CMYK").save(folder / "printed.jpg")
    image.quantize(16).save(folder / "palette.png")
    (folder / "sub").mkdir()
    image.convert("RGBA").save(folder / "sub" / "see-through.webp")
    return folder


def predict(network, *arguments):
    return main(
        [
            *("predict", "--model", "lenet5"),
            *("--weights", str(network / "mine.safetensors")),
            *(
                "--size",
                "32",
                "--mean",
                "0.5",
                "--std",
                "0.25",
                "--classes",
                str(network / "names.txt"),
            ),
            *map(str, arguments),
        ]
    )


def test_a_folder_is_told_as_json_and_drawn(network, photographs, tmp_path, capsys):
    drawn = tmp_path / "drawn.png"
    options = ("--json-lines", "--batch-size", 2, "--output", drawn)
    predict(network, photographs, *options)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    files = sorted(path for path in photographs.rglob("*") if path.is_file())
    assert sorted(line["picture"] for line in lines) == [*map(str, files)]
    predictor = jaxvision.load(
        "lenet5",
        weights=network / "mine.safetensors",
        preparation=pretrained.prepared("lenet5", size=32, mean=[0.5], std=[0.25]),
        classes=NAMES,
    )
    expected = predictor.predict([line["picture"] for line in lines])["probabilities"]
    for line, shares in zip(lines, expected, strict=True):
        best = line["classes"][0]
        assert best["class"] == NAMES[shares.argmax()]
        assert best["probability"] == pytest.approx(shares.max(), rel=1e-5)
    with Image.open(drawn) as sheet:
        assert sheet.width > 500


def test_what_cannot_be_read_is_named_and_the_rest_predicted(
    network, photographs, tmp_path, capsys
):
    (tmp_path / "cut.jpg").write_bytes((photographs / "turned.jpg").read_bytes()[:400])
    (tmp_path / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    with pytest.raises(SystemExit) as end:
        predict(network, tmp_path, photographs / "grey.png", "--output", "None")
    out, err = capsys.readouterr()
    assert end.value.code == 2 and "class " in out
    assert "2 of 3 pictures could not be read" in err and "cut.jpg" in err
    assert "it is HEIC or AVIF, which is not read: save it as JPEG" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nothing.jpg"], "there is no file nothing.jpg"),
        (["*.nothing"], "no file has a name like *.nothing"),
        (["empty"], "there are no images in the folder empty"),
        ([], "which pictures: name files or folders"),
        (["empty", "--batch-size", 0], "--batch-size must be positive, got 0"),
        (["--dataset", "synthetic:32x32x1"], "'class 0' here and '0' there"),
    ],
)
def test_bad_input_is_named(network, arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as end:
        predict(network, *arguments, "--output", "None")
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_a_data_set_is_predicted_and_measured(network, capsys):
    names = "\n".join(map(str, range(10)))
    (network / "names.txt").write_text(names)
    dataset = ("--dataset", "synthetic:32x32x1", "--output", "None")
    predict(network, *dataset)
    out = capsys.readouterr().out
    assert "synthetic:32x32x1:test[0]" in out and "accuracy" in out and " %" in out


@pytest.fixture
def segmenting(monkeypatch):
    """A network that gives each pixel a class, in place of that of the options."""

    def apply(variables, images, train=False):
        table = jnp.array([[1, 0, 0, -1], [0, 1, 0, -1], [0, 0, 1, -1.0]])
        return {"logits": jnp.matmul(images, table)}, {}

    made = predictors.make(
        size=16,
        crop=data.letterbox(16),
        model=Model(lambda key, images: {"params": {}}, apply),
        task=tasks.segmentation(4),
        show=visualise.segmentation(predictors.CLASSES),
    )
    monkeypatch.setattr(Network, "predictor", lambda self: (made, {"experiment": "x"}))
    return made


def test_masks_are_saved_at_the_size_of_each_picture(
    segmenting, photographs, tmp_path, capsys
):
    folder, drawn = tmp_path / "masks", tmp_path / "drawn.png"
    options = ("--save", str(folder), "--output", str(drawn), "--json-lines")
    main(["predict", str(photographs), *options])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 5 and drawn.exists()
    names = {path.name for path in folder.iterdir()}
    stems = {"turned", "grey", "printed", "palette", "see-through"}
    endings = (".png", "_overlay.png")
    assert names == {f"{stem}{end}" for stem in stems for end in endings}
    with Image.open(folder / "turned.png") as mask:
        assert mask.mode == "P" and mask.size == (40, 60)
        assert mask.getpalette()[:3] == list(visualise.class_colour(0))
    with Image.open(folder / "palette.png") as mask:
        labels = np.asarray(mask)
    assert labels.shape == (40, 60) and len(np.unique(labels)) > 1
    (line,) = (each for each in lines if "palette" in each["picture"])
    assert line["size"] == [40, 60]
    most = line["classes"][0]
    assert most["share"] == pytest.approx((labels == most["number"]).mean())
    with Image.open(folder / "palette_overlay.png") as overlay:
        assert overlay.size == (60, 40)

    # As the network sees the picture, and moved back: letterboxed 60×40 into 16×16.
    small = segmenting.predict([photographs / "palette.png"])["segmentation"][0]
    centres = (np.arange(40) * 16 // 60 + 3)[:, None], np.arange(60)[None] * 16 // 60
    assert (small[centres] == labels).mean() > 0.7


def test_what_cannot_be_saved_is_named(segmenting, photographs, tmp_path, capsys):
    (tmp_path / "cut.jpg").write_bytes((photographs / "turned.jpg").read_bytes()[:400])
    options = ("--save", str(tmp_path / "masks"), "--output", "None")
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path), str(photographs / "grey.png"), *options])
    assert "1 of 2 pictures could not be read" in capsys.readouterr().err
    assert (tmp_path / "masks" / "grey.png").exists()
    again = tmp_path / "grey.webp"
    again.write_bytes((photographs / "sub" / "see-through.webp").read_bytes())
    with pytest.raises(SystemExit):
        main(["predict", str(again), str(photographs / "grey.png"), *options])
    assert "several pictures are called grey" in capsys.readouterr().err


def test_a_classifier_has_no_files(network, photographs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        predict(network, photographs, "--save", tmp_path / "none", "--output", "None")
    assert "--save: what this network predicts has no files" in capsys.readouterr().err


@pytest.fixture
def detecting(monkeypatch):
    """A network that finds one `cat`, around the middle of what it sees."""
    sides = [[side] for side in (8, 8, 8, 8, 8)]
    detector = tasks.retinanet(sizes=sides, ratios=(1.0,), most=3)
    maps = (2, 1, 1, 1, 1)

    def apply(variables, images, train=False):
        count = len(images)
        anchors = sum(side**2 for side in maps)
        sure = jnp.zeros((anchors, 4)).at[3, 2].set(20.0) - 10.0
        outputs = {
            "class_logits": jnp.broadcast_to(sure[None], (count, *sure.shape)),
            "box_codes": jnp.zeros((count, anchors, 4)),
        }
        for name, side in zip(detector.maps, maps, strict=True):
            outputs[name] = jnp.zeros((count, side, side, 1))
        return outputs, {}

    made = predictors.make(
        size=16,
        crop=data.letterbox(16),
        model=Model(lambda key, images: {"params": {}}, apply),
        task=tasks.detection(4, detector),
        show=visualise.detection(predictors.CLASSES),
    )
    monkeypatch.setattr(Network, "predictor", lambda self: (made, {"experiment": "x"}))
    return made


def test_boxes_are_saved_as_a_data_set_is(detecting, photographs, tmp_path, capsys):
    folder = tmp_path / "boxes"
    options = ("--save", str(folder), "--output", "None", "--json-lines")
    main(["predict", str(photographs), *options])
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    (line,) = (each for each in lines if "grey" in each["picture"])
    stems = {"turned", "grey", "printed", "palette", "see-through"}
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{stem}_boxes.png" for stem in stems} | {"predictions.json"}
    # The anchor lies around (8, 8) of the 16×16 pixels that 60×40 are letterboxed into,
    # from 4 to 12: so from 15 to 45 of 60, and, above the middle of 40 rows, 5 to 35.
    saved = json.loads((folder / "predictions.json").read_text())
    numbers = {each["file_name"]: each["id"] for each in saved["images"]}
    (box,) = (
        each for each in saved["annotations"] if each["image_id"] == numbers["grey.png"]
    )
    assert box["bbox"] == pytest.approx([15, 5, 30, 30], abs=1e-3)
    assert box["score"] == pytest.approx(1, abs=1e-3)
    (found,) = line["objects"]
    assert found["class"] == "cat" and found["box"] == pytest.approx([15, 5, 45, 35])
    for path in photographs.rglob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.warns(UserWarning, match="no example of 3 of the 4 classes"):
        labels = data.load(f"coco:{folder / 'predictions.json'}").train
    assert labels.class_names == predictors.CLASSES
    boxes = labels.targets()["boxes"][:, 0].round().tolist()
    upright = [5, 15, 35, 45]
    assert [15, 5, 45, 35] in boxes and all(
        box in (upright, [15, 5, 45, 35]) for box in boxes
    )
