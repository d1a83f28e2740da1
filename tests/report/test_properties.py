"""Books of what the offline renderer knows render, each label once; anything else is refused with its line."""

from __future__ import annotations

import posixpath
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report.check import check
from report.press import BookError, render

WriteBook = Callable[[dict[str, str]], Path]
Book = tuple[dict[str, list[str]], Counter[str], Counter[str]]

SETTINGS = """\
project: {type: book, output-dir: _book, execute-dir: project}
book:
  title: T
  author: A
  date: "2026-01-02"
  chapters: [index.qmd, one.qmd, part/two.qmd, references.qmd]
  appendices: [more.qmd]
bibliography: references.bib
format:
  html: {html-math-method: mathml}
  typst: {papersize: a4}
jupyter: python3
"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
AROUND = {
    "_quarto.yml": SETTINGS,
    "index.qmd": "# Summary {.unnumbered}\n",
    "references.qmd": "# References {.unnumbered}\n\n::: {#refs}\n:::\n",
    "references.bib": "@book{knuth1984, title={Literate Programming}, author={Knuth, D.}, year={1984}}\n",
    "dot.svg": DOT,
    "part/dot.svg": DOT,
}
CHAPTERS = ("one.qmd", "part/two.qmd", "more.qmd")
WORDS = (
    "plain", "words,", "Zürich", "50 %", "*slanted*", "**bold**", "`code`", "$x^2 < \\eta$", "a_b_c", "\\*", "“said”",
    "x < y & z", "a^[A note with $\\beta$.]", "[web](https://example.org/)", "~~gone~~", "H~2~O", "---", "100.",
    "odd", "aside", "collapse", "Odd words", "`@fig-odder`",
)  # fmt: skip

# What the offline renderer knows; `…` becomes words, `@` a label, and the kind of label that it gives comes first.
BLOCKS = (
    ("", "…"),
    ("", "> …"),
    ("", "- …\n- …"),
    ("", "1. …\n2. …\n\n   ```python\n   x = 1\n   ```"),
    ("", "```python\n@fig-none = '{{'\n```"),
    ("", "| one | two |\n|-----|----:|\n| 1   | 2   |"),
    ("", "::: {.callout-note}\n## …\n\n…\n:::"),
    ("", "::: {.callout-warning}\n- …\n:::"),
    ("", '::: {.content-visible when-format="html"}\n…\n:::'),
    ("", ":::: {.cards}\n::: {.card .wide}\n…\n:::\n::::"),
    ("", "As @knuth1984 says, …"),
    ("", "![](dot.svg){fig-alt='A dot'}"),
    ("sec", "## … {#@}"),
    ("sec", "### … {#@}\n\n…"),
    ("fig", "![…](dot.svg){#@ fig-alt='A dot' width=50%}"),
    ("fig", "::: {#@}\n![](dot.svg){fig-alt='A dot'}\n\n…\n:::"),
    ("fig", "::: {.callout-tip}\n![…](dot.svg){#@ fig-alt='A dot'}\n:::"),
    ("tbl", "| one | two |\n|-----|:---:|\n| 1   | $x$ |\n\n: … {#@}"),
    ("tbl", "::: {#@}\n| one |\n|-----|\n| 1   |\n\n…\n:::"),
    ("eq", "$$ x = \\frac{1}{2} $$ {#@}"),
)
REFERENCES = ("@{0}", "[-@{0}]", "[words](#{0})", "(@{0})")

# What it does not know; refused where the first line of the block is, or so many lines below. The first are found
# while a chapter is read, before all others.
UNREADABLE = (
    ("{{< video odd.mp4 >}}", 0),
    ("```{r}\nodd\n```", 0),
    ("```python\n{{< odd >}}\n```", 1),
)
UNKNOWN = (
    ("<section>odd</section>", 0),
    ("One <b>odd</b> word", 0),
    ("\\newpage", 0),
    ("```{.python .odd}\n1\n```", 0),
    ("::: {.panel-tabset}\nodd\n:::", 0),
    ("::: aside\nodd\n:::", 0),
    ("::: {.callout-odd}\nodd\n:::", 0),
    ("::: {.callout-tip collapse=true}\nodd\n:::", 0),
    ("::: {.callout-note}\n<section>odd</section>\n:::", 1),
    ('::: {.content-visible when-format="docx"}\nodd\n:::', 0),
    ("> first\n> [odd]{.aside}", 1),
    ("- first\n- [odd]{.aside}", 1),
    ("See @thm-odd.", 0),
    ("See @fig-odd.", 0),
    ("Words\n[see @sec-chapter1]", 1),
    ("Words\n[@sec-chapter1; @knuth1984]", 1),
    ("As @odd1900 says.", 0),
    ("[odd](odd.csv)", 0),
    ("[odd](#odd)", 0),
    ("![odd](odd.svg){#fig-odd fig-alt=odd}", 0),
    ("![odd](https://example.org/odd.svg){#fig-odd fig-alt=odd}", 0),
    ("![odd](dot.svg){#fig-odd}", 0),
    ("![*odd* words](dot.svg){fig-alt=odd}", 0),
    ("![odd](dot.svg){#fig-odd fig-alt=odd fig-align=left}", 0),
    ("![odd](dot.svg){#fig-odd fig-alt=odd width=5cm}", 0),
    ("::: {#fig-odd}\nodd\n:::", 0),
    ("| odd |\n|-----|\n| 1   |\n\n: Odd *words*", 4),
    ("## Odd words {.odd}", 0),
    ("# Odd *words*", 0),
    ("Words {#eq-odd}", 0),
)


@st.composite
def books(draw: st.DrawFn) -> Book:
    """The blocks of every chapter, the labels that they give, and how often each is referred to."""
    plan = {file: draw(st.lists(st.sampled_from(BLOCKS), max_size=5)) for file in CHAPTERS}
    kinds = (kind for blocks in plan.values() for kind, _ in blocks if kind)
    made = [f"{kind}-{number}" for number, kind in enumerate(kinds)]
    labels = [*made, *(f"sec-chapter{number}" for number in range(len(CHAPTERS)))]
    referred: Counter[str] = Counter()

    def words() -> str:
        said = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
        if draw(st.booleans()):
            label = draw(st.sampled_from(labels))
            said.append(draw(st.sampled_from(REFERENCES)).format(label))
            referred[label] += 1
        return "So " + " ".join(said) + " on"

    left = iter(made)
    chapters = {}
    for number, (file, blocks) in enumerate(plan.items()):
        chapters[file] = [f"# Chapter {{#sec-chapter{number}}}"]
        for kind, block in blocks:
            text = block
            while "…" in text:
                text = text.replace("…", words(), 1)
            chapters[file].append(text.replace("#@", f"#{next(left)}") if kind else text)
    return chapters, Counter(labels), referred


def rendered(write_book: WriteBook, chapters: dict[str, list[str]]) -> Path:
    """The book's site and PDF, in a folder of its own."""
    texts = {file: "\n\n".join(blocks) + "\n" for file, blocks in chapters.items()}
    project = write_book(AROUND | texts)
    place = Path(tempfile.mkdtemp(dir=project))
    render(project, place / "_book", place)
    return place / "_book"


