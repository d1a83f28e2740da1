"""The HTML site: pandoc's pages in our template, the files they link to, and the search index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jinja2

from report.press.chapters import Chapter
from report.press.config import Book, Part
from report.press.document import FILTERS, run_pandoc
from report.press.includes import Includes, from_root
from report.press.problems import refuse
from report.press.search import search_index

HERE = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Page:
    """One chapter as the template sees it; `up` leads from its folder to the site's root."""

    file: str
    address: str
    up: str
    kind: str
    id: str
    title: str  # plain words; the TeX of its mathematics
    title_html: str  # the words as HTML without links and notes, for navigation
    heading: str
    body: str
    toc: Sequence[dict[str, Any]]
    number: str = ""

    @property
    def label(self) -> str:
        """The title with its number, where only words can stand."""
        return f"{self._numbered} {self.title}".strip()

    @property
    def label_html(self) -> str:
        """The title with its number, for links from other pages."""
        number = f'<span class="number">{self._numbered}</span> ' if self.number else ""
        return f"{number}{self.title_html}"

    @property
    def _numbered(self) -> str:
        return f"Appendix {self.number} —" if self.kind == "appendix" else self.number


@dataclass(frozen=True)
class Section:
    """Pages that stand together in the navigation, under the title of their part if they have one."""

    title: str
    pages: Sequence[Page]


def _sections(book: Book, pages: Sequence[Page]) -> list[Section]:
    by_file = {page.file: page for page in pages}
    sections: list[Section] = []
    for item in book.contents:
        files = item.chapters if isinstance(item, Part) else (item,)
        sections.append(
            Section(item.title if isinstance(item, Part) else "", [by_file[file] for file in files])
        )
    return sections


def build_site(
    book: Book, chapters: Sequence[Chapter], texts: Sequence[str], includes: Includes, work: Path, site: Path
) -> None:
    """Writes the whole site but the PDF into the folder `site`."""
    options = [f"--to={FILTERS / 'site.lua'}", "--mathml", "--syntax-highlighting=pygments", "--wrap=none"]
    made = json.loads(run_pandoc(book, chapters, texts, work, "html", options))
    pages = [Page(**page) for page in made["pages"]]
    sections = _sections(book, pages)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("page.html")
    for before, page, after in zip([None, *pages[:-1]], pages, [*pages[1:], None], strict=True):
        target = site / unquote(page.address)
        target.parent.mkdir(parents=True, exist_ok=True)
        html = template.render(
            book=book,
            sections=sections,
            appendices=[other for other in pages if other.kind == "appendix"],
            page=page,
            before=before,
            after=after,
            header=from_root(includes.header, page.up),
            body=from_root(page.body, page.up),
            tail=from_root(includes.tail, page.up),
        )
        target.write_text(html, encoding="utf-8")
    for name in ("site.css", "site.js", "minisearch.min.js"):
        shutil.copy(HERE / name, site / name)
    for file in [*made["assets"], *_resources(book), *includes.files, *filter(None, [book.favicon])]:
        source = work / file if (work / file).is_file() else book.project / file
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, site / file)
    index = search_index((page.address, page.label, page.body) for page in pages)
    (site / "search-index.js").write_text(index, encoding="utf-8")


def _resources(book: Book) -> list[str]:
    """The files that `project: resources` names beside those that the chapters link to."""
    found = []
    for pattern in book.resources:
        named = book.project / pattern  # a file's own name may have brackets
        files = [
            path for path in ([named] if named.exists() else book.project.glob(pattern)) if path.is_file()
        ]
        if not files:
            raise refuse("_quarto.yml", 0, f"project: resources names {pattern}, which matches no file")
        found += [path.relative_to(book.project).as_posix() for path in files]
    return found
