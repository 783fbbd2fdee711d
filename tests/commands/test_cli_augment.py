"""`python -m jaxvision augment`: the page of pictures, of two transforms."""

import matplotlib.image
import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.commands import main as cli
from jaxvision.errors import UsageError
from jaxvision.ops.augment import gallery


def test_the_page_is_drawn(monkeypatch, tmp_path, capsys):
    def two(batch, num_classes):
        every = everything(batch, num_classes)
        assert len(every) > 20 and {"mixup", "cutmix"} <= every.keys()
        return {name: every[name] for name in ("random_shift", "gaussian_noise")}

    everything = gallery.gallery
    monkeypatch.setattr(gallery, "gallery", two)
    path = tmp_path / "new" / "page.png"
    options = ["--dataset", "synthetic:32x32x3", "--columns", "2"]
    cli.main(["augment", *options, "--output", str(path)])
    assert "2 transforms of 2 images" in capsys.readouterr().out
    assert matplotlib.image.imread(path).std() > 0.1
    with pytest.raises(SystemExit):
        cli.main(["augment", *options, "--size", "8"])
    assert "size at least 16" in capsys.readouterr().err


def test_images_that_differ_in_size_become_one_batch():
    images = [np.full((30, 40, 3), 9, np.uint8), np.full((50, 20, 3), 7, np.uint8)]
    batch = gallery.together([{"image": image} for image in images], None)
    assert batch["image"].shape == (2, 224, 224, 3)
    assert np.unique(batch["image"]).tolist() == [7, 9]


def test_what_is_no_image_is_refused():
    with pytest.raises(UsageError, match="uint8"):
        visualise.augmentations({"flip": {"1": [np.zeros((4, 4, 3))]}})
    with pytest.raises(UsageError, match="no transforms"):
        visualise.augmentations({})
