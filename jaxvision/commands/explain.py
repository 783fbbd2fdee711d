"""`python -m jaxvision explain`."""

import sys
from pathlib import Path

import tyro

from jaxvision.commands.source import DEFAULTS, Network


def explain(
    network: tyro.conf.OmitArgPrefixes[Network] = DEFAULTS,
    image: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = (),
    dataset: str | None = None,
    layer: str | None = None,
    of_class: str | None = None,
    pixel: tuple[int, int] | None = None,
    worst: int = 6,
    examples: int = 2000,
    steps: int = 64,
    seed: int = 0,
    output: Path = Path("explain.html"),
) -> None:
    """What a network sees in images and why, as one page of pictures.

    python -m jaxvision explain --run runs/mnist_lenet5/2026-01-31_12-00-00 \\
        --dataset mnist_5k

    Args:
        network: What is explained.
        image: Files, folders (all images in them), or quoted patterns; may be repeated.
        dataset: Explain the worst mistakes in the test images of this data set, and
            show which of them excite a layer.
        layer: The layer whose maps and units are shown; by default the deepest map.
        of_class: Explain this class rather than the one that is predicted.
        pixel: Row and column in the image as the network takes it: explain what is said
            of this pixel, or the object there.
        worst: Mistakes of the data set that are explained.
        examples: Examples of the data set, at most, that exciting ones are sought in.
        steps: Of the optimisation of the images that units like; 0: there are none.
        seed: Of noise, of movements and of projections.
        output: The page.
    """
    from jaxvision.data.files import pictures as files
    from jaxvision.engine.compilation import enable_cache
    from jaxvision.errors import check
    from jaxvision.explain import report
    from jaxvision.runs import weights_folder

    check(
        (
            bool(image) or dataset is not None,
            "which images: give --image FILE, or --dataset NAME",
        )
    )
    found = files.find([name for names in image for name in names])
    enable_cache()
    predictor, record = network.predictor()
    exported = network.run is not None and weights_folder.is_one(network.run)
    report.make(
        predictor,
        output,
        title=record["experiment"],
        pictures=[(path.name, path) for path in found],
        dataset=dataset,
        run=None if exported else network.run,
        options=report.Options(layer, of_class, pixel, worst, examples, steps, seed),
        tell=lambda doing: print(f"{doing} …", file=sys.stderr, flush=True),
    )
    print(f"{output}: written")
