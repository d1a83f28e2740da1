"""Q6, learning rate: small ones are slow, large ones unstable, and the sharpness says where."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    QUIET,
    TRAIN_TEST,
    WIDTH,
    label_ends,
    plain_ticks,
    write_in,
)
from analysis.results import Results
from analysis.statistics import first_epochs

UNSTABLE_SHARE = 0.01  # a rate is unstable if its train loss rises in more of the last half of the epochs
SLOW, FAST = 0.90, 0.95  # test accuracies; a rate is slow if it never reaches the lower one
CHANCE = 0.1  # test accuracy of guessing
EDGE_EPOCH = 150  # when the first transients are over
SHOWN_RATES: dict[float, dict[str, Any]] = {
    0.001: {"color": QUIET, "linestyle": (0, (1.5, 1))},
    0.1: {"color": INK},
    0.5: {"color": GREEN, "linestyle": (0, (5, 1.5))},
    2.0: {"color": TRAIN_TEST["train"]["color"]},
    8.0: {"color": ORANGE, "linewidth": 0.8},
}
LINEAR_LIMIT, LOGARITHMIC_LIMITS = 2.6, (0.05, 50)  # of the losses as drawn


def seed0_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs from the common initialization, which are trained longest."""
    return rows[rows["seed"] == 0]


def early_accuracies(rows: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """Return the last epoch that all runs have, and test accuracies there: index learning_rate, a column per seed."""
    accuracy = rows[rows["metric"] == "test_accuracy"]
    epoch = accuracy.groupby("seed")["epoch"].max().min()
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
            numbers["train_loss"], numbers["first_loss"], numbers["rises"], numbers["slow_epoch"], strict=True
        )
    ]
    return numbers


