"""Numbers, names and tables are written as the report writes them."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_interval,
    format_rate,
    format_scientific,
    join_english,
    label,
    markdown_table,
    plain_text,
)
from analysis.statistics import t_interval


def test_markdown_sets_numbers_to_the_right_and_words_to_the_left() -> None:
    frame = pd.DataFrame(
        {"Name": ["a", "3 of them"], "Loss": ["0.12", "not finite"], "Share": ["1.0 %", "–"]}
    )
    assert markdown_table(frame).splitlines()[:2] == ["| Name | Loss | Share |", "|:--|--:|--:|"]


def test_gaps_between_numbers_do_not_make_them_words() -> None:
    frame = pd.DataFrame({"Lead": ["0.26 ± 0.30", ""], "Empty": ["", ""], "Word": ["", "best"]})
    assert markdown_table(frame).splitlines()[1] == "|--:|:--|:--|"


def test_widths_of_columns_are_numbers_of_dashes() -> None:
    rule = markdown_table(pd.DataFrame({"a": ["x"], "b": ["y"]}), (10, 30)).splitlines()[1]
    assert [cell.count("-") for cell in rule.strip("|").split("|")] == [20, 60]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.25e-15, "$1.2 \\cdot 10^{-15}$"), (0.05, "$5.0 \\cdot 10^{-2}$"), (1.113, "1.11"), (0.0, "0")],
)
def test_scientific_numbers(value: float, text: str) -> None:
    assert format_scientific(value) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.003, "0.003"), (10.0, "10"), (1e-6, "$10^{-6}$"), (3e-5, "$3 \\cdot 10^{-5}$"), (3e-4, "0.0003")],
)
def test_tiny_learning_rates_are_written_as_powers(rate: float, text: str) -> None:
    assert format_rate(rate) == text


def test_diverged_values_are_written_in_words() -> None:
    assert format_fixed(float("nan"), 2) == format_fixed(float("inf"), 2) == "not finite"
    assert format_fixed(-0.5, 1) == "−0.5"


def test_an_interval_needs_several_values() -> None:
    assert format_interval(t_interval([0.5, 0.5])) == "50.00 ± 0.00 %"
    assert format_interval(t_interval([0.5])) == "50.00 %"


def test_counts_names_and_enumerations_in_words() -> None:
    assert count_words(1, "seed") == "one seed"
    assert count_words(3, "seed") == "three seeds"
    assert count_words(30, "pass", "passes") == "30 passes"
    assert format_count(1, "pass", "passes") == "1 pass"
    assert format_count(1_000, "seed") == "1,000 seeds"
    assert join_english(["a", "b", "c"]) == "a, b and c"
    assert join_english([]) == "none"
    assert label("sgd") == "SGD"
    assert label("heavy_ball") == "heavy ball"


def test_counts_in_digits_have_their_noun_in_the_right_number() -> None:
    assert [format_count(number, "epoch") for number in (1, 2, 2_000)] == [
        "1 epoch",
        "2 epochs",
        "2,000 epochs",
    ]


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("$\\eta$", "η"),
        ("[-@fig-rate-0-1]", "fig-rate-0-1"),
        ("$3 \\cdot 10^{-6}$", "3 · 10^-6"),
        ("**not supported** (`a_b`)", "not supported (a_b)"),
        ("97.61 ± 0.02 %", "97.61 ± 0.02 %"),
    ],
)
def test_cells_of_tables_become_plain_text(markdown: str, plain: str) -> None:
    assert plain_text(markdown) == plain
