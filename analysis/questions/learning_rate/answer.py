"""Q6, learning rate: small ones are slow, large ones unstable, and the sharpness says where."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis import plotting
from analysis.engine.run import CLASSES, SHARPNESS_EXAMPLES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_at_most,
    format_count,
    format_fixed,
    format_interval,
    format_percent,
    format_range,
    format_rate,
    join_english,
)
from analysis.plotting import (
    GREEN,
    INK,
    MARKER,
    ORANGE,
    PINK,
    QUIET,
    TRAIN_TEST,
    WIDTH,
    label_ends,
    plain_ticks,
    write_in,
)
from analysis.questions.learning_rate.runs import SATURATION_RATES
from analysis.results import Results, remembered
from analysis.statistics import (
    edge_of_biases,
    first_epochs,
    label_entropy,
    late_medians,
    on_all_examples,
    t_interval,
)

NETWORK = "300"  # by the name of runs
UNSTABLE_SHARE = 0.01  # a run is unstable if its train loss rises in more of the last half of the epochs
SLOW, FAST = 0.90, 0.95  # test accuracies; a run is slow if it never reaches the lower one
CHANCE = 0.15  # test accuracy of a run that has learnt nothing, at most
DIVERGED = 2  # a run blows up if its train loss ends at that many times the first
DENSE_UNTIL = 2  # the epoch up to which the sharpness is measured at each
FIRST_UPDATES = 2  # in which too large a rate saturates the hidden units
EDGE_EPOCH = 150  # when the first transients are over
SCATTERED = 5  # points of test accuracy: no mean is told of starts that differ by more
PRODUCTS = (150, 200, 500, 1_000, 1_500, 2_000)  # η × epochs at which losses are compared
ONE_CURVE = 0.15  # relative difference of losses that lie about on one curve
LOST = 0.5  # test accuracy that a start has not learnt much below
NEAR = 0.01  # of test accuracy: rates whose mean ends within it of the best are about as good
PROPORTIONAL = 1.5  # products of rate and epochs that differ by a smaller factor are about equal
EDGE = (0.9, 1.4)  # medians of the sharpness relative to 2/η that hover about the edge
SHOWN_RATES: dict[float, dict[str, Any]] = {
    0.01: {"color": QUIET, "linestyle": (0, (1.5, 1))},
    0.1: {"color": INK},
    2.0: {"color": TRAIN_TEST["train"]["color"]},
    8.0: {"color": ORANGE, "linewidth": 0.6, "zorder": 1.5},
    20.0: {"color": PINK, "linestyle": (0, (3, 1, 1, 1))},
}
SHARPNESS_RATES: dict[float, dict[str, Any]] = {  # 0.01 lies far below all others, 20 is stuck
    **{rate: style for rate, style in SHOWN_RATES.items() if 0.01 < rate < 20},
    0.5: {"color": GREEN, "linestyle": (0, (5, 1.5))},
    3.0: {"color": TRAIN_TEST["test"]["color"], "linestyle": (0, (1.5, 1))},
}
SLOPE_STYLES: dict[float, dict[str, Any]] = {
    **{rate: SHOWN_RATES[rate] for rate in (2.0, 8.0, 20.0)},
    100.0: {"color": INK, "linestyle": ":"},
}
LOSS_LIMITS = (0.05, 300)  # as drawn for each rate


@remembered
def first_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs from the first initialization, which are drawn."""
    return rows[rows["seed"] == 0]


