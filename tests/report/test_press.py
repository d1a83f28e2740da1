"""The offline renderer gives what real Quarto gives, and refuses what it does not know with file and line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import unquote

import pypdf
import pytest
from bs4 import BeautifulSoup, Tag

from report import check
from report.__main__ import main, replace
from report.press import BookError, render
from tests.report.facts import made_facts, site_facts

HERE = Path(__file__).parent
WriteBook = Callable[[dict[str, str]], Path]


def pdf_text(project: Path) -> str:
    path = check.pdf_of(project / "_book")
    assert path is not None
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)
    return text.replace("\u00a0", " ")


def page(project: Path, address: str) -> BeautifulSoup:
    return BeautifulSoup((project / "_book" / address).read_text(encoding="utf-8"), "html.parser")


def words(node: Tag | None) -> str:
    """The node's text as a reader sees it."""
    assert node is not None
    copy = BeautifulSoup(str(node), "html.parser")
    for hidden in copy.select("annotation"):
        hidden.decompose()
    return " ".join(copy.get_text().split())


def press(project: Path) -> int:
    return main(["--engine", "press", "--project", str(project)])


# The sample books, which real Quarto has rendered as well ------------------------------------------------------------

QUARTOS = {
    name: json.loads((HERE / name / "facts.json").read_text(encoding="utf-8"))
    for name in ("book", "parts", "shown")
}


@pytest.fixture(scope="session")
def facts(sample: Path, parts: Path, shown: Path) -> dict[str, dict[str, Any]]:
    found = {"book": sample, "parts": parts, "shown": shown}
    return {name: site_facts(project / "_book") for name, project in found.items()}


@pytest.mark.parametrize("name", QUARTOS)
def test_pages_have_quartos_addresses(facts: dict[str, dict[str, Any]], name: str) -> None:
    assert set(facts[name]) == set(QUARTOS[name])


@pytest.mark.parametrize(
    ("name", "address"), [(name, address) for name, pages in QUARTOS.items() for address in pages]
)
def test_page_gives_quartos_facts(facts: dict[str, dict[str, Any]], name: str, address: str) -> None:
    told = {key: facts for key, facts in QUARTOS[name][address].items() if key != "made"}
    # Quarto leaves TeX in a reference by title; the offline renderer sets it, as in the title itself.
    told = told | {"paragraphs": [text for text in told["paragraphs"] if "\\" not in text]}
    assert facts[name][address] == told


@pytest.mark.parametrize("address", QUARTOS["shown"])
def test_filters_and_the_description_make_what_they_make_with_quarto(shown: Path, address: str) -> None:
    assert made_facts(shown / "_book" / address) == QUARTOS["shown"][address]["made"]


def test_pdf_has_the_sites_numbers_and_contents(sample: Path) -> None:
    text = pdf_text(sample)
    captions = set(re.findall(r"(?m)^((?:Figure|Table) [0-9A-Z.]+):", text))
    assert captions == {
        *(f"Figure {number}" for number in ("1.1", "1.2", "1.3", "2.1", "A.1", "A.2")),
        *(f"Table {number}" for number in ("2.1", "2.2", "2.3")),
    }
    contents, body = re.split(r"(?m:^Summary\n)", text)[0:2]
    assert "Contents" in contents
    assert "Appendix A — Learning rates" in contents
    assert "Appendix A.\n" in body
    assert "Only the PDF says this." in text
    assert "Only the site says this." not in text


def test_pdf_is_a4_has_its_fields_links_and_words_for_images(sample: Path) -> None:
    path = check.pdf_of(sample / "_book")
    assert path is not None
    assert path.name == "A-sample-book.pdf"
    reader = pypdf.PdfReader(path)
    assert reader.metadata is not None
    assert (reader.metadata.title, reader.metadata.author) == ("A sample book", "A. Author")
    assert [round(float(side)) for side in reader.pages[0].mediabox[2:]] == [595, 842]
    assert all(page.extract_text().strip() for page in reader.pages), "no blank pages"
    assert any("/Annots" in page for page in reader.pages)
    catalogue = reader.trailer["/Root"]
    assert "/StructTreeRoot" in catalogue
    alts = {str(thing["/Alt"]) for thing in _objects(reader) if "/Alt" in thing}
    assert {"A red rectangle.", "A line that falls from three to one."} <= alts


def _objects(reader: pypdf.PdfReader) -> list[pypdf.generic.DictionaryObject]:
    found = (reader.get_object(number) for number in range(1, int(str(reader.trailer["/Size"]))))
    return [thing for thing in found if isinstance(thing, pypdf.generic.DictionaryObject)]


def test_each_page_says_its_language_and_lets_nothing_in_from_other_hosts(sample: Path) -> None:
    for path in (sample / "_book").rglob("*.html"):
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        assert soup.html is not None
        assert soup.html["lang"] == "en"
        assert soup.select_one("main#main")
        policy = soup.select_one("meta[http-equiv='Content-Security-Policy']")
        assert policy is not None
        rules = dict(rule.split(maxsplit=1) for rule in str(policy["content"]).split("; "))
        assert rules["default-src"] == "'none'"
        assert {source for rule in rules.values() for source in rule.split()} == {
            "'none'", "'self'", "'unsafe-inline'", "data:",
        }  # fmt: skip
        assert rules["script-src"] == "'self'"
        download = soup.select_one("a[download]")
        assert download is not None
        assert (path.parent / str(download["href"])).resolve().is_file()


# Parts, and what a book adds to every page ----------------------------------------------------------------------------


def test_a_part_is_a_section_of_the_sidebar_with_its_chapters(parts: Path) -> None:
    for address in QUARTOS["parts"]:
        listed = page(parts, address).select("nav[aria-label=Chapters] > ul:first-of-type > li")
        sections = [item.details for item in listed if item.details]
        assert all(section.has_attr("open") for section in sections)
        assert [words(section) for section in sections] == [
            "Assignment 1 1Q1 · Widths 2Q2 · Rates and η",
            "Assignment 2 3E1 · Batches",
        ]
        assert [words(item) for item in listed if not item.details] == ["Summary", "References"]


def test_previous_and_next_lead_through_the_parts(parts: Path) -> None:
    turns = {turn["rel"][0]: turn for turn in page(parts, "report/rates.html").select(".page-navigation a")}
    assert {rel: (turn["href"], words(turn)) for rel, turn in turns.items()} == {
        "prev": ("../report/widths.html", "Previous1 Q1 · Widths"),
        "next": ("../report/batches.html", "Next3 E1 · Batches"),
    }
    (turn,) = page(parts, "report/widths.html").select(".page-navigation [rel=next] math")
    assert words(turn) == "η"


