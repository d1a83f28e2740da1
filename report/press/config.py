"""`_quarto.yml`: the keys that the offline renderer knows, and the book that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from report.press.files import inside, read_text
from report.press.problems import BookError, Problem, refuse

CONFIG = "_quarto.yml"
HOME = (
    Path(__file__).resolve().parents[2]
)  # where the offline renderer lies, with the layout that it brings along
LAYOUT = "article"

Schema = dict[str, Any]

# What markdown would not leave as it stands: code, emphasis, mathematics, links, scripts.
_MARKUP = re.compile(r"[`\\]|\*\S|(?<!\w)_\S|\$\S([^$]*\S)?\$(?!\d)|\]\(|\^\S+\^|~\S+~")

# A value is a type, a tuple of allowed values, or a schema of its own. Keys marked with QUARTO say how Quarto's own
# pages look; the offline renderer has its own look and passes them over.
QUARTO = object()
# One file of the project or a list of them.
FILES = object()
HTML: Schema = {
    "toc": (True,),
    "toc-depth": (2, 3),
    "html-math-method": ("mathml",),
    "fig-format": ("svg",),
    "code-fold": bool,
    "code-summary": str,
    "code-copy": (True,),
    "grid": QUARTO,
    "highlight-style": QUARTO,
    "theme": QUARTO,
    "respect-user-color-scheme": (True,),
    "css": FILES,
    "include-in-header": FILES,
    "include-after-body": FILES,
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
        "resources": FILES,
    },
    "book": {
        "title": str,
        "subtitle": str,
        "author": str,
        "date": str,
        "abstract": str,
        "description": str,
        "favicon": str,
        "open-graph": (True,),
        "output-file": str,
        "chapters": list,
        "appendices": list,
        "downloads": (["pdf"],),
    },
    "bibliography": str,
    "filters": FILES,
    "lang": ("en",),  # the words of the pages and of the PDF are English
    "format": {"html": HTML, "typst": PDF, f"{LAYOUT}-typst": PDF},
    "execute": {"echo": bool, "warning": bool},
    "jupyter": ("python3",),
}


@dataclass(frozen=True)
class Part:
    """Chapters under a common title; a part has no page of its own."""

    title: str
    chapters: tuple[str, ...]


@dataclass(frozen=True)
class Book:
    """All that `_quarto.yml` says about the book."""

    project: Path
    title: str
    subtitle: str
    author: str
    date: str
    abstract: str
    description: str
    favicon: str  # a file of the project, or nothing
    lang: str
    contents: tuple[str | Part, ...]  # chapters and parts in reading order, without the appendices
    appendices: tuple[str, ...]
    stem: str  # name of the PDF, without its ending
    download: bool
    bibliography: str | None
    filters: tuple[str, ...]  # the book's own, in Lua
    resources: tuple[str, ...]
    css: tuple[str, ...]
    header: tuple[str, ...]  # HTML files for the end of every page's head
    tail: tuple[str, ...]  # HTML files for the end of every page's body
    echo: bool
    warning: bool
    fold: bool
    summary: str
    site_toc_depth: int
    pdf_toc_depth: int
    layout: Path

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(item for item in self.contents if isinstance(item, Part))

    @property
    def chapters(self) -> tuple[str, ...]:
        """The chapters through all parts, without the appendices."""
        items = (item.chapters if isinstance(item, Part) else (item,) for item in self.contents)
        return tuple(file for files in items for file in files)

    @property
    def files(self) -> tuple[str, ...]:
        """Every chapter's source, in reading order."""
        return self.chapters + self.appendices


