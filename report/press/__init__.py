"""The offline renderer renders a Quarto book into an HTML site and one PDF where the Quarto program is not installed.

It knows exactly these features, gives what Quarto gives for them, and refuses anything else with file and line:

- `_quarto.yml` of a book with `chapters`, `appendices`, `downloads: [pdf]`, formats `html` and `article-typst`
  (or `typst`); the keys are listed in `config.py`.
- Parts, `{part: "Title", chapters: [files]}` among the chapters: numbers go on through them; a part has no page, is a
  section of the sidebar, a line in the PDF's contents, and a heading above its first chapter's.
- `filters`: Lua files of the project, run on each chapter before anything is numbered; `description`, `favicon`,
  `open-graph`.
- `css`, `include-in-header`, `include-after-body`, on every page; `project: resources`. Includes load files by their
  address from the project's root, `<script src="/report/data/values.js">`; inline scripts and handlers are refused.
- Chapters that begin with `# Title {#sec-…}`, or `{.unnumbered}` for the first page and the references; sections
  `{#sec-…}` or `{.unnumbered}`; `{{< include FILE >}}` alone on its line.
- Python cells, executed once by one Jupyter kernel a chapter, with the options `label`, `fig-cap`, `fig-alt`,
  `tbl-cap`, `tbl-colwidths`, `echo`, `include`, `warning`, `output` (true, false, asis), `code-fold`, `code-summary`;
  results: one figure (SVG, PNG or JPEG), Markdown, a data frame, text. Inline `{python} …`: Markdown or a plain value.
- Figures: `![Caption](file){#fig-… fig-alt="…" width=…%}`, a div `#fig-…` with an image and its caption, a cell with
  `label: fig-…`. Tables: any of pandoc's with `: Caption {#tbl-…}`, a div `#tbl-…`, a cell with `label: tbl-…`.
- Equations `$$ … $$ {#eq-…}` and inline mathematics; footnotes; code blocks; lists; block quotes.
- References `@fig-…`, `@Fig-…`, `[-@fig-…]`, `[@fig-…; @tbl-…]` to `fig-`, `tbl-`, `eq-` and `sec-` labels anywhere in
  the book; links `[words](#sec-…)` to any heading or label, to other hosts, to chapters (`report/one.qmd#sec-…`), and
  to local files, which the site ships.
- Citations and the bibliography, in a chapter with a div `{#refs}`.
- Callouts `.callout-note`, `-tip`, `-warning`, `-caution`, `-important`, titled by a heading;
  `.content-visible` and `.content-hidden` with `when-format="html"` or `"typst"`, on divs and spans.
- Divs with classes of the book's own, for its style sheets, one within another; raw HTML blocks for the site alone.
- Titles with mathematics: as plain words where only words can stand.
- Text in UTF-8, whatever the locale; `lang: en`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report.press.cells import execute
from report.press.chapters import Chapter, read_chapter
from report.press.config import Book, read_book
from report.press.includes import read_includes
from report.press.pdf import build_pdf
from report.press.problems import BookError, Problem
from report.press.site import build_site
from report.press.times import timed

KERNELS = 3  # at once: each takes a second to start and about 100 MB

__all__ = ["BookError", "Problem", "render"]


def render(project: Path, site: Path, work: Path) -> None:
    """Renders the book in `project` into the folder `site`.

    `work` is an empty folder inside the project for what is needed on the way.
    """
    book = read_book(project)
    chapters = [read_chapter(book, file) for file in book.files]
    includes = read_includes(book)
    with timed("all chapters"):
        texts = asyncio.run(_execute_all(book, chapters, work))
    site.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        done = [
            pool.submit(timed("site")(build_site), book, chapters, texts, includes, work, site),
            pool.submit(timed("PDF")(build_pdf), book, chapters, texts, work, site / f"{book.stem}.pdf"),
        ]
    # What only one format refuses is reported together with what the other one does.
    refused = [error for future in done if isinstance(error := future.exception(), BookError)]
    if refused:
        raise BookError(*sorted({problem for error in refused for problem in error.problems}))
    for future in done:
        future.result()


async def _execute_all(book: Book, chapters: Sequence[Chapter], work: Path) -> list[str]:
    """The executed chapters; kernels take their time to start, so a few run at once.

    Appendices begin: they gather what the whole book has and take longest, and should not end alone.
    """
    few = asyncio.Semaphore(KERNELS)

    async def one(chapter: Chapter) -> str:
        async with few:
            with timed(chapter.file):
                return await execute(book, chapter, work)

    begun = {
        chapter.file: asyncio.create_task(one(chapter))
        for chapter in sorted(chapters, key=lambda chapter: not chapter.appendix)
    }
    done = await asyncio.gather(*(begun[chapter.file] for chapter in chapters), return_exceptions=True)
    problems = [problem for error in done if isinstance(error, BookError) for problem in error.problems]
    if problems:
        raise BookError(*problems)
    for text in done:
        if isinstance(text, BaseException):
            raise text
    return [text for text in done if isinstance(text, str)]
