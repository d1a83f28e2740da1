"""The HTML site: pandoc's pages in our template, the files they link to, and the search index."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from report.press.chapters import Chapter
from report.press.config import Book
from report.press.document import FILTERS, run_pandoc
from report.press.problems import refuse

HERE = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Page:
    """One chapter as the template sees it; `up` leads from its folder to the site's root."""

    address: str
    up: str
    kind: str
    id: str
    title: str
    heading: str
    body: str
    toc: Sequence[dict[str, Any]]
    number: str = ""

    @property
    def label(self) -> str:
        """The title with its number, for places outside the page."""
        number = f"Appendix {self.number} —" if self.kind == "appendix" else self.number
        return f"{number} {self.title}".strip()


def build_site(book: Book, chapters: Sequence[Chapter], texts: Sequence[str], work: Path, site: Path) -> None:
    """Writes the whole site but the PDF into the folder `site`."""
    options = [f"--to={FILTERS / 'site.lua'}", "--mathml", "--syntax-highlighting=pygments", "--wrap=none"]
    made = json.loads(run_pandoc(book, chapters, texts, work, "html", options))
    pages = [Page(**{key: value for key, value in page.items() if key != "file"}) for page in made["pages"]]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("page.html")
    for before, page, after in zip([None, *pages[:-1]], pages, [*pages[1:], None], strict=True):
        target = site / page.address
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            template.render(book=book, pages=pages, page=page, before=before, after=after), encoding="utf-8"
        )
    for name in ("site.css", "site.js", "math.woff2", "math-LICENSE.txt"):
        shutil.copy(HERE / name, site / name)
    for file in [*made["assets"], *_resources(book)]:
        source = work / file if (work / file).is_file() else book.project / file
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, site / file)
    _index(site)


def _resources(book: Book) -> list[str]:
    """The files that `project: resources` names beside those that the chapters link to."""
    found = []
    for pattern in book.resources:
        files = [path for path in book.project.glob(pattern) if path.is_file()]
        if not files:
            raise refuse("_quarto.yml", 0, f"project: resources names {pattern}, which matches no file")
        found += [path.relative_to(book.project).as_posix() for path in files]
    return found


def _index(site: Path) -> None:
    """Builds the search index in `pagefind/`."""
    command = [
        sys.executable,
        "-m",
        "pagefind_bin",
        "--site",
        str(site),
        "--output-path",
        str(site / "pagefind"),
        "--quiet",
    ]
    command += ["--exclude-selectors", "annotation, .footnote-back, .provenance"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise refuse("pagefind", 0, done.stderr.strip() or done.stdout.strip())
