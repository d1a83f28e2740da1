"""The report's tables, made from cached results: how they are written here, the tables in one module per assignment.

The functions that end in numbers return DataFrames that claims and figures use as well; `markdown` writes one as
a table of the book.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import pandas as pd
from IPython.display import Markdown

from analysis.statistics import Interval


def markdown(frame: pd.DataFrame) -> Markdown:
    """A table of the book: text to the left, numbers (and what stands for them) to the right."""
    header = "| " + " | ".join(map(str, frame.columns)) + " |"
    numeric = [frame[column].map(_looks_numeric).all() for column in frame.columns]
    rule = "|" + "|".join("--:" if right else ":--" for right in numeric) + "|"
    body = ["| " + " | ".join(map(str, row)) + " |" for row in frame.itertuples(index=False)]
    return Markdown("\n".join([header, rule, *body]))


def _looks_numeric(cell: object) -> bool:
    return re.fullmatch(r"[-−+]?[\d,.]+( ± [\d.]+)?( %)?|–|not finite|\$.*\$", str(cell)) is not None


def number(value: float, digits: int) -> str:
    """A measured value with fixed decimals; a diverged one in words."""
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else "not finite"


def percent(share: float, digits: int = 1) -> str:
    """A share as the text writes it: 0.9123 is 91.2 %."""
    return f"{100 * share:.{digits}f} %"


def interval(shares: Interval, digits: int = 2, unit: str = " %") -> str:
    """A mean share with the half width of its interval, in percent; the mean alone of a single value."""
    mean = f"{100 * shares.mean:.{digits}f}".replace("-", "−")
    return f"{mean} ± {100 * shares.half:.{digits}f}{unit}" if shares.n > 1 else f"{mean}{unit}"


def power(value: float) -> str:
    """A positive number with its power of ten, as mathematics: 1.2 · 10⁻¹⁵."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value))
    return f"${value / 10.0**exponent:.1f} \\cdot 10^{{{exponent}}}$"


def rate_text(rate: float) -> str:
    """A learning rate: 0.003, but $3 \\cdot 10^{-6}$."""
    digits, _, exponent = f"{rate:g}".partition("e")
    if not exponent:
        return digits
    times = "" if digits == "1" else f"{digits} \\cdot "
    return f"${times}10^{{{int(exponent)}}}$"


def words(items: Iterable[str]) -> str:
    """An enumeration: a, b and c; "none" of nothing."""
    *first, last = list(items) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def curve(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


def mean_epoch(epochs: pd.Series[float]) -> str:
    """The mean of the first epochs with something; a dash if one of the runs never came to it."""
    return f"{epochs.mean():.1f}" if math.isfinite(epochs.mean()) else "–"
