"""Runs pandoc over the executed chapters, and turns what it meets into refusals with file and line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pypandoc

from report.press.chapters import Chapter
from report.press.config import Book
from report.press.problems import BookError, Problem

FILTERS = Path(__file__).parent / "pandoc"


def run_pandoc(
    book: Book,
    chapters: Sequence[Chapter],
    texts: Sequence[str],
    work: Path,
    output: str,
    options: Sequence[str],
) -> str:
    """What pandoc makes of the chapters for one format, `html` or `typst`."""
    sources = []
    for index, text in enumerate(texts):
        source = work / f"{output}-{index:02}.md"
        source.write_text(text, encoding="utf-8")
        sources.append(str(source))
    settings = work / f"{output}.json"
    settings.write_text(json.dumps(_settings(book, chapters, work, output)), encoding="utf-8")
    log = work / f"{output}.log"
    command = [
        pypandoc.get_pandoc_path(),
        f"--from={FILTERS / 'reader.lua'}",
        f"--lua-filter={FILTERS / 'filters.lua'}",
        f"--lua-filter={FILTERS / 'crossref.lua'}",
        "--citeproc",
        *options,
        f"--log={log}",
        *sources,
    ]
    environment = os.environ | {"PRESS_BOOK": str(settings)}
    done = subprocess.run(
        command,
        cwd=book.project,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    told = [json.loads(line[6:]) for line in done.stderr.splitlines() if line.startswith("PRESS ")]
    if told:
        by_file = {chapter.file: chapter for chapter in chapters}
        raise BookError(*sorted({_located(by_file[one["file"]], one) for one in told}))
    if done.returncode:
        raise BookError(Problem("pandoc", 0, done.stderr.strip()))
    # Mathematics without a message is right, but no words say it in a page's title.
    warnings = [
        entry
        for entry in json.loads(log.read_text(encoding="utf-8"))
        if entry["verbosity"] == "WARNING" and (entry["type"] != "CouldNotConvertTeXMath" or entry["message"])
    ]
    if warnings:
        raise BookError(*(_warning(chapters, entry) for entry in warnings))
    return done.stdout


def _settings(book: Book, chapters: Sequence[Chapter], work: Path, output: str) -> dict[str, object]:
    def kind(chapter: Chapter) -> str:
        return "appendix" if chapter.appendix else "index" if chapter.file == "index.qmd" else "chapter"

    opens = {part.chapters[0]: part.title for part in book.parts}
    inside = {*book.appendices, *(file for part in book.parts for file in part.chapters)}

    meta: dict[str, object] = {
        "lang": book.lang,
        "link-citations": True,
        "title": book.title,
        "by-author": [{"name": {"literal": book.author}}],
        "date": book.date,
        "papersize": "a4",
        "toc-depth": str(book.pdf_toc_depth),
    }
    meta |= {key: value for key in ("subtitle", "abstract") if (value := getattr(book, key))}
    if book.bibliography:
        meta["bibliography"] = str(book.project / book.bibliography)
    return {
        "format": output,
        "project": str(book.project),
        "work": str(work),
        "filter": str(book.layout / "article.lua"),
        "filters": book.filters,
        "chapters": [
            {
                "file": c.file,
                "folder": c.folder,
                "kind": kind(c),
                "part": opens.get(c.file, ""),  # the title of the part that begins with this chapter
                "depth": 1 if c.file in inside else 0,
            }
            for c in chapters
        ],
        "meta": meta,
    }


def _located(chapter: Chapter, told: dict[str, Any]) -> Problem:
    """Where it is: the line of the source that has the words, else the cell that made them."""
    tokens = [token for token in told["tokens"] if token]
    for token in tokens:
        if line := chapter.locate(token, told["nth"]):
            return Problem(line.file, line.number, told["message"])
    file, _, number = told["cell"].rpartition(":")
    if file:
        return Problem(file, int(number), told["message"])
    return Problem(chapter.file, 0 if tokens else 1, told["message"])


def _warning(chapters: Iterable[Chapter], entry: dict[str, str]) -> Problem:
    message = next((str(entry[key]) for key in ("contents", "label", "message") if entry.get(key)), "")
    for chapter in chapters:
        line = chapter.locate(message) if message else None
        if line:
            return Problem(line.file, line.number, f"pandoc warns: {entry['type']} {message}")
    return Problem("pandoc", 0, f"{entry['type']} {message}")