def test_mathematics_of_a_title_is_set_and_said_in_words_where_only_words_can_stand(parts: Path) -> None:
    rates = page(parts, "report/rates.html")
    assert words(rates.title) == "2 Q2 · Rates and η – A book in parts"
    assert words(rates.main.h1.math) == "η"
    (reference,) = page(parts, "index.html").select('a.quarto-xref[href="report/rates.html"]')
    assert words(reference) == "2 Q2 · Rates and η"
    assert reference.math


def test_the_pdf_lists_parts_and_sets_them_above_their_first_chapter(parts: Path) -> None:
    text = pdf_text(parts)
    contents, body = re.split(r"(?m)^(?=Summary\n)", text)
    lines = [re.sub(r"[ .\u2060]+\d+$", "", line) for line in contents.splitlines()]
    begin = lines.index("Contents") + 1
    assert [line.replace("  ", " ") for line in lines[begin : begin + 4]] == [
        "Summary", "Assignment 1", "1 Q1 · Widths", "Set-up",
    ]  # fmt: skip
    assert re.search(r"(?m)^Assignment 1\n1\s+Q1 · Widths\nThe best width", body)
    assert re.search(r"(?m)^Assignment 2\n3\s+E1 · Batches\n", body)
    assert "See Chapter 1, Chapter 2, Chapter 3, Figure 1.1" in body
    assert "Only in the PDF." in body
    assert "Raw markup inside." not in body


def test_a_parts_heading_keeps_with_its_chapter_wherever_the_page_ends(write_book: WriteBook) -> None:
    numbers = range(1, 21)
    chapter = """\
# Chapter {{#sec-{0}}}

First words of {0}.

::: {{.content-visible when-format="typst"}}
```{{=typst}}
#pagebreak()
#v({1}pt)
```
:::

Last words of {0}.
"""
    # The next part begins farther and farther down its page.
    files = {f"{number}.qmd": chapter.format(number, 480 + 9 * number) for number in numbers}
    project = write_book(files)
    settings = project / "_quarto.yml"
    chapters = "".join(f"{{part: Division {number}, chapters: [{number}.qmd]}}, " for number in numbers)
    settings.write_text(settings.read_text().replace("one.qmd", chapters))
    assert press(project) == 0
    path = check.pdf_of(project / "_book")
    assert path is not None
    texts = [page.extract_text().replace("\u00a0", " ") for page in pypdf.PdfReader(path).pages]
    moved = 0
    for number in numbers:
        (text,) = [text for text in texts if f"First words of {number}." in text]
        assert re.search(rf"Division {number}\n{number}\s+Chapter\nFirst words of {number}\.", text)
        moved += f"Last words of {number - 1}." not in text
    assert 1 < moved < len(numbers), "some parts have room on the page, some move to the next one"
    assert all(text.startswith("T Chapter") for text in texts[2:]), "no part is in the running head"


def test_figures_go_to_the_end_of_a_page_but_those_in_place_and_in_appendices(write_book: WriteBook) -> None:
    table = ": In table {0} {{#tbl-{0}}}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    around = {"floating": table, "placed": f"::: {{{{.in-place}}}}\n{table}:::\n", "added": table}
    chapter = "# Chapter {0} {{{{#sec-{0}}}}}\n\nFirst words of {0}.\n\n{1}\nLast words of {0}.\n"
    files = {f"{name}.qmd": chapter.format("{0}", shown).format(name) for name, shown in around.items()}
    project = write_book(files)
    settings = project / "_quarto.yml"
    book = settings.read_text().replace("one.qmd", "floating.qmd, placed.qmd")
    settings.write_text(re.sub(r"(?m)^(  chapters:.*)$", r"\1\n  appendices: [added.qmd]", book))
    assert press(project) == 0
    text = " ".join(pdf_text(project).split())
    order = {
        name: [text.index(f"{words} {name}") for words in ("First words of", "In table", "Last words of")]
        for name in around
    }
    assert order["placed"] == sorted(order["placed"])
    assert order["added"] == sorted(order["added"])
    assert order["floating"] != sorted(order["floating"])


def test_style_sheets_and_includes_are_on_every_page(parts: Path) -> None:
    for address in QUARTOS["parts"]:
        soup = page(parts, address)
        sheets = [str(link["href"]) for link in soup.select("head link[rel=stylesheet]")]
        assert sheets[-1].endswith("report/extra.css"), "the book's own style sheet is the last"
        assert (parts / "_book" / address).parent.joinpath(sheets[-1]).is_file()
        assert soup.select_one("head meta[name=citation_title]")
        assert soup.select_one("body p.after")
    assert (parts / "_book/report/data/values.js").is_file()


def test_includes_load_files_from_the_projects_root(write_book: WriteBook) -> None:
    project = write_book(
        {
            "part/one.qmd": "# One {#sec-one}\n",
            "head.html": '<link rel="icon" href="/dot.svg">\n<script type="application/json">{"a": 1}</script>\n',
            "tail.html": '<script src="/data/shown.js" defer></script>\n<a href="https://example.org/">there</a>\n',
            "data/shown.js": "1;\n",
            "styles/book.css": '@import "more.css";\n.card { background: url(../dot.svg); }\n',
            "styles/more.css": "p { color: red; }\n",
        }
    )
    settings = project / "_quarto.yml"
    html = "css: [styles/book.css], include-in-header: head.html, include-after-body: [tail.html], html-math"
    text = settings.read_text().replace("html-math", html).replace("one.qmd", "part/one.qmd")
    settings.write_text(text)
    assert press(project) == 0
    for address, up in (("index.html", "./"), ("part/one.html", "../")):
        assert page(project, address).select_one(f'script[src="{up}data/shown.js"]')
        assert page(project, address).select_one(f'link[href="{up}dot.svg"]')
    for file in ("data/shown.js", "dot.svg", "styles/book.css", "styles/more.css"):
        assert (project / "_book" / file).is_file()


def test_divs_of_the_books_own_classes_keep_them(parts: Path) -> None:
    cards = page(parts, "index.html").main.select("div.cards > div.card")
    assert [words(card) for card in cards] == [
        "Widths. The wider the better (more).",
        "Rates. Neither too small nor too large (more).",
    ]
    assert [card.a["href"] for card in cards] == ["report/widths.html", "report/rates.html"]


def test_links_to_chapters_files_lead_to_their_pages(write_book: WriteBook) -> None:
    links = "[a](../index.qmd), [b](two.qmd#named), [c](two.qmd#sec-two), [d](#card)"
    project = write_book(
        {
            "part/one.qmd": f"# One {{#sec-one}}\n\n{links}\n\n::: {{#card .card}}\nHere.\n:::\n",
            "part/two.qmd": "# Two {#sec-two}\n\n## Named\n",
        }
    )
    settings = project / "_quarto.yml"
    settings.write_text(settings.read_text().replace("one.qmd", "part/one.qmd, part/two.qmd"))
    assert press(project) == 0
    found = {link.get_text(): link["href"] for link in page(project, "part/one.html").main.select("a")}
    assert found == {
        "a": "../index.html",
        "b": "../part/two.html#named",
        "c": "../part/two.html#sec-two",
        "d": "#card",
    }
    assert "a, b, c, d" in pdf_text(project)


