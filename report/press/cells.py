"""Executes a chapter's cells in a Jupyter kernel and puts their results into its markdown."""

from __future__ import annotations

import ast
import base64
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import v4
from traitlets.config import Config

from report.press.chapters import Cell, Chapter, Inline, Text
from report.press.config import Book
from report.press.problems import refuse

# Figures as vectors, of Quarto's size where the chapter does not say, and the same bytes at every run. Read when a
# cell first draws, so that a chapter without figures need not wait for matplotlib.
_SETUP = """
get_ipython().config.InlineBackend.update({
    "figure_formats": {"svg"},
    "print_figure_kwargs": {"bbox_inches": "tight", "metadata": {"Date": None}},
    "rc": {"figure.figsize": (7, 5), "svg.hashsalt": "press"},
})
"""
_IMAGES = {"image/svg+xml": "svg", "image/png": "png"}
_PATIENCE = 600  # seconds a cell may take
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
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
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as sockets:
        # Files, not TCP ports: of two kernels that start at once, both may choose the same port.
        transport = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        client = NotebookClient(
            notebook,
            kernel_name="python3",
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
                what = " ".join(_ANSI.sub("", f"{error.ename}: {error.evalue}").split())
                raise refuse(at.file, _raised_at(at, error), f"the cell raised {what}") from None
            except DeadKernelError:
                raise refuse(at.file, at.line, "the Jupyter kernel died in this cell") from None
            except CellTimeoutError:
                message = f"the cell ran longer than {_PATIENCE} s: chapters draw, they do not compute"
                raise refuse(at.file, at.line, message) from None


def _raised_at(cell: Inline | Cell, error: CellExecutionError) -> int:
    """The line that raised, as far as the traceback says."""
    found = re.findall(r"Cell In\[[^\]]*\], line (\d+)", _ANSI.sub("", error.traceback))
    return cell.start + int(found[0]) - 1 if found and isinstance(cell, Cell) else cell.line


def _inline(piece: Inline, outputs: list[dict[str, Any]]) -> str:
    results = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    if len(results) != 1 or len(outputs) != 1:
        message = f"inline expression {piece.source!r} should give one value and show nothing else"
        raise refuse(piece.file, piece.line, message)
    data = results[0]
    if "text/markdown" in data:
        return str(data["text/markdown"])
    plain = str(data["text/plain"])
    if re.match(r"""^(['"]).*\1$""", plain, re.DOTALL):
        plain = str(ast.literal_eval(plain))
    return re.sub(r"([\\`*_{}\[\]()<>#|~$^@])", r"\\\1", plain)  # a plain string is words, not markdown


def _cell(
    book: Book, chapter: Chapter, cell: Cell, outputs: list[dict[str, Any]], work: Path
) -> Iterator[str]:
    options = cell.options
    if not options.get("include", True):
        return
    yield f'\n{_DIV} {{.press-cell file="{cell.file}" line="{cell.line}"}}\n\n'
    if options.get("echo", book.echo) and cell.source.strip():
        yield _code(book, cell)
    if options.get("output", True) is not False:
        shown = [part for output in outputs for part in _output(book, chapter, cell, output, work)]
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


def _output(
    book: Book, chapter: Chapter, cell: Cell, output: dict[str, Any], work: Path
) -> Iterator[tuple[str, str]]:
    """What one output adds: its kind (image, table, text) and its markdown."""
    if output["output_type"] == "stream":
        text = _ANSI.sub("", output["text"])
        if output["name"] == "stderr" and not cell.options.get("warning", book.warning):
            return
        if output["name"] == "stdout" and cell.options.get("output") == "asis":
            yield "text", f"\n{text}\n"
        else:
            yield "text", _fenced(text.rstrip("\n"), "{.output}")
        return
    data = output["data"]
    image = next((mime for mime in _IMAGES if mime in data), None)
    if "text/markdown" in data:
        yield "table", f"\n{data['text/markdown']}\n\n"
    elif image:
        yield "image", _image(chapter, cell, data[image], image, work)
    elif "text/html" in data:
        yield "table", _fenced(data["text/html"], "{=press-html}")
    elif "text/plain" in data:
        yield "text", _fenced(data["text/plain"], "{.output}")
    else:
        raise refuse(
            cell.file,
            cell.line,
            f"the cell shows {', '.join(data)}: the offline renderer knows SVG, PNG, markdown, HTML tables and text",
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
    return f'\n![]({folder}/{file}){{fig-alt="{_quoted(alt)}"}}\n\n'


def _float(cell: Cell, shown: list[tuple[str, str]]) -> Iterator[str]:
    """A figure or table with its caption, as a div."""
    kind, key = ("image", "fig-cap") if cell.label.startswith("fig-") else ("table", "tbl-cap")
    if [found for found, _ in shown] != [kind]:
        made = ", ".join(found for found, _ in shown) or "nothing"
        message = f"cell {cell.label} should show one {kind} and nothing else, but shows {made}"
        raise refuse(cell.file, cell.line, f"{message}: end its last line with ';' or cut it in two")
    widths = cell.options.get("tbl-colwidths")
    attributes = f' tbl-colwidths="{widths}"' if widths else ""
    yield f"\n{_DIV}: {{#{cell.label}{attributes}}}\n{shown[0][1]}\n{cell.options[key].strip()}\n\n{_DIV}:\n"


def _fenced(text: str, attributes: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n{fence}{attributes}\n{text}\n{fence}\n\n"


def _quoted(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
