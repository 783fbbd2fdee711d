"""`python -m jaxvision explain`, and the page that it writes."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from jaxvision import tasks, visualise
from jaxvision.commands.main import main
from jaxvision.errors import UsageError
from jaxvision.explain import report
from tests import predictors
from tests.explain import dense


class Reader(HTMLParser):
    """The pictures, links, headings and all text of a page."""

    def __init__(self, path):
        super().__init__()
        self.images, self.links, self.ids, self.text = [], [], set(), ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "img":
            self.images.append(found)
        self.links += [found[name] for name in ("href", "src") if name in found]
        self.ids |= {found["id"]} if "id" in found else set()

    def handle_data(self, text):
        self.text += text


def made(tmp_path, kind, size=8, predictor=None, **options):
    predictor = predictor or predictors.make(kind, size=size)
    names = [f"picture {i}" for i in range(2)]
    pictures = list(zip(names, predictors.pictures(2, size), strict=True))
    output = tmp_path / "page.html"
    report.make(
        predictor,
        output,
        title="tiny net",
        pictures=pictures,
        options=report.Options(**{"steps": 2, **options}),
    )
    return Reader(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, methods",
    [
        ("mlp", {"Saliency", "Integrated gradients", "Occlusion"}),
        pytest.param("resnet", {"Grad-CAM. ", "Grad-CAM++"}, marks=pytest.mark.slow),
        pytest.param(
            "vit", {"Grad-CAM. ", "Attention rollout"}, marks=pytest.mark.slow
        ),
    ],
)
def test_the_page_is_one_file_that_all_can_read(tmp_path, kind, methods):
    found = made(tmp_path, kind)
    for name in ("tiny net", "picture 0", "picture 1", "insertion", *methods):
        assert name in found.text
    assert ("Grad-CAM" in found.text) == (kind != "mlp")
    assert ("Attention rollout" in found.text) == (kind == "vit")
    assert len(found.images) >= 10
    assert all(image["alt"] for image in found.images)
    for image in found.images:
        content = base64.b64decode(image["src"].partition(",")[2])
        with Image.open(io.BytesIO(content)) as picture:
            assert np.asarray(picture).std() > 0
    # Nothing is fetched, and every link leads somewhere on the page.
    outward = [link for link in found.links if link[0] != "#" and link[:5] != "data:"]
    assert not outward
    assert {link[1:] for link in found.links if link[0] == "#"} <= found.ids


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, words",
    [
        ("segmentation", ("explained: cat, over the ", "Grad-CAM", "maps")),
        ("detection", ("explained: cat, in rows ", "Grad-CAM", "channel ")),
        # Whose label has no place in the image.
        pytest.param(
            "multilabel", ("explained: cat.", "Grad-CAM"), marks=pytest.mark.exhaustive
        ),
    ],
)
def test_what_other_tasks_say_is_explained(tmp_path, kind, words):
    if kind == "multilabel":
        show = visualise.multilabel(predictors.CLASSES)
        predictor = predictors.make("resnet", task=tasks.multilabel(4), show=show)
        found = made(tmp_path, "", predictor=predictor, of_class="cat")
    else:
        predictor = getattr(dense, kind)()
        found = made(tmp_path, "", size=dense.SIDE, predictor=predictor, of_class="cat")
    for each in words:
        assert each in found.text, each
    assert ("Prediction." in found.text) == (kind != "multilabel")
    assert all(image["alt"] for image in found.images)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(pixel=(0, 0)), "leave the pixel out"),
        (dict(layer="stage_1"), "unknown layer 'stage_1': did you mean 'stage1'"),
        (dict(of_class="bea"), "unknown class 'bea': did you mean 'bee'"),
        (dict(steps=-1), "steps must not be negative, got -1"),
        (dict(worst=-1), "worst must not be negative"),
        (dict(examples=1), "examples must be 8 or more"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        made(tmp_path, "resnet", **options)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "which images: give --image FILE, or --dataset NAME"),
        (["--image", "nothing.png"], "there is no file nothing.png"),
        (["--image", "none.png", "a.png"], "there is no file none.png"),
        (["--image", "none.png", "--image", "a.png"], "there is no file none.png"),
        (["--image", "a.png"], "which network: give --run DIR, or --model NAME"),
        (["--image", "a.png", "--run", "."], "there is no config.json in it"),
    ],
)
def test_bad_input_of_the_command_is_named(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("a.png")
    with pytest.raises(SystemExit) as end:
        main(["explain", *arguments])
    assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_explained_by_its_worst_mistakes(tmp_path, monkeypatch, capsys):
    from experiments import mnist_lenet5
    from jaxvision.runs import run

    monkeypatch.chdir(tmp_path)
    run(
        mnist_lenet5.build,
        mnist_lenet5.Config,
        smoke=dict(dataset="synthetic:28x28x1", epochs=2),
        arguments=["--smoke", "--devices", "1", "--workdir", "finished"],
    )
    main(
        [
            *("explain", "--run", "finished", "--dataset", "synthetic:28x28x1"),
            *("--worst", "2", "--steps", "0", "--examples", "40"),
        ]
    )
    assert "explain.html: written" in capsys.readouterr().out
    found = Reader(tmp_path / "explain.html")
    for words in ("worst 1: ", "it is ", "Over the training", "t-SNE", "channel "):
        assert words in found.text, words
    assert re.search(r"At the steps (\d+, ){2}whose checkpoints", found.text)
    kinds = {image["src"][:15] for image in found.images}
    assert kinds == {"data:image/png;", "data:image/gif;"}