# A fuller book ------------------------------------------------------------------------------------------------------


def test_references_name_chapters_sections_appendices_and_equations(fuller: Path) -> None:
    text = words(page(fuller, "report/more.html").main)
    assert (
        "Here Section A.1, Figure A.1, Table A.1 and Equation A.1; there Section 1.1 and Equation 1.1."
        in text
    )
    text = words(page(fuller, "report/parts.html").main)
    assert "and after it, 1.1 or (1.1) or Equation 1.1; without a number:" in text
    assert (
        "In this section, Section 1.3 is near and Appendix A is far; Appendix B is in the last appendix."
        in text
    )
    pdf = " ".join(pdf_text(fuller).split())
    assert "and after it, 1.1 or (1.1) or Equation 1.1; without a number" in pdf
    assert (
        "Here Section A.1, Figure A.1, Table A.1 and Equation A.1; there Section 1.1 and Equation 1.1." in pdf
    )
    assert "Figure B.2: Repeated 2" in pdf


def test_links_lead_to_labels_headings_and_files_of_the_project(fuller: Path) -> None:
    links = {link.get_text(): link["href"] for link in page(fuller, "index.html").main.select("a")}
    assert links["the tables"] == "report/parts.html#sec-tables"
    assert links["an unlabelled heading"] == "report/parts.html#words-to-link-to"
    assert links["web"] == "https://example.org/"
    assert (fuller / "_book/report/data/made.csv").is_file()
    assert (fuller / "_book/report/data/note.txt").is_file()
    assert "made.csv" in pdf_text(fuller)


def test_cells_show_what_their_options_say(fuller: Path) -> None:
    main = page(fuller, "report/parts.html").main
    assert [words(summary) for summary in main.select("details.code-fold > summary")] == [
        "Words and warnings"
    ]
    assert [output.get_text() for output in main.select("pre.output")] == ["printed `words`", "42"]
    text = words(main)
    assert "never shown" not in text
    assert "a warning" not in main.select_one("pre.output").get_text()
    assert "Inline values: 0.5, 42, a*b_c and emphasis." in text
    alts = [image["alt"] for image in main.select("img")]
    assert 'A line with "quotes" & an ampersand <here>.' in alts


def test_words_that_look_like_html_stay_words(write_book: WriteBook) -> None:
    odd = '<script>x</script> & "y" <b>z</b>'
    caption = odd.replace("<", "\\<")
    figure = f"![{caption}](dot.svg){{#fig-a fig-alt='{odd}'}}\n"
    project = write_book({"one.qmd": f"# {caption} {{#sec-one}}\n\n{figure}"})
    settings = project / "_quarto.yml"
    settings.write_text(settings.read_text().replace("title: T", f"title: '{odd}'\n  output-file: T"))
    assert press(project) == 0
    for address in ("index.html", "one.html"):
        assert not page(project, address).select("script:not([src]), b")
    one = page(project, "one.html")
    assert words(one.main.h1) == f"1 {odd}".replace('"y"', "“y”")
    assert words(one.figcaption) == f"Figure 1.1: {odd}".replace('"y"', "“y”")
    assert one.figure.img["alt"] == odd
    assert odd in words(one.title)


def test_lists_tables_and_notes_hold_what_a_page_holds(fuller: Path) -> None:
    main = page(fuller, "report/other [hands].html").main
    held = {
        words(callout): callout.find_parent(["dd", "td", "li"]).name for callout in main.select(".callout")
    }
    assert held == {
        "Warning Within a definition.": "dd",
        "Tip Within a cell.": "td",
        "Note Within a note.": "li",
    }
    assert [words(number) for number in main.select(".equation-number")] == ["(2.1)", "(2.2)"]
    pdf = " ".join(pdf_text(fuller).split())
    assert "Term of Equation 2.1 Words, then a callout." in pdf
    assert "Caption3 of Equation 2.2, twice." in pdf, "labels of any letters, points and colons"


def test_inline_values_are_computed_wherever_code_blocks_begin_and_end(fuller: Path) -> None:
    text = words(page(fuller, "report/other [hands].html").main)
    assert "Then 42." in text
    assert "quoted 43." in text
    assert "```{python} shown, not run ```" in text
    assert "print(1)" in text


def test_a_caption_of_a_cell_is_words_whatever_it_begins_with(fuller: Path) -> None:
    main = page(fuller, "report/other [hands].html").main
    assert (
        words(main.select_one("#fig-photo figcaption"))
        == "Figure 2.1: (b) A photograph of Table 2.1; no list"
    )
    assert words(main.select_one("[id='tbl-η-0.1'] figcaption")) == "Table 2.2: # 80 rows"


def test_a_photograph_and_a_long_data_frame_are_shown(fuller: Path) -> None:
    main = page(fuller, "report/other [hands].html").main
    photo = unquote(str(main.select_one("#fig-photo img")["src"]))
    assert (fuller / "_book/report" / photo).read_bytes().startswith(b"\xff\xd8"), "a JPEG"
    assert words(main.select_one("[id='tbl-η-0.1']")).endswith("79 79 80 rows × 1 columns")


def test_output_is_as_a_terminal_shows_it_without_the_words_of_libraries(fuller: Path) -> None:
    outputs = page(fuller, "report/other [hands].html").main.select("pre.output")
    assert [output.get_text() for output in outputs] == [
        "step 2\na link red X",
        "own words\nUserWarning: own warning\nown log",
    ]
    assert "somebody" not in pdf_text(fuller)


def test_no_link_is_within_a_link(fuller: Path) -> None:
    main = page(fuller, "report/other [hands].html").main
    image = main.select_one("img[alt='A linked rectangle.']")
    assert image.find_parent("a")["href"] == "https://example.org/"
    html = (fuller / "_book/report/other [hands].html").read_text(encoding="utf-8")
    assert not [piece for piece in html.split("<a ")[1:-1] if "</a>" not in piece]
    assert "with Section 2.4 and a note4" in words(main)


def test_files_of_odd_names_are_linked_and_shipped(fuller: Path) -> None:
    main = page(fuller, "report/other [hands].html").main
    folder = fuller / "_book/report"
    assert main.select_one("#fig-odd img")["src"] == "50%25%20%5B1%5D%20%232.svg"
    assert (folder / "50% [1] #2.svg").is_file()
    links = {
        link.get_text(): folder / unquote(str(link["href"]).partition("#")[0]) for link in main.select("p a")
    }
    for name in ("this chapter", "that one", "data", "from the root"):
        assert links[name].is_file(), name


