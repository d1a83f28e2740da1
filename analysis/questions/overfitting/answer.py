"""Q2, over-fitting: what train and test curves of three networks say, and of one that does over-fit."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import plotting
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import format_fixed, format_percent, format_range
from analysis.plotting import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    WIDTH,
    label_ends,
    plain_ticks,
    write_in,
)
from analysis.questions.overfitting.runs import FEW_EXAMPLES, LEARNING_RATE, SOURCE_RATE
from analysis.results import Results

NETWORKS = ("300", "10-10", "20-20")
FEW = f"300, {FEW_EXAMPLES:,} examples"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FEW: ORANGE}
HIGHEST = 1.2  # of the losses as drawn on linear axes
RISEN = (
    0.01  # a run over-fits if its test loss ends by more than that share above its least value, and see below
)


def by_network(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples, at the larger of their rates, by hidden sizes."""
    return {name: group for (name, rate), group in _by_rate(rows).items() if rate != SOURCE_RATE}


def at_source_rate(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples at the rate of the source, by hidden sizes."""
    return {name: group for (name, rate), group in _by_rate(rows).items() if rate == SOURCE_RATE}


def _by_rate(rows: pd.DataFrame) -> dict[tuple[str, float], pd.DataFrame]:
    everything = rows[rows["train_examples"].isna()]
    groups = dict(iter(everything.groupby(["hidden", "learning_rate"])))
    return {key: groups[key] for key in sorted(groups, key=lambda key: (NETWORKS.index(key[0]), key[1]))}


def few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the network trained on few examples."""
    return rows[rows["train_examples"].notna()]


def overfitting(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a network.

    Returns:
        Index key; epochs, train_loss, test_loss and gap at the last epoch, train_accuracy, test_accuracy there,
        best_epoch of least test loss, best_loss and best_train_loss there, rise: how far the last test loss
        lies above it, relative to it; and overfits: whether it has risen by more than RISEN while the train loss has
        fallen.
    """
    train, test = _curves(rows, "train_loss"), _curves(rows, "test_loss")
    best = test.min()
    numbers = pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train.iloc[-1],
            "test_loss": test.iloc[-1],
            "gap": test.iloc[-1] - train.iloc[-1],
            "train_accuracy": _curves(rows, "train_accuracy").iloc[-1],
            "test_accuracy": _curves(rows, "test_accuracy").iloc[-1],
            "best_epoch": test.idxmin(),
            "best_loss": best,
            "best_train_loss": [train.loc[epoch, run] for run, epoch in test.idxmin().items()],
            "rise": test.iloc[-1] / best - 1,
        }
    )
    has_fallen = numbers["train_loss"] < numbers["best_train_loss"]
    return numbers.assign(overfits=(numbers["rise"] > RISEN) & has_fallen)


def _curves(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


# Exhibits


@exhibit(
    "fig-curves",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:10-10"
        "&pin=hidden:300,learning_rate:2"
    ),
)
def loss_curves(found: Results) -> Picture:
    """Draw train and test loss of the networks against epochs: linear axes above, logarithmic below."""
    frames = by_network(found.rows)
    figure, grid = plt.subplots(2, len(frames), figsize=(WIDTH, 2.8), sharey="row", squeeze=False)
    for column, (name, frame) in enumerate(frames.items()):
        for row, logarithmic in enumerate((False, True)):
            plotting.loss_panel(grid[row, column], frame, logarithmic)
        grid[0, column].set_title(f"{name}, η = {frame['learning_rate'].iloc[0]:g}")
        grid[0, column].set_ylim(0, HIGHEST)
        grid[0, column].set_xlabel("")
        plain_ticks(grid[1, column].yaxis)
    for row in grid:
        row[0].set_ylabel("cross entropy")
    plotting.train_test_legend(grid[0, 0])
    return Picture(
        figure,
        "Train and test loss against epochs, on linear (above, cut off at the top) and logarithmic axes (below). Lines "
        "are means, bands the range over the seeds.",
        "Six panels of falling loss curves, a column per network. The train and the test curve of the wide network "
        "nearly coincide; those of the two small networks part, and the test curve of 20-20 turns up.",
    )


@exhibit(
    "fig-gap",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1&seeds=each"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:300,train_examples:1000"
    ),
)
def generalisation_gap(found: Results) -> Picture:
    """Draw every run's test loss relative to its least so far, and its gap, against epochs."""
    figure, (rises, gaps) = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    frames = {**by_network(found.rows), FEW: few_examples(found.rows)}
    for axes, draw in ((rises, _rise), (gaps, _gap)):
        labels = []
        axes.set_xscale("log")
        for name, frame in frames.items():
            values = draw(_curves(frame, "train_loss"), _curves(frame, "test_loss"))
            values = values[values.index > 0].rolling(21, min_periods=1, center=True).median()
            axes.plot(values.index, values, color=COLOURS[name], linewidth=0.9)
            labels.append((values.index[-1], values.iloc[-1].mean(), name.partition(",")[0], COLOURS[name]))
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=100)
    rises.set_ylabel("rise of the test loss in %")
    rises.set_ylim(-1, 40)
    gaps.set_ylabel("test loss − train loss")
    gaps.set_ylim(-0.03, 0.55)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return Picture(
        figure,
        "Two signs of over-fitting, a line per run (running medians of 21 measurements, without "
        "single spikes). Left: how far the test loss lies "
        "above its least value so far. Right: generalisation gap, test loss − train loss.",
        "Left: the lines of the wide network stay at zero, those of 20-20 and of the few examples climb late. Right: "
        "the gap of the few examples is largest, that of 20-20 next.",
    )


def _rise(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    return 100 * (test / test.cummin() - 1)


def _gap(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    return test - train


@exhibit(
    "fig-seconds",
    "overfitting",
    explore=(
        "metric=test_loss&x=seconds&xlog=1&ylog=1"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:10-10"
        "&pin=hidden:300,learning_rate:2"
    ),
)
def loss_against_seconds(found: Results) -> Picture:
    """Draw mean test loss against training time."""
    figure, axes = plt.subplots(figsize=(WIDTH, 1.7))
    labels = []
    for name, frame in by_network(found.rows).items():
        rows = frame[(frame["metric"] == "test_loss") & (frame["epoch"] > 0)]
        means = rows.groupby("epoch")[["seconds", "value"]].mean()
        axes.plot(means["seconds"], means["value"], color=COLOURS[name])
        labels.append((means["seconds"].iloc[-1], means["value"].iloc[-1], name, COLOURS[name]))
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel("training time in seconds")
    axes.set_ylabel("test cross entropy")
    label_ends(axes, labels)
    return Picture(
        figure,
        "Test loss against training time (evaluation excluded): the same curves, by wall clock.",
        "Three falling curves of test loss over seconds on logarithmic axes.",
    )


@exhibit("tbl-overfitting", "overfitting")
def overfitting_table(found: Results) -> Table:
    """Tabulate `overfitting`: least and largest value of the runs."""
    lines = []
    for network, frames in (
        *((name, (at_source_rate(found.rows)[name], by_network(found.rows)[name])) for name in NETWORKS),
        (FEW, (few_examples(found.rows),)),
    ):
        for rows in frames:
            numbers = overfitting(rows)
            lines.append(
                {
                    "Network": network,
                    "$\\eta$": f"{rows['learning_rate'].iloc[0]:g}",
                    "Epochs": f"{numbers['epochs'].max():,.0f}",
                    "Train loss": format_range(numbers["train_loss"], 3),
                    "Test loss": format_range(numbers["test_loss"], 3),
                    "Epoch of least test loss": " to ".join(
                        dict.fromkeys(f"{epoch:,.0f}" for epoch in numbers["best_epoch"].agg(["min", "max"]))
                    ),
                    "Rise since, in %": format_range(100 * numbers["rise"], 1),
                    "Over-fit": f"{numbers['overfits'].sum()} of {len(numbers)}",
                }
            )
    return Table(
        pd.DataFrame(lines),
        "Losses at the last epoch, the epoch of least test loss, how far the test loss ends above that, and how many "
        f"of the runs over-fit: those whose test loss ends more than {format_percent(RISEN, 0)} above its least value "
        "while their train loss has fallen since. Least and largest value of the runs.",
        (14, 6, 9, 14, 14, 15, 13, 10),
    )


@sketch("overfitting", alt="The test loss of 784-300-10 stays least, that of 20-20 rises late.")
def sketch_of_rise(axes: Axes, found: Results) -> None:
    frames = by_network(found.rows)
    for name in ("300", "20-20"):
        rise = _rise(_curves(frames[name], "train_loss"), _curves(frames[name], "test_loss"))
        axes.plot(rise.index, rise.mean(axis="columns"), color=COLOURS[name])
    axes.set_xscale("log")
    axes.set_xlim(left=100)
    axes.set_ylim(-1, 15)
    write_in(axes, 0.03, 0.82, "test loss above its least", INK)
    write_in(axes, 0.6, 0.5, "20-20", COLOURS["20-20"])
    write_in(axes, 0.1, 0.16, "300", COLOURS["300"])


# Findings


@finding("overfitting", headline=True)
def small_networks_overfit(found: Results) -> Evidence:
    numbers = {name: overfitting(rows) for name, rows in by_network(found.rows).items()}
    slow = [overfitting(rows) for rows in at_source_rate(found.rows).values()]
    small = numbers["20-20"]
    return Evidence(
        f"784-300-10 does not over-fit, and at $\\eta = {SOURCE_RATE:g}$ no network does. Trained far enough the "
        f"small ones do, mildly: all runs of 20-20, whose test loss rises by up to "
        f"{format_percent(small['rise'].max(), 0)}, and some of 10-10.",
        {
            "no run of 784-300-10 over-fits": not numbers["300"]["overfits"].any(),
            "no run at the source's rate over-fits": not any(each["overfits"].any() for each in slow),
            "all runs of 20-20 over-fit": bool(small["overfits"].all()),
            "some but not all runs of 10-10 do": bool(0 < numbers["10-10"]["overfits"].mean() < 1),
            "the rise stays below a fifth": bool(small["rise"].max() < 0.2),
        },
        "Within these budgets only the small networks over-fit, mildly, if trained far enough.",
    )


@finding("overfitting")
def wide_network_is_not_done(found: Results) -> Evidence:
    networks = by_network(found.rows)
    numbers, small = overfitting(networks["300"]).iloc[0], overfitting(networks["20-20"])
    return Evidence(
        f"784-300-10 has its least test loss at the last of its {numbers['epochs']:,.0f} epochs, though its train loss "
        "is lower by then than that at which 20-20 begins to over-fit. Whether it would over-fit later, these runs do "
        "not show.",
        {
            "its test loss is least at the end": bool(numbers["best_epoch"] == numbers["epochs"]),
            "its train loss is below that of 20-20 at its least test loss": bool(
                numbers["train_loss"] < small["best_train_loss"].min()
            ),
        },
    )


@finding("overfitting")
def contrast_overfits(found: Results) -> Evidence:
    runs = overfitting(few_examples(found.rows))
    mean = runs.mean()
    return Evidence(
        f"For contrast, 784-300-10 trained on {FEW_EXAMPLES:,} examples over-fits plainly: from epoch "
        f"{mean['best_epoch']:,.0f} on its test loss rises by {format_percent(mean['rise'], 0)}.",
        {
            "every run over-fits": bool(runs["overfits"].all()),
            "the test loss rises by more than 20 % in every run": bool(runs["rise"].min() > 0.2),
        },
    )


@statement("overfitting", said="784-300-10 over-fits mildly.")
def wide_network_overfits_mildly(found: Results) -> Evidence:
    wide = overfitting(at_source_rate(found.rows)["300"]).iloc[0]
    return Evidence(
        f"After {wide['epochs']:,.0f} epochs at the source's $\\eta = {SOURCE_RATE:g}$ the test loss is at its least, "
        f"{format_fixed(wide['test_loss'], 3)}, and below the train loss.",
        {"it over-fits": bool(wide["overfits"])},
    )


@statement("overfitting", said="10-10 and 20-20 over-fit mildly.")
def small_networks_overfit_mildly(found: Results) -> Evidence:
    slow = overfitting(at_source_rate(found.rows)["10-10"]).iloc[0]
    fast = {name: overfitting(rows)["overfits"] for name, rows in by_network(found.rows).items()}
    return Evidence(
        f"At $\\eta = {LEARNING_RATE[(20, 20)]:g}$ {fast['20-20'].sum()} of {len(fast['20-20'])} runs of 20-20 do and "
        f"{fast['10-10'].sum()} of {len(fast['10-10'])} of 10-10; at {SOURCE_RATE:g} neither does. The source's curves "
        f"of 10-10 end near 0.29 and 0.40, ours at {SOURCE_RATE:g} at {format_fixed(slow['train_loss'], 2)} and "
        f"{format_fixed(slow['test_loss'], 2)}.",
        {"all runs of both networks over-fit": bool(fast["10-10"].all() and fast["20-20"].all())},
    )
