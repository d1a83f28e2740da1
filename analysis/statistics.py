"""Intervals and tests over seeds, and choices by validation accuracy."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.special import fdtrc, stdtr, stdtrit  # not scipy.stats, which takes a second to import

Key = TypeVar("Key", bound=Hashable)

LEVEL = 0.95
END = 0.1  # share of the epochs over which an end is judged where curves spike: at the last one, a curve may
PLATEAU = 0.001  # runs are on one if `gain_of_last_quarter` is smaller


@dataclass(frozen=True)
class Interval:
    """A mean over n seeds and its two-sided Student t interval of level LEVEL, mean ± half_width.

    The half width is not finite for a single value.
    """

    mean: float
    half_width: float
    n: int

    def __neg__(self) -> Interval:
        return replace(self, mean=-self.mean)


def t_interval(values: Sequence[float] | pd.Series[float]) -> Interval:
    """The mean of independent values, with its interval."""
    numbers = np.asarray(values, dtype=float)
    n = len(numbers)
    half_width = stdtrit(n - 1, (1 + LEVEL) / 2) * numbers.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    return Interval(float(numbers.mean()), float(half_width), n)


def jackknife_half_width(left_out: Sequence[float] | pd.Series[float]) -> float:
    """Return the half width of the two-sided interval of level LEVEL of an estimate, by the jackknife.

    Args:
        left_out: The estimate from all but one of k independent samples, for each of them (Tukey 1958).
    """
    values = np.asarray(left_out, dtype=float)
    k = len(values)
    error = np.sqrt((k - 1) / k * ((values - values.mean()) ** 2).sum())
    return float(stdtrit(k - 1, (1 + LEVEL) / 2) * error) if k > 1 else np.inf


def p_value(interval: Interval) -> float:
    """Return the p-value of Student's t test (two-sided) that a mean is 0; of a single value, not a number."""
    if interval.n < 2:
        return np.nan
    with np.errstate(divide="ignore", invalid="ignore"):  # where the values are equal
        t = np.divide(interval.mean, interval.half_width) * stdtrit(interval.n - 1, (1 + LEVEL) / 2)
    return float(2 * stdtr(interval.n - 1, -abs(t)))


@dataclass(frozen=True)
class PairedTest:
    """Mean difference of paired values with its t interval, and the p-value of Student's paired t test (two-sided).

    The p-value of a single pair is not a number.
    """

    difference: Interval
    p: float


def paired_t(first: pd.Series[float], second: pd.Series[float]) -> PairedTest:
    """Compares two methods over the seeds that they share; both are indexed by seed.

    Raises:
        ValueError: They do not have the same seeds.
    """
    if not first.index.sort_values().equals(second.index.sort_values()):
        raise ValueError(f"seeds differ: {list(first.index)} and {list(second.index)}")
    difference = t_interval(first - second)
    return PairedTest(difference, p_value(difference))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjustment of the p-values of several tests, in their order: each holds with the others tested."""
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def paired_tests_holm(pairs: dict[Key, tuple[pd.Series[float], pd.Series[float]]]) -> dict[Key, PairedTest]:
    """Paired tests of several comparisons, their p-values adjusted after Holm."""
    tests = {name: paired_t(first, second) for name, (first, second) in pairs.items()}
    adjusted = holm([test.p for test in tests.values()])
    return {name: replace(test, p=p) for (name, test), p in zip(tests.items(), adjusted, strict=True)}


def repeated_measures_p(values: pd.DataFrame) -> float:
    """The p-value of the F test with repeated measures: whether the columns' means differ, their rows taken out.

    Treatments need not scatter alike: degrees of freedom are corrected by the epsilon of Greenhouse and Geisser,
    "On methods in the analysis of profile data" (1959).

    Args:
        values: A row per seed, a column per treatment.
    """
    table = values.to_numpy(dtype=float)
    seeds, treatments = table.shape
    centred = table - table.mean(axis=1, keepdims=True)
    effect = seeds * ((centred.mean(axis=0) - centred.mean()) ** 2).sum() / (treatments - 1)
    freedom = (seeds - 1) * (treatments - 1)
    rest = ((centred - centred.mean(axis=0)) ** 2).sum() / freedom
    covariance = np.cov(centred, rowvar=False)
    epsilon = np.trace(covariance) ** 2 / ((treatments - 1) * (covariance**2).sum())
    return float(fdtrc(epsilon * (treatments - 1), epsilon * freedom, effect / rest))


def final_values(rows: pd.DataFrame, metric: str, by: Sequence[str]) -> pd.Series[float]:
    """A metric's value at each run's last measurement, not a number if that is not finite.

    Index: the columns `by`, which must tell the runs apart.
    """
    chosen = rows.loc[rows["metric"] == metric, [*by, "key", "update", "value"]].sort_values("update")
    return chosen.groupby([*by, "key"], dropna=False)["value"].last(skipna=False).droplevel("key")


def late_medians(rows: pd.DataFrame, metric: str, by: Sequence[str]) -> pd.Series[float]:
    """A metric's median over the last epochs, of the share END, which single drops do not move; index: `by`."""
    chosen = rows[(rows["metric"] == metric) & (rows["epoch"] > (1 - END) * rows["epoch"].max())]
    return chosen.groupby(list(by))["value"].median()