def test_notes_are_written_once_and_numbered_through(fuller: Path) -> None:
    main = page(fuller, "report/other [hands].html").main
    assert [words(note) for note in main.select(".footnote-ref")] == ["1", "2", "3", "4"]
    pdf = pdf_text(fuller)
    for note in ("A note on the title.", "A note on the table.", "A note in a link."):
        assert pdf.count(note) == 1


def test_an_included_file_may_begin_with_a_byte_order_mark(fuller: Path) -> None:
    assert words(page(fuller, "report/other [hands].html").select_one("#sec-marked")) == "2.1 Marked"


def test_content_for_one_format_stays_there(fuller: Path) -> None:
    text = words(page(fuller, "report/parts.html").main)
    assert "For the site only here." in text
    assert "For the site only there." in " ".join(pdf_text(fuller).split())
    assert page(fuller, "report/parts.html").select_one("hr.raw")


def test_data_frames_and_column_widths_become_tables(fuller: Path) -> None:
    main = page(fuller, "report/parts.html").main
    heads = [[words(cell) for cell in table.select("th")] for table in main.select("table")]
    assert ["", "network", "loss", "0", "1"] in heads
    assert [col["style"] for col in main.select("#tbl-wide col")] == ["width: 70%", "width: 30%"]


def test_a_caption_holds_references_and_citations(fuller: Path) -> None:
    caption = page(fuller, "report/parts.html").select_one("#fig-made figcaption")
    assert words(caption).startswith(
        "Figure 1.1: A drawn figure, compared with Figure 1.2; see (LeCun et al. 1998)."
    )


def test_a_second_render_gives_the_same_pages(fuller: Path) -> None:
    before = {path: path.read_bytes() for path in (fuller / "_book").rglob("*.html")}
    before |= {path: path.read_bytes() for path in (fuller / "_book").rglob("*.svg")}
    assert press(fuller) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in fuller.iterdir() if path.name.startswith("_book.")]


# Refusals -----------------------------------------------------------------------------------------------------------

