"""The pages of the documentation lead to files that exist, here and on the site."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import site_pages

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")),
]


def text(page):
    content = page.read_text(encoding="utf-8")
    return content if page.suffix == ".md" else site_pages.page_of_notebook(content)


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", text(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_repository(page):
    for _, target, anchor in site_pages.LINK.findall(text(page)):
        if ":" not in target:
            file = page.parent / target
            assert file.exists(), target
            if anchor and file.suffix == ".md":
                assert anchor[1:] in anchors(file), target + anchor


@pytest.mark.parametrize(
    ("page", "here", "there"),
    [
        ("index.md", "[a](docs/data.md)", "[a](data.md)"),
        ("index.md", "![a](docs/pictures/scenes.jpg)", "![a](pictures/scenes.jpg)"),
        ("index.md", "[a](ARCHITECTURE.md)", "[a](architecture.md)"),
        ("index.md", "[a](docs/data.md#crops)", "[a](data.md#crops)"),
        ("tasks.md", "[a](../README.md)", "[a](index.md)"),
        ("tasks.md", "[a](tutorial.md)", "[a](tutorial.md)"),
        ("tasks.md", "[a](../Makefile)", "[a](source/Makefile)"),
        ("tasks.md", "[`a`](../experiments)", "`a`"),
        ("tasks.md", "[a](https://b.org/README.md)", "[a](https://b.org/README.md)"),
        ("tasks.md", "[a](gone.md)", "[a](gone.md)"),
        ("tasks.md", "[a](#here)", "[a](#here)"),
        ("tasks.md", "```\n[a](../Makefile)\n```", "```\n[a](../Makefile)\n```"),
        ("notebooks/1_first_experiment.md", "[a](../data.md)", "[a](../data.md)"),
        (
            "notebooks/1_first_experiment.md",
            "[a](2_own_data.ipynb)",
            "[a](2_own_data.md)",
        ),
    ],
)
def test_links_are_moved_with_the_pages(page, here, there):
    assert site_pages.site_links(here, page) == there


def test_a_notebook_becomes_a_page():
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "words"]},
        {"cell_type": "code", "source": ["a = 1\n", "a"]},
    ]
    page = site_pages.page_of_notebook(json.dumps({"cells": cells}))
    assert page == "# Title\n\nwords\n\n```python\na = 1\na\n```\n"


def test_reference_has_every_public_package():
    folders = {file.parent.name for file in (ROOT / "jaxvision").glob("*/__init__.py")}
    assert folders - {"commands"} < set(site_pages.public())
    assert "::: jaxvision.tasks\n" in site_pages.reference("tasks") + "\n"
    assert "::: jaxvision.layers.attention" in site_pages.reference("layers")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None,
    reason="the site is built by MkDocs: pip install -e '.[docs]'",
)
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'id="jaxvision.models.create"' in (
        tmp_path / "reference" / "models.html"
    ).read_text("utf-8")
    for page in ("index", "tutorial", "results", "notebooks/1_first_experiment"):
        assert (tmp_path / f"{page}.html").exists()
    assert (tmp_path / "source" / "experiments" / "mnist_lenet5.py").exists()
