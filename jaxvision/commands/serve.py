"""`python -m jaxvision serve`."""

from pathlib import Path

import tyro

from jaxvision.commands.source import DEFAULTS, Network


def serve(
    network: tyro.conf.OmitArgPrefixes[Network] = DEFAULTS,
    export: Path | None = None,
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
        network: What predicts.
        export: A file that export --to stablehlo has written.
        host: The address to listen on; 0.0.0.0 for all of this machine's.
        port: The port to listen on; 0: any that is free.
        batch_size: Requests that are computed together, at most.
        max_megabytes: Of the body of a request; a larger one is refused.
        max_megapixels: Of an image; a larger one is refused before it is decoded.
    """
    from jaxvision.engine.compilation import enable_cache
    from jaxvision.serve import server

    server.check_installed()
    enable_cache()
    prediction, name = network.prediction(export)
    server.run(
        prediction,
        name,
        host=host,
        port=port,
        batch_size=batch_size,
        max_bytes=round(max_megabytes * 1e6),
        max_pixels=round(max_megapixels * 1e6),
    )
