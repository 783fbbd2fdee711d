"""Downloading and preparing a set of TensorFlow Datasets, on its first use.

TFDS writes into a folder of another name and renames it when all is there, so that an
interrupted preparation leaves nothing that looks prepared.
"""

import contextlib
import functools
import importlib.util
import logging
import shlex
import textwrap
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from jaxvision.data.made import embedded
from jaxvision.data.tfds.tensorflow_stand_in import TESTED_WITH, tensorflow_stand_in
from jaxvision.errors import UsageError


def download_and_prepare(name: str, builder: Any) -> None:
    """Fill the folder of a TFDS builder, with TensorFlow if it is installed."""
    import tensorflow_datasets as tfds

    installed = importlib.util.find_spec("tensorflow") is not None
    tensorflow = contextlib.nullcontext() if installed else tensorflow_stand_in()
    try:
        with quiet_logs(), tensorflow, _bounded_downloads():
            builder.download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
    except Exception as error:
        if is_prepared(builder):  # another process was faster
            return
        raise UsageError(
            f"dataset {name!r} is not prepared, and preparing it failed.\n"
            f"looked in: {builder.data_path}\n"
            f"tried: to download and prepare it there, but {one_line(error)}\n"
            "to try again, here or on a machine whose folder you copy:\n"
            f"  {command(name, builder.data_dir_root)}\n"
            f"to go on without a network: --dataset {embedded.NAME} (5,000 real digits)"
        ) from error


def is_prepared(builder: Any) -> bool:
    """Whether the folder of a TFDS builder is complete, as far as TFDS can tell."""
    with quiet_logs():
        return builder.is_prepared()


def command(name: str, folder: Any) -> str:
    """The command line that prepares a set."""
    return shlex.join(
        ["python", "-m", "jaxvision", "prepare", name, "--data-dir", str(folder)]
    )


def one_line(error: Exception) -> str:
    """The message of an exception, in at most 300 characters."""
    text = textwrap.shorten(str(error), 300, placeholder=" …")
    return (text or type(error).__name__).rstrip(".")


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Drop warnings of TFDS and of the downloads' retries."""
    logs = [logging.getLogger(name) for name in ("absl", "urllib3.connectionpool")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


@contextlib.contextmanager
def _bounded_downloads() -> Iterator[None]:
    """Downloads and extractions that come to an end within the context.

    By itself TFDS tries a dead server for minutes, waits for a silent one forever, and
    when one download fails leaves the others running, which would then look for
    TensorFlow.  Here these finish first, so that their files are not downloaded again.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader, extractor

    if tfds.__version__ not in TESTED_WITH:  # the names below are private
        yield
        return

    workers: list[Any] = []

    def fresh(make: Callable[..., Any]) -> Callable[..., Any]:
        def get(*args: Any, **kwargs: Any) -> Any:
            workers.append(make(*args, **kwargs))
            return workers[-1]

        return get

    with (
        mock.patch.multiple(
            downloader,
            MAX_RETRIES=3,
            _open_url=functools.partial(downloader._open_url, timeout=(10, 60)),
            get_downloader=fresh(downloader._Downloader),
        ),
        mock.patch.object(extractor, "get_extractor", fresh(extractor._Extractor)),
    ):
        try:
            yield
        finally:
            for worker in workers:
                worker._executor.shutdown()  # waits; to cancel would hang them
