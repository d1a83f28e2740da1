"""Results altered so that they contradict a finding: what the tests of the questions hold findings against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pandas as pd

from analysis.findings import Finding, Statement, evaluate, of_kind
from analysis.questions import QUESTIONS
from analysis.results import Results, cached

Alter = Callable[[pd.DataFrame], pd.DataFrame]


def claim(question: str, name: str) -> Finding | Statement:
    """Return a question's finding or statement by others."""
    (found,) = (each for each in QUESTIONS if each.name == question)
    return {**of_kind(found, Finding), **of_kind(found, Statement)}[name]


def altered(found: Results, alter: Alter) -> Results:
    """Return results with all their tables altered, but for images."""
    return replace(
        found,
        rows=alter(found.rows) if len(found.rows) else found.rows,
        programs={
            name: alter(table) if "pixel" not in table else table for name, table in found.programs.items()
        },
    )


def assert_refuted(question: str, name: str, alter: Alter) -> None:
    """Assert that the committed results support a finding, and that altered ones name a condition that fails."""
    genuine = evaluate(claim(question, name))
    presets = {cached(each).preset for each in claim(question, name).results}
    assert genuine.supported or "quick" in presets, genuine
    assert evaluate(claim(question, name), lambda asked: altered(cached(asked), alter)).failed


def assert_refutable(question: str, name: str) -> None:
    """Assert that the results at hand support a finding, and that some standard alteration of them refutes it."""
    finding = claim(question, name)
    genuine = evaluate(finding)
    assert genuine.supported or "quick" in {cached(each).preset for each in finding.results}, genuine
    for alter in standard_alterations(cached(finding.results[0])):
        if evaluate(finding, lambda asked, alter=alter: altered(cached(asked), alter)).failed:
            return
    raise AssertionError(
        f"no standard alteration refutes {name}: test it in tests/questions/test_{question}.py"
    )


def assert_follows_results(question: str, name: str, alter: Alter) -> None:
    """Assert that the verdict on a statement by others is the opposite one on altered results."""
    before = evaluate(claim(question, name))
    after = evaluate(claim(question, name), lambda asked: altered(cached(asked), alter))
    assert before.failed is not None
    assert after.supported is not before.supported


def standard_alterations(found: Results) -> Iterator[Alter]:
    """Give the ways in which results are altered where a question has no contradictions of its own."""
    yield reverse_values
    for metric in found.rows["metric"].unique():
        for value in (0.0, 0.1, 1.0):
            yield constant(value, metric)
        for factor in (0.1, 10.0):
            yield times(factor, metric)


def reverse_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Reverse the values of a table."""
    return rows.assign(value=rows["value"].to_numpy()[::-1])


def changed(change: Callable[[pd.Series], pd.Series], metric: str, **where: object) -> Alter:
    """Change a metric's values, of the rows only in which the columns have the given values."""

    def alter(rows: pd.DataFrame) -> pd.DataFrame:
        if "metric" not in rows:
            return rows
        chosen = rows["metric"] == metric
        for column, value in where.items():
            if column not in rows:
                return rows
            chosen &= rows[column] == value
        return rows.assign(value=rows["value"].where(~chosen, change(rows["value"])))

    return alter


def constant(value: float, metric: str, **where: object) -> Alter:
    """Make all of a metric's values one."""
    return changed(lambda values: values * 0 + value, metric, **where)


def times(factor: float, metric: str, **where: object) -> Alter:
    """Multiply a metric's values."""
    return changed(lambda values: values * factor, metric, **where)


def swap(column: str, one: object, other: object) -> Alter:
    """Swap two values of a column."""
    return lambda rows: rows.replace({column: {one: other, other: one}}) if column in rows else rows


def falling(rows: pd.DataFrame) -> pd.DataFrame:
    """Let every run learn well and steadily."""
    if "epoch" not in rows:  # a program's table
        return rows
    smooth = 1 / (1 + rows["epoch"])
    learnt = rows["value"].where(rows["metric"] != "train_loss", smooth)
    return rows.assign(value=learnt.where(rows["metric"] != "test_accuracy", 31 / 32))


def curves(rate: float, train: list[float], accuracy: list[float]) -> pd.DataFrame:
    """Return a run's rows, as `results` gives them: its test loss lies 0.1 above its train loss."""
    parts = [
        pd.DataFrame(
            {"epoch": [float(epoch) for epoch in range(len(values))], "metric": metric, "value": values}
        )
        for metric, values in (
            ("train_loss", train),
            ("test_loss", [value + 0.1 for value in train]),
            ("train_accuracy", accuracy),
            ("test_accuracy", accuracy),
        )
    ]
    return pd.concat(parts, ignore_index=True).assign(learning_rate=rate, key=str(rate))


def measured(metric: str, values: dict[float, float], **columns: object) -> pd.DataFrame:
    """Return a run's rows of one metric, by epoch."""
    rows = pd.DataFrame(
        {"epoch": list(values), "update": [100 * epoch for epoch in values], "value": list(values.values())}
    )
    return rows.assign(metric=metric, key=str(columns), **columns)


FALLING = [3.0 - step / 100 for step in range(200)]
LEARNT = [0.1, 0.85, 0.91, *[0.96] * 197]
