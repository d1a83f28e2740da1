"""`python -m report.check [_book]`: reads a rendered book, whichever program rendered it, and tells what is broken.

Each failure is one line, `page: what`. Exit codes: 0 nothing is broken, 1 something is, 2 usage.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pypdfium2
from bs4 import BeautifulSoup, Tag

# What a browser loads by itself; a link that a reader may follow is no request.
LOADS = {
    "img": ("src", "srcset"), "script": ("src",), "link": ("href",), "iframe": ("src",), "embed": ("src",),
    "object": ("data",), "source": ("src", "srcset"), "video": ("src", "poster"), "audio": ("src",), "use": ("href",),
    "image": ("href",), "form": ("action",),
}  # fmt: skip
NO_LOAD = {"canonical", "next", "prev", "author", "license"}  # <link rel=…> that browsers do not fetch
LIBRARIES = {"site_libs"}  # scripts of others; what they would load is in the pages' own CSS and tags
UNRESOLVED = re.compile(r"\?@(?:fig|tbl|eq|sec|lst)-[\w.:-]+")
SHOWN_SOURCE = re.compile(r"\{(?:python|jupyter)\}")  # what Quarto leaves of an inline value that is empty
EATEN = re.compile(r"#\|.*?(\\[!#-/:-@\[\]^_`{-~])")  # a backslash before punctuation; two of them make one
NUMBERED = re.compile(r"^(Figure|Table)\s+([0-9A-Z]+\.[0-9]+|[0-9]+)\s*[:.]\s*(.*)$", re.DOTALL)


@dataclass(frozen=True, order=True)
class Failure:
    page: str
    what: str

    def __str__(self) -> str:
        return f"{self.page}: {self.what}"


@dataclass(frozen=True)
class Page:
    """One page of the site."""

    book: Path
    address: str
    soup: BeautifulSoup

    @cached_property
    def names(self) -> set[str]:
        return {str(tag[key]) for key in ("id", "name") for tag in self.soup.select(f"[{key}]")}

    @cached_property
    def main(self) -> Tag:
        return self.soup.find("main") or self.soup

    def target(self, url: str) -> tuple[Path, str]:
        """The file and the fragment that a local address on this page means."""
        parts = urlsplit(url)
        here = self.book / self.address
        path = here if not parts.path else (here.parent / unquote(parts.path)).resolve()
        if parts.path.startswith("/"):
            path = self.book / unquote(parts.path).lstrip("/")
        return (path / "index.html" if path.is_dir() else path), unquote(parts.fragment)


def check(book: Path, project: Path | None = None) -> list[Failure]:
    """Everything that is broken in the rendered book; its sources are in `project`, or around it."""
    book = book.resolve()
    pages = {
        path: Page(book, path.relative_to(book).as_posix(), _parsed(path))
        for path in sorted(book.rglob("*.html"))
        if not LIBRARIES & set(path.relative_to(book).parts)
    }
    if book / "index.html" not in pages:
        return [Failure(book.name, "there is no index.html: render the book first")]
    failures: list[Failure] = []
    for page in pages.values():
        found = (
            *_references(page),
            *_shown_source(page),
            *_links(page, pages),
            *_images(page),
            *_requests(page),
        )
        failures += [Failure(page.address, what) for what in dict.fromkeys(found)]
    failures += _stylesheets(book)
    if pdf := pdf_of(book):
        failures += _pdf(pdf, list(pages.values()))
    else:
        failures.append(Failure(book.name, "there is no PDF beside index.html"))
    failures += _sources(project or book.parent)
    return failures


def _parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def pdf_of(book: Path) -> Path | None:
    """The book's PDF, which lies beside its first page."""
    return next(iter(sorted(book.glob("*.pdf"))), None)


def _references(page: Page) -> Iterator[str]:
    """Quarto leaves **?@fig-x** or a class where it cannot resolve a reference, **key?** in a citation of that key."""
    for unresolved in page.main.select("strong, .quarto-unresolved-ref"):
        words = unresolved.get_text()
        if unresolved.name != "strong" or UNRESOLVED.fullmatch(words):
            yield f"unresolved reference {words}"
    for citation in page.main.select(".citation[data-cites]"):
        keys = {f"{key}?" for key in str(citation["data-cites"]).split()}
        for bold in citation.find_all("strong"):
            if bold.get_text() in keys:
                yield f"unresolved citation {bold.get_text()}"


def _shown_source(page: Page) -> Iterator[str]:
    for code in page.main.find_all("code"):
        if not code.find_parent("pre") and SHOWN_SOURCE.match(code.get_text().strip()):
            yield f"shows source for a value: {code.get_text().strip()}"


