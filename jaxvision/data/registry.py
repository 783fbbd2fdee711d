"""Data sets by name."""

from pathlib import Path

from jaxvision.data import embedded, synthetic, tfds_source
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError


def load(name: str, *, data_dir: str | None = None) -> Splits:
    """Describe a data set; the images are decoded by each source's `read`.

    Args:
      name: `mnist_5k` (embedded), `synthetic[:HxWxC][:classes]` (generated), or a set
        of TensorFlow Datasets with an image of fixed shape and a label: `mnist`,
        `fashion_mnist`, `cifar10`, `cifar100`, `eurosat/rgb`, `mnist:3.0.1`, …
      data_dir: where TensorFlow Datasets keeps its sets; else the environment's
        `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    A set of TensorFlow Datasets that is not there yet is downloaded and prepared.
    Where it has no `test` split, `validation` takes its place.

    Raises `UsageError` if there is no such set, or no way to read it.
    """
    if name == embedded.NAME:
        return embedded.load()
    if name.partition(":")[0] == synthetic.NAME:
        return synthetic.load(name)
    return tfds_source.load(name, data_dir)


def prepare(name: str, data_dir: str | None = None) -> Path:
    """Download and prepare a set unless it is there; return the folder it is in.

    Raises `UsageError` as `load` does, and for the sets that need no preparation.
    """
    if name.partition(":")[0] in (embedded.NAME, synthetic.NAME):
        raise UsageError(f"{name!r} needs no preparation: use it as it is")
    return tfds_source.prepare(name, data_dir)