ONLY_SITE = '# One\n\n::: {{.content-visible when-format="html"}}\n```{{=html}}\n{}\n```\n:::\n'
BOOK = """\
project: {{type: book}}
book:
  title: T
  author: A
  date: "2026-01-02"
  chapters:
    - index.qmd
    - {}
format: {{html: {{toc: true}}, typst: {{toc: true}}}}
"""
CELL = "# One {#sec-one}\n\n```{python}\n"
UNREADABLE = {
    # name: (file, its text, where, what is told)
    "option": ("one.qmd", CELL + "#| echo: false\n#| layout-ncol: 2\n1\n```\n", "one.qmd:5", "unknown cell option"),
    "option value": ("one.qmd", CELL + "#| output: sometimes\n1\n```\n", "one.qmd:4", "output is 'sometimes'"),
    "option type": ("one.qmd", CELL + '#| echo: "no"\n1\n```\n', "one.qmd:4", "echo should be a bool"),
    "option yaml": ("one.qmd", CELL + '#| label: fig-a\n#| fig-cap: "open\n1\n```\n', "one.qmd:5", "not valid YAML"),
    "no alt option": ("one.qmd", CELL + "#| label: fig-a\n#| fig-cap: A\n1\n```\n", "one.qmd:3", "has no fig-alt"),
    "no caption": ("one.qmd", CELL + "#| label: tbl-a\n1\n```\n", "one.qmd:3", "has no tbl-cap"),
    "no label": ("one.qmd", CELL + "#| tbl-cap: A\n1\n```\n", "one.qmd:3", "needs a label that begins with tbl-"),
    "language": ("one.qmd", "# One\n\n```{r}\n1\n```\n", "one.qmd:3", "cells are ```{python}"),
    "attributes": ("one.qmd", "# One\n\n```{python echo=FALSE}\n1\n```\n", "one.qmd:3", "cells are ```{python}"),
    "fence": ("one.qmd", "# One\n\n```python\n1\n", "one.qmd:3", "never closed"),
    "escaped cell": ("one.qmd", "# One\n\n```{{r}}\n1\n```\n", "one.qmd:3", "cells are ```{python}"),
    "quoted cell": ("one.qmd", "# One\n\n> ```{python}\n> 1\n> ```\n", "one.qmd:3", "cells are ```{python}"),
    "listed cell": ("one.qmd", "# One\n\n1. ```{python}\n   1\n   ```\n", "one.qmd:3", "cells are ```{python}"),
    "cell in tildes": ("one.qmd", "# One\n\n~~~\n```{python}\n```\n~~~\n", "one.qmd:4", "show it between ````"),
    "column widths": ("one.qmd", CELL + "#| tbl-colwidths: [1, -2]\n1\n```\n", "one.qmd:4", "columns' shares"),
    "language of the book": ("_quarto.yml", BOOK.format("one.qmd") + "lang: fr\n", "_quarto.yml:10", "lang is fr"),
    "title": ("_quarto.yml", BOOK.format("one.qmd").replace(": T", ": On $x$"), "_quarto.yml:3", "plain words"),
    "outside": ("_quarto.yml", BOOK.format("sub/../../one.qmd"), "_quarto.yml:8", "is not in the project"),
    "chapter twice": ("_quarto.yml", BOOK.format("one.qmd\n    - ./one.qmd"), "_quarto.yml:7", "is listed twice"),
    "file name": ("_quarto.yml", BOOK.format("one?.qmd"), "_quarto.yml:8", "rename it"),
    "shortcode": ("one.qmd", "# One\n\n{{< video a.mp4 >}}\n", "one.qmd:3", "shortcode 'video'"),
    "include": ("one.qmd", "# One\n\n{{< include _no.qmd >}}\n", "one.qmd:3", "_no.qmd does not exist"),
    "front matter": ("one.qmd", "---\ntitle: One\n---\n", "one.qmd:1", "front matter"),
    "first page": ("index.qmd", "# Summary\n", "index.qmd:1", "the first page is not numbered"),
    "key": ("_quarto.yml", "project:\n  type: book\n  pre-render: a.py\n", "_quarto.yml:3", "project: pre-render"),
    "value": ("_quarto.yml", "project: {type: website}\n", "_quarto.yml:1", "type is website"),
    "nested part": ("_quarto.yml", BOOK.format("{part: A, chapters: [{part: B, chapters: [one.qmd]}]}"),
                    "_quarto.yml:8", "a part inside part 'A'"),
    "part with a page": ("_quarto.yml", BOOK.format("{part: one.qmd, chapters: [one.qmd]}"), "_quarto.yml:8",
                         "no page of its own: give its title"),
    "part with markup": ("_quarto.yml", BOOK.format("{part: _A_, chapters: [one.qmd]}"), "_quarto.yml:8", "plain w"),
    "part without chapters": ("_quarto.yml", BOOK.format("{part: A}"), "_quarto.yml:8", "a title and chapters"),
    "empty part": ("_quarto.yml", BOOK.format("{part: A, chapters: []}"), "_quarto.yml:8", "no list of chapters"),
    "named chapter": ("_quarto.yml", BOOK.format("{file: one.qmd, text: A}"), "_quarto.yml:8", "keys file, text"),
    "notebook": ("_quarto.yml", BOOK.format("one.ipynb"), "_quarto.yml:8", "a chapter is a .qmd file"),
    "missing chapter": ("_quarto.yml", BOOK.format("two.qmd"), "_quarto.yml:8", "chapter two.qmd does not exist"),
    "part of appendices": ("_quarto.yml", BOOK.format("one.qmd\n  appendices:\n    - {part: A, chapters: [one.qmd]}"),
                           "_quarto.yml:10", "appendices have no parts"),
    "yaml": ("_quarto.yml", "project: [\n", "_quarto.yml:2", "not valid YAML"),
}  # fmt: skip
LABEL = re.compile(r"([#@](?:eq|fig|sec|tbl|thm)-[a-z]+)(-\d+)?")
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
REFUSED = {
    # name: (its text, the line, what is told)
    "no title": ("Words.\n", 1, "should begin with its title"),
    "two titles": ("# One\n\n# Two\n", 3, "one chapter a file"),
    "heading class": ("# One\n\n## Two {.appendix}\n", 3, "class 'appendix'"),
    "numbered below": ("# One\n\n## Two {.unnumbered}\n\n### Three\n", 5, "add {.unnumbered}"),
    "reference": ("# One\n\nSee @fig-none.\n", 3, "reference to @fig-none: nothing"),
    "to unnumbered": ("# One\n\n## Two {#sec-b .unnumbered}\n\nSee\n@sec-b.\n", 6, "no number"),
    "foreign reference": ("# One\n\nSee @thm-one.\n", 3, "fig-, tbl-, eq- and sec- only"),
    "words in brackets": ("# One {#sec-one}\n\n[see @sec-one]\n", 3, "write them outside"),
    "citation": ("# One\n\nAs @nobody1900 says.\n", 3, "not in the bibliography"),
    "label twice": ("# One {#sec-one}\n\n## Two {#sec-b}\n\n## Three {#sec-b}\n", 3, "twice"),
    "label of nothing": ("# One\n\nWords {#eq-none}\n", 3, "belongs to nothing"),
    "missing image": ("# One\n\n![A](no.svg){#fig-a fig-alt=A}\n", 3, "no.svg does not exist"),
    "foreign image": ("# One\n\n![](https://a.org/b.svg){fig-alt=A}\n", 3, "asks no other host"),
    "no alt": ("# One\n\n![A](dot.svg){#fig-a}\n", 3, "no words for those who cannot see it"),
    "no alt again": (
        "# One\n\n![A](dot.svg){#fig-a fig-alt=A}\n\n![A](dot.svg){#fig-b}\n", 5, "no words for",
    ),
    "no figure label": ("# One\n\n![Caption here](dot.svg){fig-alt=A}\n", 3, "needs a label"),
    "no table label": ("# One\n\n| a |\n|---|\n| 1 |\n\n: Capt\n", 7, "needs a label"),
    "image attribute": ("# One\n\n![](dot.svg){fig-alt=A fig-align=left}\n", 3, "'fig-align'"),
    "layout": ("# One\n\n::: {layout-ncol=2}\nA\n:::\n", 3, "'layout-ncol'"),
    "div": ("# One\n\n::: {.panel-tabset}\nA\n:::\n", 3, "'panel-tabset'"),
    "span": ("# One\n\n[A]{.aside}\n", 3, "span of class 'aside'"),
    "span after its word": ("# One\n\nAn aside.\n\n[A]{.aside}\n", 5, "span of class 'aside'"),
    "callout": ("# One\n\n::: {.callout-idea}\nA\n:::\n", 3, "callout of kind 'idea'"),
    "collapsed callout": ("# One\n\n::: {.callout-tip collapse=true}\nA\n:::\n", 3, "'collapse'"),
    "other format": ('# One\n\n::: {.content-visible when-format="docx"}\nA\n:::\n', 3, "needs"),
    "float div": ("# One\n\n::: {#fig-a}\nA\n:::\n", 3, "should hold one image"),
    "raw html": ("# One\n\n<section>A</section>\n", 3, "would be lost"),
    "raw tex": ("# One\n\n\\newpage\n", 3, "would be lost"),
    "link": ("# One\n\n[A](no.csv)\n", 3, "no such file"),
    "anchor": ("# One\n\n[A](#nowhere)\n", 3, "nothing in the book has that name"),
    "chapter link": ("# One\n\n[A](two.qmd)\n", 3, "not a chapter of the book"),
    "chapter anchor": ("# One\n\n[A](index.qmd#no)\n", 3, "has nothing of the name no"),
    "div label": ("# One\n\n::: {#thm-a .card}\nA\n:::\n", 3, "it numbers divs"),
    "inner div": ("# One\n\n::: {.card}\n::: {.column-margin}\nA\n:::\n:::\n", 4, "'column-mar"),
    "inline script": (ONLY_SITE.format("<p>A</p>\n<script>alert(1)</script>"), 6, "inline script"),
    "inline handler": (ONLY_SITE.format('<p>A</p>\n<p onclick="a()">B</p>'), 6, "onclick="),
    "code class": ("# One\n\n```{.python .numberLines}\nA\n```\n", 3, "numberLines"),
    "raw in a note": ("# One\n\nA.[^n]\n\n[^n]: B.\n\n    <section>C</section>\n", 7, "would be lost"),
    "div in a definition": ("# One\n\nTerm\n:   A\n\n    ::: {.panel-tabset}\n    B\n    :::\n", 6, "'panel-tabset'"),
    "raw in a cell": ("# One\n\n+---------+\n| <hr>    |\n+---------+\n", 4, "would be lost"),
    "raw between comments": ("# One\n\nA <!-- B --> <b> <!-- C -->\n", 3, "would be lost"),
    "equation in a line": ("# One\n\n| $$ x $$ {#eq-line}\n", 3, "belongs to nothing"),
    "equation in bold": ("# One\n\n**$$ x $$ {#eq-bold}**\n", 3, "belongs to nothing"),
    "escaped inline": ("# One\n\nWrite `{{python}} x`.\n", 3, "is not computed here"),
    "inline of R": ("# One\n\n- A\n- `{r} x`\n", 4, "is not computed here"),
    "escaped in code": ("# One\n\n````md\n```{{python}}\n```\n````\n", 4, "braces of one pair"),
    "cell in code": ("# One\n\n  ~~~\n```{python}\n1\n```\n  ~~~\n", 4, "a cell within a code block"),
    "no caption": ("# One\n\n![](dot.svg){#fig-bare fig-alt=A}\n", 3, "without a caption"),
    "label in a sentence": ("# One\n\nAn ![image](dot.svg){#fig-in fig-alt=A}\n", 3, "within a sentence"),
    "metadata": ("# One\n\n---\ntoc: false\n---\n", 4, "settings belong in _quarto.yml"),
    "image title": ("# One\n\n![](dot.svg \"A title\"){fig-alt=A}\n", 3, "has a title"),
    "table class": ("# One\n\n| a |\n|---|\n| 1 |\n\n: A {#tbl-striped .striped}\n", 7, "class 'striped'"),
    "label of a heading": ("# One\n\n## Two {#fig-two}\n", 3, "names a heading"),
    "label of a link": ("# One\n\n[A](https://a.org){#fig-link}\n", 3, "names a link"),
    "label of words": ("# One\n\n[A]{#tbl-words}\n", 3, "names words"),
    "label of code": ("# One\n\n```{#lst-a .python}\nA\n```\n", 3, "names a code block"),
    "label of a linked image": ("# One\n\n[![A](dot.svg){fig-alt=A}](https://a.org){#fig-to}\n", 3, "names a link"),
    "label of a format": (
        '# One\n\n::: {#fig-site .content-visible when-format="html"}\nA\n:::\n', 3, "names conditional content",
    ),
    "image class": ("# One\n\n![](dot.svg){.lightbox fig-alt=A}\n", 3, "of class 'lightbox'"),
}  # fmt: skip


