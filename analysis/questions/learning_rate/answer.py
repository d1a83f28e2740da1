"""Q6, learning rate: small ones are slow, large ones unstable, and the sharpness says where."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from analysis import plotting
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_percent,
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
from analysis.results import Results, remembered
from analysis.statistics import first_epochs

UNSTABLE_SHARE = 0.01  # a rate is unstable if its train loss rises in more of the last half of the epochs
SLOW, FAST = 0.90, 0.95  # test accuracies; a rate is slow if it never reaches the lower one
CHANCE = 0.15  # test accuracy of a run that has learnt nothing, at most
DIVERGED = 2  # a rate diverges if its train loss ends at that many times the first
EDGE_EPOCH = 150  # when the first transients are over
SETTLED = 200  # η × epochs by which they are over at every rate that trains steadily
ONE_CURVE = 0.05  # relative difference of losses that lie on one curve
SHOWN_RATES: dict[float, dict[str, Any]] = {
    0.001: {"color": QUIET, "linestyle": (0, (1.5, 1))},
    0.1: {"color": INK},
    0.5: {"color": GREEN, "linestyle": (0, (5, 1.5))},
    2.0: {"color": TRAIN_TEST["train"]["color"]},
    8.0: {"color": ORANGE, "linewidth": 0.8},
    20.0: {"color": PINK, "linestyle": (0, (3, 1, 1, 1))},
}
LINEAR_LIMIT, LOGARITHMIC_LIMITS = 2.6, (0.05, 50)  # of the losses as drawn


@remembered
def seed0_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs from the common initialization, which are trained longest."""
    return rows[rows["seed"] == 0]


