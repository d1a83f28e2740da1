"""Two states of the results: changed verdicts and numbers, runs added and gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest

from analysis import diff
from analysis.campaign.store import Provenance, Store
from analysis.data import MNIST_DIGEST
from analysis.errors import ResultsError
from analysis.findings import Evidence, finding
from analysis.question import Question
from analysis.questions import QUESTIONS
from analysis.results import Results, cached

ADAM = next(question for question in QUESTIONS if question.name == "adam_vs_sgd")


def results(*values: float) -> Results:
    """Return results of a run a seed."""
    rows = pd.DataFrame({"seed": range(len(values)), "learning_rate": 0.5, "epoch": 1.0, "value": values})
    rows["key"] = rows["seed"].map("run {}".format)
    return Results("small", "full", rows, {}, ())


def mean_is_large(found: Results) -> Evidence:
    values = found.rows["value"]
    return Evidence(
        f"784-300-10 has a mean of {values.mean():.2f} and 95 %.", {"it is above 1": values.mean() > 1}
    )


def interval_is_stated(found: Results) -> Evidence:
    return Evidence(f"It is {found.rows['value'].mean():.1f} ± 0.5.", {})


def changes(claim: Callable[[Results], Evidence], old: Results, new: Results) -> list[diff.ClaimChange]:
    """Return what changes in a question whose answer makes this claim."""
    answer = SimpleNamespace(claim=finding("small")(claim))
    question = cast(Question, SimpleNamespace(name="small", title="Small", answer=answer))
    found, incomplete = diff.compare_claims(question, lambda _: old, lambda _: new)
    assert not incomplete
    return found


def test_the_same_results_change_nothing() -> None:
    assert changes(mean_is_large, results(1.1, 1.3), results(1.3, 1.1)) == []


def test_a_verdict_that_changes_is_told_with_the_condition_that_fails() -> None:
    (change,) = changes(mean_is_large, results(1.0, 1.1), results(0.9, 1.0))
    assert change.old.supported
    assert "verdict: supported → not supported (it is above 1)" in change.reasons


def test_a_number_changes_beyond_the_interval_over_seeds_only() -> None:
    # the half width of the means is 4.30 standard errors of 0.1 / √3
    assert changes(mean_is_large, results(2.0, 2.1, 2.2), results(2.2, 2.3, 2.4)) == []
    (change,) = changes(mean_is_large, results(2.0, 2.1, 2.2), results(2.3, 2.4, 2.5))
    assert change.reasons == ("2.10 → 2.40",)
    assert [change.new.sentence[slice(*place)] for place in change.places] == ["2.40"]


def test_a_number_changes_beyond_its_stated_interval_only() -> None:
    assert changes(interval_is_stated, results(2.0, 2.0), results(2.4, 2.4)) == []
    (change,) = changes(interval_is_stated, results(2.0, 2.0), results(2.6, 2.6))
    assert change.reasons == ("2.0 ± 0.5 → 2.6 ± 0.5",)


def test_any_change_of_a_single_seed_counts() -> None:
    (change,) = changes(mean_is_large, results(2.0), results(2.01))
    assert change.reasons == ("2.00 → 2.01",)


def test_other_words_are_told() -> None:
    def worded(found: Results) -> Evidence:
        return Evidence("It is large." if found.rows["value"].mean() > 1 else "It is small.", {})

    (change,) = changes(worded, results(2.0, 2.0), results(0.0, 0.0))
    assert change.reasons == ("its words changed",)


def test_results_that_are_not_all_there_are_not_compared() -> None:
    def incomplete(name: str) -> Results:
        raise ResultsError(name)

    found, reasons = diff.compare_claims(ADAM, incomplete, cached)
    assert found == []
    assert set(reasons) == {"the old results of adam_vs_sgd are incomplete"}


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("784-300-10 needs 1,200 epochs for 95.5 %.", [(1200, None), (95.5, None)]),
        ("It ends 2.27 ± 0.14 points behind 0.003 (@fig-rate-2).", [(2.27, 0.14), (0.003, None)]),
        ("p = $2.8 \\cdot 10^{-6}$, −0.5", [(2.8e-6, None), (-0.5, None)]),
    ],
)
def test_numbers_are_read_from_sentences_and_names_are_not(
    sentence: str, values: list[tuple[float, float | None]]
) -> None:
    found = diff.numbers(sentence)
    assert [number.value for number in found] == pytest.approx([value for value, _ in values])
    assert [number.half_width for number in found] == [half for _, half in values]


@pytest.fixture
def states(tmp_path: Path, rows: pd.DataFrame, provenance: Provenance) -> tuple[Path, Path]:
    """Two caches: of three results in the old one the new one has lost one, computed two again, and added one."""
    first, second, third, fourth = ADAM.jobs("quick")[:4]
    later = dataclasses.replace(provenance, date="2026-02-01T12:00:00+00:00")
    old, new = tmp_path / "old", tmp_path / "new"
    for job in (first, second, third):
        Store(old).write(job, MNIST_DIGEST, rows, provenance)
    Store(new).write(second, MNIST_DIGEST, rows.assign(seconds=rows["seconds"] * 2), later)
    Store(new).write(third, MNIST_DIGEST, rows.assign(value=1.5), later)
    Store(new).write(fourth, MNIST_DIGEST, rows, later)
    return old, new


def test_results_are_added_gone_or_have_other_values(states: tuple[Path, Path]) -> None:
    (change,) = diff.compare_results(*states)
    assert change.experiment == "adam_vs_sgd"
    assert [len(jobs) for jobs in (change.added, change.gone, change.recomputed)] == [1, 1, 1]


def test_the_command_tells_them_and_writes_a_page(
    states: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = map(str, states)
    page = tmp_path / "page.html"
    assert diff.main([old, new, "--html", str(page)]) == 1
    told = capsys.readouterr().out
    assert "adam_vs_sgd: 1 result added, 1 result gone, 1 result with other values" in told
    text = page.read_text(encoding="utf-8")
    assert "1 result added, 1 result gone" in text
    assert "<script" not in text
    assert diff.main([old, old]) == 0
    assert capsys.readouterr().out == "nothing changed\n"


def test_a_revision_has_the_results_of_its_commit() -> None:
    with diff.opened("HEAD") as folder:
        assert len(list(folder.glob("runs/*/*.parquet"))) > 1000


@pytest.mark.parametrize("state", ["no-such-revision", "tests"])
def test_what_is_no_state_is_refused(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff.main([state, "."]) == 2
    assert state in capsys.readouterr().err