def refused(project: Path, texts: dict[str, str]) -> dict[str, list[str]]:
    """The problems of each chapter, by its name, of a book that has nothing but chapters to refuse."""
    names = {name: f"{number}.qmd" for number, name in enumerate(texts)}
    files = {
        "_quarto.yml": BOOK.format("\n    - ".join(names.values())),
        "index.qmd": "# Summary {.unnumbered}\n",
        "dot.svg": DOT,
    }
    for number, (name, text) in enumerate(texts.items()):
        # The same label or title in two chapters would be one more thing to refuse.
        files[names[name]] = LABEL.sub(rf"\g<0>-{number}", text).replace("# One", f"# One{number}", 1)
    for file, text in files.items():
        (project / file).write_text(text, encoding="utf-8")
    (project / "work").mkdir()
    with pytest.raises(BookError) as error:
        render(project, project / "site", project / "work")
    told = [LABEL.sub(r"\1", str(problem)) for problem in error.value.problems]
    return {name: [line for line in told if line.startswith(f"{file}:")] for name, file in names.items()}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return refused(tmp_path_factory.mktemp("refused"), {name: text for name, (text, _, _) in REFUSED.items()})


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_press_does_not_know_is_refused_with_file_and_line(
    name: str, refusals: dict[str, list[str]]
) -> None:
    _, number, told = REFUSED[name]
    (line,) = refusals[name]
    assert re.fullmatch(rf"\d+\.qmd:{number}: .*{re.escape(told)}.*", line)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_refused_with_file_and_line(
    name: str, write_book: WriteBook, capsys: pytest.CaptureFixture[str]
) -> None:
    file, text, where, told = UNREADABLE[name]
    project = write_book({file: text})
    assert press(project) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"{where}: ") and told in line for line in lines), lines
    assert not [path for path in project.iterdir() if path.name.startswith("_book")], "nothing is left behind"


INCLUDED = {
    # name: (file, its text, where, what is told)
    "script": ("head.html", "<meta>\n<script>\n1;</script>\n", "head.html:2", "an inline script"),
    "handler": (
        "head.html",
        "<p>\n  A <b onclick='a()'>B</b>\n",
        "head.html:2",
        "the inline handler onclick=",
    ),
    "address": ("head.html", "<a href='javascript:a()'>A</a>\n", "head.html:1", "a javascript: address"),
    "relative": (
        "head.html",
        "<script src='a.js'></script>\n",
        "head.html:1",
        "from the project's root, /a.js",
    ),
    "missing": ("head.html", "<script src='/a.js'></script>\n", "head.html:1", "/a.js does not exist"),
    "other host": (
        "book.css",
        "p {}\na { background: url(//a.org/b.svg); }\n",
        "book.css:2",
        "on another host",
    ),
    "missing sheet": ("book.css", "@import 'no.css';\n", "book.css:1", "no.css does not exist"),
}


@pytest.mark.parametrize("name", INCLUDED)
def test_what_pages_cannot_load_is_refused_with_the_line_of_the_include(
    name: str, write_book: WriteBook, capsys: pytest.CaptureFixture[str]
) -> None:
    file, text, where, told = INCLUDED[name]
    project = write_book({"head.html": "", "book.css": ""} | {file: text})
    settings = project / "_quarto.yml"
    html = "css: book.css, include-in-header: head.html, html-math"
    settings.write_text(settings.read_text().replace("html-math", html))
    assert press(project) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{where}: ")
    assert told in line


