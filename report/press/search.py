"""What the site's search finds: pages, their sections, figures and tables, and the files of data they link to.

The index is a script, which pages opened as files may load as well; minisearch.min.js ranks what it finds.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PageElement

HEADINGS = ("h2", "h3", "h4")
UNREAD = ("script", "style", "annotation", "svg", "button")  # no words that a reader sees


@dataclass
class Entry:
    """A place that search finds."""

    address: str
    title: str
    page: str  # the title of its page
    text: str = ""


def search_index(pages: Iterable[tuple[str, str, str]]) -> str:
    """The index as a script; pages are given as address, title and HTML."""
    entries: dict[str, Entry] = {}
    for address, title, html in pages:
        for entry in _entries(address, title, BeautifulSoup(html, "html.parser")):
            entries.setdefault(entry.address, entry)
    found = [{"id": number, **asdict(entry)} for number, entry in enumerate(entries.values())]
    return f"window.searchIndex = {json.dumps(found, ensure_ascii=False)};\n"


def _entries(address: str, title: str, body: BeautifulSoup) -> Iterator[Entry]:
    for gone in body.find_all(UNREAD):
        gone.decompose()
    for link in body.select('a[href$=".csv"], a[href$=".zip"], a[href$=".gz"]'):
        file = posixpath.normpath(posixpath.join(posixpath.dirname(address), str(link["href"])))
        yield Entry(file, posixpath.basename(file), title, f"data {posixpath.basename(file)}")
    for provenance in body.select(".provenance"):
        provenance.decompose()
    for figure in body.select("figure[id]"):
        caption = figure.find("figcaption")
        words = _words(caption) if isinstance(caption, Tag) else ""
        alt = " ".join(str(image.get("alt", "")) for image in figure.find_all("img"))
        yield Entry(
            f"{address}#{figure['id']}", words, title, f"{_words(figure)} {alt}".removeprefix(words).strip()
        )
        figure.decompose()
    section = Entry(address, title, title)
    for node in body.descendants:
        if isinstance(node, Tag) and node.name in HEADINGS and node.get("id"):
            yield section
            section = Entry(f"{address}#{node['id']}", _words(node), title)
        elif isinstance(node, NavigableString) and not _in_heading(node):
            section.text = f"{section.text} {' '.join(node.split())}".strip()
    yield section


def _words(tag: Tag) -> str:
    return " ".join(tag.get_text().split())


def _in_heading(node: PageElement) -> bool:
    return node.find_parent(HEADINGS) is not None
