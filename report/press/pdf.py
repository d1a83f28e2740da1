"""The PDF: pandoc's Typst writer and the typst compiler, through the layout that Quarto uses as well."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import typst

from report.press.chapters import Chapter
from report.press.config import Book
from report.press.document import FILTERS, run_pandoc
from report.press.problems import BookError, Problem

PARTIALS = ("numbering.typ", "page.typ", "typst-show.typ", "biblio.typ")


def build_pdf(
    book: Book, chapters: Sequence[Chapter], texts: Sequence[str], work: Path, target: Path
) -> None:
    """Sets the whole book as one PDF."""
    template = work / "template.typ"
    shutil.copy(FILTERS / "template.typ", template)
    for partial in PARTIALS:  # pandoc looks for them beside the template
        shutil.copy(book.layout / partial, work / partial)
    options = [
        f"--lua-filter={FILTERS / 'pdf.lua'}",
        "--to=typst",
        "--standalone",
        "--wrap=none",
        "--syntax-highlighting=idiomatic",
        f"--template={template}",
    ]
    source = work / "book.typ"
    source.write_text(run_pandoc(book, chapters, texts, work, "typst", options), encoding="utf-8")
    try:
        _, warnings = typst.compile_with_warnings(
            str(source), output=str(target), root=str(book.project), ignore_system_fonts=True
        )
    except typst.TypstError as error:
        raise BookError(Problem("typst", 0, _told(error))) from None
    if warnings:
        raise BookError(*(Problem("typst", 0, _told(warning)) for warning in warnings))


def _told(error: typst.TypstError | typst.TypstWarning) -> str:
    hints = "".join(f" ({hint})" for hint in error.hints)
    return re.sub(r"\s+", " ", f"{error.message}{hints}")
