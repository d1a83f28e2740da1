"""Findings follow results: what fails is named, and seeds are left out one at a time."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from IPython.display import Markdown

from analysis import book
from analysis.campaign.store import Provenance
from analysis.findings import (
    Evidence,
    Finding,
    Verdict,
    evaluate,
    finding,
    of_kind,
    statement,
    without_each_seed,
)
from analysis.questions import QUESTIONS
from analysis.results import Results, cached


def results(accuracy: dict[int, float], rate: float = 0.1) -> Results:
    """Results of runs that differ in their seeds, with these accuracies."""
    rows = pd.DataFrame(
        {"learning_rate": rate, "seed": list(accuracy), "epoch": 1.0, "value": list(accuracy.values())}
    )
    rows["key"] = [f"{rate} {seed}" for seed in accuracy]
    return Results("sample", "full", rows, {}, ())


@finding("sample", headline=True)
def high_and_alike(found: Results) -> Evidence:
    values = found.rows["value"]
    return Evidence(
        f"The accuracy is {values.mean():.2f}.",
        {
            "the mean is above 0.8": bool(values.mean() > 0.8),
            "the seeds lie within 0.1": bool(values.max() - values.min() < 0.1),
        },
    )


def test_a_finding_is_supported_if_all_its_conditions_hold() -> None:
    verdict = evaluate(high_and_alike, lambda _: results({0: 0.9, 1: 0.92}))
    assert verdict == Verdict(
        "The accuracy is 0.91.", (), conditions=("the mean is above 0.8", "the seeds lie within 0.1")
    )
    assert book.sentence(verdict) == "The accuracy is 0.91."


def test_what_fails_is_named_where_the_finding_would_stand() -> None:
    verdict = evaluate(high_and_alike, lambda _: results({0: 0.9, 1: 0.6}))
    assert verdict.failed == ("the mean is above 0.8", "the seeds lie within 0.1")
    assert not verdict.supported
    assert book.sentence(verdict) == (
        "**Not supported by these results** (the mean is above 0.8 and the seeds lie within 0.1): "
        "“The accuracy is 0.75.”"
    )


def support(claim: Finding, found: Results) -> list[bool]:
    """Return whether a finding holds without each seed."""
    return [each.supported for each in without_each_seed(claim, lambda _: found).values()]


def test_a_finding_is_evaluated_with_each_seed_left_out() -> None:
    assert support(high_and_alike, results({0: 0.9, 1: 0.92, 2: 0.91})) == [True, True, True]
    assert support(high_and_alike, results({0: 0.9, 1: 0.92, 2: 0.7})) == [False, False, True]


def test_a_finding_about_no_seed_is_evaluated_once_for_all() -> None:
    tables = {
        "sizes": pd.DataFrame({"size": [1, 2]}),
        "measured": pd.DataFrame({"seed": [0, 1], "size": [1, 9]}),
    }
    sampled = replace(results({0: 0.9, 1: 0.92, 2: 0.7}), programs=tables)
    read: list[int] = []

    def reading(table: str, fewest: int) -> list[bool]:
        @finding("sample")
        def sizes_are_small(found: Results) -> Evidence:
            read.append(len(found.programs[table]))
            return Evidence(
                "Small.", {"the largest is": bool(found.programs[table]["size"].iloc[-1] < fewest)}
            )

        read.clear()
        return support(sizes_are_small, sampled)

    assert (reading("sizes", 3), read) == ([True, True, True], [2])
    assert (reading("sizes", 2), read) == ([False, False, False], [2])
    assert (reading("measured", 3), read) == (
        [False, True, False],
        [1, 1, 2],
    )  # without the seed that measured 9


@pytest.mark.parametrize("accuracy", [{0: 0.9}, {}], ids=["one seed", "no runs"])
def test_without_several_seeds_none_can_be_left_out(accuracy: dict[int, float]) -> None:
    assert support(high_and_alike, results(accuracy)) == []


def test_a_seed_that_alone_has_some_setting_cannot_be_left_out() -> None:
    two, one = results({0: 0.9, 1: 0.92}), results({0: 0.9}, rate=0.5)
    mixed = replace(two, rows=pd.concat([two.rows, one.rows]))
    assert support(high_and_alike, mixed) == []


def test_a_statement_that_results_cannot_decide_is_neither_confirmed_nor_refuted() -> None:
    @statement("sample", said="Nobody knows.")
    def undecidable(found: Results) -> Evidence:
        return Evidence("No run tells.", None)

    verdict = evaluate(undecidable, lambda _: results({0: 0.9}))
    assert verdict.failed is None
    assert not verdict.supported


def test_the_site_lists_what_must_hold_and_the_pdf_what_one_seed_decides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holds, fails = Verdict("It is so.", (), ""), Verdict("It is so.", ("the first condition",), "")
    left = {"exercise1_accuracy": {}, "gradient_descent_is_full": {0: fails, 1: holds, 2: fails}}
    monkeypatch.setattr(book, "without_each_seed", lambda claim: left.get(claim.name, {0: holds, 1: holds}))
    book.show_findings()
    site, pdf = capsys.readouterr().out.split('when-format="typst"')
    claims = [claim for question in QUESTIONS for claim in of_kind(question, Finding).values()]
    assert site.count("\n| @sec-") == len(claims)
    assert (
        "| the training loss falls from every update to the next; the test accuracy exceeds 90 % | – |"
        in site
    )
    assert pdf.count("\n- ") == 1
    assert "- @sec-q1, needs seeds 0, 2: “Measured, the program's first ten steps are" in pdf
    assert "” What then fails: the first condition.\n" in pdf


def test_a_condition_that_does_not_hold_is_marked_among_the_others() -> None:
    verdict = evaluate(high_and_alike, lambda _: results({0: 0.9, 1: 0.7}))
    assert book._what_must_hold(verdict) == (
        "**the mean is above 0.8 (it does not)**; **the seeds lie within 0.1 (it does not)**"
    )


def test_the_table_of_statements_has_a_verdict_on_each() -> None:
    statements = book.statements_table().frame
    assert set(statements["Verdict"]) <= {"confirmed", "refuted", "not testable"}


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(KeyError, match=r"no question is called 'adam-vs-sgd'.*adam_vs_sgd"):
        book.open_page("adam-vs-sgd")
    page = book.open_page("gradient_descent")
    with pytest.raises(KeyError, match=r"no finding is called 'full'.*gradient_descent_is_full"):
        page.finding("full")
    with pytest.raises(KeyError, match=r"no exhibit is called 'tbl'.*tbl-gradient-descent"):
        page.show("tbl")


def test_quick_results_are_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert book.provisional_banner([]).data.startswith("<!--")
    monkeypatch.setattr(book, "cached", lambda name: replace(cached(name), preset="quick"))
    assert "Provisional" in book.provisional_banner().data
    assert "`losses`" in book.provisional_banner(("losses",)).data


@pytest.mark.parametrize(
    "show",
    [
        lambda: book.provenance_line.__wrapped__("exercise1"),
        lambda: book.provenance_table().frame["Computed"].iloc[0],
    ],
    ids=["line", "table"],
)
def test_what_a_result_says_of_itself_is_shown_and_not_obeyed(
    show: object, monkeypatch: pytest.MonkeyPatch, provenance: Provenance
) -> None:
    import pypandoc
    from bs4 import BeautifulSoup

    name = "<script>x</script> **b** [c](javascript:d) | `e` @f $g$"
    forged = replace(cached("exercise1"), provenance=(replace(provenance, device_name=name),))
    monkeypatch.setattr(book, "cached", lambda _: forged)
    assert callable(show)
    html = BeautifulSoup(pypandoc.convert_text(show(), "html", "markdown"), "html.parser")
    assert name in " ".join(html.get_text().split())
    assert not html.select("script, strong, .math, .citation, a[href^=javascript]")


def test_a_banner_is_markdown_also_where_there_is_nothing_to_say() -> None:
    """Quarto shows the source of an inline value that is empty."""
    assert isinstance(book.provisional_banner(), Markdown)
    assert book.provisional_banner().data