def on_all_examples(rows: pd.DataFrame, hidden: str) -> pd.DataFrame:
    """The rows of a network's runs on all training examples; hidden sizes as in `rows`."""
    return rows[rows["train_examples"].isna() & (rows["hidden"] == hidden)]


def gain_of_last_quarter(runs: pd.DataFrame) -> float:
    """Return how much the runs' mean validation accuracy changes in the last quarter of their epochs."""
    before = runs[runs["epoch"] <= 0.75 * runs["epochs"]]
    end, start = (final_values(each, "validation_accuracy", ["seed"]).mean() for each in (runs, before))
    return float(end - start)


def best_rates(
    rows: pd.DataFrame, by: Sequence[str], metric: str = "validation_accuracy"
) -> pd.Series[float]:
    """The learning rate of the highest mean final validation accuracy over seeds, for each setting.

    Args:
        rows: Of runs over learning rates and seeds.
        by: Columns that tell the settings apart.
        metric: What decides.

    Returns:
        learning_rate by the columns `by`. Runs that are not finite count as the worst.
    """
    means = (
        final_values(rows, metric, [*by, "learning_rate"])
        .fillna(-np.inf)
        .groupby([*by, "learning_rate"])
        .mean()
    )
    best = means.groupby(list(by)).idxmax() if len(by) else means
    return best.map(lambda index: index[-1]).rename("learning_rate")


def at_best_rates(rows: pd.DataFrame, by: Sequence[str], metric: str = "validation_accuracy") -> pd.DataFrame:
    """The rows of every setting's runs at its best rate; see `best_rates`."""
    best = best_rates(rows, by, metric).reset_index()
    return rows.merge(best, on=[*by, "learning_rate"])


def runs_at_best(rows: pd.DataFrame, by: Sequence[str], thresholds: Sequence[float]) -> pd.DataFrame:
    """Return one row per run, every setting at its best rate; see `best_rates`.

    Args:
        rows: Of runs over learning rates and seeds.
        by: Columns that tell the settings apart.
        thresholds: Of test accuracy.

    Returns:
        Columns `by`, seed, learning_rate, test_accuracy (at the end), and for each threshold the first epoch with it.
    """
    chosen, run = at_best_rates(rows, by), [*by, "seed", "learning_rate"]
    numbers: dict[str | float, pd.Series[float]] = {
        "test_accuracy": final_values(chosen, "test_accuracy", run),
        **{threshold: first_epochs(chosen, threshold, run) for threshold in thresholds},
    }
    return pd.DataFrame(numbers).reset_index()


def first_epochs(rows: pd.DataFrame, threshold: float, by: Sequence[str]) -> pd.Series[float]:
    """Return each run's first epoch with that test accuracy, infinite if there is none; index: the columns `by`."""
    accuracy = rows[rows["metric"] == "test_accuracy"]
    reached = accuracy["epoch"].where(accuracy["value"] >= threshold, np.inf)
    return reached.groupby([accuracy[column] for column in by]).min()


def label_entropy(labels: pd.Series[int]) -> float:
    """Return -Σ f_j ln f_j of the labels' shares f_j: the least loss of a network that ignores its input."""
    shares = labels.value_counts(normalize=True)
    return float(-(shares * np.log(shares)).sum())


def edge_of_biases(labels: pd.Series[int]) -> float:
    """Return the learning rate beyond which gradient descent of output biases alone does not settle.

    At their minimum the probabilities are the labels' shares f, and the Hessian is diag(f) - f fᵀ; the rate is 2 over
    its largest eigenvalue.
    """
    shares = labels.value_counts(normalize=True).to_numpy()
    return float(2 / np.linalg.eigvalsh(np.diag(shares) - np.outer(shares, shares)).max())
