"""`python -m jaxvision augment`."""

import itertools
from pathlib import Path

from jaxvision.commands.printing import file_name
from jaxvision.errors import UsageError


def augment(
    dataset: str,
    columns: int = 3,
    size: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    output: Path | None = None,
) -> None:
    """Draw a page of every augmentation at several strengths, on images of a set.

    Args:
        dataset: As in `--dataset` of the experiments. Masks, boxes and keypoints are
            drawn where it has them.
        columns: How many of its images are shown.
        size: Images are cropped and resized to a square of so many pixels. Default: as
            they are, where all have one size, else 224.
        seed: Of the random draws.
        data_dir: Where data sets are kept. Default: the environment's TFDS_DATA_DIR,
            else ~/tensorflow_datasets.
        output: The picture. Default: runs/augment/DATASET.png.
    """
    import jax
    import numpy as np

    from jaxvision import visualise
    from jaxvision.data import card, registry
    from jaxvision.ops.augment import gallery

    if columns < 1 or (size is not None and size < 16):
        raise UsageError(
            f"columns must be positive and size at least 16, got {columns} and {size}"
        )
    train = registry.load(dataset, data_dir=data_dir).train
    names = train.class_names
    bones = train.skeleton
    limbs = () if bones is None else bones.limbs
    # In turns, since a class may have no examples.
    examples = card.examples(train, rows=columns, columns=columns).values()
    turns = itertools.chain(*itertools.zip_longest(*examples))
    every = [example for example in turns if example is not None]
    batch = gallery.together(every[:columns], size)
    if bones is None or bones.mirrored is None:  # flips would refuse them
        batch = {name: batch[name] for name in batch if name != "keypoints"}
    else:
        mirrored = np.array([bones.mirrored], np.int32).repeat(len(batch["image"]), 0)
        batch |= {"mirrored": jax.numpy.asarray(mirrored)}

    def drawn(batch):
        count = len(batch["image"])
        rows = [{key: array[i] for key, array in batch.items()} for i in range(count)]
        return [visualise.overlay(row, names, limbs=limbs) for row in rows]

    pages = {"as it is": {"": drawn({k: np.asarray(v) for k, v in batch.items()})}}
    shown = gallery.gallery(batch, len(names))
    for name, transform in shown.items():
        results = gallery.show(transform, jax.random.key(seed), batch)
        pages[name] = {word: drawn(result) for word, result in results.items()}
    path = output or Path("runs", "augment", f"{file_name(dataset)}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        title = f"Augmentation of {dataset}"
        visualise.save(visualise.augmentations(pages, title=title), path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; choose another --output"
        ) from error
    print(f"{path}: {len(shown)} transforms of {len(batch['image'])} images")
