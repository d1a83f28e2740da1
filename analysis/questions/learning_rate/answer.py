"""Q6, learning rate: small ones are slow, large ones unstable, and the sharpness says where."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import plotting
from analysis.exhibits import Picture, Table, exhibit
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_percent,
    join_english,
)
from analysis.plotting import MARKER, QUIET, RATE_COLOURS, TRAIN_TEST, WIDTH, label_ends, plain_ticks
from analysis.results import Results
from analysis.statistics import first_epochs

UNSTABLE_SHARE = 0.01  # a rate is unstable if its train loss rises in more of the last half of the epochs
SLOW, FAST = 0.90, 0.95  # test accuracies; a rate is slow if it never reaches the lower one
CHANCE = 0.1  # test accuracy of guessing
EDGE_EPOCH = 150  # when the first transients are over


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
        Index learning_rate; epochs, train_loss, test_loss, test_accuracy at the last epoch; rises, the share of
        the last half of the epochs in which the train loss rises; peak, the highest train loss relative to the
        first; slow_epoch and fast_epoch, the first epochs with the test accuracies SLOW and FAST (not finite if
        never); verdict.
    """
    lines = {}
    for rate, run in rows.groupby("learning_rate"):
        metrics = {name: part.set_index("epoch")["value"] for name, part in run.groupby("metric")}
        train = metrics["train_loss"]
        lines[rate] = {
            "epochs": int(train.index[-1]),
            **{name: metrics[name].iloc[-1] for name in ("train_loss", "test_loss", "test_accuracy")},
            "rises": float((train.diff().iloc[len(train) // 2 :] > 0).mean()),
            "peak": train.max() / train.iloc[0],
        }
    numbers = pd.DataFrame.from_dict(lines, orient="index").rename_axis("learning_rate")
    numbers["slow_epoch"] = first_epochs(rows, SLOW, ["learning_rate"])
    numbers["fast_epoch"] = first_epochs(rows, FAST, ["learning_rate"])
    numbers["verdict"] = [
        _verdict(*each)
        for each in zip(numbers["train_loss"], numbers["rises"], numbers["slow_epoch"], strict=True)
    ]
    return numbers


def _verdict(train_loss: float, rises: float, slow_epoch: float) -> str:
    if not math.isfinite(train_loss):
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
        f"loss rises. A rate is *unstable* if that is more than {format_percent(UNSTABLE_SHARE, 0)}, *slow* if its "
        f"test accuracy never reaches {format_percent(SLOW, 0)}.",
    )


def _format_epoch(epoch: float) -> str:
    return f"{epoch:,.0f}" if math.isfinite(epoch) else "–"


@exhibit("fig-learning-rates", "learning_rate")
def final_losses(found: Results) -> Picture:
    """Draw final losses and test accuracy over the learning rate."""
    numbers = rate_numbers(seed0_runs(found.rows))
    figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(WIDTH, 2.4))
    for name, style in TRAIN_TEST.items():
        losses.plot(numbers.index, numbers[f"{name}_loss"], marker="o", markersize=MARKER, **style)
    losses.set_yscale("log")
    plain_ticks(losses.yaxis)
    losses.set_ylabel("final cross entropy")
    plotting.train_test_legend(losses)
    accuracies.plot(
        numbers.index, 100 * numbers["test_accuracy"], marker="o", markersize=MARKER, **TRAIN_TEST["test"]
    )
    accuracies.set_ylabel("final test accuracy in %")
    for axes in (losses, accuracies):
        axes.set_xscale("log")
        axes.set_xlabel("learning rate η")
    return Picture(
        figure,
        "Final losses and test accuracy over the learning rate.",
        "Left: final train and test loss over the learning rate on logarithmic axes. Right: final test accuracy.",
    )


@exhibit("fig-sharpness", "learning_rate")
def sharpness_along_training(found: Results) -> Picture:
    """Draw sharpness relative to 2/η along training, one line per learning rate."""
    curves = relative_sharpness(seed0_runs(found.rows))
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    colours = RATE_COLOURS(np.linspace(0, 0.9, len(curves.columns)))
    labels = []
    for (rate, line), colour in zip(curves[curves.index > 0].items(), colours, strict=True):
        axes.plot(line.index, line, color=colour)
        labels.append((line.index[-1], line.iloc[-1], f"{rate:g}", colour))
    axes.axhline(1, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("sharpness λ$_{max}$ relative to 2/η")
    label_ends(axes, labels)
    return Picture(
        figure,
        "Sharpness $\\lambda_{\\max}$ relative to $2/\\eta$ along training, one line per learning rate: below the "
        "dotted line, gradient descent is stable on the local quadratic model.",
        f"{count_words(len(curves.columns), 'line').capitalize()} of relative sharpness over epochs on logarithmic "
        "axes, with a dotted line at one.",
    )


@exhibit("fig-rate", "learning_rate")
def figures_by_rate(found: Results) -> dict[str, Picture]:
    """Draw one figure per learning rate."""
    rows = seed0_runs(found.rows)
    numbers = rate_numbers(rows)
    return {
        rate_label(rate): Picture(
            draw_loss_curves(rows[rows["learning_rate"] == rate]),
            f"$\\eta = {rate:g}$, {line['verdict']}: after {format_count(line['epochs'], 'epoch')} the train loss is "
            f"{format_fixed(line['train_loss'], 4)}, the test loss {format_fixed(line['test_loss'], 4)}, the test "
            f"accuracy {format_percent(line['test_accuracy'], 2)}.",
            f"Train and test loss over epochs at learning rate {rate:g}, on linear and on logarithmic axes.",
        )
        for rate, line in numbers.iterrows()
    }


def draw_loss_curves(rows: pd.DataFrame) -> Figure:
    """Draw train and test loss of one run, on linear and on logarithmic axes."""
    figure, (linear, logarithmic) = plt.subplots(1, 2, figsize=(WIDTH, 2.2))
    plotting.loss_panel(linear, rows, logarithmic=False)
    plotting.loss_panel(logarithmic, rows, logarithmic=True)
    linear.set_ylabel("cross entropy")
    linear.set_ylim(bottom=0)
    plotting.train_test_legend(linear)
    return figure


# Findings


@finding("learning_rate", headline=True)
def learning_rate_window(found: Results) -> Evidence:
    numbers = rate_numbers(seed0_runs(found.rows))
    accuracy = numbers["test_accuracy"]
    best = accuracy.idxmax()
    rising, beyond = accuracy[accuracy.index <= best], accuracy[accuracy.index > best]
    return Evidence(
        "Very, on both sides: too small a rate is slow, too large a one unstable. After "
        f"{format_count(numbers['epochs'].max(), 'epoch')} the test accuracy rises with the rate, from "
        f"{format_percent(rising.iloc[0])} at {rising.index[0]:g} over {format_percent(accuracy.iloc[1])} at "
        f"{accuracy.index[1]:g} to {format_percent(accuracy.max())} at {best:g}; beyond, it is "
        f"{join_english(map(format_percent, beyond))} at {_join_rates(beyond.index)}.",
        {
            "the accuracy rises with the rate up to the best one": rising.is_monotonic_increasing,
            "at the smallest rate it is below 50 %": bool(rising.iloc[0] < 0.5),
            "more than two rates lie up to the best one": len(rising) > 2,
            "some rates lie beyond the best one": len(beyond) > 0,
        },
    )


@finding("learning_rate")
def learning_rate_unstable(found: Results) -> Evidence:
    verdicts = rate_numbers(seed0_runs(found.rows))["verdict"]
    unstable = verdicts.index[verdicts == "unstable"]
    return Evidence(
        f"No rate diverges, but with {_join_rates(unstable)} the train loss still goes up and down in the last half of "
        "the epochs.",
        {
            "some rates are unstable": len(unstable) > 0,
            "all unstable rates are above 1": bool((unstable > 1).all()),
            "no rate diverges": "diverges" not in set(verdicts),
        },
    )


@finding("learning_rate")
def starts_differ_early(found: Results) -> Evidence:
    epoch, accuracy = early_accuracies(found.rows)
    spread = accuracy.max(axis="columns") - accuracy.min(axis="columns")
    slow, second, others = accuracy.iloc[0], accuracy.iloc[1], accuracy.iloc[2:]
    return Evidence(
        f"Each rate has one long run, and early on the start matters: after {format_count(epoch, 'epoch')}, the test "
        f"accuracies from {format_count(len(accuracy.columns), 'start')} lie up to {100 * spread.max():.0f} points "
        f"apart at one rate ({spread.idxmax():g}). From every start, {accuracy.index[0]:g} is then still at chance, "
        f"{accuracy.index[1]:g} between {format_percent(second.min())} and {format_percent(second.max())}, and every "
        f"larger rate above {format_percent(0.05 * (others.min(axis=None) // 0.05), 0)}.",
        {
            "there are more than two starts": len(accuracy.columns) > 2,
            "the smallest rate is at chance": bool(slow.max() < 1.5 * CHANCE),
            "all but the two smallest rates have left chance": bool(others.min(axis=None) > 2 * CHANCE),
        },
    )


@finding("learning_rate")
def start_beyond_the_edge(found: Results) -> Evidence:
    start, peak = first_steps(found.rows)
    beyond = (start > 1).all(axis="columns")
    starts = len(start.columns)
    return Evidence(
        f"At {f'each of {starts} starts' if starts > 1 else 'the start'} the sharpness exceeds $2/\\eta$ for the rates "
        f"from {start.index[beyond].min():g} on, up to {format_fixed(start.max(axis=None), 0)}-fold for "
        f"{start.max(axis='columns').idxmax():g}: exactly these first raise the train loss, up to "
        f"{format_fixed(peak.max(axis=None), 0)}-fold, before it falls.",
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
        f"They do not diverge because the sharpness gives way: by epoch {early.name:.0f} it has fallen to "
        f"{format_fixed(early[steady].min(), 2)} to {format_fixed(early[steady].max(), 2)} times $2/\\eta$ for the "
        f"rates from {steady[0]:g} to {steady[-1]:g}, to the edge of stability, and with the train loss it falls on, "
        f"to {format_fixed(end[steady].min(), 2)} to {format_fixed(end[steady].max(), 2)} times at epoch "
        f"{relative.index[-1]:,.0f}. For {_join_rates(unstable)}, whose train loss still goes up and down, it is "
        f"{join_english(format_fixed(end[rate], 2) for rate in unstable)} times $2/\\eta$ even then; for "
        f"{relative.columns[0]:g}, which begins far below the edge, {format_fixed(end.iloc[0], 3)}.",
        {
            "the steady rates are at the edge of stability early on": bool(
                early[steady].between(0.8, 1.25).all()
            ),
            "their sharpness falls on": bool((end[steady] < early[steady]).all()),
            "the unstable rates end with more than they": bool(end[unstable].min() > end[steady].max()),
            "the smallest rate ends far below the edge": bool(end.iloc[0] < 0.1),
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
