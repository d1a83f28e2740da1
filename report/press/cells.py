"""Executes a chapter's cells in a Jupyter kernel and puts their results into its markdown."""

from __future__ import annotations

import ast
import base64
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import v4
from traitlets.config import Config

from report.press.chapters import Cell, Chapter, Inline, Text
from report.press.config import Book
from report.press.kernels import ForkingManager
from report.press.problems import refuse

# Figures as vectors, of Quarto's size where the chapter does not say, and the same bytes at every run. Read when a
# cell first draws, so that a chapter without figures need not wait for matplotlib. What installed libraries say of this
# machine, such as that a cache cannot be written, is not for readers, nor are the machine's paths before a warning.
_SETUP = """
def _setup():
    import logging, sysconfig, warnings
    libraries = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})
    show = warnings.showwarning
    def show_own(message, category, filename, *place):
        if issubclass(category, RuntimeWarning) or not filename.startswith(libraries):
            show(message, category, filename, *place)
    warnings.showwarning = show_own
    warnings.formatwarning = lambda message, category, *place: f"{category.__name__}: {message}\\n"
    logging.lastResort.addFilter(lambda record: not record.pathname.startswith(libraries))
_setup()
del _setup
get_ipython().config.InlineBackend.update({
    "figure_formats": {"svg"},
    "print_figure_kwargs": {"bbox_inches": "tight", "metadata": {"Date": None}},
    "rc": {"figure.figsize": (7, 5), "svg.hashsalt": "press"},
})
"""
_IMAGES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
_PATIENCE = 600  # seconds a cell may take
# What a terminal obeys and does not show: strings (links, titles), sequences (colours, cursor) and single characters.
_TERMINAL = re.compile(
    r"\x1b(?:[P\]X^_].*?(?:\x07|\x1b\\|$)|\[[0-?]*[ -/]*[@-~]?|[()*+#%]?[0-~])?", re.MULTILINE
)
_OVERWRITTEN = re.compile(r"^.*\r+(?=[^\r\n])", re.MULTILINE)
_ERASED = re.compile(r"[^\n\b]\x08")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_DIV = ":" * 12


async def execute(book: Book, chapter: Chapter, work: Path) -> str:
    """The chapter as markdown without cells; figures that they drew are files under `work`."""
    cells = [piece for piece in chapter.pieces if not isinstance(piece, Text)]
    outputs = iter(await _run(book, cells) if cells else [])
    parts = []
    for piece in chapter.pieces:
        if isinstance(piece, Text):
            parts.append(piece.text)
        elif isinstance(piece, Inline):
            parts.append(_inline(piece, next(outputs)))
        else:
            parts.append("".join(_cell(book, chapter, piece, next(outputs), work)))
    return "".join(parts)


async def _run(book: Book, cells: list[Inline | Cell]) -> list[list[dict[str, Any]]]:
    sources = [_SETUP, *(cell.source for cell in cells)]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    with tempfile.TemporaryDirectory() as sockets:
        # Files, not TCP ports: of two kernels that start at once, both may choose the same port.
        transport = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            kernel_manager_class=ForkingManager,
            config=transport,
            timeout=_PATIENCE,
            resources={"metadata": {"path": str(book.project)}},
        )
        await _execute(client, cells)
    return [cell.outputs for cell in notebook.cells[1:]]


async def _execute(client: NotebookClient, cells: list[Inline | Cell]) -> None:
    """Run all cells of a notebook, whose first one is ours."""
    notebook = client.nb
    async with client.async_setup_kernel():
        for index, cell in enumerate(notebook.cells):
            at = cells[max(index - 1, 0)]
            try:
                await client.async_execute_cell(cell, index)
            except CellExecutionError as error:
                what = " ".join(_cleaned(f"{error.ename}: {error.evalue}").split())
                raise refuse(at.file, _raised_at(at, error), f"the cell raised {what}") from None
            except DeadKernelError:
                raise refuse(at.file, at.line, "the Jupyter kernel died in this cell") from None
            except CellTimeoutError:
                message = f"the cell ran longer than {_PATIENCE} s: chapters draw, they do not compute"
                raise refuse(at.file, at.line, message) from None


def _raised_at(cell: Inline | Cell, error: CellExecutionError) -> int:
    """The line that raised, as far as the traceback says."""
    found = re.findall(r"Cell In\[[^\]]*\], line (\d+)", _cleaned(error.traceback))
    return cell.start + int(found[0]) - 1 if found and isinstance(cell, Cell) else cell.line


def _cleaned(text: str) -> str:
    """The text as a terminal would show it in the end."""
    text = _OVERWRITTEN.sub("", _TERMINAL.sub("", text))
    while "\b" in text and (shorter := _ERASED.sub("", text)) != text:
        text = shorter
    return _CONTROL.sub("", text)


def _inline(piece: Inline, outputs: list[dict[str, Any]]) -> str:
    results = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    if len(results) != 1 or len(outputs) != 1:
        message = f"inline expression {piece.source!r} should give one value and show nothing else"
        raise refuse(piece.file, piece.line, message)
    data = results[0]
    if "text/markdown" in data:
        return _cleaned(data["text/markdown"])
    if set(data) != {"text/plain"}:
        message = (
            f"inline expression {piece.source!r} gives {_mimes(data)}: it can be markdown or a plain value"
        )
        raise refuse(piece.file, piece.line, message)
    plain = str(data["text/plain"])
    if re.match(r"""^(['"]).*\1$""", plain, re.DOTALL):
        with suppress(SyntaxError, ValueError):  # an object that only looks like a string
            plain = str(ast.literal_eval(plain))
    # A plain string is words, not markdown.
    return re.sub(r"([\\`*_{}\[\]()<>#|~$^@])", r"\\\1", _cleaned(plain))


