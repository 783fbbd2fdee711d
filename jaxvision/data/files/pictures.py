"""Pictures that a command line names: files, folders and patterns of names."""

import glob
from collections.abc import Iterable
from pathlib import Path

from jaxvision.data.files import listing
from jaxvision.errors import UsageError


def find(names: Iterable[str]) -> list[Path]:
    """The files, each once, in the order of the names.

    A name is a file; a folder, of which all images in all depths are meant, sorted; or
    a pattern such as `holidays/**/*.jpg`, where the shell has left it as it is.  Raises
    `UsageError` for names that are nothing.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = [path / each for each in listing.images(path, path)]
            nothing = f"there are no images in the folder {name}"
        elif path.exists():
            inside, nothing = [path], ""
        else:
            inside = [Path(each) for each in sorted(glob.glob(name, recursive=True))]
            inside = [each for each in inside if each.is_file()]
            nothing = (
                f"no file has a name like {name}"
                if glob.has_magic(name)
                else f"there is no file {name} in {Path.cwd()}"
            )
        if not inside:
            raise UsageError(nothing)
        found |= dict.fromkeys(inside)
    return list(found)