RAISED = {
    # name: (options, code, the line, what is told)
    "syntax": ("", "def f(:", 4, "the cell raised SyntaxError"),
    "image without words": ("", "import matplotlib.pyplot as plt\nplt.plot([1]);", 3, "add '#| fig-alt"),
    "text beside figure": (
        "#| label: fig-a\n#| fig-cap: A\n#| fig-alt: A\n",
        "import matplotlib.pyplot as plt\nplt.plot([1])",
        3,
        "should show one image and nothing else, but shows text, image",
    ),
    "silent inline": ("", "1\n```\n\nA `{python} None`.\n\n```python", 7, "should give one value"),
    "formula": (
        "",
        "class A:\n    def _repr_latex_(self): return '$x$'\nA()",
        3,
        "the cell shows text/latex",
    ),
    "inline frame": (
        "",
        "import pandas as pd\n```\n\n`{python} pd.DataFrame([1])`\n\n```python",
        7,
        "gives text/html",
    ),
}
SHOWN = {
    "styled": (
        "",
        "import pandas as pd\npd.DataFrame({'a': [1]}).style.highlight_max()",
        3,
        "HTML that is not one table",
    ),
    "html": ("", "from IPython.display import HTML\nHTML('<b>bold</b>')", 3, "HTML that is not one table"),
    "made reference": (
        "#| output: asis\n",
        "print('See @fig-' + 'none.')",
        3,
        "reference to @fig-none: nothing",
    ),
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The problems of cells that fail, and of those whose results no page can show."""
    found = {}
    for cells in (RAISED, SHOWN):
        texts = {
            name: f"# One\n\n```{{python}}\n{options}{code}\n```\n"
            for name, (options, code, _, _) in cells.items()
        }
        found |= refused(tmp_path_factory.mktemp("failed"), texts)
    return found


@pytest.mark.parametrize("name", RAISED | SHOWN)
def test_a_cell_that_fails_is_told_with_file_and_line(name: str, failures: dict[str, list[str]]) -> None:
    _, _, number, told = (RAISED | SHOWN)[name]
    (line,) = failures[name]
    assert re.fullmatch(rf"\d+\.qmd:{number}: .*{re.escape(told)}.*", line)


@pytest.mark.parametrize("file", ["one.qmd", "_quarto.yml", "part.qmd", "references.bib"])
def test_text_that_is_not_utf_8_is_refused_with_its_line(
    file: str, write_book: WriteBook, capsys: pytest.CaptureFixture[str]
) -> None:
    project = write_book(
        {"one.qmd": "# One\n\n{{< include part.qmd >}}\n", "part.qmd": "", "references.bib": ""}
    )
    settings = project / "_quarto.yml"
    settings.write_text(settings.read_text() + "bibliography: references.bib\n")
    with (project / file).open("ab") as text:
        text.write("\n# Größe\n".encode("latin-1"))
    line = (project / file).read_bytes().count(b"\n")
    assert press(project) == 1
    assert capsys.readouterr().err == f"{file}:{line}: this is not UTF-8: save the file as UTF-8 text\n"


def test_text_is_utf_8_in_a_locale_of_another_encoding(write_book: WriteBook, tmp_path: Path) -> None:
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / "de_DE.ISO-8859-1")],
        capture_output=True,
        check=False,
    )
    if not made or made.returncode:
        pytest.skip("no localedef, or no locale de_DE to make")
    code = "import subprocess\nprint(open('words.txt').read(), subprocess.run(['cat', 'words.txt'], text=True))\n"
    project = write_book(
        {
            "größe.qmd": f"# η „Größe“ {{#sec-one}}\n\n`{{python}} '≤ é'`\n\n```{{python}}\n{code}```\n\n"
            "![A caption](η.svg){#fig-η fig-alt='A dot'}\n",
            "words.txt": "ÿ η",
            "η.svg": DOT,
        }
    )
    settings = project / "_quarto.yml"
    settings.write_text(settings.read_text().replace("one.qmd", "größe.qmd"))
    done = subprocess.run(
        [sys.executable, "-m", "report", "--engine", "press", "--project", str(project)],
        env=os.environ | {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.ISO-8859-1"},
        cwd=HERE.parents[1],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    main = page(project, "größe.html").main
    assert words(main.h1) == "1 η „Größe“"
    assert (project / "_book/η.svg").is_file()
    assert "≤ é" in words(main)
    assert main.select_one("pre.output").get_text().startswith("ÿ η")


def test_the_times_of_the_stages_are_told_on_request(
    write_book: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project = write_book({"one.qmd": "# One {#sec-one}\n\nWords.\n"})
    assert main(["--engine", "press", "--project", str(project)]) == 0
    assert capsys.readouterr().err == ""
    assert main(["--engine", "press", "--project", str(project), "--times"]) == 0
    told = re.findall(r"^ *\d+\.\d s  (.+)$", capsys.readouterr().err, re.MULTILINE)
    assert {"one.qmd", "all chapters", "site", "PDF", "check"} <= set(told)


def test_kernels_inherit_what_their_render_shares(write_book: Callable[..., Path]) -> None:
    cell = "```{{python}}\nimport os, shared\nprint('made in', shared.MADE, 'shown in', os.getpid())\n```\n"
    project = write_book(
        {
            "index.qmd": f"# Summary {{.unnumbered}}\n\n{cell.format()}",
            "one.qmd": f"# One {{#sec-one}}\n\n{cell.format()}",
            "shared.py": "import os\nMADE = os.getpid()\n",
        }
    )
    (project / "work").mkdir()
    code = """
from pathlib import Path
from report.press import render
from report.press.kernels import share
share("shared")
render(Path(), Path("_book"), Path("work"))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(project)])}
    subprocess.run([sys.executable, "-c", code], cwd=project, env=environment, check=True)
    told = [
        re.findall(r"(?:made|shown) in (\d+)", words(page(project, f"{name}.html")))
        for name in ("index", "one")
    ]
    (made, first), (made_again, second) = told
    assert made == made_again
    assert len({made, first, second}) == 3


def test_of_two_renders_that_end_at_once_one_book_stays_and_none_fails(tmp_path: Path) -> None:
    book, together = tmp_path / "_book", Barrier(4)

    def finish(name: str) -> None:
        for attempt in range(50):
            place = tmp_path / f"{name}{attempt}"
            (place / "_book").mkdir(parents=True)
            (place / "_book/index.html").write_text(name)
            together.wait()
            replace(book, place / "_book", place)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(finish, "abcd"))
    assert (book / "index.html").read_text() in "abcd"