def _mimes(data: dict[str, Any]) -> str:
    return ", ".join(sorted(set(data) - {"text/plain"})) or "nothing"


def _cell(
    book: Book, chapter: Chapter, cell: Cell, outputs: list[dict[str, Any]], work: Path
) -> Iterator[str]:
    options = cell.options
    if not options.get("include", True):
        return
    yield f'\n{_DIV} {{.press-cell file="{_quoted(cell.file)}" line="{cell.line}"}}\n\n'
    if options.get("echo", book.echo) and cell.source.strip():
        yield _code(book, cell)
    if options.get("output", True) is not False:
        shown = [part for output in _joined(outputs) for part in _output(book, chapter, cell, output, work)]
        if cell.label:
            yield from _float(cell, shown)
        else:
            yield from (markdown for _, markdown in shown)
    yield f"\n{_DIV}\n\n"


def _code(book: Book, cell: Cell) -> str:
    fold = cell.options.get("code-fold", book.fold or "code-summary" in cell.options)
    summary = cell.options.get("code-summary", book.summary)
    attributes = f' fold="{_quoted(summary)}"' if fold else ""
    return _fenced(cell.source.strip("\n"), f"{{.python{attributes}}}")


def _joined(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The outputs; between two others each stream is in one piece, wherever its buffer was flushed."""
    for streams, group in groupby(outputs, key=lambda output: output["output_type"] == "stream"):
        if not streams:
            yield from group
            continue
        told = list(group)
        for name in ("stdout", "stderr"):
            text = "".join(output["text"] for output in told if output["name"] == name)
            yield {"output_type": "stream", "name": name, "text": text}


def _output(
    book: Book, chapter: Chapter, cell: Cell, output: dict[str, Any], work: Path
) -> Iterator[tuple[str, str]]:
    """What one output adds: its kind (image, table, text) and its markdown."""
    if output["output_type"] == "stream":
        text = _cleaned(output["text"])
        if output["name"] == "stderr" and not cell.options.get("warning", book.warning):
            return
        if not text.strip():
            return
        if output["name"] == "stdout" and cell.options.get("output") == "asis":
            yield "text", f"\n{text}\n"
        else:
            yield "text", _fenced(text.rstrip("\n"), "{.output}")
        return
    data = output["data"]
    image = next((mime for mime in _IMAGES if mime in data), None)
    if "text/markdown" in data:
        yield "table", f"\n{_cleaned(data['text/markdown'])}\n\n"
    elif image:
        yield "image", _image(chapter, cell, data[image], image, work)
    elif "text/html" in data:
        yield "table", _fenced(_cleaned(data["text/html"]), "{=press-html}")
    elif set(data) == {"text/plain"}:
        yield "text", _fenced(_cleaned(data["text/plain"]), "{.output}")
    else:
        raise refuse(
            cell.file,
            cell.line,
            f"the cell shows {_mimes(data)}: the offline renderer knows SVG, PNG, JPEG, markdown, HTML tables and text",
        )


def _image(chapter: Chapter, cell: Cell, content: str, mime: str, work: Path) -> str:
    alt = cell.options.get("fig-alt")
    if not alt:
        raise refuse(cell.file, cell.line, "the cell shows an image without words: add '#| fig-alt: …'")
    name = cell.options.get("label") or f"cell-{cell.line}"
    folder = f"{Path(chapter.file).stem}_files/figure-html"  # as Quarto names it
    target = work / chapter.folder / folder
    target.mkdir(parents=True, exist_ok=True)
    file = f"{name}-output-{len(list(target.glob(f'{name}-output-*'))) + 1}.{_IMAGES[mime]}"
    data = content.encode() if mime == "image/svg+xml" else base64.b64decode(content)
    (target / file).write_bytes(data)
    return f'\n![]({quote(f"{folder}/{file}")}){{fig-alt="{_quoted(alt)}"}}\n\n'


def _float(cell: Cell, shown: list[tuple[str, str]]) -> Iterator[str]:
    """A figure or table with its caption, as a div; after the mark, the caption cannot begin a list or a heading."""
    kind, key = ("image", "fig-cap") if cell.label.startswith("fig-") else ("table", "tbl-cap")
    if [found for found, _ in shown] != [kind]:
        made = ", ".join(found for found, _ in shown) or "nothing"
        message = f"cell {cell.label} should show one {kind} and nothing else, but shows {made}"
        raise refuse(cell.file, cell.line, f"{message}: end its last line with ';' or cut it in two")
    widths = cell.options.get("tbl-colwidths")
    attributes = f' tbl-colwidths="{widths}"' if widths else ""
    caption = " ".join(cell.options[key].split())
    yield f"\n{_DIV}: {{#{cell.label}{attributes}}}\n{shown[0][1]}\n[]{{.press-caption}}{caption}\n\n{_DIV}:\n"


def _fenced(text: str, attributes: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n{fence}{attributes}\n{text}\n{fence}\n\n"


def _quoted(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
