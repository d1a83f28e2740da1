"""Published test errors beside ours."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown

from analysis.questions.published.runs import PRINTED
from analysis.statistics import last, t_interval
from analysis.tables import interval, markdown, number

LOSSES = {"quadratic": "quadratic", "cross_entropy": "cross entropy"}
UNLEARNT = 0.5  # a class of which fewer test examples are recognised has not been learnt


def published_errors(rows: pd.DataFrame) -> dict[tuple[str, str], pd.Series[float]]:
    """Our test errors by seed for every printed one, of its epoch (best or last); by reference and hidden units."""
    errors = {}
    for printed in PRINTED:
        runs = rows[(rows["hidden"] == printed.hidden) & (rows["metric"] == "test_accuracy")]
        accuracy = (
            runs.groupby("seed")["value"].max()
            if printed.best_epoch
            else last(runs, "test_accuracy", ["seed"])
        )
        errors[printed.source, printed.hidden] = 1 - accuracy
    return errors


def unlearnt_classes(rows: pd.DataFrame, hidden: str) -> pd.Series[int]:
    """Number of classes that the network of so many hidden units has not learnt by the last epoch, by seed."""
    chosen = rows[
        (rows["hidden"] == hidden)
        & (rows["metric"] == "class_accuracy")
        & (rows["epoch"] == rows["epoch"].max())
    ]
    return (chosen["value"] < UNLEARNT).groupby(chosen["seed"]).sum()


def _place(error: float, ours: pd.Series[float]) -> str:
    if error < ours.min():
        return f"{100 * (ours.min() - error):.2f} below"
    if error > ours.max():
        return f"{100 * (error - ours.max()):.2f} above"
    return "within"


def published(rows: pd.DataFrame) -> Markdown:
    """Every printed test error, ours, and where the printed one lies relative to our seeds' range."""
    errors = published_errors(rows)
    lines = []
    for printed in PRINTED:
        ours = errors[printed.source, printed.hidden]
        lines.append(
            {
                "Printed by": f"@{printed.source}",
                "Network": f"784-{printed.hidden}-10",
                "Loss": LOSSES[printed.loss],
                "Epoch": "best" if printed.best_epoch else "last",
                "Printed": number(100 * printed.error, 2 if printed.best_epoch else 1),
                "Ours, mean": interval(t_interval(ours), 2, ""),
                "Least to most": f"{100 * ours.min():.2f} to {100 * ours.max():.2f}",
                "Seeds": len(ours),
                "Printed lies": _place(printed.error, ours),
            }
        )
    return markdown(pd.DataFrame(lines))