def read_book(project: Path) -> Book:
    """Reads and checks `_quarto.yml`."""
    try:
        text = read_text(project, CONFIG)
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
    except yaml.YAMLError as error:
        raise refuse(CONFIG, 0, f"not valid YAML: {error}") from None
    problems = list(_problems(root, raw, SCHEMA, ""))
    if problems:
        raise BookError(*problems)
    book = _book(project, raw, root)
    for file in book.files:
        if book.files.count(file) > 1:
            raise refuse(CONFIG, _line(_node(root, "book", "chapters")), f"chapter {file} is listed twice")
    return book


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
            yield Problem(
                CONFIG, line, f"unknown key {name}: the offline renderer knows {known}; take it out"
            )
        elif expected is QUARTO:
            continue
        elif expected is FILES:
            if not found or not all(isinstance(file, str) for file in _listed(found)):
                yield Problem(CONFIG, line, f"{name} should be a file of the project or a list of files")
        elif isinstance(expected, dict):
            yield from _problems(value_node, found, expected, f"{name}: ")
        elif isinstance(expected, tuple):
            if found not in expected:
                allowed = " or ".join(str(option) for option in expected)
                yield Problem(
                    CONFIG, line, f"{name} is {found}: the offline renderer supports {allowed} only"
                )
        elif not isinstance(found, expected):
            yield Problem(CONFIG, line, f"{name} should be a {expected.__name__}, not {found!r}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _node(root: yaml.Node | None, *keys: str) -> yaml.Node | None:
    """The node of a value, by the keys that lead to it."""
    for key in keys:
        pairs = root.value if isinstance(root, yaml.MappingNode) else []
        root = next((value for name, value in pairs if name.value == key), None)
    return root


def _line(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node else 0


def _contents(project: Path, root: yaml.Node | None) -> Iterator[str | Part]:
    chapters = _node(root, "book", "chapters")
    for item in chapters.value if isinstance(chapters, yaml.SequenceNode) else ():
        yield _part(project, item) if isinstance(item, yaml.MappingNode) else _chapter(project, item)


def _part(project: Path, item: yaml.MappingNode) -> Part:
    keys = [key.value for key, _ in item.value]
    if "part" not in keys:
        raise refuse(
            CONFIG, _line(item), f"chapter with the keys {', '.join(keys)}: write the .qmd file alone"
        )
    if set(keys) != {"part", "chapters"}:
        raise refuse(
            CONFIG, _line(item), "a part has a title and chapters: {part: Title, chapters: [FILE.qmd, …]}"
        )
    name, chapters = _node(item, "part"), _node(item, "chapters")
    title = name.value.strip() if isinstance(name, yaml.ScalarNode) else ""
    if title.endswith(".qmd"):
        advice = "a part has no page of its own: give its title, and list the file as its first chapter"
        raise refuse(CONFIG, _line(name), f"part {title}: {advice}")
    if not title or re.search(r"[`*_$<>{}\[\]\\^~#@]", title):
        raise refuse(CONFIG, _line(name), f"part {title!r}: give it a title of plain words without markup")
    if not isinstance(chapters, yaml.SequenceNode) or not chapters.value:
        raise refuse(CONFIG, _line(chapters), f"part {title!r} has no list of chapters")
    for chapter in chapters.value:
        if isinstance(chapter, yaml.MappingNode) and _node(chapter, "part"):
            raise refuse(
                CONFIG, _line(chapter), f"a part inside part {title!r}: list parts one after the other"
            )
    return Part(title, tuple(_chapter(project, chapter) for chapter in chapters.value))


def _appendices(project: Path, root: yaml.Node | None) -> Iterator[str]:
    appendices = _node(root, "book", "appendices")
    for item in appendices.value if isinstance(appendices, yaml.SequenceNode) else ():
        if isinstance(item, yaml.MappingNode) and _node(item, "part"):
            raise refuse(CONFIG, _line(item), "appendices have no parts: list their .qmd files alone")
        yield _chapter(project, item)


def _chapter(project: Path, item: yaml.Node) -> str:
    file = item.value if isinstance(item, yaml.ScalarNode) else ""
    if not file.endswith(".qmd"):
        raise refuse(
            CONFIG, _line(item), f"chapter {file!r}: a chapter is a .qmd file, or a part with a list of them"
        )
    if re.search(r"[%#?]", file):
        raise refuse(
            CONFIG, _line(item), f"chapter {file}: %, # and ? mean something else in addresses; rename it"
        )
    return _file(project, _line(item), "chapter", file)


def _file(project: Path, line: int, what: str, file: str) -> str:
    """The file's path from the project's root."""
    path = inside(file)
    if path is None:
        raise refuse(CONFIG, line, f"{what} {file} is not in the project: copy it there")
    if not (project / path).is_file():
        raise refuse(CONFIG, line, f"{what} {file} does not exist")
    return path


def _files(project: Path, root: yaml.Node | None, raw: dict[str, Any], *place: str) -> tuple[str, ...]:
    """The files of the project that the configuration lists at a place, such as `format`, `html`, `css`."""
    value: Any = raw
    for key in place:
        value = (value or {}).get(key)
    line = _line(_node(root, *place))
    return tuple(_file(project, line, place[-1], file) for file in _listed(value or []))


def _resources(root: yaml.Node | None, patterns: Any) -> Iterator[str]:
    for pattern in _listed(patterns):
        path = inside(pattern)
        if path is None:
            line = _line(_node(root, "project", "resources"))
            raise refuse(CONFIG, line, f"project: resources: {pattern} is not in the project: copy it there")
        yield path


def _book(project: Path, raw: dict[str, Any], root: yaml.Node | None) -> Book:
    book, formats = raw.get("book", {}), raw.get("format") or {}
    html, pdf_key = formats.get("html") or {}, next((key for key in formats if key != "html"), "")
    pdf, execute = formats.get(pdf_key) or {}, raw.get("execute") or {}
    for key in ("title", "author", "date", "chapters"):
        if not book.get(key):
            raise refuse(CONFIG, 0, f"book: {key} is missing: the title block and the pages need it")
    if len(formats) != 2 or "html" not in formats:
        raise refuse(CONFIG, 0, f"format should name html and {LAYOUT}-typst: the book is a site and one PDF")
    for key in ("title", "subtitle", "abstract"):
        if _MARKUP.search(book.get(key, "")):
            line = _line(_node(root, "book", key))
            raise refuse(CONFIG, line, f"book: {key} has markup or mathematics: write plain words")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", book["date"]):
        raise refuse(CONFIG, 0, f"book: date is {book['date']!r}: write it as YYYY-MM-DD")
    contents, appendices = tuple(_contents(project, root)), tuple(_appendices(project, root))
    if contents[0] != "index.qmd":
        first = _line(_node(root, "book", "chapters"))
        raise refuse(CONFIG, first, "the first chapter should be index.qmd: it is the site's first page")
    bibliography = raw.get("bibliography")
    if bibliography:
        bibliography = _file(project, _line(_node(root, "bibliography")), "bibliography", bibliography)
        read_text(project, bibliography)
    return Book(
        project=project,
        title=book["title"],
        subtitle=book.get("subtitle", ""),
        author=book["author"],
        date=book["date"],
        abstract=book.get("abstract", ""),
        description=book.get("description", ""),
        favicon=next(iter(_files(project, root, raw, "book", "favicon")), ""),
        lang=raw.get("lang", "en"),
        contents=contents,
        appendices=appendices,
        stem=re.sub(
            r"[ <>()|:&;#?*'\\/]", "-", book.get("output-file") or book["title"]
        ),  # as Quarto names it
        download=bool(book.get("downloads")),
        bibliography=bibliography,
        filters=_files(project, root, raw, "filters"),
        resources=tuple(_resources(root, raw.get("project", {}).get("resources", []))),
        css=_files(project, root, raw, "format", "html", "css"),
        header=_files(project, root, raw, "format", "html", "include-in-header"),
        tail=_files(project, root, raw, "format", "html", "include-after-body"),
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
