"""Published test errors beside ours: where they lie relative to the range over our seeds."""

from __future__ import annotations

import pandas as pd

from analysis.exhibits import Table, exhibit
from analysis.findings import Evidence, finding
from analysis.formatting import (
    format_count,
    format_fixed,
    format_percent,
    label,
)
from analysis.questions.published.runs import PRINTED, Printed
from analysis.results import Results
from analysis.statistics import final_values

UNLEARNT = 0.5  # a class of which fewer test examples are recognised has not been learnt


def our_errors(rows: pd.DataFrame, printed: Printed) -> pd.Series[float]:
    """Return our test errors of a printed one's network and epoch (best or last), by seed."""
    network = (rows["hidden"] == printed.hidden) & (rows["loss"] == printed.loss)
    runs = rows[network & (rows["metric"] == "test_accuracy")]
    accuracy = (
        runs.groupby("seed")["value"].max()
        if printed.best_epoch
        else final_values(runs, "test_accuracy", ["seed"])
    )
    return 1 - accuracy


def unlearnt_classes(rows: pd.DataFrame, hidden: str) -> pd.Series[int]:
    """Return how many classes a network has not learnt by the last epoch, by seed."""
    chosen = rows[
        (rows["hidden"] == hidden)
        & (rows["metric"] == "class_accuracy")
        & (rows["epoch"] == rows["epoch"].max())
    ]
    return (chosen["value"] < UNLEARNT).groupby(chosen["seed"]).sum()


@exhibit("tbl-published", "published")
def published_table(found: Results) -> Table:
    """Tabulate every printed test error, ours, and where the printed one lies relative to our seeds' range."""
    lines = []
    for printed in PRINTED:
        ours = our_errors(found.rows, printed)
        lines.append(
            {
                "Printed by": f"@{printed.source}",
                "Network": f"784-{printed.hidden}-10",
                "Loss": label(printed.loss),
                "Epoch": "best" if printed.best_epoch else "last",
                "Printed": format_fixed(100 * printed.error, 2 if printed.best_epoch else 1),
                "Ours, median": format_fixed(100 * ours.median(), 2),
                "Least to most": f"{100 * ours.min():.2f} to {100 * ours.max():.2f}",
                "Seeds": len(ours),
                "Printed error lies": _place(printed.error, ours),
            }
        )
    return Table(
        pd.DataFrame(lines),
        "Test errors in percent, as printed and as found here: median, least and most of the seeds; and how far the "
        "printed one lies outside of that range.",
        (16, 12, 12, 9, 10, 15, 15, 8, 10),
    )


def _place(error: float, ours: pd.Series[float]) -> str:
    if error < ours.min():
        return f"{100 * (ours.min() - error):.2f} below"
    if error > ours.max():
        return f"{100 * (error - ours.max()):.2f} above"
    return "within"


@finding("published", headline=True)
def start_decides_nielsens_network(found: Results) -> Evidence:
    final = final_values(found.rows[found.rows["hidden"] == "100"], "test_accuracy", ["seed"])
    unlearnt = unlearnt_classes(found.rows, "100") > 0
    stuck, other = final[unlearnt], final[~unlearnt]
    (printed,) = (1 - each.error for each in PRINTED if each.hidden == "100")
    seeds = format_count(len(final), "seed")
    return Evidence(
        f"Nielsen prints {format_percent(printed, 2)} for 784-100-10, and none of our runs with his settings ends so "
        f"high. Of {seeds}, {len(stuck)} leave at least one digit unlearnt, as he warns that some do; the "
        f"others have {_format_range(other)} after their last epoch.",
        {
            "the printed accuracy is above all of ours": bool(printed > final.max()),
            "some seeds leave a digit unlearnt": len(stuck) > 0,
            "some seeds learn all digits": len(other) > 0,
            "all that leave a digit unlearnt end below all others": bool(stuck.max() < other.min()),
        },
    )


def _format_range(shares: pd.Series[float]) -> str:
    return f"{format_percent(shares.min(), 2)} to {format_percent(shares.max(), 2)}" if len(shares) else "–"
