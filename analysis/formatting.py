"""How numbers, names and tables are written in the report."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import pandas as pd

from analysis.statistics import Interval

# How names of the runs' fields are written; a name that is not listed is written as it is, with spaces.
LABELS: dict[str, str] = {
    "sgd": "SGD",
    "momentum": "SGD with momentum",
    "gd": "GD",
    "adam": "Adam",
    "relu": "ReLU",
    "identity": "linear",
    "one_hot": "one-hot",
    "shuffled_once": "shuffled once",
    "label_sorted": "sorted by label",
    "cross_entropy_softmax": "cross entropy, softmax",
    "cross_entropy_sigmoid": "cross entropy, sigmoid",
    "quadratic_softmax": "quadratic, softmax",
    "quadratic_sigmoid": "quadratic, sigmoid",
    "one_hot_cross_entropy_softmax": "one-hot, cross entropy",
    "one_hot_quadratic_sigmoid": "one-hot, quadratic",
    "scaled_label_quadratic_sigmoid": "single sigmoid, quadratic",
    "scaled_label_quadratic_identity": "single linear, quadratic",
    "scaled_label_cross_entropy_sigmoid": "single sigmoid, cross entropy",
}
_WORDS = {
    **dict(enumerate(("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))),
    11: "eleven",
    12: "twelve",
    20: "twenty",
}


def label(name: str) -> str:
    """Return a name as the report writes it: "relu" is ReLU."""
    return LABELS.get(name, name.replace("_", " "))


def count_words(count: int, noun: str = "", plural: str = "") -> str:
    """Return a small number in words, with its noun in the right number: "three seeds"."""
    number = _WORDS.get(count, f"{count:,}")
    return f"{number} {noun if count == 1 else plural or noun + 's'}" if noun else number


def format_count(count: int, noun: str, plural: str = "") -> str:
    """Return a number in digits, with its noun in the right number: "3 seeds"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def markdown_table(frame: pd.DataFrame, widths: tuple[int, ...] = ()) -> str:
    """Return a table in Markdown: text to the left; numbers, what stands for them and gaps between them to the right.

    Args:
        frame: The cells.
        widths: Of the columns relative to each other; pandoc reads them from the numbers of dashes.
    """
    header = "| " + " | ".join(map(str, frame.columns)) + " |"
    numeric = [_looks_numeric([str(cell) for cell in frame[column]]) for column in frame.columns]
    dashes = [max(2, 2 * width) for width in widths or (1,) * len(numeric)]
    rule = "|" + "|".join(_rule(n, right) for n, right in zip(dashes, numeric, strict=True)) + "|"
    body = ["| " + " | ".join(map(str, row)) + " |" for row in frame.itertuples(index=False)]
    return "\n".join([header, rule, *body])


def _rule(dashes: int, right: bool) -> str:
    return "-" * dashes + ":" if right else ":" + "-" * dashes


def _looks_numeric(column: list[str]) -> bool:
    number = re.compile(r"[-−+]?[\d,.]+( ± [\d.]+)?( %)?|–|not finite|\$.*\$")
    return any(column) and all(number.fullmatch(cell) for cell in column if cell)


def format_fixed(value: float, digits: int) -> str:
    """Return a measured value with fixed decimals; a diverged one in words."""
    return f"{value:z,.{digits}f}".replace("-", "−") if math.isfinite(value) else "not finite"


def format_percent(share: float, digits: int = 1) -> str:
    """Return a share as the text writes it: 0.9123 is 91.2 %."""
    return f"{100 * share:.{digits}f} %"


def format_at_least(share: float, digits: int = 1) -> str:
    """Return a share rounded down, as "at least" needs it."""
    return f"{math.floor(round(100 * share * 10**digits, 6)) / 10**digits:.{digits}f} %"


def format_at_most(share: float, digits: int = 1) -> str:
    """Return a share rounded up, as "at most" needs it."""
    return f"{math.ceil(round(100 * share * 10**digits, 6)) / 10**digits:.{digits}f} %"


def format_interval(shares: Interval, digits: int = 2, unit: str = " %") -> str:
    """Return a mean share with the half width of its interval, in percent; the mean alone of a single value."""
    mean = f"{100 * shares.mean:z.{digits}f}".replace("-", "−")
    return f"{mean} ± {100 * shares.half_width:.{digits}f}{unit}" if shares.n > 1 else f"{mean}{unit}"


def format_estimate(interval: Interval, digits: int) -> str:
    """Return a mean with the half width of its interval; the mean alone of a single value."""
    mean = f"{interval.mean:.{digits}f}"
    return f"{mean} ± {interval.half_width:.{digits}f}" if interval.n > 1 else mean


def format_range(values: pd.Series[float], digits: int) -> str:
    """Return the least and the largest value: 2.3012 to 2.3024."""
    least, most = format_fixed(values.min(), digits), format_fixed(values.max(), digits)
    return f"{least} to {most}" if least != most else least


def format_scientific(value: float) -> str:
    """Return a positive number with its power of ten, as mathematics: 1.2 · 10⁻¹⁵; from 0.1 to 10 without."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value))
    if exponent in (-1, 0):
        return f"{value:.2f}"
    return f"${value / 10.0**exponent:.1f} \\cdot 10^{{{exponent}}}$"


def format_rate(rate: float) -> str:
    """Return a learning rate: 0.003, but $3 \\cdot 10^{-6}$."""
    digits, _, exponent = f"{rate:.3g}".partition("e")
    if not exponent:
        return digits
    times = "" if digits == "1" else f"{digits} \\cdot "
    return f"${times}10^{{{int(exponent)}}}$"


def format_mean_epoch(epochs: pd.Series[float]) -> str:
    """Return the mean of the runs' first epochs with something; a dash if one of them never came to it."""
    return f"{epochs.mean():.1f}" if math.isfinite(epochs.mean()) else "–"


def join_english(items: Iterable[str]) -> str:
    """Return an enumeration: a, b and c; "none" of nothing."""
    *first, last = list(items) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def escape_markdown(text: str) -> str:
    """Return Markdown that shows a text as it stands: a stranger's result may carry markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$^@!])", r"\\\1", " ".join(text.split()))


def plain_text(text: str) -> str:
    """Return Markdown of a table's cell as plain text: $3 \\cdot 10^{-6}$ is 3 · 10^-6."""
    for mark, plain in (("\\cdot", "·"), ("\\eta", "η"), ("\\,", " "), ("**", ""), ("`", ""), ("$", "")):
        text = text.replace(mark, plain)
    return re.sub(r"\[?-?@([\w-]+)\]?", r"\1", re.sub(r"\{([^{}]*)\}", r"\1", text))
