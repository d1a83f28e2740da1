"""`_quarto.yml`: the keys that the press knows, and the book that they describe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from report.press.problems import BookError, Problem, refuse

CONFIG = "_quarto.yml"
HOME = Path(__file__).resolve().parents[2]  # where the press lies, with the layout that it brings along
LAYOUT = "article"

Schema = dict[str, Any]

# A value is a type, a tuple of allowed values, or a schema of its own. Keys marked with QUARTO say how Quarto's own
# pages look; the press has its own look and passes them over.
QUARTO = object()
HTML: Schema = {
    "toc": (True,),
    "toc-depth": (2, 3),
    "html-math-method": ("mathml",),
    "fig-format": ("svg",),
    "code-fold": bool,
    "code-summary": str,
    "theme": QUARTO,
    "css": QUARTO,
}
PDF: Schema = {
    "papersize": ("a4",),
    "toc": (True,),
    "toc-depth": (1, 2, 3),
    "fig-format": ("svg",),
    "citeproc": (True,),
}
SCHEMA: Schema = {
    "project": {
        "type": ("book",),
        "output-dir": ("_book",),
        "execute-dir": ("project",),
        "resources": list,
    },
    "book": {
        "title": str,
        "subtitle": str,
        "author": str,
        "date": str,
        "abstract": str,
        "description": QUARTO,
        "output-file": str,
        "chapters": list,
        "appendices": list,
        "downloads": (["pdf"],),
    },
    "bibliography": str,
    "lang": str,
    "format": {"html": HTML, "typst": PDF, f"{LAYOUT}-typst": PDF},
    "execute": {"echo": bool, "warning": bool},
    "jupyter": ("python3",),
}


@dataclass(frozen=True)
class Book:
    """All that `_quarto.yml` says about the book."""

    project: Path
    title: str
    subtitle: str
    author: str
    date: str
    abstract: str
    lang: str
    chapters: tuple[str, ...]
    appendices: tuple[str, ...]
    stem: str  # name of the PDF, without its ending
    download: bool
    bibliography: str | None
    resources: tuple[str, ...]
    echo: bool
    warning: bool
    fold: bool
    summary: str
    site_toc_depth: int
    pdf_toc_depth: int
    layout: Path

    @property
    def files(self) -> tuple[str, ...]:
        """Every chapter's source, in reading order."""
        return self.chapters + self.appendices


def read_book(project: Path) -> Book:
    """Reads and checks `_quarto.yml`."""
    path = project / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise refuse(
            CONFIG, 0, f"not found in {project}: run this in the book's folder or use --project"
        ) from None
    try:
        root = yaml.compose(text)
        raw = yaml.load(text, _Loader) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise refuse(CONFIG, line, f"not valid YAML: {error.problem}") from None
    problems = list(_problems(root, raw, SCHEMA, ""))
    if problems:
        raise BookError(*problems)
    return _book(project, raw)


class _Loader(yaml.SafeLoader):
    """Leaves dates as they are written."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _problems(node: yaml.Node | None, value: Any, schema: Schema, where: str) -> Any:
    line = node.start_mark.line + 1 if node else 1
    if not isinstance(value, dict) or not isinstance(node, yaml.MappingNode):
        yield Problem(CONFIG, line, f"{where or 'the file'} should be a mapping of keys to values")
        return
    for key_node, value_node in node.value:
        key, found = key_node.value, value.get(key_node.value)
        line, name = key_node.start_mark.line + 1, f"{where}{key}"
        expected = schema.get(key)
        if expected is None:
            known = ", ".join(sorted(schema))
            yield Problem(CONFIG, line, f"unknown key {name}: the press knows {known}; take it out")
        elif expected is QUARTO:
            continue
        elif isinstance(expected, dict):
            yield from _problems(value_node, found, expected, f"{name}: ")
        elif isinstance(expected, tuple):
            if found not in expected:
                allowed = " or ".join(str(option) for option in expected)
                yield Problem(CONFIG, line, f"{name} is {found}: the press supports {allowed} only")
        elif not isinstance(found, expected):
            yield Problem(CONFIG, line, f"{name} should be a {expected.__name__}, not {found!r}")


def _book(project: Path, raw: dict[str, Any]) -> Book:
    book, formats = raw.get("book", {}), raw.get("format") or {}
    html, pdf_key = formats.get("html") or {}, next((key for key in formats if key != "html"), "")
    pdf, execute = formats.get(pdf_key) or {}, raw.get("execute") or {}
    for key in ("title", "author", "date", "chapters"):
        if not book.get(key):
            raise refuse(CONFIG, 0, f"book: {key} is missing: the title block and the pages need it")
    if len(formats) != 2 or "html" not in formats:
        raise refuse(CONFIG, 0, f"format should name html and {LAYOUT}-typst: the book is a site and one PDF")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", book["date"]):
        raise refuse(CONFIG, 0, f"book: date is {book['date']!r}: write it as YYYY-MM-DD")
    chapters, appendices = tuple(book["chapters"]), tuple(book.get("appendices") or ())
    for file in chapters + appendices:
        if not isinstance(file, str) or not file.endswith(".qmd"):
            raise refuse(CONFIG, 0, f"chapter {file!r}: the press takes plain .qmd files, no parts")
        if not (project / file).is_file():
            raise refuse(CONFIG, 0, f"chapter {file} does not exist")
    if chapters[0] != "index.qmd":
        raise refuse(CONFIG, 0, "the first chapter should be index.qmd: it is the site's first page")
    bibliography = raw.get("bibliography")
    if bibliography and not (project / bibliography).is_file():
        raise refuse(CONFIG, 0, f"bibliography {bibliography} does not exist")
    return Book(
        project=project,
        title=book["title"],
        subtitle=book.get("subtitle", ""),
        author=book["author"],
        date=book["date"],
        abstract=book.get("abstract", ""),
        lang=raw.get("lang", "en"),
        chapters=chapters,
        appendices=appendices,
        stem=re.sub(
            r"[ <>()|:&;#?*'\\/]", "-", book.get("output-file") or book["title"]
        ),  # as Quarto names it
        download=bool(book.get("downloads")),
        bibliography=bibliography,
        resources=tuple(raw.get("project", {}).get("resources") or ()),
        echo=execute.get("echo", True),
        warning=execute.get("warning", True),
        fold=html.get("code-fold", False),
        summary=html.get("code-summary", "Code"),
        site_toc_depth=html.get("toc-depth", 3),
        pdf_toc_depth=pdf.get("toc-depth", 3),
        layout=_layout(project, pdf_key),
    )


def _layout(project: Path, key: str) -> Path:
    own = project / "_extensions" / LAYOUT
    if key == f"{LAYOUT}-typst" and not own.is_dir():
        raise refuse(CONFIG, 0, f"format {key} needs the layout in _extensions/{LAYOUT}, which is not there")
    return own if own.is_dir() else HOME / "_extensions" / LAYOUT
