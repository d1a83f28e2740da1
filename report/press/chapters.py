"""A chapter's source: text, inline expressions and cells, each with the file and line it stands in."""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from report.press.config import Book
from report.press.files import inside, read_text
from report.press.problems import refuse

OPTIONS: dict[str, type | tuple[Any, ...]] = {
    "label": str,
    "fig-cap": str,
    "fig-alt": str,
    "tbl-cap": str,
    "tbl-colwidths": list,
    "echo": bool,
    "include": bool,
    "warning": bool,
    "output": (True, False, "asis"),
    "code-fold": bool,
    "code-summary": str,
}
# As Quarto does: a cell begins at a line of its own that no plain code block holds, and inline expressions are computed
# wherever they stand. The filters see whether markdown reads the chapter in the same way, and refuse it if not.
_CELL = re.compile(r"^[\s>*+-]*(?:\w{1,3}[.)]\s+)?(`{3,}(?!.*`)|~{3,})\s*\{+\s*[A-Za-z]")
_FENCE = re.compile(r"^(`{3,}(?!.*`)|~{3,})")
_OPTION = re.compile(r"^#\s*\| ?(.*)$")
_INCLUDE = re.compile(r"^\{\{<\s*include\s+(\S+)\s*>\}\}\s*$")
_INLINE = re.compile(r"(?<!`)`\{python\}[ \t]([^`]+)`")
_LABEL = re.compile(r"^[^\W\d_][\w:.-]*$")


@dataclass(frozen=True)
class Line:
    text: str
    file: str
    number: int


@dataclass(frozen=True)
class Text:
    """Markdown that needs no execution."""

    text: str


@dataclass(frozen=True)
class Inline:
    """An inline `{python} …` expression."""

    source: str
    file: str
    line: int


@dataclass(frozen=True)
class Cell:
    """An executable cell; `line` is the line of its opening fence, `start` that of its first line of code."""

    source: str
    options: dict[str, Any]
    file: str
    line: int
    start: int

    @property
    def label(self) -> str:
        """The label of the figure or table that the cell makes; empty where it makes none."""
        name: str = self.options.get("label", "")
        return name if re.match(r"(fig|tbl)-", name) else ""


Piece = Text | Inline | Cell


@dataclass(frozen=True)
class Chapter:
    """One page of the site."""

    file: str
    appendix: bool
    lines: tuple[Line, ...]
    pieces: tuple[Piece, ...]

    @property
    def folder(self) -> str:
        parent = Path(self.file).parent.as_posix()
        return "" if parent == "." else parent

    def locate(self, token: str, nth: int = 1) -> Line | None:
        """The line that has the token, not as a part of a longer name, for the nth time."""
        before = r"(?<![\w-])" if re.match(r"\w", token) else ""
        after = r"(?![\w-])" if re.search(r"\w$", token) else ""
        pattern = re.compile(before + re.escape(token) + after)
        found = [line for line in self.lines for _ in pattern.finditer(line.text)]
        return found[min(nth, len(found)) - 1] if found else None


def read_chapter(book: Book, file: str) -> Chapter:
    """Reads a chapter with what it includes, and cuts it into pieces."""
    lines = tuple(_lines(book.project, file, ()))
    if lines and lines[0].text.strip() == "---":
        raise refuse(file, 1, "front matter: begin with '# Title {#sec-…}', settings belong in _quarto.yml")
    return Chapter(file, file in book.appendices, lines, tuple(_pieces(lines)))


def _lines(project: Path, file: str, including: tuple[str, ...]) -> Iterator[Line]:
    for number, line in enumerate(read_text(project, file).removesuffix("\n").split("\n"), start=1):
        include = _INCLUDE.match(line)
        if not include:
            yield Line(line, file, number)
            continue
        name = include.group(1)
        part = inside(name.lstrip("/")) if name.startswith("/") else inside(posixpath.dirname(file), name)
        if part is None or not (project / part).is_file():
            raise refuse(file, number, f"included file {name} does not exist in the project")
        if part in including or part == file:
            raise refuse(file, number, f"{name} includes itself")
        yield from _lines(project, part, (*including, file))


def _pieces(lines: tuple[Line, ...]) -> Iterator[Piece]:
    prose: list[Line] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        if cell := _CELL.match(line.text):
            ticks = cell.group(1)
            if line.text.rstrip() != f"{ticks}{{python}}" or ticks.startswith("~"):
                raise refuse(
                    line.file,
                    line.number,
                    f"cell {line.text.strip()!r}: cells are ```{{python}} at the margin, "
                    "their options #| lines inside",
                )
            yield from _inlines(prose)
            prose = []
            end = _closing(lines, index, ticks)
            yield _cell(line, lines[index + 1 : end])
        else:
            fence = _FENCE.match(line.text)
            end = _closing(lines, index, fence.group(1), " {0,3}") if fence else index
            for plain in lines[index : end + 1]:
                _refuse_shortcode(plain)
                if line.text.startswith("~") and _CELL.match(plain.text):
                    raise refuse(
                        plain.file, plain.number, "Quarto runs a cell between ~~~: show it between ````"
                    )
                prose.append(plain)
        index = end + 1
    yield from _inlines(prose)