def _verdict(train_loss: float, first_loss: float, rises: float, slow_epoch: float) -> str:
    if not train_loss < first_loss:
        return "diverges"
    if rises > UNSTABLE_SHARE:
        return "unstable"
    return "slow" if math.isinf(slow_epoch) else "converges"


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
            "Train loss": [format_fixed(value, 4) for value in numbers["train_loss"]],
            "Test loss": [format_fixed(value, 4) for value in numbers["test_loss"]],
            "Test acc.": [format_percent(value, 2) for value in numbers["test_accuracy"]],
            "Rises": [format_percent(value, 1) for value in numbers["rises"]],
            format_percent(SLOW, 0): [_format_epoch(value) for value in numbers["slow_epoch"]],
            format_percent(FAST, 0): [_format_epoch(value) for value in numbers["fast_epoch"]],
            "Verdict": numbers["verdict"],
        }
    )
    return Table(
        frame,
        f"The {count_words(len(numbers), 'learning rate')} after the last epoch: losses, test accuracy, first epoch "
        "with the given test accuracy, and verdict. *Rises*: share of the last half of the epochs in which the train "
        f"loss rises. A rate *diverges* if its train loss ends above where it began, is *unstable* if the loss rises "
        f"in more than {format_percent(UNSTABLE_SHARE, 0)} of those epochs, and *slow* if its test accuracy never "
        f"reaches {format_percent(SLOW, 0)}.",
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
    """Draw test accuracy along training at some rates, and final losses over the learning rate."""
    rows = seed0_runs(found.rows)
    numbers = rate_numbers(rows)
    figure, (courses, losses) = plt.subplots(1, 2, figsize=(WIDTH, 2.3), width_ratios=(1.3, 1))
    courses.set_xscale("log")
    courses.set_ylim(0, 100)
    labels = []
    for rate, style in SHOWN_RATES.items():
        run = rows[
            (rows["learning_rate"] == rate) & (rows["metric"] == "test_accuracy") & (rows["epoch"] > 0)
        ]
        courses.plot(run["epoch"], 100 * run["value"], **style)
        if len(run):
            labels.append((run["epoch"].iloc[-1], 100 * run["value"].iloc[-1], f"{rate:g}", style["color"]))
    courses.set_xlabel("epoch")
    courses.set_ylabel("test accuracy in %")
    label_ends(courses, labels)
    for name, style in TRAIN_TEST.items():
        losses.plot(numbers.index, numbers[f"{name}_loss"], marker="o", markersize=MARKER, **style)
    losses.set_xscale("log")
    losses.set_yscale("log")
    plain_ticks(losses.yaxis)
    losses.set_xlabel("learning rate η")
    losses.set_ylabel("final cross entropy")
    plotting.train_test_legend(losses)
    return Picture(
        figure,
        "How fast and how far the learning rates lead. Left: test accuracy along training at "
        f"{count_words(len(SHOWN_RATES))} of them. Right: losses after the last epoch over the learning rate; dots are "
        "the rates that were tried.",
        "Left: curves that rise the earlier, the larger the rate, and at the largest go up and down. Right: two curves "
        "that fall with the rate and rise again at the largest ones.",
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
    axes.set_ylabel("sharpness λ$_{max}$ relative to 2/η")
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


@finding("learning_rate", headline=True)
def learning_rate_window(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    usable = numbers.iloc[1:]
    accuracy, epochs = usable["test_accuracy"], usable["slow_epoch"]
    factor = f"{epochs.max() / epochs.min():.0f}" if epochs.map(math.isfinite).all() else "–"
    return Evidence(
        "Its speed is very sensitive, its end little, over a wide window of rates. From "
        f"{usable.index.min():g} to {usable.index.max():g} the final test accuracy moves by "
        f"{100 * (accuracy.max() - accuracy.min()):.0f} points. The epochs to {format_percent(SLOW, 0)} vary by a "
        f"factor of {factor}, and a hundred times below the window the network hardly learns.",
        {
            "every rate of the window reaches 90 %": bool(epochs.map(math.isfinite).all()),
            "the smallest rate does not": bool(math.isinf(numbers["slow_epoch"].iloc[0])),
            "the epochs vary by more than a factor of five": bool(epochs.max() > 5 * epochs.min()),
            "the smallest rate is a hundredth of the window's": bool(
                math.isclose(numbers.index[0], usable.index.min() / 100)
            ),
        },
        "The speed is very sensitive to the learning rate; the final accuracy hardly is.",
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
        f"{start.index[beyond].min():g} on, and exactly these first raise the train loss before it falls.",
        {
            "some rates start beyond the edge of stability": bool(beyond.any()),
            "exactly these raise the train loss": bool(((start > 1) == (peak > 1.001)).all(axis=None)),
        },
    )


@finding("learning_rate")
def sharpness_gives_way(found: Results) -> Evidence:
    rows = seed0_runs(found.rows)
    relative = relative_sharpness(rows)
    verdicts = rate_numbers(rows)["verdict"]
    early = relative[relative.index <= EDGE_EPOCH].iloc[-1]
    end = relative.tail(5).median()  # the sharpness of unstable runs swings
    steady = relative.columns[(relative.iloc[0] > 1) & (verdicts[relative.columns] == "converges")]
    unstable = relative.columns[verdicts[relative.columns] == "unstable"]
    if not len(steady) or not len(unstable):
        return Evidence(
            "They do not diverge because the sharpness gives way.",
            {
                "some rates converge from beyond the edge of stability": len(steady) > 0,
                "some rates are unstable": len(unstable) > 0,
            },
        )
    return Evidence(
        f"The rates from {steady[0]:g} to {steady[-1]:g} do not diverge because the sharpness gives way: by epoch "
        f"{early.name:.0f} it is at the edge, and then it falls on, below it. At {_join_rates(unstable)} it is "
        "still beyond the edge at the end.",
        {
            "the steady rates are at the edge of stability early on": bool(
                early[steady].between(0.8, 1.25).all()
            ),
            "their sharpness falls on": bool((end[steady] < early[steady]).all()),
            "it ends below the edge": bool((end[steady] < 0.9).all()),
            "the unstable rates end beyond it": bool((end[unstable] > 1).all()),
        },
    )


@statement("learning_rate", said="Every $\\eta \\le 2$ converges nicely.")
def rates_up_to_two_converge(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    tried = numbers.loc[numbers.index <= 2, "verdict"]
    other = tried[tried != "converges"]
    exceptions = join_english(f"{rate:g} is {verdict}" for rate, verdict in other.items())
    return Evidence(
        f"Of the rates from {tried.index.min():g} to {tried.index.max():g}, {len(tried) - len(other)} of {len(tried)} "
        f"converge after {format_count(numbers['epochs'].max(), 'epoch')} by the criteria of @tbl-learning-rates"
        f"{f'; {exceptions}' if len(other) else ''}.",
        {"every rate up to 2 converges": other.empty},
    )


@statement("learning_rate", said="$\\eta = 0.001$ converges.")
def smallest_rate_converges(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    small, other = numbers.loc[0.001], numbers.loc[0.3]
    return Evidence(
        f"After {format_count(small['epochs'], 'epoch')} its train loss is {format_fixed(small['train_loss'], 3)} and "
        f"its test accuracy {format_percent(small['test_accuracy'])}, while $\\eta = 0.3$ has "
        f"{format_fixed(other['train_loss'], 3)} and {format_percent(other['test_accuracy'])}. The source's image for "
        "0.001 is a copy of that for 0.3, so it shows no such run.",
        {"0.001 converges": bool(small["verdict"] == "converges")},
    )


@statement("learning_rate", said="$\\eta = 5$ and $8$ are unstable, though 5 still gets low.")
def largest_rates_are_unstable(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    five, eight = numbers.loc[5.0], numbers.loc[8.0]
    return Evidence(
        f"In the last half of the epochs their train loss rises in {format_percent(five['rises'])} and "
        f"{format_percent(eight['rises'])} of the steps; 5 ends at {format_fixed(five['train_loss'], 4)}, the least of "
        f"all rates being {format_fixed(numbers['train_loss'].min(), 4)}.",
        {
            "5 and 8 are unstable": bool(five["verdict"] == eight["verdict"] == "unstable"),
            "5 ends below 0.5": bool(five["train_loss"] < 0.5),
        },
    )


def _join_rates(rates: pd.Index[float]) -> str:
    return join_english(f"{rate:g}" for rate in rates)
