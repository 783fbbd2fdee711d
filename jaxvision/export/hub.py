"""Runs on the Hugging Face hub.

What goes there and what comes back are a run's own files, chosen by their names: data,
JSON and pictures, and nothing that could be executed.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxvision import files
from jaxvision.engine import snapshot
from jaxvision.errors import UsageError, check
from jaxvision.export import card
from jaxvision.runs import parts
from jaxvision.runs.record import FORMAT

PARTS = (
    "README.md",
    "config.json",
    "result.json",
    parts.FILE,
    parts.NETWORK,
    "test_metrics.json",
    "metrics.jsonl",
    "*.png",
    "checkpoints/*",
)
"""The files of a run that travel, as patterns in which `*` also stands for folders."""


def push(run: Path, repository: str, *, public: bool = False) -> str:
    """Upload a finished run, with a model card, and return its address.

    The repository is made if it is not there: private, unless `public`.  Raises
    `UsageError` for a run that is unfinished, and for whatever the hub refuses.
    """
    result = files.read_object(run / "result.json", ["experiment", "evaluations"])
    prediction = files.read_object(run / parts.FILE, ["classes"])
    hub = _hub()
    use = _USE.format(repository=repository, name=repository.rpartition("/")[2])
    files.replace_text(run / "README.md", card.text(result, prediction["classes"], use))
    with _explained(repository):
        api = hub.HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=run,
            allow_patterns=list(PARTS),
            commit_message=f"{result['experiment']}, seed {result.get('seed')}",
        )
    return f"https://huggingface.co/{repository}"


def pull(repository: str, folder: Path, *, revision: str | None = None) -> None:
    """Download a run that `push` has uploaded into a new folder.

    Raises `UsageError` for a folder that is not empty, for a repository that holds no
    run, and for what the hub refuses.  Nothing that was downloaded is executed.
    """
    check(
        (
            not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
            f"{folder} is there already: name a new folder",
        )
    )
    hub = _hub()
    with _explained(repository):
        hub.snapshot_download(
            repository,
            revision=revision,
            local_dir=folder,
            allow_patterns=list(PARTS),
        )
    try:
        config: dict[str, Any] = files.read_object(folder / "config.json", ["format"])
    except files.Damaged as error:
        raise UsageError(f"{repository} holds no run of jaxvision: {error}") from error
    check(
        (
            config["format"] == FORMAT,
            f"the run of {repository} has format {config['format']}, and this version "
            f"of jaxvision reads format {FORMAT}",
        ),
        (
            bool(snapshot.steps(folder / "checkpoints")),
            f"the run of {repository} has no checkpoints",
        ),
    )
    found = parts.load(folder)
    check(
        (
            found is not None and None not in (found.model, found.task),
            f"the run of {repository} needs the code of its experiment: load it where "
            "that is, if you trust it",
        )
    )


_USE = """\
# python -m jaxvision pull {repository} {name}
import jaxvision

predictor = jaxvision.load("{name}")
predictor.predict(["photograph.jpg"])"""


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            f"the Hugging Face hub needs the package {error.name} ({error}): install "
            "it with pip install 'jaxvision-research[hub]'"
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def _explained(repository: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the hub, of HTTP, of the network, of the disk
        first = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"{repository} on the Hugging Face hub: {first}; `hf auth login` if it "
            "has to know who you are"
        ) from error