def first_steps(rows: pd.DataFrame) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return how the runs begin.

    Returns:
        The initial sharpness relative to 2/η, and the highest train loss relative to the first; index: learning_rate,
        seed.
    """
    by = ["learning_rate", "seed"]
    sharpness = rows[(rows["metric"] == "sharpness") & (rows["epoch"] == 0)].set_index(by)["value"]
    losses = rows[rows["metric"] == "train_loss"].sort_values("epoch").groupby(by)["value"]
    return sharpness * sharpness.index.get_level_values(0) / 2, losses.max() / losses.first()


@remembered
def run_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run.

    Returns:
        Index learning_rate, seed; epochs, train_loss, test_loss, test_accuracy at the last epoch; first_loss, the train
        loss before training; rises, the share of the last half of the epochs in which the train loss rises;
        slow_epoch and fast_epoch, the first epochs with the test accuracies SLOW and FAST (not finite if never);
        verdict.
    """
    by = ["learning_rate", "seed"]
    curves = {
        metric: rows[rows["metric"] == metric].pivot(index="epoch", columns=by, values="value")
        for metric in ("train_loss", "test_loss", "test_accuracy")
    }
    train = curves["train_loss"]
    numbers = pd.DataFrame(
        {
            "epochs": int(train.index[-1]),
            **{metric: of_runs.iloc[-1] for metric, of_runs in curves.items()},
            "first_loss": train.iloc[0],
            "rises": (train.diff().iloc[len(train) // 2 :] > 0).mean(),
        }
    )
    numbers["slow_epoch"] = first_epochs(rows, SLOW, by)
    numbers["fast_epoch"] = first_epochs(rows, FAST, by)
    numbers["verdict"] = [
        _verdict(*each)
        for each in zip(
            numbers["train_loss"] / numbers["first_loss"],
            numbers["test_accuracy"],
            numbers["rises"],
            numbers["slow_epoch"],
            strict=True,
        )
    ]
    return numbers


def _verdict(left: float, accuracy: float, rises: float, slow_epoch: float) -> str:
    """Judge a run by the share of its first train loss that is left, its accuracy and how often the loss rises."""
    if not left < DIVERGED:
        return "blows up"
    if accuracy < CHANCE:
        return "stuck"
    if rises > UNSTABLE_SHARE:
        return "unstable"
    return "slow" if math.isinf(slow_epoch) else "steady"


@remembered
def verdicts(numbers: pd.DataFrame) -> pd.Series[str]:
    """Return, of `run_numbers`, the verdict on every learning rate, with a count where starts differ."""

    def joined(runs: pd.Series[str]) -> str:
        counts = runs.value_counts()
        rarest = counts.index[-1]
        return rarest if len(counts) == 1 else f"{rarest} in {counts.iloc[-1]} of {len(runs)}"

    return numbers.groupby("learning_rate")["verdict"].agg(joined)


def unanimous(numbers: pd.DataFrame, verdict: str) -> pd.Index[float]:
    """Return the learning rates, of `run_numbers`, whose runs all have that verdict."""
    found = verdicts(numbers)
    return found.index[found == verdict]


@remembered
def relative_sharpness(rows: pd.DataFrame) -> pd.DataFrame:
    """Return λ_max relative to 2/η, λ_max η / 2: index epoch, a column per learning_rate and seed."""
    sharpness = rows[rows["metric"] == "sharpness"]
    curves = sharpness.pivot(index="epoch", columns=["learning_rate", "seed"], values="value")
    return curves * curves.columns.get_level_values("learning_rate") / 2


def later_sharpness(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the median of `relative_sharpness` from EDGE_EPOCH on; index: learning_rate, seed."""
    curves = relative_sharpness(rows)
    return curves[curves.index >= EDGE_EPOCH].median()


def rate_label(rate: float) -> str:
    """Return the label of a learning rate's figure in the appendix."""
    return f"fig-rate-{rate:g}".replace(".", "-")


# Exhibits


@exhibit("tbl-learning-rates", "learning_rate")
def rates_table(found: Results) -> Table:
    """Tabulate means of `run_numbers` over the starts, with each rate's figure."""
    numbers = run_numbers(found.rows)
    by_rate = numbers.groupby("learning_rate")
    later = later_sharpness(found.rows).reindex(numbers.index)
    frame = pd.DataFrame(
        {
            "$\\eta$": [f"{rate:g}" for rate, _ in by_rate],
            "Figure": [f"[-@{rate_label(rate)}]" for rate, _ in by_rate],
            "Train loss": [_mean_or_range(runs, "train_loss") for _, runs in by_rate],
            "Test loss": [_mean_or_range(runs, "test_loss") for _, runs in by_rate],
            "Test acc., %": [_interval_or_range(runs["test_accuracy"]) for _, runs in by_rate],
            **{
                heading.format(format_percent(level, 0)): [
                    _format_epoch(runs[column].mean() * (rate if "eta" in heading else 1))
                    for rate, runs in by_rate
                ]
                for level, column, headings in (
                    (SLOW, "slow_epoch", ("To {}", "$\\eta$ · to {}")),
                    (FAST, "fast_epoch", ("To {}",)),
                )
                for heading in headings
            },
            "Peak": [
                format_fixed(value, 2 if value < 10 else 1)
                for value in first_steps(found.rows)[1].groupby("learning_rate").mean()
            ],
            "$\\lambda_{\\max} \\eta / 2$": [
                format_range(later[rate], 2).replace(" to ", "–") if later[rate].notna().all() else "–"
                for rate, _ in by_rate
            ],
            "Verdict": verdicts(numbers).to_list(),
        }
    )
    return Table(
        frame,
        f"The {count_words(len(by_rate), 'learning rate')} after {numbers['epochs'].max():,.0f} epochs, means over "
        f"{_starts(by_rate.size())}: losses, test accuracy with 95 % t intervals (where starts differ by more than "
        f"{SCATTERED:g} points: least and largest), the first epoch with the given test accuracy, also times $\\eta$, "
        "where every start reaches it, and the largest train loss divided by the first (*peak*). $\\lambda_{\\max} "
        f"\\eta / 2$: median from epoch {EDGE_EPOCH} on, least and largest of the starts. A run *blows up* if its "
        "train loss ends at more than twice the first, is *stuck* if it ends with less than "
        f"{format_percent(CHANCE, 0)} test accuracy, *unstable* if its train loss rises in more than "
        f"{format_percent(UNSTABLE_SHARE, 0)} of the last half of the epochs, and *slow* if it does not reach "
        f"{format_percent(SLOW, 0)} test accuracy; otherwise it is *steady*.",
        (6, 8, 10, 10, 12, 8, 8, 8, 7, 13, 19),
    )


def _starts(numbers: pd.Series[int]) -> str:
    """Return how many starts the rates have, given by rate."""
    least, most = numbers.min(), numbers.max()
    several = numbers.index[numbers == most]
    further = "" if least == most else f" ({count_words(most)} from {several.min():g} to {several.max():g})"
    return f"{count_words(least, 'start')}{further}"


def _interval_or_range(shares: pd.Series[float]) -> str:
    """Write percent over starts; of scattered ones the least and the largest, as their mean is none of them."""
    if 100 * np.ptp(shares) <= SCATTERED:
        return format_interval(t_interval(shares), 1, "")
    return f"{format_fixed(100 * shares.min(), 1)}–{format_fixed(100 * shares.max(), 1)}"


def _mean_or_range(runs: pd.DataFrame, metric: str) -> str:
    """Write a mean over starts, a range where `_interval_or_range` does."""
    if 100 * np.ptp(runs["test_accuracy"]) <= SCATTERED:
        return format_fixed(runs[metric].mean(), 3)
    return format_range(runs[metric], 1).replace(" to ", "–")


def _format_epoch(epoch: float) -> str:
    return f"{epoch:,.0f}" if math.isfinite(epoch) else "–"


@exhibit(
    "fig-learning-rates",
    "learning_rate",
    "overfitting",
    explore=(
        "metric=test_accuracy&xlog=1"
        "&run=learning_rate:8"
        "&pin=learning_rate:0.01"
        "&pin=learning_rate:0.1"
        "&pin=learning_rate:2"
    ),
)
def speed_and_end(found: Results, longer: Results) -> Picture:
    """Draw test accuracy over epochs, train loss over η × epochs, and every run's test error at the end."""
    rows, trained_on = first_start(found.rows), first_start(on_all_examples(longer.rows, NETWORK))
    slowest = trained_on["learning_rate"].min()  # the only one whose line is short otherwise
    trained_on = trained_on[(trained_on["learning_rate"] == slowest) & (trained_on["metric"] == "train_loss")]
    rows = rows[rows["epoch"] > 0]
    numbers = run_numbers(found.rows)
    figure, (courses, scaled, final) = plt.subplots(1, 3, figsize=(WIDTH, 2.5))
    shown = [rate for rate in SHOWN_RATES if rate in set(rows["learning_rate"])]
    calm = unanimous(numbers, "slow").union(unanimous(numbers, "steady"))
    for rate in shown:
        accuracy = rows[(rows["learning_rate"] == rate) & (rows["metric"] == "test_accuracy")]
        courses.plot(accuracy["epoch"], 100 * accuracy["value"], **SHOWN_RATES[rate])
    for rate in calm:
        loss = rows[(rows["learning_rate"] == rate) & (rows["metric"] == "train_loss")]
        style = SHOWN_RATES.get(rate, {"color": QUIET, "linewidth": 0.6, "zorder": 1})
        if rate == slowest:
            loss = pd.concat([loss, trained_on[trained_on["epoch"] > loss["epoch"].max()]])
        scaled.plot(rate * loss["epoch"], loss["value"], **style)
    final.plot(
        numbers.index.get_level_values("learning_rate"),
        100 * (1 - numbers["test_accuracy"]),
        color=INK,
        marker="o",
        markersize=MARKER,
        markerfacecolor="none",
        linestyle="",
    )
    final.set_yscale("log")
    final.set_ylim(2, 100)
    plain_ticks(final.yaxis)
    for axes, x, y in (
        (courses, "epoch", "test accuracy in %"),
        (scaled, "η × epoch", "train loss"),
        (final, "learning rate η", "test error in %"),
    ):
        axes.set_xscale("log")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    courses.set_ylim(0, 100)
    scaled.set_xlim(left=1)
    scaled.set_yscale("log")
    plain_ticks(scaled.yaxis)
    handles = [Line2D([], [], label=f"η = {rate:g}", **SHOWN_RATES[rate]) for rate in shown]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=1.8
    )
    return Picture(
        figure,
        f"Left: test accuracy over epochs at {count_words(len(shown))} of the learning rates, from the first start. "
        "Middle: the same start's train loss over $\\eta$ times epochs at the rates at which every start is slow or "
        f"steady (@tbl-learning-rates), thin those without a line in the left panel; that of {slowest:g} goes on "
        f"to {trained_on['epoch'].max():,.0f} epochs. Right: test error after {numbers['epochs'].max():,.0f} epochs, "
        "a ring per run.",
        "Left: curves that rise the earlier, the larger the rate, and at the largest go up and down. Middle: lines "
        "that end on one curve, which that of the largest rate meets last. Right: rings that fall with the rate, then "
        "rise and scatter.",
    )


@exhibit(
    "fig-sharpness",
    "learning_rate",
    explore=(
        "metric=sharpness&xlog=1&ylog=1"
        "&run=learning_rate:8"
        "&pin=learning_rate:0.1"
        "&pin=learning_rate:0.5"
        "&pin=learning_rate:2"
    ),
)
def sharpness_along_training(found: Results) -> Picture:
    """Draw sharpness relative to 2/η along training, at a few learning rates; the slopes of hidden units at others."""
    curves = relative_sharpness(first_start(found.rows)).droplevel("seed", axis="columns")
    figure, (start, course, slope) = plt.subplots(
        1, 3, figsize=(WIDTH, 2.2), gridspec_kw={"width_ratios": (1, 3, 2)}
    )
    start.sharey(course)
    start.tick_params(labelleft=True)
    course.tick_params(labelleft=False)
    labels = []
    for rate, style in SHARPNESS_RATES.items():
        if rate in curves:
            line = curves[rate].dropna()
            for axes, part in ((start, line.loc[:DENSE_UNTIL]), (course, line.loc[DENSE_UNTIL + 1 :])):
                axes.plot(part.index, part, marker=".", markersize=4, **style)
            labels.append((line.index[-1], line.iloc[-1], f"η = {rate:g}", style["color"]))
    for axes in (start, course):
        axes.axhline(1, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
    start.set_xticks(range(DENSE_UNTIL + 1))
    start.set_ylabel(r"λ$_\mathrm{max}$ relative to 2/η")
    course.set_xscale("log")
    course.set_xlim(right=curves.index.max())  # the dotted line ends where the labels begin
    label_ends(course, labels)
    _draw_slopes(slope, first_start(found.rows))
    return Picture(
        figure,
        f"Sharpness $\\lambda_{{\\max}}$ of the loss on {SHARPNESS_EXAMPLES:,} training examples, relative to "
        f"$2/\\eta$, along training at {count_words(len(labels))} learning rates, from the first start, measured at "
        "the dots. Below the dotted line, gradient descent is stable on the local quadratic model. Left: the first "
        "updates. Middle: later, on a logarithmic axis. Right: mean slope of the hidden units over units and "
        f"examples, from the same start, at the rates {_join_rates(SATURATION_RATES)}.",
        f"{count_words(len(labels), 'line').capitalize()} of relative sharpness over epochs; a dotted line at one. "
        "Slopes that stay near 0.1 at the rate 2, fall to a thousandth at 8, and to nearly nothing at 20 and 100.",
    )


def _draw_slopes(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean slope of the hidden units over epochs, a line per rate."""
    slopes = rows[rows["metric"] == "mean_slope"].pivot(
        index="epoch", columns="learning_rate", values="value"
    )
    labels = []
    for rate, line in slopes.items():
        style = SLOPE_STYLES.get(float(str(rate)), {})
        axes.plot(line.index, line, **style)
        labels.append((line.index[-1], line.iloc[-1], f"{rate:g}", style.get("color", INK)))
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("slope")
    label_ends(axes, labels)


@exhibit(
    "fig-rate",
    "learning_rate",
    explore="metric=test_loss&xlog=1&ylog=1&view=multiples&by=learning_rate",
)
def figures_by_rate(found: Results) -> dict[str, Picture]:
    """Draw one figure per learning rate, all with the same limits."""
    rows = first_start(found.rows)
    return {
        rate_label(rate): Picture(
            draw_loss_curves(rows[rows["learning_rate"] == rate], rows["epoch"].max()),
            f"$\\eta = {rate:g}$, {verdict}.",
            f"Train and test loss over epochs at learning rate {rate:g}, on logarithmic axes.",
        )
        for (rate, _), verdict in run_numbers(rows)["verdict"].items()
    }


def draw_loss_curves(rows: pd.DataFrame, epochs: float) -> Figure:
    """Draw train and test loss of one run as one of small multiples, on axes that reach to that many epochs."""
    figure, axes = plt.subplots(figsize=(WIDTH / 3, 1.2), layout="none")
    # The same places for all: to find them again for each figure would take as long as to draw it.
    figure.subplots_adjust(left=0.25, right=0.97, bottom=0.29, top=0.97)
    plotting.loss_panel(axes, rows)
    axes.set_xlim(1, epochs)
    axes.set_ylim(*LOSS_LIMITS)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_xlabel("epoch", labelpad=1)
    axes.set_ylabel("loss")
    return figure


@sketch("learning_rate", alt="Test accuracies along training rise, the larger the rate, the earlier.")
def sketch_of_courses(axes: Axes, found: Results) -> None:
    rows = first_start(found.rows)
    for rate, style in SHOWN_RATES.items():
        chosen = rows[
            (rows["learning_rate"] == rate) & (rows["metric"] == "test_accuracy") & (rows["epoch"] > 0)
        ]
        axes.plot(chosen["epoch"], chosen["value"], **style)
    axes.set_xscale("log")
    write_in(axes, 0.02, 0.84, "test accuracy", INK)


# Findings

_TOO_FEW = ("Too few learning rates are steady to compare them.", {"three learning rates are steady": False})


@finding("learning_rate", headline=True)
def learning_rate_window(found: Results) -> Evidence:
    numbers = run_numbers(found.rows)
    steady, unstable = unanimous(numbers, "steady"), unanimous(numbers, "unstable")
    if len(steady) < 3 or not len(unstable):
        return Evidence(*_TOO_FEW)
    slowly, largest = steady[:-1], steady[-1]
    shared = numbers.loc[slowly[0]].index
    products = _products(numbers[numbers.index.get_level_values("seed").isin(shared)], "slow_epoch")[slowly]
    by_rate = numbers.groupby("learning_rate")
    ends = by_rate["test_accuracy"].mean()
    near = ends.index[ends > ends.max() - NEAR]
    learnt = by_rate["test_accuracy"].max() > CHANCE
    best = ends.index[ends.round(3) == ends.max().round(3)]
    least = by_rate["test_accuracy"].min()
    good = least.index[least > SLOW]
    nothing = [rate for rate in ends.index if not learnt[rate:].any()]
    mixed = [rate for rate in ends.index if largest < rate < unstable[0]]
    epochs = by_rate["slow_epoch"].mean()[steady]
    return Evidence(
        f"Towards small rates training slows down, towards large ones it breaks. From $\\eta = {steady[0]:g}$ to "
        f"{largest:g} it ends steadily (in the last half, the train loss rises in at most "
        f"{format_percent(UNSTABLE_SHARE, 0)} of the epochs). The larger the rate, the sooner: at {largest:g} it "
        f"takes a tenth of the epochs that {steady[0]:g} takes to reach {format_percent(SLOW, 0)} test accuracy. At "
        f"{join_english(f'{rate:g}' for rate in mixed)} some starts become unstable, at {unstable[0]:g} to "
        f"{unstable[-1]:g} all, and at {_join_rates(nothing)} nothing is learnt. After {numbers['epochs'].max():,.0f} "
        f"epochs the best mean test accuracy, {format_percent(ends.max())}, is that at {_join_rates(best)}. Rates "
        f"from {near.min():g} to {near.max():g}, a factor of {near.max() / near.min():.1f}, come within one point of "
        "it.",
        {
            "the larger a steady rate, the sooner": bool(epochs.is_monotonic_decreasing),
            "in the end by a factor of about ten": bool(9.5 < epochs.iloc[0] / epochs.min() < 10.5),
            "those above the lower accuracy follow each other": bool(
                (least[good.min() : good.max()] > SLOW).all()
            ),
            "and those near the best, which are few": bool(
                (ends[near.min() : near.max()] > ends.max() - NEAR).all() and near.max() < 5 * near.min()
            ),
            "the product varies by less than a factor of one and a half": products.max() / products.min()
            < PROPORTIONAL,
            "these rates differ by more than a factor of ten": slowly[-1] > 10 * slowly[0],
            "no start is steady from there on": bool(
                (numbers.loc[unstable[0] :, "verdict"] != "steady").all()
            ),
            "between steady and unstable ones some starts are steady and some not": len(mixed) > 0
            and all(by_rate["verdict"].nunique()[rate] > 1 for rate in mixed),
            "the largest rates learn nothing": len(nothing) > 0,
            "the unstable ones lie beyond the steady ones": bool((unstable > largest).all()),
        },
        "Small rates take longer; too large ones are unstable, or learn nothing.",
    )


def _products(numbers: pd.DataFrame, column: str) -> pd.Series[float]:
    """Return, of `run_numbers`, the rate times the mean of a column of epochs over the starts; index learning_rate."""
    means = numbers.groupby("learning_rate")[column].mean()
    return means * means.index


@finding("learning_rate", "overfitting")
def stable_rates_follow_one_curve(found: Results, longer: Results) -> Evidence:
    numbers = run_numbers(found.rows)
    steady = unanimous(numbers, "steady")[:-1]
    if len(steady) < 2:
        return Evidence(*_TOO_FEW)
    losses = losses_at_products(found.rows, on_all_examples(longer.rows, NETWORK))[steady]
    apart = losses.max(axis="columns") / losses.min(axis="columns") - 1
    largest = unanimous(numbers, "steady")[-1]
    return Evidence(
        f"Plotted against $\\eta$ times the number of epochs, the train losses of the rates from {steady[0]:g} to "
        f"{steady[-1]:g} come to lie about on one curve (@fig-learning-rates, middle). From a product of "
        f"{losses.index[0]:,} to one of {losses.index[-1]:,} they differ, as far as each was trained, by at most "
        f"{format_at_most(apart.max(), 0)}. Before that, the larger a rate, the longer it lags; of the steady rates, "
        f"{largest:g} lags longest (*$\\eta$ · to {format_percent(SLOW, 0)}* in @tbl-learning-rates).",
        {
            "the losses lie about on one curve": bool(apart.max() < ONE_CURVE),
            "the smallest and the largest of these rates are compared to the end": bool(
                losses.iloc[-1][[steady[0], steady[-1]]].notna().all()
            ),
            "before, the products of the larger rates are the larger ones": bool(
                (products := _products(numbers, "slow_epoch")[steady]).iloc[-1] == products.max()
                and products.iloc[len(products) // 2 :].is_monotonic_increasing
                and products.iloc[: len(products) // 2].max() < products.iloc[len(products) // 2 :].min()
            ),
            "the largest steady rate lags longer than all": bool(
                _products(numbers, "slow_epoch")[largest] > PROPORTIONAL * products.max()
            ),
        },
    )


def losses_at_products(rows: pd.DataFrame, longer: pd.DataFrame) -> pd.DataFrame:
    """Return train losses at PRODUCTS of rate and epochs, of the longer runs beyond the end of the others.

    Returns:
        Index: the product; a column per learning_rate and seed; missing where no run goes so far.
    """
    losses = [each[each["metric"] == "train_loss"] for each in (rows, longer)]
    both = pd.concat([losses[0], losses[1][losses[1]["epoch"] > rows["epoch"].max()]])
    columns = {
        run: np.interp(PRODUCTS, run[0] * curve["epoch"], curve["value"], left=np.nan, right=np.nan)
        for run, curve in both.sort_values("epoch").groupby(["learning_rate", "seed"])
    }
    return pd.DataFrame(columns, index=PRODUCTS)


def _spread(accuracies: pd.Series[float]) -> str:
    return f"{format_range(100 * accuracies, 1)} %"


@finding("learning_rate")
def larger_rates_do_not_train(found: Results) -> Evidence:
    numbers = run_numbers(found.rows)
    unstable, stuck, lost = (unanimous(numbers, verdict) for verdict in ("unstable", "stuck", "blows up"))
    means = numbers.groupby("learning_rate")["test_accuracy"].mean()
    mixed = [rate for rate, verdict in verdicts(numbers).items() if " of " in verdict]
    ends = numbers["test_accuracy"].loc[unstable]
    scattered = [rate for rate in unstable if ends[rate].min() < LOST]
    return Evidence(
        f"At {join_english(f'{rate:g}' for rate in [*mixed, *unstable.difference(scattered)])} mean test accuracy "
        f"ends the lower, the larger the rate; at {_join_rates(scattered)} it differs widely between starts, from "
        f"{_spread(ends.loc[scattered])}.",
        {
            "starts differ at one rate, between the steady and the unstable": len(mixed) == 1
            and unanimous(numbers, "steady").max() < mixed[0] < unstable.min(),
            "the mean ends fall from there on, up to where starts differ": means[
                [*mixed, *unstable.difference(scattered)]
            ].is_monotonic_decreasing,
            "from the largest of the unstable rates some start learns little": len(scattered) > 0
            and scattered == list(unstable[-len(scattered) :]),
            "a larger rate is stuck, and a still larger one blows up": len(stuck) == len(lost) == 1
            and unstable.max() < stuck[0] < lost[0],
        },
    )


@finding("learning_rate", "label_sorted_stream")
def units_saturate(found: Results, stream: Results) -> Evidence:
    labels = stream.programs["labels"]["label_sorted"]
    slopes = found.rows[found.rows["metric"] == "mean_slope"]
    curves = slopes.pivot(index="epoch", columns=["learning_rate", "seed"], values="value")
    numbers = run_numbers(found.rows)
    stuck = [rate for rate in SATURATION_RATES if numbers["test_accuracy"][rate].max() < CHANCE]
    unstable = [rate for rate in SATURATION_RATES if rate in unanimous(numbers, "unstable")]
    dead, alive, steady = (
        curves.loc[FIRST_UPDATES:, rates] for rates in (stuck, unstable, unanimous(numbers, "steady")[-1:])
    )
    later = found.programs["units_off"].query(f"epoch >= {FIRST_UPDATES}")
    off = later.loc[later["metric"] == "off", "value"]
    last = later[(later["metric"] == "train_loss") & (later["epoch"] == later["epoch"].max())]
    losses = last.set_index("learning_rate")["value"]
    settles, diverges = stuck[0], stuck[-1]
    margin = 0.1
    return Evidence(
        f"At {_join_rates(stuck)}, all hidden units are off after {count_words(FIRST_UPDATES, 'update')}: on every "
        "image they are nearly 0, with a mean slope $\\sigma'(z_1)$ below "
        f"{format_rate(_next_power(dead.max(axis=None)))} (@fig-sharpness, right). Next to no gradient reaches the "
        "first layer any more, and only the output biases are trained, and their training is unstable at rates above "
        f"{edge_of_biases(labels):.0f}, 2 over the largest eigenvalue of their Hessian at the label frequencies "
        f"(@sec-constant-start): at {settles:g}, just above this, the loss ends near that of guessing, $\\ln 10 = "
        f"{math.log(CLASSES):.2f}$, and at {diverges:g} far above it.",
        {
            "two rates are stuck and some unstable": bool(len(stuck) == 2 and unstable),
            "at the start the units are not saturated": bool(curves.iloc[0].min() > 0.2),
            "at those at which nothing is learnt, all are": bool(dead.max(axis=None) < 1e-3),
            "at nearly 0": bool(off.min() > 0.999),
            "they stay so as long as it was measured": bool(later["epoch"].max() == curves.index.max()),
            "the smaller of them lies just beyond the edge of the biases": bool(
                1 < settles / edge_of_biases(labels) < 1.2
            ),
            "there the loss ends near that of guessing, and above it": bool(
                (losses[settles] - label_entropy(labels)).between(0, margin).all()
            ),
            "at the larger it does not": bool(losses[diverges].min() > 5),
            "elsewhere not all": bool(alive.min(axis=None) > 10 * dead.max(axis=None)),
            "least at the steady rate": bool(steady.min(axis=None) > alive.max(axis=None)),
        },
    )


def _next_power(value: float) -> float:
    """Return the least power of ten that is not smaller."""
    return float(10.0 ** math.ceil(math.log10(max(value, 1e-300))))


@finding("learning_rate")
def start_beyond_the_edge(found: Results) -> Evidence:
    start, peak = first_steps(found.rows)
    beyond = (start > 1).groupby("learning_rate").all()
    at_start = start.index.get_level_values("learning_rate").to_numpy()
    sharpness = 2 * start / at_start
    return Evidence(
        f"At our starts the sharpness is {format_range(sharpness, 1)}, more than $2/\\eta$ for every rate tried from "
        f"{beyond.index[beyond].min():g} upwards. Of the rates tried, these are exactly the ones at which the train "
        "loss at first rises above its value before training (*Peak* in @tbl-learning-rates).",
        {
            "some rates start beyond the edge of stability": bool(beyond.any()),
            "exactly these raise the train loss": bool(((start > 1) == (peak > 1.001)).all()),
        },
    )


@finding("learning_rate")
def sharpness_gives_way(found: Results) -> Evidence:
    relative, verdict = relative_sharpness(found.rows), run_numbers(found.rows)["verdict"]
    steady = unanimous(run_numbers(found.rows), "steady")
    beyond = [column for column in relative if column[0] in steady and relative[column].iloc[0] > 1]
    if not beyond:
        return Evidence(*_TOO_FEW)
    early, end = relative[relative.index <= EDGE_EPOCH].iloc[-1], relative.tail(5).median()
    later = later_sharpness(found.rows)
    return Evidence(
        f"At the rates from {beyond[0][0]:g} to {beyond[-1][0]:g} the sharpness is at most $2/\\eta$ by epoch "
        f"{early.name:.0f}, and in the median of what follows at most {format_percent(later[beyond].max(), 0)} of that "
        "(@tbl-learning-rates).",
        {
            "they are steady": bool((verdict[beyond] == "steady").all()),
            "they are at the edge or below it early on": bool((early[beyond] < 1.05).all()),
            "their sharpness falls on": bool((end[beyond] < early[beyond]).all()),
            "in the median it is well below the edge": bool(later[beyond].max() < 0.8),
            "it ends below the edge": bool((end[beyond] < 0.9).all()),
        },
    )


@finding("learning_rate")
def sharpness_hovers_at_unstable_rates(found: Results) -> Evidence:
    steady = unanimous(run_numbers(found.rows), "steady")
    medians = later_sharpness(found.rows)
    unstable = unanimous(run_numbers(found.rows), "unstable")
    rates = sorted({rate for rate, _ in medians.index if steady.max() < rate <= unstable.max()})
    if not rates:
        return Evidence(*_TOO_FEW)
    medians = medians[rates]
    learnt = medians[run_numbers(found.rows)["test_accuracy"][medians.index] >= SLOW]
    return Evidence(
        f"At the rates from {rates[0]:g} to {rates[-1]:g} it stays about the edge, even in the steady runs at "
        f"{rates[0]:g}. In the runs that end above {format_percent(SLOW, 0)} test accuracy its median is "
        f"{format_fixed(learnt.min(), 2)} to {format_fixed(learnt.max(), 2)} times $2/\\eta$; in the others it strays "
        "farther (@tbl-learning-rates).",
        {
            "every run stays within a factor of two of the edge": bool(medians.between(0.5, 2).all()),
            "those that learn are nearer to it": bool(learnt.between(*EDGE).all()),
            "others stray to either side": bool(
                medians.min() < learnt.min() and medians.max() > learnt.max()
            ),
            "most runs learn": len(learnt) > 0.8 * len(medians),
            "at the least of these rates some are steady": "steady"
            in set(run_numbers(found.rows)["verdict"][rates[0]]),
        },
    )


@finding("learning_rate", "overfitting")
def more_epochs_favour_smaller_rates(found: Results, longer: Results) -> Evidence:
    numbers = run_numbers(found.rows)["test_accuracy"]
    rows = on_all_examples(longer.rows, NETWORK)
    ends = 100 * (1 - late_medians(rows, "test_accuracy", ["learning_rate", "seed"]))
    best, largest = ends.groupby("learning_rate").mean().idxmin(), ends.index[-1][0]
    least = ends.index[0][0]
    return Evidence(
        f"With more epochs the order changes: after {rows['epoch'].max():,.0f}, the rate {best:g} is ahead of "
        f"{largest:g} and of {least:g} (@tbl-overfitting).",
        {
            "the smaller rate ends below the larger one from every start": bool(
                ends[best].max() < ends[largest].min()
            ),
            "the least rate has not come so far": bool(ends[least].min() > ends[largest].max()),
            "after fewer epochs it ends above": bool(numbers[best].max() < numbers[largest].min()),
        },
    )


@statement("learning_rate", said="In 2,000 epochs every $\\eta \\le 2$ converges nicely.")
def rates_up_to_two_converge(found: Results) -> Evidence:
    numbers = run_numbers(found.rows)
    tried = numbers["verdict"][numbers.index.get_level_values("learning_rate") <= 2]
    slow = unanimous(numbers, "slow")
    least = numbers["test_accuracy"].loc[numbers.index[0][0]].mean()
    return Evidence(
        f"If it means to be steady and above {format_percent(SLOW, 0)} test accuracy by then, this holds of the rates "
        f"up to {tried.index[-1][0]:g} but {_join_rates(slow)}. Their losses fall steadily as well, but slowly: the "
        f"least accurate ends at {format_percent(least)}.",
        {"all are steady": bool((tried == "steady").all())},
    )


@statement("learning_rate", said="At $\\eta = 0.001$ the loss falls as far as at 0.3.")
def smallest_rate_is_as_good(found: Results) -> Evidence:
    numbers = run_numbers(found.rows)
    small, other = (numbers["train_loss"][rate].mean() for rate in (0.001, 0.3))
    return Evidence(
        f"After {format_count(int(numbers['epochs'].max()), 'epoch')} its train loss is {format_fixed(small, 2)}; at "
        f"0.3 it is {format_fixed(other, 2)}. The source's image for 0.001 is a copy of that for 0.3.",
        {"it falls as far": bool(small < 1.1 * other)},
    )


@statement("learning_rate", said="$\\eta = 5$ and $8$ are unstable, though 5 still gets low.")
def largest_rates_are_unstable(found: Results) -> Evidence:
    numbers = run_numbers(found.rows)
    both, five = numbers.loc[[5.0, 8.0]], numbers.loc[5.0]
    return Evidence(
        f"In the last half of the epochs their train loss rises in {format_percent(both['rises'].min())} to "
        f"{format_percent(both['rises'].max())} of the steps; 5 ends at {format_range(five['train_loss'], 2)}, the "
        f"best of all runs at {format_fixed(numbers['train_loss'].min(), 2)}.",
        {
            "5 and 8 are unstable": bool((both["verdict"] == "unstable").all()),
            "5 ends below 0.5": bool((five["train_loss"] < 0.5).all()),
        },
    )


def _join_rates(rates: Iterable[float]) -> str:
    return join_english(f"{rate:g}" for rate in rates)