def _closing(lines: tuple[Line, ...], start: int, ticks: str, indent: str = "") -> int:
    closing = re.compile(rf"{indent}{ticks}{ticks[0]}*\s*$")
    for index in range(start + 1, len(lines)):
        if closing.match(lines[index].text):
            return index
    raise refuse(lines[start].file, lines[start].number, f"code fence {ticks} is never closed")


def _refuse_shortcode(line: Line) -> None:
    found = re.search(r"\{\{<\s*/?(\S*)", line.text)
    if found:
        raise refuse(
            line.file,
            line.number,
            f"shortcode {found.group(1)!r}: the offline renderer knows only {{{{< include FILE >}}}}, "
            "alone on its line",
        )


def _inlines(prose: list[Line]) -> Iterator[Piece]:
    """Cuts the prose at its inline expressions, which may go over a line's end."""
    text = "".join(line.text + "\n" for line in prose)
    starts = [0]
    for line in prose:
        starts.append(starts[-1] + len(line.text) + 1)
    done = 0
    for found in _INLINE.finditer(text):
        if found.start() > done:
            yield Text(text[done : found.start()])
        line = prose[bisect_right(starts, found.start()) - 1]
        yield Inline(found.group(1).strip(), line.file, line.number)
        done = found.end()
    if text[done:]:
        yield Text(text[done:])


def _cell(fence: Line, inside: tuple[Line, ...]) -> Cell:
    head = 0
    while head < len(inside) and _OPTION.match(inside[head].text):
        head += 1
    written = [match.group(1) for line in inside[:head] if (match := _OPTION.match(line.text))]
    try:
        options = yaml.safe_load("\n".join(written)) or {}
    except yaml.MarkedYAMLError as error:
        offset = error.problem_mark.line if error.problem_mark else 0
        line = inside[min(offset, head - 1)]
        raise refuse(line.file, line.number, f"cell options are not valid YAML: {error.problem}") from None
    if not isinstance(options, dict):
        raise refuse(inside[0].file, inside[0].number, "cell options should be 'key: value' lines")
    for key, value in options.items():
        line = next(line for line in inside[:head] if str(key) in line.text)
        _check_option(line, str(key), value)
    source = "\n".join(line.text for line in inside[head:])
    cell = Cell(source, options, fence.file, fence.number, fence.number + head + 1)
    _check_float(cell)
    return cell


def _check_option(line: Line, key: str, value: object) -> None:
    expected = OPTIONS.get(key)
    if expected is None:
        known = ", ".join(OPTIONS)
        raise refuse(line.file, line.number, f"unknown cell option {key}: the offline renderer knows {known}")
    if isinstance(expected, tuple):
        if value not in expected:
            allowed = ", ".join(str(option).lower() for option in expected)
            raise refuse(line.file, line.number, f"cell option {key} is {value!r}: it can be {allowed}")
    elif not isinstance(value, expected):
        raise refuse(
            line.file, line.number, f"cell option {key} should be a {expected.__name__}, not {value!r}"
        )
    if key == "label" and not _LABEL.match(str(value)):
        raise refuse(line.file, line.number, f"label {value!r}: use letters, digits and hyphens")
    if isinstance(value, list) and any(type(width) not in (int, float) or width <= 0 for width in value):
        raise refuse(
            line.file, line.number, f"tbl-colwidths {value!r}: give the columns' shares, as in [70, 30]"
        )


def _check_float(cell: Cell) -> None:
    """Captions, labels and alt texts come together, so that no figure is without its number or its words."""
    needs = {"fig": ("fig-cap", "fig-alt"), "tbl": ("tbl-cap",)}
    kind = cell.label[:3]
    for key in needs.get(kind, ()):
        if not str(cell.options.get(key, "")).strip():
            raise refuse(cell.file, cell.line, f"cell {cell.label} has no {key}: add '#| {key}: …'")
    for other, key in (("fig", "fig-cap"), ("tbl", "tbl-cap"), ("tbl", "tbl-colwidths")):
        if key in cell.options and kind != other:
            raise refuse(cell.file, cell.line, f"cell with {key} needs a label that begins with {other}-")
