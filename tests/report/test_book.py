"""The book, end to end: the committed cache becomes the report on a machine without torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pypandoc
import pytest
from bs4 import BeautifulSoup
from IPython.display import Markdown

from analysis import claims
from analysis.book import origins, provenance
from analysis.claims.registry import CLAIMS
from analysis.questions.learning_rate.runs import LEARNING_RATES
from report.check import check


def pages(book: Path) -> dict[str, BeautifulSoup]:
    return {
        path.relative_to(book).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(book.rglob("*.html"))
        if "pagefind" not in path.parts
    }


def test_the_check_finds_nothing(book: Path) -> None:
    assert check(book) == []


def test_the_chapters_are_there(book: Path) -> None:
    assert set(pages(book)) == {
        "index.html",
        *(
            f"report/{name}.html"
            for name in ("assignment-1", "assignment-2", "claims", "learning-rates", "method", "references")
        ),
    }


def test_every_finding_stands_in_the_ledger(book: Path) -> None:
    table = pages(book)["report/claims.html"].select_one("#tbl-claims")
    assert table is not None
    assert len(table.select("tbody tr")) == len(CLAIMS)


def test_one_figure_per_learning_rate(book: Path) -> None:
    images = pages(book)["report/learning-rates.html"].select("figure img")
    assert len(images) == len(LEARNING_RATES)
    for rate, image in zip(LEARNING_RATES, images, strict=True):
        assert re.search(rf"learning rate {re.escape(f'{rate:g}')}\b", str(image["alt"]))


def test_results_come_with_their_data_and_the_command_that_recomputes_them(book: Path) -> None:
    page = pages(book)["report/assignment-1.html"]
    lines = page.select(".provenance")
    assert len(lines) >= len(page.select("figure img"))
    for line in lines:
        assert "python -m analysis.run_all --only" in line.get_text()
        links = [str(link["href"]) for link in line.select("a[href$='.csv']")]
        assert links
        for link in links:
            assert (book / "report" / link).read_text(encoding="utf-8").count("\n") > 1


@pytest.mark.parametrize(
    "show", [lambda: provenance.__wrapped__("minibatch"), origins], ids=["line", "table"]
)
def test_what_a_result_says_of_itself_is_shown_and_not_obeyed(
    show: Callable[[], Markdown], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "<script>x</script> **b** [c](javascript:d) | `e` @f $g$"
    found = claims.results("minibatch")
    forged = replace(found, provenance=tuple(replace(each, device_name=name) for each in found.provenance))
    monkeypatch.setattr("analysis.book.results", lambda _: forged)
    html = BeautifulSoup(pypandoc.convert_text(show().data, "html", "markdown"), "html.parser")
    assert name in " ".join(html.get_text().split())
    assert not html.select("script, strong, .math, .citation, a[href^=javascript]")


def test_the_body_is_concise(book: Path) -> None:
    from pypdf import PdfReader

    (pdf,) = book.glob("*.pdf")
    outline = PdfReader(pdf)
    appendix = min(
        number
        for number, page in enumerate(outline.pages, start=1)
        if re.search(r"^Appendix A", page.extract_text(), re.MULTILINE) and number > 2
    )
    assert appendix <= 25