def links(site: Path) -> Iterator[tuple[str, str]]:
    """Where the links in the text of every page lead: page and name there."""
    for path in site.rglob("*.html"):
        here = path.relative_to(site).as_posix()
        for link in BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select("main a[href]"):
            page, _, name = str(link["href"]).partition("#")
            yield posixpath.normpath(posixpath.join(posixpath.dirname(here), page)) if page else here, name


def names(site: Path) -> dict[str, list[str]]:
    """The names on every page, its own heading's first."""
    found = {}
    for path in site.rglob("*.html"):
        main = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("main")
        assert main is not None
        found[path.relative_to(site).as_posix()] = [str(tag["id"]) for tag in main.select("[id]")]
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(book=books())
def test_what_is_known_renders_with_every_label_once_and_every_reference_there(
    write_book: WriteBook, book: Book
) -> None:
    chapters, labels, referred = book
    site = rendered(write_book, chapters)
    assert check(site) == []
    on = names(site)
    assert Counter(name for page in on.values() for name in page if name in labels) == labels
    led = Counter(name or on[page][0] for page, name in links(site) if page in on)
    assert {name: count for name, count in led.items() if name in labels} == referred


def planted(blocks: list[str], unknown: tuple[str, int], place: Random) -> tuple[list[str], int]:
    """A chapter's blocks with an unknown thing among them, and the line that is refused."""
    text, below = unknown
    at = place.randint(1, len(blocks))
    line = len("\n\n".join(blocks[:at]).splitlines()) + 2 + below
    return [*blocks[:at], text, *blocks[at:]], line


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    book=books(),
    unknown=st.lists(st.sampled_from(UNKNOWN), min_size=len(CHAPTERS), max_size=len(CHAPTERS)),
    place=st.randoms(),
)
def test_unknown_things_anywhere_are_refused_with_their_lines(
    write_book: WriteBook, book: Book, unknown: list[tuple[str, int]], place: Random
) -> None:
    chapters, _, _ = book
    lines = set()
    for number, (file, (text, below)) in enumerate(zip(CHAPTERS, unknown, strict=True)):
        own = text.replace("#fig-odd", f"#fig-odd{number}")  # a label given twice would be one more thing
        chapters[file], line = planted(chapters[file], (own, below), place)
        lines.add((file, line))
    with pytest.raises(BookError) as refused:
        rendered(write_book, chapters)
    assert {(problem.file, problem.line) for problem in refused.value.problems} == lines


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(book=books(), unknown=st.sampled_from(UNREADABLE), file=st.sampled_from(CHAPTERS), place=st.randoms())
def test_an_unreadable_thing_anywhere_is_refused_with_its_line(
    write_book: WriteBook, book: Book, unknown: tuple[str, int], file: str, place: Random
) -> None:
    chapters, _, _ = book
    chapters[file], line = planted(chapters[file], unknown, place)
    with pytest.raises(BookError) as refused:
        rendered(write_book, chapters)
    assert {(problem.file, problem.line) for problem in refused.value.problems} == {(file, line)}
