"""Resources that a book adds to every page: HTML at the end of the head and of the body, and style sheets.

The pages' Content-Security-Policy allows no inline scripts, and pages lie in different folders: includes load scripts
from files of the project, addressed from its root (`/report/data/values.js`), as Quarto resolves them as well.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from report.press.config import Book
from report.press.files import inside, read_text
from report.press.problems import BookError, Problem

SHIP = "ship it as a file of the project that project: resources lists, and load it with <script src=…>"
_ROOTED = re.compile(r"""(\s(?:src|href)\s*=\s*["'])/(?!/)""")
_CSS_URL = re.compile(r"""(?:@import\s+(?:url\(\s*)?|url\(\s*)["']?([^"')\s;]+)""")


@dataclass(frozen=True)
class Includes:
    """HTML for the end of every page's head and body, and the files of the project that pages load."""

    header: str
    tail: str
    files: tuple[str, ...]


def read_includes(book: Book) -> Includes:
    """Read and check the included HTML and the style sheets."""
    checked = [_Include(book.project, file) for file in book.header + book.tail]
    problems = [problem for include in checked for problem in include.problems]
    if problems:
        raise BookError(*problems)
    texts = [include.text for include in checked]
    loaded = [file for include in checked for file in include.files]
    count = len(book.header)
    return Includes("".join(texts[:count]), "".join(texts[count:]), (*loaded, *_stylesheet_files(book)))


def from_root(html: str, up: str) -> str:
    """Lead addresses that begin at the project's root there from a page; `up` leads from its folder to the root."""
    return _ROOTED.sub(lambda found: found.group(1) + (up or "./"), html)


def _stylesheet_files(book: Book) -> list[str]:
    """The book's style sheets and the files of the project that they load."""
    files: list[str] = []
    waiting = list(book.css)
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.append(file)
            waiting += _css_references(book.project, file) if file.endswith(".css") else []
    return files


def _css_references(project: Path, file: str) -> Iterator[str]:
    text = read_text(project, file)
    for found in _CSS_URL.finditer(text):
        url = found.group(1)
        if url.startswith(("data:", "#")):
            continue
        line = text.count("\n", 0, found.start()) + 1
        if urlsplit(url).netloc:
            raise BookError(
                Problem(file, line, f"{url} is on another host: pages load files of the project only")
            )
        path = inside(posixpath.dirname(file), unquote(urlsplit(url).path))
        if path is None or not (project / path).is_file():
            raise BookError(
                Problem(file, line, f"{url} does not exist (paths are relative to the style sheet)")
            )
        yield path


class _Include(HTMLParser):
    """One included file: its text, what it loads, and what the pages could not run or find."""

    def __init__(self, project: Path, file: str) -> None:
        super().__init__()
        self.project, self.file = project, file
        self.text = read_text(project, file)
        self.files: list[str] = []
        self.problems: list[Problem] = []
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and "src" not in given and "json" not in given.get("type", ""):
            self._refuse(f"an inline script, which the pages' Content-Security-Policy blocks: {SHIP}")
        for name, value in given.items():
            if name.startswith("on"):
                self._refuse(
                    f"the inline handler {name}=, which the pages' Content-Security-Policy blocks: {SHIP}"
                )
            elif name in ("src", "href"):
                self._check_address(tag, value)

    def _check_address(self, tag: str, url: str) -> None:
        if url.lower().startswith("javascript:"):
            self._refuse(f"a javascript: address, which the pages' Content-Security-Policy blocks: {SHIP}")
        if not url or url.startswith(("#", "//")) or urlsplit(url).scheme:
            return
        if not url.startswith("/"):
            self._refuse(
                f"address {url}: pages lie in different folders, so write it from the project's root, /{url}"
            )
            return
        path = inside(unquote(urlsplit(url).path)[1:])
        if path and (self.project / path).is_file():
            self.files.append(path)
        elif tag != "a":
            self._refuse(f"{url} does not exist (addresses begin at the project's root)")

    def _refuse(self, message: str) -> None:
        self.problems.append(Problem(self.file, self.getpos()[0], message))
