"""`python -m jaxvision draw`."""

from pathlib import Path
from typing import Literal

BATCH = 8
MOST_BYTES, MOST_PIXELS = 100_000, 10_000
"""Of an image that the page sends: it is as small as those of the network."""


def draw(
    run: Path,
    which: Literal["best", "last", "average"] = "best",
    host: str = "127.0.0.1",
    port: int = 8000,
    export: Path | None = None,
) -> None:
    """Draw a digit in the browser, and see what a trained network makes of it.

    For runs on digits whose network is a chain of layers: LeNet-5, an MLP, a ConvNet.

    Args:
        run: A run directory, such as that of make demo.
        which: The parameters of the best checkpoint, the last, or the averaged.
        host: The address to listen on; by default nobody but this machine reaches it.
        port: The port to listen on; 0: any that is free.
        export: Write the page to this folder instead, to be put on any web space.
    """
    import jaxvision
    from jaxvision.engine.compilation import enable_cache
    from jaxvision.files import read_object
    from jaxvision.serve import drawing, server

    if export is None:
        server.check_installed()
    enable_cache()
    predictor = jaxvision.load(run, which=which)
    title = read_object(run / "config.json", ["experiment"])["experiment"]
    if export is not None:
        drawing.export(predictor, title, export)
        print(f"{export}: written; open {export / drawing.INDEX} in a browser")
        return
    server.run(
        predictor.prediction(),
        title,
        host=host,
        port=port,
        batch_size=BATCH,
        max_bytes=MOST_BYTES,
        max_pixels=MOST_PIXELS,
        pages=drawing.pages(predictor, title),
    )
