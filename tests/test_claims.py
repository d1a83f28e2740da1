"""Findings are supported by the committed cache, and refuted by results that say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from analysis import book, claims
from analysis.claims.registry import CLAIMS
from analysis.results import Results

Alter = Callable[[pd.DataFrame], pd.DataFrame]


def reverse_values(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows["value"].to_numpy()[::-1])


def double_test_loss(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows["value"].where(rows["metric"] != "test_loss", 2 * rows["value"]))


# How results that contradict a finding would look.
CONTRADICTIONS: dict[str, Alter] = {
    "exercise1_accuracy": reverse_values,
    "gradient_descent_is_full": lambda rows: rows.assign(deviation=0.5),
    "no_overfitting": double_test_loss,
    "contrast_overfits": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "parameters_counted": lambda rows: rows.assign(counted=rows["counted"] + 1),
    "learning_rate_window": lambda rows: rows.assign(value=rows["value"].clip(upper=0.5)),
    "start_beyond_the_edge": lambda rows: rows.assign(value=rows["value"] / 100),
    "edge_of_stability": lambda rows: rows.assign(value=rows["value"] * 3),
    "learning_rate_unstable": lambda rows: rows.sort_values("value", ascending=False),
}


def altered(found: Results, alter: Alter) -> Results:
    return replace(
        found,
        rows=alter(found.rows) if len(found.rows) else found.rows,
        programs={
            name: alter(table) if "pixel" not in table else table for name, table in found.programs.items()
        },
    )


@pytest.mark.parametrize("name", CLAIMS)
def test_the_committed_results_support_it(name: str) -> None:
    presets = {claims.results(experiment).preset for experiment in CLAIMS[name].experiments}
    verdict = claims.judge(name)
    assert verdict.holds or "quick" in presets, verdict.text


@pytest.mark.parametrize("name", CLAIMS)
def test_contrary_results_refute_it_and_the_text_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = claims.results
    monkeypatch.setattr(claims, "results", lambda asked: altered(genuine(asked), CONTRADICTIONS[name]))
    assert not claims.judge(name).holds
    assert book.claim(name).data.startswith("**Not supported by these results:**")


def test_sentences_have_no_number_of_their_own_cached_results() -> None:
    """Every measured number of a sentence comes from its evidence: places are filled, none is left."""
    for name in CLAIMS:
        assert "{" not in claims.judge(name).text.replace("^{", "").replace("\\cdot 10^{", "")


def test_quick_results_are_announced_on_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = claims.results
    monkeypatch.setattr(book, "results", lambda name: replace(genuine(name), preset="quick"))
    assert "Provisional" in book.notice().data
    monkeypatch.setattr(book, "results", lambda name: replace(genuine(name), preset="full"))
    assert book.notice().data == ""
