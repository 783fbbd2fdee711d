"""`python -m jaxvision push` and `pull`."""

from pathlib import Path

import tyro


def push(
    run: tyro.conf.Positional[Path],
    repository: tyro.conf.Positional[str],
    public: bool = False,
) -> None:
    """Upload a finished run to the Hugging Face hub, with a model card.

    Args:
        run: The run directory, which holds result.json.
        repository: OWNER/NAME; it is made if it is not there.
        public: Make a new repository that everybody can read. Default: a private one.
    """
    from jaxvision.export import hub

    print(f"{hub.push(run, repository, public=public)}: pushed")


def pull(
    repository: tyro.conf.Positional[str],
    folder: tyro.conf.Positional[Path],
    revision: str | None = None,
) -> None:
    """Download a run from the Hugging Face hub. Nothing in it is executed.

    Args:
        repository: OWNER/NAME, as it was pushed.
        folder: The new run directory.
        revision: A branch, tag or commit of the repository. Default: the newest.
    """
    from jaxvision.export import hub

    hub.pull(repository, folder, revision=revision)
    print(f"{folder}: pulled; --run {folder} uses it")
