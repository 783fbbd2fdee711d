"""What the site of the documentation consists of: hooks of MkDocs, for mkdocs.yml.

Pages are written to be read in the repository too, with links relative to the files in
it.  Here README.md becomes the first page, notebooks become pages, the packages get
pages of reference, and links to other files of the repository are followed: a file that
is linked to is part of the site, as text.  A link to nothing ends the build.
"""

import ast
import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what the functions about links are tested without
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]

PLACES = {"README.md": "index.md", "ARCHITECTURE.md": "architecture.md"}
"""Files of the repository that are pages, and as which; others are below docs/."""

SOURCES = "source"
"""Folder of the site that holds files of the repository which pages link to."""

FIRST = {"tutorial.md", "results.md"}
"""Pages of docs/ that are no how-to guides."""

MODULES = ("types", "measures", "errors", "recipes")
"""Single modules that belong to the reference; packages all do, except `commands`."""

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(?:```|~~~)")


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """The navigation, of whatever pages there are."""
    pages = Path(config.docs_dir)
    guides = sorted({page.name for page in pages.glob("*.md")} - FIRST)
    config.nav = [
        {"Home": "index.md"},
        {"Tutorial": ["tutorial.md", *(_page(file) for file in _notebooks(pages))]},
        {"How-to guides": guides},
        {"Results": "results.md"},
        {"Reference": [f"reference/{name}.md" for name in public()]},
        {"Architecture": "architecture.md"},
    ]
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """The pages that are not files of docs/, and the files that pages link to."""
    from mkdocs.structure.files import File

    pages = Path(config.docs_dir)
    made = {page: (ROOT / file).read_text("utf-8") for file, page in PLACES.items()}
    made |= {f"reference/{name}.md": reference(name) for name in public()}
    for file in _notebooks(pages):
        made[_page(file)] = page_of_notebook(file.read_text("utf-8"))
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    for page in files.documentation_pages():
        for _, target, _ in LINK.findall(page.content_string):
            path = resolved(page.src_uri, target)
            if path is None or (ROOT / path).is_dir():
                continue
            if _site_path(path).startswith(f"{SOURCES}/"):
                source = File.generated(
                    config, _site_path(path), abs_src_path=str(ROOT / path)
                )
                if source.src_uri not in files.src_uris:
                    files.append(source)
    return files


def on_page_markdown(markdown: str, *, page, **_) -> str:
    """The page with links that lead to where the site has their files."""
    return site_links(markdown, page.file.src_uri)


def public() -> list[str]:
    """Packages and modules of the reference, such as `models` and `ops.augment`."""
    packages = {
        file.parent.name for file in (ROOT / "jaxvision").glob("*/__init__.py")
    } - {"commands"}
    return sorted([*packages, *MODULES, "ops.augment"])


def reference(name: str) -> str:
    """The page of a package: what it exports, or else what its modules have."""
    file = ROOT / "jaxvision" / name.replace(".", "/")
    package = file / "__init__.py"
    exports = package.exists() and _assigns_all(package)
    modules = [f"jaxvision.{name}"]
    if package.exists() and not exports:
        modules += [
            f"jaxvision.{name}.{module.stem}"
            for module in sorted(file.glob("*.py"))
            if not module.stem.startswith("_")
        ]
    return f"# {name}\n\n" + "\n\n".join(f"::: {module}" for module in modules)


def page_of_notebook(text: str) -> str:
    """The prose and the code of a notebook."""
    cells = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        code = cell["cell_type"] == "code"
        cells.append(f"```python\n{source}\n```" if code else source)
    return "\n\n".join(cells) + "\n"


def site_links(markdown: str, page: str) -> str:
    """The text of a page of the site, with its links as they are on the site.

    A link to a folder of the repository, which the site has not, becomes its words.
    """
    folder, lines, fenced = posixpath.dirname(page), [], False

    def moved(match: re.Match[str]) -> str:
        path = resolved(page, match[2])
        if path is None:
            return match[0]
        target = posixpath.relpath(_site_path(path), folder or ".")
        return f"{match[1]}{target}{match[3] or ''})"

    for line in markdown.split("\n"):
        fenced ^= bool(FENCE.match(line))
        lines.append(line if fenced else LINK.sub(moved, line))
    return re.sub(
        rf"\[([^\]]+)\]\((?:\.\./)*{SOURCES}/([^)\s]+)\)",
        lambda match: match[1] if (ROOT / match[2]).is_dir() else match[0],
        "\n".join(lines),
    )


def resolved(page: str, target: str) -> str | None:
    """Which path of the repository a link of a page means; None: it stays as it is."""
    if ":" in target or target.startswith("reference/"):
        return None
    file = {place: file for file, place in PLACES.items()}.get(page, f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
    return path if (ROOT / path).exists() else None


def _site_path(path: str) -> str:
    """Where the site has a path of the repository."""
    if path in PLACES:
        return PLACES[path]
    inside = path.removeprefix("docs/")
    if inside == path:
        return f"{SOURCES}/{path}"
    return inside.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else inside


def _notebooks(pages: Path) -> list[Path]:
    return sorted((pages / "notebooks").glob("*.ipynb"))


def _page(notebook: Path) -> str:
    return f"notebooks/{notebook.stem}.md"


def _assigns_all(file: Path) -> bool:
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for node in ast.parse(file.read_text("utf-8")).body
    )