def early_accuracies(rows: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """Return the last epoch that all runs have, and test accuracies there: index learning_rate, a column per seed."""
    accuracy = rows[rows["metric"] == "test_accuracy"]
    epoch = accuracy.groupby("key")["epoch"].max().min()
    table = accuracy[accuracy["epoch"] == epoch].pivot(index="learning_rate", columns="seed", values="value")
    return int(epoch), table


def first_steps(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how the runs from all initializations begin.

    Returns:
        The initial sharpness relative to 2/η, and the highest train loss relative to the first: index
        learning_rate, a column per seed.
    """
    by = ["learning_rate", "seed"]
    sharpness = rows[(rows["metric"] == "sharpness") & (rows["epoch"] == 0)].set_index(by)["value"].unstack()
    losses = rows[rows["metric"] == "train_loss"].sort_values("epoch").groupby(by)["value"]
    return sharpness.mul(sharpness.index / 2, axis="index"), (losses.max() / losses.first()).unstack()


@remembered
def rate_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per learning rate.

    Args:
        rows: One run per rate.

    Returns:
        Index learning_rate; epochs, train_loss, test_loss, test_accuracy at the last epoch; first_loss, the train
        loss before training; rises, the share of the last half of the epochs in which the train loss rises;
        slow_epoch and fast_epoch, the first epochs with the test accuracies SLOW and FAST (not finite if never);
        verdict.
    """
    lines = {}
    for rate, run in rows.groupby("learning_rate"):
        metrics = {name: part.set_index("epoch")["value"] for name, part in run.groupby("metric")}
        train = metrics["train_loss"]
        lines[rate] = {
            "epochs": int(train.index[-1]),
            **{name: metrics[name].iloc[-1] for name in ("train_loss", "test_loss", "test_accuracy")},
            "first_loss": train.iloc[0],
            "rises": float((train.diff().iloc[len(train) // 2 :] > 0).mean()),
        }
    numbers = pd.DataFrame.from_dict(lines, orient="index").rename_axis("learning_rate")
    numbers["slow_epoch"] = first_epochs(rows, SLOW, ["learning_rate"])
    numbers["fast_epoch"] = first_epochs(rows, FAST, ["learning_rate"])
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
        return "diverges"
    if accuracy < CHANCE:
        return "stuck"
    if rises > UNSTABLE_SHARE:
        return "unstable"
    return "slow" if math.isinf(slow_epoch) else "converges"


@remembered
def relative_sharpness(rows: pd.DataFrame) -> pd.DataFrame:
    """Return λ_max relative to 2/η, λ_max η / 2: index epoch, a column per learning rate."""
    sharpness = rows[rows["metric"] == "sharpness"]
    curves = sharpness.pivot(index="epoch", columns="learning_rate", values="value")
    return curves * curves.columns / 2


def rate_label(rate: float) -> str:
    """Return the label of a learning rate's figure in the appendix."""
    return f"fig-rate-{rate:g}".replace(".", "-")


# Exhibits


@exhibit("tbl-learning-rates", "learning_rate")
def rates_table(found: Results) -> Table:
    """Tabulate `rate_numbers`, with each rate's figure."""
    numbers = rate_numbers(seed0_runs(found.rows))
    frame = pd.DataFrame(
        {
            "$\\eta$": [f"{rate:g}" for rate in numbers.index],
            "Figure": [f"[-@{rate_label(rate)}]" for rate in numbers.index],
            "Epochs": [f"{value:,.0f}" for value in numbers["epochs"]],
            "Train loss": [format_fixed(value, 3) for value in numbers["train_loss"]],
            "Test loss": [format_fixed(value, 3) for value in numbers["test_loss"]],
            "Test acc.": [format_percent(value, 1) for value in numbers["test_accuracy"]],
            "Rises": [format_percent(value, 1) for value in numbers["rises"]],
            format_percent(SLOW, 0): [_format_epoch(value) for value in numbers["slow_epoch"]],
            "times η": [_format_epoch(value) for value in numbers.index * numbers["slow_epoch"]],
            format_percent(FAST, 0): [_format_epoch(value) for value in numbers["fast_epoch"]],
            "Verdict": numbers["verdict"],
        }
    )
    return Table(
        frame,
        f"The {count_words(len(numbers), 'learning rate')} after the last epoch, from one start: losses, test "
        "accuracy, share of the last half of the epochs in which the train loss *rises*, first epoch with the given "
        "test accuracy, for the lower one also times $\\eta$, and verdict. A rate *diverges* if its train loss ends at "
        "more than twice the first, is *stuck* if it ends at chance, *unstable* if the loss rises in more than "
        f"{format_percent(UNSTABLE_SHARE, 0)} of those epochs, and *slow* if it has not reached "
        f"{format_percent(SLOW, 0)} test accuracy by its last epoch.",
    )


def _format_epoch(epoch: float) -> str:
    return f"{epoch:,.0f}" if math.isfinite(epoch) else "–"


@exhibit(
    "fig-learning-rates",
    "learning_rate",
    explore=(
        "metric=test_accuracy&xlog=1"
        "&run=learning_rate:8"
        "&pin=learning_rate:0.001"
        "&pin=learning_rate:0.1"
        "&pin=learning_rate:0.5"
        "&pin=learning_rate:2"
    ),
)
def speed_and_end(found: Results) -> Picture:
    """Draw test accuracy over epochs, train loss over η × epochs, and test accuracy at the end over the rate."""
    rows = seed0_runs(found.rows)
    rows = rows[rows["epoch"] > 0]
    figure, (courses, scaled, final) = plt.subplots(1, 3, figsize=(WIDTH, 2.4))
    shown = [rate for rate in SHOWN_RATES if rate in set(rows["learning_rate"])]
    for rate in shown:
        run = rows[rows["learning_rate"] == rate]
        accuracy, loss = (run[run["metric"] == name] for name in ("test_accuracy", "train_loss"))
        courses.plot(accuracy["epoch"], 100 * accuracy["value"], **SHOWN_RATES[rate])
        scaled.plot(rate * loss["epoch"], loss["value"], **SHOWN_RATES[rate])
    verdicts = rate_numbers(seed0_runs(found.rows))["verdict"]
    steady = verdicts.index[verdicts == "converges"]
    for rate in steady.difference(shown):
        loss = rows[(rows["learning_rate"] == rate) & (rows["metric"] == "train_loss")]
        scaled.plot(rate * loss["epoch"], loss["value"], color=QUIET, linewidth=0.6, zorder=1)
    ends = rows[(rows["metric"] == "test_accuracy") & (rows["epoch"] == rows["epoch"].max())]
    final.plot(
        ends["learning_rate"],
        100 * (1 - ends["value"]),
        color=INK,
        marker="o",
        markersize=MARKER,
        linestyle="",
    )
    final.set_title(f"after {ends['epoch'].max():,.0f} epochs")
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
    scaled.set_yscale("log")
    scaled.set_ylim(LOGARITHMIC_LIMITS[0], 10)
    plain_ticks(scaled.yaxis)
    handles = [Line2D([], [], label=f"η = {rate:g}", **SHOWN_RATES[rate]) for rate in shown]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=1.8
    )
    return Picture(
        figure,
        f"{count_words(len(shown)).capitalize()} of the learning rates. Left: test accuracy over epochs. Middle: train "
        "loss over $\\eta$ times epochs, where those of stable training come to lie on one curve; thin: the "
        f"other rates that converge ({_join_rates(steady.difference(shown))}). Right: test error at every rate that "
        "was trained so long.",
        "Left: curves that rise the earlier, the larger the rate, and at the largest go up and down. Middle: those of "
        "0.001, 0.1 and 0.5 end on one curve, that of 2 comes near it. Right: errors that fall up to 2 and then "
        "rise.",
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
    """Draw sharpness relative to 2/η along training, at a few learning rates, epoch 0 included."""
    curves = relative_sharpness(seed0_runs(found.rows))
    figure, axes = plt.subplots(figsize=(WIDTH, 2.2))
    labels = []
    for rate, style in SHOWN_RATES.items():
        if rate in curves:
            line = curves[rate].dropna()
            axes.plot(line.index, line, marker=".", markersize=4, **style)
            labels.append((line.index[-1], line.iloc[-1], f"η = {rate:g}", style["color"]))
    axes.axhline(1, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(left=-0.1)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("λ$_{max}$ relative to 2/η")
    label_ends(axes, labels)
    return Picture(
        figure,
        f"Sharpness $\\lambda_{{\\max}}$ relative to $2/\\eta$ along training at {count_words(len(labels))} learning "
        "rates, measured at the dots: below the dotted line, gradient descent is stable on the local quadratic model.",
        f"{count_words(len(labels), 'line').capitalize()} of relative sharpness over epochs; a dotted line at one.",
    )


@exhibit(
    "fig-rate",
    "learning_rate",
    explore="metric=test_loss&xlog=1&ylog=1&view=multiples&by=learning_rate",
)
def figures_by_rate(found: Results) -> dict[str, Picture]:
    """Draw one figure per learning rate, all with the same limits."""
    rows = seed0_runs(found.rows)
    return {
        rate_label(rate): Picture(
            draw_loss_curves(rows[rows["learning_rate"] == rate], rows["epoch"].max()),
            f"$\\eta = {rate:g}$, {line['verdict']}.",
            f"Train and test loss over epochs at learning rate {rate:g}, on linear and on logarithmic axes.",
        )
        for rate, line in rate_numbers(rows).iterrows()
    }


def draw_loss_curves(rows: pd.DataFrame, epochs: float) -> Figure:
    """Draw train and test loss of one run, on linear and on logarithmic axes that reach to that many epochs."""
    figure, (linear, logarithmic) = plt.subplots(1, 2, figsize=(WIDTH, 1.25))
    plotting.loss_panel(linear, rows, logarithmic=False)
    plotting.loss_panel(logarithmic, rows, logarithmic=True)
    linear.set_xlim(0, epochs)
    linear.set_ylim(0, LINEAR_LIMIT)
    logarithmic.set_xlim(1, epochs)
    logarithmic.set_ylim(*LOGARITHMIC_LIMITS)
    logarithmic.yaxis.set_major_locator(LogLocator(10))
    linear.set_ylabel("cross entropy")
    for axes in (linear, logarithmic):
        axes.set_xlabel("epoch", labelpad=1)
    plotting.train_test_legend(linear)
    return figure


@sketch("learning_rate", alt="Test accuracies along training rise, the larger the rate, the earlier.")
def sketch_of_courses(axes: Axes, found: Results) -> None:
    rows = seed0_runs(found.rows)
    for rate, style in SHOWN_RATES.items():
        chosen = rows[
            (rows["learning_rate"] == rate) & (rows["metric"] == "test_accuracy") & (rows["epoch"] > 0)
        ]
        axes.plot(chosen["epoch"], chosen["value"], **style)
    axes.set_xscale("log")
    write_in(axes, 0.02, 0.84, "test accuracy", INK)


# Findings

_TOO_FEW = ("Too few learning rates converge to compare them.", {"three learning rates converge": False})


@finding("learning_rate", headline=True)
def learning_rate_window(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    steady = numbers[numbers["verdict"] == "converges"]
    if len(steady) < 3:
        return Evidence(*_TOO_FEW)
    slowly, best = steady.iloc[:-1], numbers["test_accuracy"].idxmax()
    products = slowly.index * slowly["slow_epoch"]
    spread = products.max() / products.min() - 1
    gained = 100 * (numbers["test_accuracy"].max() - steady["test_accuracy"].iloc[0])
    return Evidence(
        f"Its speed is about proportional to $\\eta$ from {slowly.index.min():g} to {slowly.index.max():g}: the epochs "
        f"to the same test accuracy fall as $1/\\eta$, to within about {format_percent(spread, 0)}. "
        "The best end has the "
        f"largest rate that trains steadily, {best:g}: {gained:.0f} points above {slowly.index.min():g} for equal "
        "epochs.",
        {
            "the product varies by less than a quarter": spread < 0.25,
            "these rates differ by more than a factor of ten": slowly.index.max() > 10 * slowly.index.min(),
            "the best is the largest rate that converges": best == steady.index.max(),
        },
        f"Speed is proportional to the learning rate up to {slowly.index.max():g}; the largest never train.",
    )


@finding("learning_rate")
def stable_rates_follow_one_curve(found: Results) -> Evidence:
    rows = seed0_runs(found.rows)
    numbers = rate_numbers(rows)
    steady = numbers.index[numbers["verdict"] == "converges"][:-1]
    if len(steady) < 2:
        return Evidence(*_TOO_FEW)
    losses = rows[rows["metric"] == "train_loss"].pivot(
        index="epoch", columns="learning_rate", values="value"
    )
    settled = pd.Series({rate: losses[rate].get(round(SETTLED / rate)) for rate in steady})
    reference, smallest = steady[0], numbers.index[0]
    pace = losses.index.max() * smallest / reference
    beginning = losses[smallest].dropna().iloc[-1] / losses[reference].get(round(pace)) - 1
    return Evidence(
        f"When $\\eta$ times epochs is {SETTLED}, the train losses of the rates from {steady[0]:g} to {steady[-1]:g} "
        f"lie within {format_percent(settled.max() / settled.min() - 1, 0)}. The smallest rate, {smallest:g}, is on "
        "the same curve, at its very beginning: it would need some "
        f"{round(numbers['slow_epoch'][reference] * reference / smallest, -3):,.0f} epochs to "
        f"{format_percent(SLOW, 0)}.",
        {
            "the losses lie on one curve": bool(settled.max() / settled.min() - 1 < ONE_CURVE),
            "so does that of the smallest rate": abs(beginning) < ONE_CURVE,
        },
    )


@finding("learning_rate")
def best_rate_starts_late(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    steady = numbers[numbers["verdict"] == "converges"]
    if len(steady) < 3:
        return Evidence(*_TOO_FEW)
    before, best = steady.iloc[-2], steady.iloc[-1]
    return Evidence(
        f"At {steady.index[-1]:g} the curve lies to the right of theirs (@fig-learning-rates, middle): unstable at "
        f"first, it comes to {format_percent(SLOW, 0)} hardly sooner than {steady.index[-2]:g}, but to "
        f"{format_percent(FAST, 0)} in proportion again (@tbl-learning-rates).",
        {
            "to the higher accuracy the product of rate and epochs is that of the others, to within a tenth": abs(
                steady.index[-1] * best["fast_epoch"] / (steady.index[-2] * before["fast_epoch"]) - 1
            )
            < 0.1,
            "it needs more than nine tenths of the epochs": bool(
                best["slow_epoch"] > 0.9 * before["slow_epoch"]
            ),
        },
    )


@finding("learning_rate")
def larger_rates_do_not_train(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    unstable, stuck, lost = (
        numbers[numbers["verdict"] == verdict] for verdict in ("unstable", "stuck", "diverges")
    )
    best = numbers["test_accuracy"].max()
    accuracies = found.rows[found.rows["metric"] == "test_accuracy"].sort_values("epoch")
    ends = accuracies.groupby(["learning_rate", "seed"])["value"].last()
    untrained = [*stuck.index, *lost.index]
    return Evidence(
        f"Beyond, {_join_rates(unstable.index)} are unstable and end up to "
        f"{100 * (best - unstable['test_accuracy'].min()):.1f} points behind the best. At {_join_rates(stuck.index)} "
        "the first updates throw the network to where it stays at chance, and at "
        f"{_join_rates(lost.index)} the train loss stays far above its first value.",
        {
            "some rates are unstable": len(unstable) > 0,
            "they end behind the best": bool(unstable["test_accuracy"].max() < best),
            "a larger one is stuck, and a still larger one diverges": len(untrained) == 2
            and unstable.index.max() < untrained[0] < untrained[1],
            "at these every start ends at chance": bool((ends[untrained] < CHANCE).all()),
        },
    )


@finding("learning_rate")
def starts_differ(found: Results) -> Evidence:
    epoch, accuracy = early_accuracies(found.rows)
    spread = accuracy.max(axis="columns") - accuracy.min(axis="columns")
    return Evidence(
        f"How fast it learns also depends on the start: after {format_count(epoch, 'epoch')}, test accuracies from "
        f"different starts lie up to {100 * spread.max():.0f} points apart, at $\\eta = {spread.idxmax():g}$.",
        {"there are more than two starts": len(accuracy.columns) > 2},
    )


@finding("learning_rate")
def start_beyond_the_edge(found: Results) -> Evidence:
    start, peak = first_steps(found.rows)
    beyond = (start > 1).all(axis="columns")
    return Evidence(
        f"From every start, the sharpness exceeds $2/\\eta$ at first for the rates from "
        f"{start.index[beyond].min():g} on. Exactly at these, the train loss at first rises above its value before "
        "training.",
        {
            "some rates start beyond the edge of stability": bool(beyond.any()),
            "exactly these raise the train loss": bool(((start > 1) == (peak > 1.001)).all(axis=None)),
        },
    )


@finding("learning_rate")
def sharpness_gives_way(found: Results) -> Evidence:
    relative, steady, _ = _sharpness_by_verdict(found)
    early, end = relative[relative.index <= EDGE_EPOCH].iloc[-1], relative.tail(5).median()
    if not len(steady):
        return Evidence(*_TOO_FEW)
    return Evidence(
        f"At those that train steadily it has come down to $2/\\eta$ or below by epoch {early.name:.0f}. Then it falls "
        f"on, to {format_percent(end[steady].min(), 0)} to {format_percent(end[steady].max(), 0)} of that.",
        {
            "they are at the edge or below it early on": bool((early[steady] < 1.1).all()),
            "their sharpness falls on": bool((end[steady] < early[steady]).all()),
            "it ends below the edge": bool((end[steady] < 0.9).all()),
        },
    )


@finding("learning_rate")
def sharpness_hovers_at_unstable_rates(found: Results) -> Evidence:
    relative, _, unstable = _sharpness_by_verdict(found)
    medians = relative[relative.index >= EDGE_EPOCH][unstable].median()
    return Evidence(
        f"At the unstable ones it hovers about the edge: from then on, its median is "
        f"{join_english(format_fixed(value, 2) for value in medians)} times $2/\\eta$.",
        {
            "some rates are unstable": len(unstable) > 0,
            "the medians are near the edge, above it": bool(medians.between(1, 1.3).all()),
        },
    )


def _sharpness_by_verdict(found: Results) -> tuple[pd.DataFrame, pd.Index[float], pd.Index[float]]:
    """Return `relative_sharpness`, and the rates that converge from beyond the edge and those that are unstable."""
    rows = seed0_runs(found.rows)
    relative, verdicts = relative_sharpness(rows), rate_numbers(rows)["verdict"]
    of_rates = verdicts[relative.columns]
    beyond = relative.iloc[0] > 1
    return (
        relative,
        relative.columns[beyond & (of_rates == "converges")],
        relative.columns[of_rates == "unstable"],
    )


@finding("learning_rate")
def long_runs_share_a_start(found: Results) -> Evidence:
    rows = found.rows[found.rows["epoch"] == found.rows["epoch"].max()]
    starts = rows["seed"].nunique()
    return Evidence(
        f"The runs of {rows['epoch'].max():,.0f} epochs have {count_words(starts, 'start')} only, and unstable ones "
        "may end elsewhere from another.",
        {"the longest runs share one start": starts == 1},
    )


@statement("learning_rate", said="Every $\\eta \\le 2$ converges nicely.")
def rates_up_to_two_converge(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    tried = numbers.loc[numbers.index <= 2, "verdict"]
    slow = tried.index[tried == "slow"]
    return Evidence(
        f"None of the rates up to {tried.index.max():g} is unstable by the criteria of @tbl-learning-rates; "
        f"{_join_rates(slow)} {'is' if len(slow) == 1 else 'are'} slow.",
        {"none is unstable or diverges": bool(tried.isin(["converges", "slow"]).all())},
    )


@statement("learning_rate", said="At $\\eta = 0.001$ the loss falls as far as at 0.3.")
def smallest_rate_is_as_good(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    small, other = numbers.loc[0.001], numbers.loc[0.3]
    return Evidence(
        f"After {format_count(int(small['epochs']), 'epoch')} its train loss is "
        f"{format_fixed(small['train_loss'], 2)}, that of 0.3 {format_fixed(other['train_loss'], 2)}. The source's "
        "image for 0.001 is a copy of that for 0.3.",
        {"it falls as far": bool(small["train_loss"] < 1.1 * other["train_loss"])},
    )


@statement("learning_rate", said="$\\eta = 5$ and $8$ are unstable, though 5 still gets low.")
def largest_rates_are_unstable(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    five, eight = numbers.loc[5.0], numbers.loc[8.0]
    return Evidence(
        f"In the last half of the epochs their train loss rises in {format_percent(five['rises'])} and "
        f"{format_percent(eight['rises'])} of the steps; 5 ends at {format_fixed(five['train_loss'], 3)}, the least of "
        f"all rates being {format_fixed(numbers['train_loss'].min(), 3)}.",
        {
            "5 and 8 are unstable": bool(five["verdict"] == eight["verdict"] == "unstable"),
            "5 ends below 0.5": bool(five["train_loss"] < 0.5),
        },
    )


def _join_rates(rates: pd.Index[float]) -> str:
    return join_english(f"{rate:g}" for rate in rates)
