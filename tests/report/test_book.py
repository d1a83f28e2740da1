"""The book, end to end: the committed cache becomes the report on a machine without torch."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from analysis import explorer
from analysis.findings import Finding, of_kind
from analysis.questions import QUESTIONS
from analysis.questions.learning_rate.runs import LEARNING_RATES
from report.check import check

ROOT = Path(__file__).parents[2]


def pages(book: Path) -> dict[str, BeautifulSoup]:
    return {
        path.relative_to(book).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(book.rglob("*.html"))
        if path.name != "404.html"
    }


def test_the_check_finds_nothing(book: Path) -> None:
    assert check(book) == []


def test_every_question_has_its_page(book: Path) -> None:
    addresses = {question.page.replace(".qmd", ".html") for question in QUESTIONS}
    others = (
        "notation",
        "conclusion",
        "learning-rates",
        "program",
        "findings",
        "method",
        "explorer",
        "data",
        "cite",
        "references",
    )
    assert set(pages(book)) == {"index.html", *addresses, *(f"report/{name}.html" for name in others)}


def test_every_page_and_every_section_is_in_the_navigation(book: Path) -> None:
    found = pages(book)
    for address, page in found.items():
        chapters = {
            str(link["href"]).rpartition("/")[2] for link in page.select("nav[aria-label=Chapters] a")
        }
        assert chapters == {name.rpartition("/")[2] for name in found}, address
        sections = {f"#{heading['id']}" for heading in page.select("main h2[id], main h3[id]")}
        assert sections <= {str(link["href"]) for link in page.select("nav.toc a")}, address


def test_the_first_page_has_every_headline(book: Path) -> None:
    links = [str(link["href"]) for link in pages(book)["index.html"].select("main .card a.title")]
    asked = [q.page.replace(".qmd", ".html") for q in QUESTIONS if q.assignment is not None]
    assert [link for link in links if link in asked] == asked


def test_the_first_page_is_read_in_a_minute(book: Path) -> None:
    assert len(pages(book)["index.html"].select_one("main").get_text(" ").split()) < 350


def test_every_finding_stands_in_the_table_of_findings(book: Path) -> None:
    table = pages(book)["report/findings.html"].select_one("main table")
    assert table is not None
    assert len(table.select("tbody tr")) == sum(len(of_kind(question, Finding)) for question in QUESTIONS)


def test_one_figure_per_learning_rate(book: Path) -> None:
    images = pages(book)["report/learning-rates.html"].select("figure img")
    assert len(images) == len(LEARNING_RATES)
    for rate, image in zip(LEARNING_RATES, images, strict=True):
        assert re.search(rf"learning rate {re.escape(f'{rate:g}')}\b", str(image["alt"]))


def test_exhibits_come_with_their_data_their_code_and_the_command_that_recomputes_them(book: Path) -> None:
    found = pages(book)
    for question in QUESTIONS:
        page = found[question.page.replace(".qmd", ".html")]
        details = page.select("details.provenance")
        assert len(details) == len(page.select("figure figcaption")), question.name
        for each in details:
            assert not each.has_attr("open")
            assert "python -m analysis.run_all --only" in each.get_text()
            links = [str(link["href"]) for link in each.select("a[href$='.csv']")]
            label = links[0].removeprefix("generated/").removesuffix(".csv")
            assert page.select_one(f"#{label}"), "what is shown comes first"
            assert re.search(rf'@exhibit\(\s*"{label}"', each.get_text())
            for link in links:
                assert (book / "report" / link).read_text(encoding="utf-8").count("\n") > 1


def test_every_figure_and_table_has_its_data(book: Path) -> None:
    for address, page in pages(book).items():
        linked = {str(link["href"]).rpartition("/")[2] for link in page.select("details.provenance a")}
        for shown in page.select("main [id^=fig-], main [id^=tbl-]"):
            assert f"{shown['id']}.csv" in linked, (address, shown["id"])


def test_all_data_are_one_archive(book: Path) -> None:
    (link,) = pages(book)["report/data.html"].select("main a[href$='.zip']")
    with zipfile.ZipFile(book / "report" / str(link["href"])) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    assert {"README.md", "LICENSE", "CITATION.cff"} < names
    assert {f"{question.name}.csv" for question in explorer.explored()} < names


def test_the_report_can_be_cited(book: Path) -> None:
    page = pages(book)["report/cite.html"]
    assert "@misc{" in page.select_one("main pre").get_text()
    (link,) = page.select("main a[href$='.bib']")
    assert (book / "report" / str(link["href"])).read_text(encoding="utf-8").startswith("@misc{")


def test_the_body_is_concise(book: Path) -> None:
    from pypdf import PdfReader

    (pdf,) = book.glob("*.pdf")
    texts = [page.extract_text() for page in PdfReader(pdf).pages]
    number, heading = next(
        (number, found)
        for number, text in enumerate(texts, start=1)
        if number > 2 and (found := re.search(r"^Appendix A", text, re.MULTILINE))
    )
    above = heading.string[: heading.start()].splitlines()
    begins_a_page = len(above) == 1  # nothing but the running head
    assert number - begins_a_page <= 25


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["WIDE", "PHONE"])
def test_every_page_fits_a_real_browser(book: Path, size: str, scheme: str) -> None:
    from tests.helpers import browsing  # here: without Chromium, only this is skipped

    addresses = [path.relative_to(book).as_posix() for path in book.rglob("*.html")]
    with (
        browsing.chromium() as browser,
        browsing.served(book) as site,
        browsing.watch(browser, site) as watched,
    ):
        browsing.assert_pages_fit(watched, site, addresses, getattr(browsing, size), scheme)


def test_the_citation_in_the_pages_is_the_books() -> None:
    told = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["book"]
    head = BeautifulSoup((ROOT / "report/styles/head.html").read_text(encoding="utf-8"), "html.parser")
    cited = {str(meta["name"]): str(meta["content"]) for meta in head.select("meta[name^=citation]")}
    assert cited == {
        "citation_title": f"{told['title']}: {told['subtitle']}",
        "citation_author": told["author"],
        "citation_publication_date": told["date"].replace("-", "/"),
    }
