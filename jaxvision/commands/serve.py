"""`python -m jaxvision serve`."""

from pathlib import Path
from typing import Literal


def serve(
    run: Path | None = None,
    model: str | None = None,
    weights: str | None = None,
    export: Path | None = None,
    which: Literal["best", "last", "average"] = "best",
    host: str = "127.0.0.1",
    port: int = 8000,
    batch_size: int = 8,
    max_megabytes: float = 16,
    max_megapixels: float = 25,
) -> None:
    """Answer HTTP requests with predictions: POST an image to /predict.

    A page to try it is at /. Whoever reaches the port can use it: there is no
    password, and by default nobody but this machine reaches it.

    Args:
        run: A run directory.
        model: The name of a published network, with --weights.
        weights: Its weights: a file, a hub id or "default".
        export: A file that export --to stablehlo has written.
        which: The parameters of a run's best checkpoint, the last, or the averaged.
        host: The address to listen on; 0.0.0.0 for all of this machine's.
        port: The port to listen on; 0: any that is free.
        batch_size: Requests that are computed together, at most.
        max_megabytes: Of the body of a request; a larger one is refused.
        max_megapixels: Of an image; a larger one is refused before it is decoded.
    """
    from jaxvision.commands import source
    from jaxvision.engine.compilation import enable_cache
    from jaxvision.serve import server

    server.check_installed()
    enable_cache()
    prediction, name = source.prediction(run, model, weights, export, which)
    server.run(
        prediction,
        name,
        host=host,
        port=port,
        batch_size=batch_size,
        max_bytes=round(max_megabytes * 1e6),
        max_pixels=round(max_megapixels * 1e6),
    )