def test_the_last_book_stays_when_a_cell_fails(
    write_book: WriteBook, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "# One {#sec-one}\n\n```{python}\nx = 1\nraise ValueError('no luck')\n```\n"
    project = write_book({"one.qmd": text, "_book/index.html": "the last good book"})
    assert press(project) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["one.qmd:5: the cell raised ValueError: no luck"], "one line, no traceback"
    assert (project / "_book/index.html").read_text() == "the last good book"
    assert not [path for path in project.iterdir() if path.name.startswith("_book.")]


def test_lines_of_included_files_are_named(write_book: WriteBook, capsys: pytest.CaptureFixture[str]) -> None:
    project = write_book(
        {"one.qmd": "# One\n\n{{< include _part.qmd >}}\n", "_part.qmd": "Words.\n\n@tbl-none\n"}
    )
    assert press(project) == 1
    assert "_part.qmd:3: " in capsys.readouterr().err


def test_all_problems_of_a_format_are_told_at_once(
    write_book: WriteBook, capsys: pytest.CaptureFixture[str]
) -> None:
    project = write_book({"one.qmd": "# One\n\n@tbl-none\n\n[A](no.csv)\n"})
    assert press(project) == 1
    assert [line.partition(" ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "one.qmd:3:",
        "one.qmd:5:",
    ]


# Command line -------------------------------------------------------------------------------------------------------


def test_usage_errors_have_their_own_exit_code(tmp_path: Path) -> None:
    for arguments in (["--engine", "latex"], ["--project", str(tmp_path / "none")]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def test_a_folder_without_a_book_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert press(tmp_path) == 1
    assert "_quarto.yml: not found" in capsys.readouterr().err


QUARTO = """\
#!/bin/sh
if [ "$1" = --version ]; then echo {version}; exit; fi
rm -rf _book; mkdir _book
{then}
"""


@pytest.fixture
def fake_quarto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program named quarto on the path."""

    def make(version: str, then: str) -> None:
        program = tmp_path / "bin" / "quarto"
        program.parent.mkdir()
        program.write_text(QUARTO.format(version=version, then=then))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return make


def test_quarto_renders_where_it_is_installed(
    sample: Path, write_book: WriteBook, fake_quarto: Callable[[str, str], None]
) -> None:
    fake_quarto("1.9.37", f"cp -r {sample}/_book/. _book")
    project = write_book({"_book/index.html": "old"})
    assert main(["--project", str(project)]) == 0
    assert (project / "_book/A-sample-book.pdf").is_file()


def test_when_quarto_fails_the_last_book_is_put_back(
    write_book: WriteBook, fake_quarto: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    fake_quarto("1.10.1", "touch _book/half; exit 3")
    project = write_book({"_book/index.html": "the last good book"})
    assert main(["--project", str(project)]) == 1
    assert "quarto render failed (exit code 3)" in capsys.readouterr().err
    assert [path.name for path in (project / "_book").iterdir()] == ["index.html"]


def test_the_books_filter_keeps_units_sizes_images_and_names_headings(write_book: WriteBook) -> None:
    settings = """
        project: {type: book, output-dir: _book, execute-dir: project}
        book: {title: T, author: A, date: "2026-01-02", chapters: [index.qmd, one.qmd]}
        filters: [reading.lua]
        format: {html: {html-math-method: mathml}, typst: {papersize: a4}}
        jupyter: python3
        """
    text = """
        # One {#sec-one}

        It is 3.2 ± 0.2 %, after 5 s or $10$ epochs (not 7 Samurai), at $x$, say.

        ![A dot.](dot.svg){#fig-dot fig-alt="A dot"}

        | a | b |
        |---|---|
        | 1 | 2 |

        : Numbers. {#tbl-numbers}
        """
    dot = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"/>'
    filters = (HERE.parents[1] / "_extensions/article/reading.lua").read_text(encoding="utf-8")
    project = write_book({"_quarto.yml": settings, "one.qmd": text, "dot.svg": dot, "reading.lua": filters})
    assert main(["--engine", "press", "--project", str(project)]) == 0
    page = BeautifulSoup((project / "_book/one.html").read_text(encoding="utf-8"), "html.parser")
    words = page.select_one("main p").get_text()
    assert "3.2\u00a0±\u00a00.2\u00a0%" in words
    assert "5\u00a0s or" in words
    assert "\u00a0epochs" in words
    assert "7 Samurai" in words
    assert [kept.get_text()[-1] for kept in page.select("main p .math")] == [","]
    assert "say." in words
    image = page.select_one("main img")
    assert (image["width"], image["height"], image["loading"]) == ("96", "48", "lazy")
    assert [heading["scope"] for heading in page.select("th")] == ["col", "col"]


def test_search_knows_sections_figures_tables_and_files_of_data(fuller: Path) -> None:
    text = (fuller / "_book/search-index.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("window.searchIndex = ").rstrip().removesuffix(";"))
    found = {entry["address"]: entry for entry in entries}
    assert len(found) == len(entries)
    assert found["report/parts.html#sec-tables"]["title"].endswith("Tables")
    assert found["report/parts.html#fig-made"]["title"].startswith("Figure 1.1: A drawn figure")
    assert found["report/parts.html#tbl-wide"]["title"].startswith("Table 1.1: Columns of given widths")
    assert found["report/data/made.csv"]["title"] == "made.csv"
    assert "A drawn figure" not in found["report/parts.html#sec-cells"]["text"]


def test_what_an_interrupted_quarto_left_is_removed(
    sample: Path, write_book: WriteBook, fake_quarto: Callable[[str, str], None]
) -> None:
    fake_quarto("1.9.37", f"cp -r {sample}/_book/. _book")
    project = write_book(
        {
            "one.html": "",
            "one.typ": "",
            "one_files/figure-html/a.svg": "",
            "site_libs/a.js": "",
            "notes.html": "",
        }
    )
    assert main(["--project", str(project)]) == 0
    left = {path.name for path in project.iterdir()}
    assert left == {"_book", "_quarto.yml", "index.qmd", "one.qmd", "dot.svg", "notes.html", "bin"}


def commit_all(project: Path) -> None:
    """Make the project a repository with everything in it committed."""
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "A"],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)


def test_files_that_git_tracks_are_no_leftovers(
    sample: Path, write_book: WriteBook, fake_quarto: Callable[[str, str], None]
) -> None:
    fake_quarto("1.9.37", f"cp -r {sample}/_book/. _book")
    project = write_book({".gitignore": "_book\nbin\n", "one.typ": "mine", "site_libs/mine.js": ""})
    commit_all(project)
    (project / "one.html").touch()
    assert main(["--project", str(project)]) == 0
    assert (project / "one.typ").read_text() == "mine"
    assert (project / "site_libs/mine.js").exists()
    assert not (project / "one.html").exists()


def test_a_render_that_changes_the_source_tree_fails(
    sample: Path,
    write_book: WriteBook,
    fake_quarto: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_quarto("1.9.37", f"cp -r {sample}/_book/. _book; echo /.quarto/ >> .gitignore")
    project = write_book({".gitignore": "_book\nbin\n"})
    commit_all(project)
    assert main(["--project", str(project)]) == 1
    assert ".gitignore: the render changed it" in capsys.readouterr().err


def test_an_old_quarto_is_passed_over_and_refused_when_asked_for(
    write_book: WriteBook, fake_quarto: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    fake_quarto("1.8.25", "exit 3")
    project = write_book({"one.qmd": "# One\n\n@tbl-none\n"})
    assert main(["--project", str(project)]) == 1
    assert "one.qmd:3" in capsys.readouterr().err, "the offline renderer was at work"
    with pytest.raises(SystemExit) as stopped:
        main(["--engine", "quarto", "--project", str(project)])
    assert stopped.value.code == 2


def test_the_layouts_lua_is_valid(sample: Path) -> None:
    """Quarto loads the filter with Lua 5.4 as pandoc does; a syntax error would only show there."""
    import pypandoc

    root = HERE.parents[1]
    for file in (*root.glob("_extensions/*/*.lua"), *root.glob("report/press/pandoc/*.lua")):
        done = subprocess.run(
            [pypandoc.get_pandoc_path(), "lua", "-e", f"assert(loadfile([[{file}]]))"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