def _links(page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for link in page.soup.select("a[href], area[href]"):
        url = str(link["href"])
        parts = urlsplit(url)
        if parts.scheme or parts.netloc or not url or url == "#":
            continue
        path, fragment = page.target(url)
        if not path.is_file():
            yield f"link to {url}, which does not exist"
        elif fragment and path in pages and fragment not in pages[path].names:
            yield f"link to {url}, but that page has no #{fragment}"


def _images(page: Page) -> Iterator[str]:
    for image in page.soup.find_all("img"):
        source = str(image.get("src", ""))
        if not source:
            yield "image without a source"
        elif not urlsplit(source).scheme and not page.target(source)[0].is_file():
            yield f"image {source} is missing"
        if not str(image.get("alt", "")).strip() and image.find_parent("main"):
            yield f"image {source[:80]} has no alternative text"


def _requests(page: Page) -> Iterator[str]:
    for name, keys in LOADS.items():
        for tag in page.soup.find_all(name):
            if name == "link" and NO_LOAD & set(tag.get("rel") or []):
                continue
            for key in keys:
                for url in re.split(r"[\s,]+(?=\S)", str(tag.get(key, ""))):
                    if _foreign(url):
                        yield f"<{name}> asks another host: {url}"
                url = str(tag.get(key, ""))
                local = url and name in {"script", "link"} and not urlsplit(url).scheme
                if local and not _foreign(url) and not page.target(url)[0].is_file():
                    yield f"<{name}> {url} is missing"
    styles = [style.get_text() for style in page.soup.find_all("style")]
    styles += [str(tag["style"]) for tag in page.soup.select("[style]")]
    for url in _css_urls("\n".join(styles)):
        yield f"a style asks another host: {url}"
    for script in page.soup.select("script:not([src])"):
        for url in re.findall(r"""\bimport\b[^;"']*["']((?:https?:)?//[^"']+)""", script.get_text()):
            yield f"a script imports from another host: {url}"


def _stylesheets(book: Path) -> Iterator[Failure]:
    for path in sorted(book.rglob("*.css")):
        for url in _css_urls(path.read_text(encoding="utf-8", errors="replace")):
            yield Failure(path.relative_to(book).as_posix(), f"asks another host: {url}")


def _css_urls(css: str) -> Iterator[str]:
    for url in re.findall(r"""(?:@import\s+(?:url\(\s*)?|url\(\s*)["']?([^"')\s;]+)""", css):
        if _foreign(url):
            yield url


def _foreign(url: str) -> bool:
    return bool(urlsplit(url).netloc) and urlsplit(url).scheme in {"", "http", "https", "ws", "wss"}


def _sources(project: Path) -> Iterator[Failure]:
    """Quarto eats a backslash before punctuation in a cell's options."""
    if not (project / "_quarto.yml").is_file():
        return
    for path in sorted({*project.glob("*.qmd"), *project.glob("report/*.qmd")}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if found := EATEN.match(line):
                place = path.relative_to(project).as_posix()
                what = f"the cell option has {found.group(1)}, of which Quarto eats the backslash: write it without"
                yield Failure(f"{place}:{number}", what)


# The PDF ----------------------------------------------------------------------------------------------------------


def _pdf(path: Path, pages: list[Page]) -> Iterator[Failure]:
    """Every figure and table of the site is in the PDF under the same number and words, and the other way round."""
    try:
        with pypdfium2.PdfDocument(path) as document:
            text = "\n".join(page.get_textpage().get_text_bounded() for page in document)
    except pypdfium2.PdfiumError as error:
        yield Failure(path.name, f"cannot be read: {error}")
        return
    listings = "".join(_flat(code.get_text()) for page in pages for code in page.main.find_all("pre"))
    for line in text.splitlines():
        found = SHOWN_SOURCE.search(line)
        if found and _flat(line[found.start() :]) not in listings:
            yield Failure(path.name, f"shows source for a value: {line.strip()}")
    flat = _flat(text)
    site: dict[str, str] = {}
    for page in pages:
        for number, words in _captions(page):
            if number in site:
                yield Failure(page.address, f"{number} is on the site twice")
            site[number] = words
            if _flat(f"{number}:{words}") not in flat:
                if _flat(f"{number}:") in flat:
                    yield Failure(path.name, f"the caption of {number} differs from the site's: {words}")
                else:
                    yield Failure(path.name, f"{number} of {page.address} is not in the PDF")
    words = "".join(_flat(page.main.get_text()) for page in pages)
    for kind, number in dict.fromkeys(
        re.findall(r"(?m)^\s*(Figure|Table)\s+([0-9A-Z]+\.[0-9]+|[0-9]+)\s*:", text)
    ):
        # Words of a page may look like a caption.
        if f"{kind} {number}" not in site and _flat(f"{kind} {number}:") not in words:
            yield Failure(path.name, f"{kind} {number} is not on the site")


def _captions(page: Page) -> Iterator[tuple[str, str]]:
    """Numbers and words of the captions; mathematics and footnotes are cut out, as the PDF sets them otherwise."""
    for caption in page.main.select("figcaption, caption"):
        copy = BeautifulSoup(str(caption), "html.parser")
        for cut in copy.select("math, .math, mjx-container, .footnote-ref"):
            cut.replace_with("\0")
        found = NUMBERED.match(re.sub(r"\s+", " ", copy.get_text()).strip())
        if found:
            # Up to the first of them, where the two still read the same.
            yield f"{found.group(1)} {found.group(2)}", found.group(3).split("\0")[0].strip()


def _flat(text: str) -> str:
    """Letters and digits only: line ends, hyphenation, ligatures and spaces differ between a page and a PDF."""
    return "".join(
        letter for letter in unicodedata.normalize("NFKC", text) if letter.isalnum() or letter == ":"
    )


def run_in_utf8(module: str, arguments: list[str] | None) -> int | None:
    """Run the command anew in Python's UTF-8 mode where the locale has another encoding, for the sake of file names.

    Returns the exit code; None where the encoding is UTF-8 already.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return None
    command = [sys.executable, "-m", module, *(sys.argv[1:] if arguments is None else arguments)]
    places = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    utf8 = {"PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(places)}
    return subprocess.run(command, env=os.environ | utf8, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Tells the failures of one book."""
    parser = argparse.ArgumentParser(prog="python -m report.check", description="Checks a rendered book.")
    parser.add_argument("book", nargs="?", type=Path, default=Path("_book"), help="its folder (_book)")
    book = parser.parse_args(arguments).book
    if (code := run_in_utf8("report.check", arguments)) is not None:
        return code
    failures = check(book)
    for failure in failures:
        print(failure)
    if not failures:
        print(f"{book}: references, links, images, requests and the PDF's numbers are in order")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
