"""What a reader can check in a rendered site, whatever program rendered it.

Per page: numbered headings, captions, alternative texts, equation numbers, references (text and target), titles of
callouts, paragraphs without mathematics. Beside them, what filters and the book's description make: `made_facts`.
`facts.json` in `book/`, `parts/` and `shown/` is what Quarto 1.11 gives for them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag

LABEL = re.compile(r"^(fig|tbl|eq|sec)-")


def site_facts(site: Path) -> dict[str, Any]:
    """The facts of every page, by its address."""
    return {
        path.relative_to(site).as_posix(): page_facts(path, site) for path in sorted(site.rglob("*.html"))
    }


def made_facts(path: Path) -> dict[str, Any]:
    """Of one page: its description, its images, what no line break may part, which cells head a column."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    main = soup.select_one("main")
    assert main is not None
    for gone in main.select(
        "nav, .page-navigation, script, style, .provenance, .number, .chapter-number, h1"
    ):
        gone.extract()
    metas = soup.select(
        'meta[name="description"], meta[property="og:description"], meta[property="og:site_name"]'
    )
    return {
        "description": sorted(str(meta["content"]) for meta in metas),
        "images": [
            {name: image.get(name) for name in ("alt", "width", "height", "loading")}
            for image in main.select("img")
        ],
        "kept together": re.findall(r"\d\u00a0\w+", main.get_text(" ")),
        "headings of columns": [words(cell) for cell in main.select("th[scope=col]")],
        "links": sorted({words(link) for link in main.select("a.title")}),
    }


def page_facts(path: Path, site: Path) -> dict[str, Any]:
    """The facts of one page."""
    address = path.relative_to(site).as_posix()
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    main = soup.find("main")
    assert isinstance(main, Tag)
    for gone in main.select("nav, .page-navigation, script, style, .provenance"):
        gone.extract()
    references = []
    for link in main.select("a[href*='#']"):
        target, _, label = str(link["href"]).partition("#")
        if LABEL.match(label):
            target = (
                posixpath.normpath(posixpath.join(posixpath.dirname(address), target)) if target else address
            )
            references.append([words(link), f"{target}#{label}"])
    return {
        "headings": [
            [heading.name, words(heading)]
            for heading in main.select("h1, h2, h3, h4")
            if not heading.find_parent(class_=re.compile("callout"))
        ],
        "captions": sorted(
            {words(c) for c in main.select("figcaption, caption") if re.match(r"(Figure|Table)\s", words(c))}
        ),
        "alt texts": sorted({str(image.get("alt", "")) for image in main.select("img")}),
        "equations": sorted(
            f"{equation.get('id')} {found.group().replace(' ', '')}"
            for equation in main.select("[id^='eq-']")
            if (found := re.search(r"\( ?[0-9A-Z.]+\)", words(equation)))
        ),
        "references": references,
        "callouts": [words(c) for c in main.select(".callout-title, .callout-title-container")],
        "paragraphs": [
            text
            for p in main.select("p")
            if not p.find("math") and not p.find_parent(["figure", "table"]) and len(text := words(p)) > 30
        ],
    }


def words(node: Tag) -> str:
    """The node's text with single spaces, without the TeX that stands behind mathematics."""
    for hidden in node.select("annotation, script, style, .anchorjs-link, .code-copy-button"):
        hidden.extract()
    text = node.get_text(" ").replace("\u00a0", " ").replace("\u2062", "")
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"\s+([.,;:)\]])", r"\1", text)
