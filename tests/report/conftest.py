"""Books for the tests of the offline renderer, rendered once a session."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from report.__main__ import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample book, rendered by the offline renderer."""
    return rendered(HERE / "book", tmp_path_factory.mktemp("sample") / "book")


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample book in two parts, in the project's own layout."""
    return rendered(HERE / "parts", tmp_path_factory.mktemp("parts") / "book")


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book with a filter of its own, cards, a description and an icon, in the project's own layout."""
    return rendered(HERE / "shown", tmp_path_factory.mktemp("shown") / "book")


@pytest.fixture(scope="session")
def fuller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book with all that the offline renderer knows beside what the sample has, in the project's own layout."""
    return rendered(HERE / "fuller", tmp_path_factory.mktemp("fuller") / "book")


def rendered(source: Path, project: Path) -> Path:
    shutil.copytree(source, project)
    if "article-typst" in (project / "_quarto.yml").read_text(encoding="utf-8"):
        shutil.copytree(ROOT / "_extensions", project / "_extensions")
    assert main(["--engine", "press", "--project", str(project)]) == 0
    return project


@pytest.fixture
def write_book(tmp_path: Path) -> Callable[..., Path]:
    """Makes a small book of the given files; what is not given is a good chapter without cells."""

    def write(files: dict[str, str]) -> Path:
        good = {
            "_quarto.yml": """
                project: {type: book, output-dir: _book, execute-dir: project}
                book:
                  title: T
                  author: A
                  date: "2026-01-02"
                  chapters: [index.qmd, one.qmd]
                format:
                  html: {html-math-method: mathml}
                  typst: {papersize: a4}
                jupyter: python3
                """,
            "index.qmd": "# Summary {.unnumbered}\n",
            "one.qmd": "# One {#sec-one}\n",
            "dot.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        }
        for name, text in (good | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return tmp_path

    return write
