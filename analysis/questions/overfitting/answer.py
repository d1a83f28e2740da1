"""Q2, over-fitting: by a gap or by a rise, of three networks at one rate, and of one that over-fits plainly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from scipy.stats import binomtest

from analysis.engine.run import num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_at_most,
    format_count,
    format_interval,
    format_percent,
    format_range,
    format_rate,
)
from analysis.plotting import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    QUIET,
    TRAIN_TEST,
    WIDTH,
    label_ends,
    plain_ticks,
    write_in,
)
from analysis.questions.overfitting.runs import (
    COMMON_RATE,
    EVERY,
    FAR_RATE,
    FEW_EXAMPLES,
    FEW_EXAMPLES_LEARNING_RATE,
    FURTHER_SEEDS,
    LEARNING_RATES,
    MEDIAN_OF,
    SEEDS,
    SOURCE_RATE,
    least_at,
    smooth,
)
from analysis.results import Results, remembered
from analysis.statistics import END, t_interval

NETWORKS = ("300", "10-10", "20-20")  # by the names of runs
FEW = f"300, {FEW_EXAMPLES:,} examples"
FAR, SLOW = f"300, η = {FAR_RATE:g}", f"20-20, η = {SOURCE_RATE:g}"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FAR: INK, SLOW: QUIET, FEW: ORANGE}
DASHES: dict[str, Any] = {FAR: (0, (4, 1.5)), SLOW: (0, (3, 1, 1, 1)), "10-10": (0, (1, 1))}
TEST_EXAMPLES = 10_000
UNSTEADY = 0.01
RISE = 0.01  # of the test loss, below which it may be one of the least of a noisy curve


@remembered
def by_rate(rows: pd.DataFrame) -> dict[float, dict[str, pd.DataFrame]]:
    """Return the rows of the networks trained on all examples for as long, by learning rate and network."""
    on_all = rows[rows["train_examples"].isna()]
    on_all = on_all[on_all["epochs"] == on_all["epochs"].min()]
    groups = dict(iter(on_all.groupby(["learning_rate", "hidden"])))
    return {rate: {name: groups[rate, name] for name in NETWORKS} for rate in LEARNING_RATES}


@remembered
def long_run(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of 20-20 trained on at the source's rate."""
    return rows[rows["epochs"] == rows["epochs"].max()]


@remembered
def few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the network trained on few examples."""
    return rows[rows["train_examples"].notna()]


@remembered
def overfitting(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a network.

    Returns:
        Index key; epochs; train_loss, test_loss, train_error, test_error (in percent), the medians over the last
        epochs, those of the share END; best_epoch, of the least test loss, and best_train_loss there, by running
        medians; rise: how far the test loss of the last epochs lies above the least before them, relative to it, below
        zero where it still falls; error_rise: the same of the test error, in points; and rises: whether the loss does
        while the train loss has fallen.
    """
    train, test = _curves(rows, "train_loss"), _curves(rows, "test_loss")
    train_error, test_error = (100 * (1 - _curves(rows, f"{part}_accuracy")) for part in TRAIN_TEST)
    last = test.index > (1 - END) * test.index[-1]
    trained, losses, errors = smooth(train), smooth(test), smooth(test_error)
    turns = least_at(losses)
    numbers = pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train[last].median(),
            "test_loss": test[last].median(),
            "train_error": train_error[last].median(),
            "test_error": test_error[last].median(),
            "best_epoch": turns,
            "best_train_loss": [trained.loc[epoch, run] for run, epoch in turns.items()],
            "rise": test[last].median() / losses[~last].min() - 1,
            "error_rise": test_error[last].median() - errors[~last].min(),
        }
    )
    has_fallen = numbers["train_loss"] < numbers["best_train_loss"]
    return numbers.assign(rises=(numbers["rise"] > RISE) & has_fallen)


def error_gap(numbers: pd.DataFrame) -> pd.Series[float]:
    """Return, of `overfitting`, how far the test error lies above the train error, in points."""
    return numbers["test_error"] - numbers["train_error"]


@remembered
def misread_digits(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what misread test digits have to do with the test loss, by epoch, of the runs in which it was measured.

    Returns:
        Index epoch; columns metric and key: misread_loss, the mean loss of a misread digit; share of the digits that
        are misread; and rest, what all other digits add to the test loss. All are running medians.
    """
    misread = _curves(rows, "misread_loss").dropna()
    share = 1 - _curves(rows, "test_accuracy").loc[misread.index, misread.columns]
    rest = _curves(rows, "test_loss").loc[misread.index, misread.columns] - misread * share
    return smooth(pd.concat({"misread_loss": misread, "share": share, "rest": rest}, axis="columns"))


def _since_least_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `misread_digits` from the epoch on after which no run has its least test loss."""
    return misread_digits(rows).loc[overfitting(rows)["best_epoch"].max() :]


def _curves(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


def _unsteady(rows: pd.DataFrame) -> bool:
    """Whether each run's train loss rises at more than the share UNSTEADY of the measurements of the last half."""
    train = _curves(rows, "train_loss")
    return bool(((train.diff().iloc[len(train) // 2 :] > 0).mean() > UNSTEADY).all())


def _rise(test: pd.DataFrame) -> pd.DataFrame:
    """In percent, how far test losses lie above their least so far."""
    return 100 * (test / test.cummin() - 1)


# Exhibits


@exhibit(
    "fig-curves",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:10-10,learning_rate:0.5"
        "&pin=hidden:300,learning_rate:0.5,train_examples:all"
    ),
)
def curves(found: Results) -> Picture:
    """Draw train and test error and loss of each run: a column per network and metric, a row per learning rate.

    The last row has what was trained on few examples, and for longer.
    """
    figure, grid = plt.subplots(
        len(LEARNING_RATES) + 1, 2 * len(NETWORKS), figsize=(WIDTH, 4.9), squeeze=False
    )
    rows_of = {
        **{f"η = {rate:g}": networks for rate, networks in by_rate(found.rows).items()},
        "other": {"300": few_examples(found.rows), "20-20": long_run(found.rows)},
    }
    for (title, networks), row in zip(rows_of.items(), grid, strict=True):
        halves = [
            dict(zip(NETWORKS, half, strict=True)) for half in (row[: len(NETWORKS)], row[len(NETWORKS) :])
        ]
        for name, rows in networks.items():
            errors, losses = (half[name] for half in halves)
            _draw_errors_and_losses(errors, losses, rows)
            end = rows["epoch"].max()
            for axes in (errors, losses):
                axes.set_xlim(0, end)
                axes.set_xticks([0, end / 2, end], ["0", f"{end / 2:,.0f}", ""])
        for half, what, limits in zip(halves, ("error in %", "loss"), ((0.01, 20), (0.003, 1)), strict=True):
            decades = [tick for tick in (0.01, 0.1, 1, 10) if limits[0] <= tick <= limits[1]]
            for name, axes in half.items():
                axes.set_visible(name in networks)
                axes.set_yscale("log")
                axes.set_ylim(*limits)
                axes.set_yticks(decades, [f"{tick:g}" for tick in decades])
                axes.yaxis.set_minor_locator(NullLocator())
                axes.tick_params(labelleft=axes is half["300"])
            half["300"].set_ylabel(f"{title}\n{what}")
    for axes, name in zip(grid[0], 2 * NETWORKS, strict=True):
        axes.set_title(name)
    few, longer = rows_of["other"].values()
    for half in halves:
        half["300"].set_title("few")
        half["20-20"].set_title("longer")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    handles = [Line2D([], [], label=part, **style) for part, style in TRAIN_TEST.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=8)
    return Picture(
        figure,
        "Train and test error, left, and loss, right, on all examples, the source's rate first; below, 784-300-10 on "
        f"{FEW_EXAMPLES:,} examples at $\\eta = {few['learning_rate'].iloc[0]:g}$ (*few*), and 20-20 trained for "
        f"{longer['epochs'].max():,.0f} epochs at {SOURCE_RATE:g} (*longer*). A line per start, running medians of "
        f"{MEDIAN_OF} measurements, {EVERY[found.preset]} epochs apart. Vertical axes are logarithmic. Dots: the "
        "least test loss of each.",
        "Panels of falling curves, a column per network. At the smallest rate train and test hardly part; at the "
        "larger ones they do, and test losses turn up, as they do below on few examples and in the longest run.",
    )


def _draw_errors_and_losses(errors: Axes, losses: Axes, rows: pd.DataFrame) -> None:
    """Draw both metrics over epochs, train and test, a line per run, with a dot at the least test loss."""
    for part, style in TRAIN_TEST.items():
        of_part = 100 * (1 - smooth(_curves(rows, f"{part}_accuracy"))), smooth(_curves(rows, f"{part}_loss"))
        for axes, lines in zip((errors, losses), of_part, strict=True):
            axes.plot(lines.index, lines, **{**style, "linewidth": 0.8})
    test = smooth(_curves(rows, "test_loss"))
    turns = least_at(test)
    least = [test.loc[epoch, run] for run, epoch in turns.items()]
    losses.plot(turns, least, "o", color=TRAIN_TEST["test"]["color"], markersize=2.5, clip_on=False)


@exhibit(
    "fig-turn",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1&seeds=each"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:300,train_examples:1000"
    ),
)
def turns(found: Results) -> Picture:
    """Draw the rise of the test loss, test against train loss, and what misread digits do where the test loss rises."""
    figure, (rises, losses, misread) = plt.subplots(1, 3, figsize=(WIDTH, 2.5), width_ratios=(1.25, 1.25, 1))
    networks = by_rate(found.rows)
    drawn = {
        "300": networks[COMMON_RATE]["300"],
        "20-20": networks[COMMON_RATE]["20-20"],
        FAR: networks[FAR_RATE]["300"],
        SLOW: long_run(found.rows),
        FEW: few_examples(found.rows),
    }
    for name, frame in drawn.items():
        train, test = (smooth(_curves(frame, f"{part}_loss").drop(index=0)) for part in TRAIN_TEST)
        look: dict[str, Any] = {"color": COLOURS[name], "linestyle": DASHES.get(name, "-"), "linewidth": 0.9}
        rises.plot(frame["learning_rate"].iloc[0] * test.index, _rise(test), **look)
        for key in test if name != SLOW else ():
            losses.plot(train[key], test[key], **look)
        rises.plot([], [], label=name, **look)
    rises.set_xscale("log")
    rises.set_xlim(left=100)
    rises.set_xticks([100, 1_000, 10_000], ["100", "1,000", "10,000"])
    rises.axhline(100 * RISE, color=FAINT, linewidth=0.8, zorder=0)
    rises.set_xlabel("η × epoch")
    rises.set_ylabel("rise of test loss in %")
    losses.axline((0.1, 0.1), (1, 1), color=FAINT, linewidth=0.8, zorder=0)
    losses.set_xscale("log")
    losses.set_yscale("log")
    losses.set_xlim(0.6, 2e-3)
    losses.set_ylim(0.055, 0.7)
    plain_ticks(losses.yaxis)
    losses.set_xlabel("train loss, falling →")
    losses.set_ylabel("test loss")
    _draw_misread(misread, _since_least_loss(drawn["20-20"]))
    handles, labels = rises.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), fontsize=7.5, columnspacing=1.4
    )
    return Picture(
        figure,
        f"Running medians, a line per run, at $\\eta = {COMMON_RATE:g}$ unless another rate is named. Left: how far "
        "the test loss lies above its least value so far; grey: what counts as over-fitting at the end. Middle: test "
        "against train loss during training; on the grey line both are equal. Right: three quantities of 20-20, "
        "relative to their values at the epoch of the least test loss: the mean loss of a misread test digit, the "
        "share of these digits, and what all other digits add to the test loss.",
        "Left: lines at zero that climb late, those of few examples soonest and highest; that of 300 at the common "
        "rate does not. Middle: every curve falls along the diagonal and leaves it. Right: from one point, the mean "
        "loss climbs, the share hardly does, the others fall.",
    )


def _draw_misread(axes: Axes, digits: pd.DataFrame) -> None:
    """Draw `misread_digits` of 20-20 relative to their first values."""
    relative, colour = digits / digits.iloc[0], COLOURS["20-20"]
    ends = []
    for metric, name in (("misread_loss", "mean loss"), ("share", "share"), ("rest", "others")):
        axes.plot(relative.index, relative[metric], color=colour, linewidth=0.9)
        ends.append((relative.index[-1], relative[metric].iloc[-1].mean(), name, colour))
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0.5, 1.3)
    axes.set_xlabel("epoch")
    axes.set_ylabel("relative value")
    label_ends(axes, ends)


@exhibit("tbl-overfitting", "overfitting")
def overfitting_table(found: Results) -> Table:
    """Tabulate `overfitting`: least and largest value of the runs."""
    frames = [
        *(pair for networks in by_rate(found.rows).values() for pair in networks.items()),
        ("longer", long_run(found.rows)),
        ("few", few_examples(found.rows)),
    ]
    lines = []
    for network, rows in frames:
        numbers = overfitting(rows)
        lines.append(
            {
                "Network, $\\eta$": f"{network}, {rows['learning_rate'].iloc[0]:g}",
                "Train loss": format_range(numbers["train_loss"], 3).replace(" to ", "–"),
                "Test loss": format_range(numbers["test_loss"], 3).replace(" to ", "–"),
                "Least at epoch": "–".join(
                    dict.fromkeys(f"{epoch:,.0f}" for epoch in numbers["best_epoch"].agg(["min", "max"]))
                ),
                "Rise, %": _signed_range(100 * numbers["rise"]),
                "Train error, %": format_range(numbers["train_error"], 1).replace(" to ", "–"),
                "Test error, %": format_range(numbers["test_error"], 1).replace(" to ", "–"),
                "Rise, points": _signed_range(numbers["error_rise"]),
                "Over-fits": f"{int(numbers['rises'].sum())}/{len(numbers)}"
                + ("†" if _unsteady(rows) else ""),
            }
        )
    epochs, longer, few = (int(overfitting(rows)["epochs"].max()) for _, rows in (frames[0], *frames[-2:]))
    starts = [len(overfitting(rows)) for _, rows in frames]
    least, most = min(starts), max(starts)
    return Table(
        pd.DataFrame(lines),
        f"Medians over the last {format_percent(END, 0)} of {epochs:,} epochs (*longer*, 20-20: of {longer:,}; "
        f"*few*, 784-300-10 on {frames[-1][1]['train_examples'].iloc[0]:,.0f} examples: of {few:,}). A range gives "
        f"the least and largest of {count_words(least)} starts, for 10-10 at $\\eta = {COMMON_RATE:g}$ of "
        f"{count_words(most)}. *Rise*: how far the median of the test loss or test error lies above its least "
        "running median before; below zero, it is still falling. *Over-fits*: how many starts do; †: unsteady, as the "
        f"train loss rises at more than {format_percent(UNSTEADY, 0)} of the measurements in the last half, from every "
        "start, so that the rise is not over-fitting alone.",
        (67, 80, 80, 86, 79, 56, 56, 79, 42),
    )


def _signed_range(values: pd.Series[float]) -> str:
    """Return the least and the largest value, without a sign where they round to zero."""
    return format_range(values.round(1) + 0.0, 1)


@sketch(
    "overfitting",
    alt="Late in training at the largest rate, the test loss of all three networks rises again.",
)
def sketch_of_rise(axes: Axes, found: Results) -> None:
    for name, rows in by_rate(found.rows)[FAR_RATE].items():
        rise = _rise(smooth(_curves(rows, "test_loss")))
        axes.plot(rise.index, rise.mean(axis="columns"), color=COLOURS[name])
    axes.set_xscale("log")
    axes.set_xlim(left=1_000)
    axes.set_ylim(-2, 62)
    write_in(axes, 0.03, 0.85, f"test loss above its least, η = {FAR_RATE:g}", INK)
    write_in(axes, 0.5, 0.48, "20-20", COLOURS["20-20"])
    write_in(axes, 0.87, 0.29, "300", COLOURS["300"])
    write_in(axes, 0.87, 0.06, "10-10", COLOURS["10-10"])


# Findings


@finding("overfitting", headline=True)
def over_fits_where_training_goes_far(found: Results) -> Evidence:
    numbers = {
        rate: {name: overfitting(rows) for name, rows in networks.items()}
        for rate, networks in by_rate(found.rows).items()
    }
    slow = pd.concat(numbers[SOURCE_RATE].values())
    every = pd.concat([each for of_rate in numbers.values() for each in of_rate.values()])
    far, of_most = numbers[FAR_RATE]["300"], numbers[FAR_RATE]["20-20"]["error_rise"]
    few = overfitting(few_examples(found.rows))
    return Evidence(
        "By the test loss two of the three do, if they are trained far enough. At the source's rate, $\\eta = "
        f"{SOURCE_RATE:g}$, none over-fits in {every['epochs'].max():,.0f} epochs: every test loss still falls. At "
        f"larger rates 784-300-10 does (at $\\eta = {FAR_RATE:g}$) and 20-20 (at {COMMON_RATE:g}), each from every "
        "start: the test loss rises again while the train loss keeps falling. 10-10 trains too unsteadily to tell. "
        f"The test error hardly follows the loss: it rises by up to {_ceil(of_most.max())} points in 20-20 at $\\eta "
        f"= {FAR_RATE:g}$, in every other run on all training examples by at most "
        f"{_ceil(every['error_rise'].drop(of_most.index).max())}. On {FEW_EXAMPLES:,} examples it rises by more than "
        "a point.",
        {
            "the error rises most in 20-20 at the largest rate": every["error_rise"].idxmax()
            in of_most.index,
            "its rise is small all the same": bool(every["error_rise"].max() < 1.5),
            "at the largest rate every run of 784-300-10 rises": bool(far["rises"].all()),
            "so does every run of 20-20 at the common rate, steadily": bool(
                numbers[COMMON_RATE]["20-20"]["rises"].all()
                and not _unsteady(by_rate(found.rows)[COMMON_RATE]["20-20"])
            ),
            "10-10 is unsteady at both": all(
                _unsteady(by_rate(found.rows)[rate]["10-10"]) for rate in (COMMON_RATE, FAR_RATE)
            ),
            "no run at the source's rate rises": bool((slow["rise"] < 0).all()),
            "where the test loss has risen, the train loss has fallen on": bool(
                (every["train_loss"] < every["best_train_loss"])[every["rises"]].all()
            ),
            "on few examples the error rises by more than a point": bool(few["error_rise"].min() > 1),
            "all have a gap": bool(error_gap(every).min() > 0),
            "all have equal epochs": every["epochs"].nunique() == 1,
        },
        f"At $\\eta = {SOURCE_RATE:g}$ no network over-fits in {every['epochs'].max():,.0f} epochs; at larger rates "
        "two do.",
    )


@finding("overfitting")
def threshold_hardly_matters(found: Results) -> Evidence:
    frames = {
        (rate, name): overfitting(rows)
        for rate, networks in by_rate(found.rows).items()
        for name, rows in networks.items()
    }
    open_one = frames.pop((COMMON_RATE, "10-10"))
    others = pd.concat([*frames.values(), overfitting(few_examples(found.rows))])
    rising = others.loc[others["rises"], "rise"].min()
    # of starts that were not run because others left the matter open
    added = open_one["rise"][
        _seeds(by_rate(found.rows)[COMMON_RATE]["10-10"]).isin(FURTHER_SEEDS[found.preset])
    ]
    mean_rise = t_interval(added)
    highest = 0 if math.isnan(rising) else math.floor(100 * rising)
    return Evidence(
        f"Any threshold up to {highest} % gives the same verdicts, except for 10-10 at $\\eta = {COMMON_RATE:g}$: its "
        f"first {count_words(len(SEEDS[found.preset]))} starts left the verdict open, and so did "
        f"{count_words(len(added))} more, with a mean rise of {format_interval(mean_rise, 1)}.",
        {
            "of all others, those that rise do so by more, and the rest fall": bool(
                highest > 100 * RISE and others.loc[~others["rises"], "rise"].max() < 0
            ),
            "the interval of the mean rise holds the threshold": abs(mean_rise.mean - RISE)
            < mean_rise.half_width,
        },
    )


def _seeds(rows: pd.DataFrame) -> pd.Series[int]:
    """Return the seed of each run; index key, as of `overfitting`."""
    seeds = rows.drop_duplicates("key").set_index("key")["seed"]
    return seeds.loc[overfitting(rows).index]


def _ceil(points: float) -> str:
    """Write points rounded up, as "at most" needs them."""
    return f"{math.ceil(10 * points) / 10:.1f}"


@finding("overfitting")
def small_network_over_fits_more(found: Results) -> Evidence:
    networks = {name: overfitting(rows) for name, rows in by_rate(found.rows)[COMMON_RATE].items()}
    wide, small, ten = (networks[name] for name in ("300", "20-20", "10-10"))
    share = num_parameters_of("20-20") / num_parameters_of("300")
    return Evidence(
        f"At $\\eta = {COMMON_RATE:g}$, 20-20 over-fits with {format_percent(share, 0)} of the weights of 784-300-10, "
        "which does not. The test loss of 784-300-10 still falls at train losses far below that at which the test "
        "loss of 20-20 turns (@fig-turn, middle). Our runs cannot say whether this is because it has one hidden layer "
        f"instead of two. 10-10 would count as over-fitting from {count_words(int(ten['rises'].sum()))} of "
        f"{count_words(len(ten))} starts, but is unsteady.",
        {
            "all runs of 20-20 rise, by more than the others": bool(
                small["rises"].all() and small["rise"].min() > pd.concat([wide, ten])["rise"].max()
            ),
            "no run of 784-300-10 rises": bool((wide["rise"] < 0).all()),
            "though it has a smaller train loss than 20-20 at the turn": bool(
                wide["train_loss"].max() < small["best_train_loss"].min()
            ),
            "10-10 rises from most starts, and not from all": bool(0.5 < ten["rises"].mean() < 1),
            "10-10 is unsteady": _unsteady(by_rate(found.rows)[COMMON_RATE]["10-10"]),
        },
    )


@finding("overfitting")
def rate_matters_too(found: Results) -> Evidence:
    networks = by_rate(found.rows)
    end, rising = overfitting(networks[COMMON_RATE]["300"]), overfitting(networks[FAR_RATE]["300"])
    above = (
        _test_loss_at(networks[FAR_RATE]["300"], end["train_loss"].max()).min() / end["test_loss"].max() - 1
    )
    return Evidence(
        f"At $\\eta = {FAR_RATE:g}$ the test loss of 784-300-10 rises by {format_range(100 * rising['rise'], 0)} %. "
        f"That it over-fits there and not at {COMMON_RATE:g} is not only because the larger rate trains it further: "
        f"at equal train loss, its test loss at {FAR_RATE:g} is already the higher one (@fig-turn, middle). The small "
        f"networks' test losses rise at {FAR_RATE:g}, too, but their training is unsteady there (@tbl-overfitting), "
        "so that the rise is not over-fitting alone.",
        {
            "all runs rise": bool(rising["rises"].all()),
            "none at the common rate does": bool((end["rise"] < 0).all()),
            "at equal train loss every test loss is higher": bool(above > 0.05),
            "the small networks rise, and are unsteady": all(
                bool(overfitting(networks[FAR_RATE][name])["rises"].all())
                and _unsteady(networks[FAR_RATE][name])
                for name in ("10-10", "20-20")
            ),
        },
    )


def _test_loss_at(rows: pd.DataFrame, train_loss: float) -> pd.Series[float]:
    """Return each run's test loss where its train loss first comes down to a value; missing if it never does."""
    train, test = (smooth(_curves(rows, f"{part}_loss")) for part in TRAIN_TEST)
    return test.where(train <= train_loss).bfill().iloc[0]


@finding("overfitting")
def slow_runs_turn_late(found: Results) -> Evidence:
    """Compare starts that both rates have, where the learning rate times epochs is the same."""
    slow, fast = by_rate(found.rows)[SOURCE_RATE], by_rate(found.rows)[COMMON_RATE]
    epochs = max(overfitting(rows)["epochs"].max() for rows in slow.values())
    worth = epochs * SOURCE_RATE / COMMON_RATE
    apart = max(
        (_train_loss(slow[name], epochs) / _train_loss(fast[name], worth) - 1).abs().max()
        for name in NETWORKS
    )
    longer, common = overfitting(long_run(found.rows)), overfitting(fast["20-20"])
    products = [SOURCE_RATE * longer["best_epoch"].mean(), COMMON_RATE * common["best_epoch"].mean()]
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$ no network gets that far: {epochs:,.0f} epochs there do what {worth:,.0f} do "
        f"at {COMMON_RATE:g}. Trained for {longer['epochs'].max():,.0f} epochs, 20-20 over-fits at {SOURCE_RATE:g} as "
        f"well: its test loss rises by {format_range(100 * longer['rise'], 0)} %. It turns at about the same $\\eta$ "
        f"times epochs as at {COMMON_RATE:g} (@fig-turn, left).",
        {
            "the losses agree": bool(apart < 0.05),
            "no network gets that far": bool(worth < common["best_epoch"].min()),
            "trained on, every start over-fits": bool(longer["rises"].all()),
            "after more than twice as many epochs": bool(longer["best_epoch"].min() > 2 * epochs),
            "where the rate times epochs is about the same": bool(max(products) < 1.1 * min(products)),
        },
    )


def _train_loss(rows: pd.DataFrame, epoch: float) -> pd.Series[float]:
    """Return each start's train loss about an epoch; index seed."""
    curves = rows[rows["metric"] == "train_loss"].pivot(index="epoch", columns="seed", values="value")
    return smooth(curves).loc[:epoch].iloc[-1]


@finding("overfitting")
def wide_network_may_yet_turn(found: Results) -> Evidence:
    runs = {
        (rate, name): overfitting(rows)
        for rate, networks in by_rate(found.rows).items()
        for name, rows in networks.items()
    }
    del runs[FAR_RATE, "20-20"]
    others = pd.concat(runs.values())
    most = others["error_rise"].max()
    end, far = runs[COMMON_RATE, "300"], runs[FAR_RATE, "300"]
    return Evidence(
        f"At {COMMON_RATE:g}, 784-300-10 may yet turn: its training ends where $\\eta$ times epochs is "
        f"{COMMON_RATE * end['epochs'].max():,.0f}, and at {FAR_RATE:g} its test loss turns at "
        f"{format_range(FAR_RATE * far['best_epoch'], 0)}. The rises of the test error on all training examples, but "
        f"for 20-20 at {FAR_RATE:g} at most {TEST_EXAMPLES * float(_ceil(most)) / 100:.0f} of {TEST_EXAMPLES:,} "
        "digits, were not tested.",
        {
            "no other rise is as large as half a point": bool(most < 0.5),
            "at the smaller rate training ends before the product at which it turns at the larger": bool(
                COMMON_RATE * end["epochs"].max() < FAR_RATE * far["best_epoch"].min()
            ),
        },
    )


@dataclass(frozen=True)
class Misreading:
    """What becomes of misread test digits from the least test loss to the end, by run, relative to their values there.

    Attributes:
        loss: Growth of the mean loss of a misread digit.
        share: Growth of the share of these digits.
        rest: Growth of what all other digits add to the test loss.
        alone: Rise of the test loss if that share had not changed.
        rise: Its rise.
    """

    loss: pd.Series[float]
    share: pd.Series[float]
    rest: pd.Series[float]
    alone: pd.Series[float]
    rise: pd.Series[float]


@remembered
def misreading(rows: pd.DataFrame) -> Misreading:
    """Return what becomes of misread digits in runs whose test loss rises."""
    digits = _since_least_loss(rows)
    least, end = digits.iloc[0], digits.iloc[-1]
    first, last = (each["share"] * each["misread_loss"] + each["rest"] for each in (least, end))
    alone = least["share"] * end["misread_loss"] + end["rest"]
    grown = end / least - 1
    return Misreading(
        grown["misread_loss"], grown["share"], grown["rest"], alone / first - 1, last / first - 1
    )


@finding("overfitting")
def misread_digits_make_the_rise(found: Results) -> Evidence:
    digits = misreading(by_rate(found.rows)[COMMON_RATE]["20-20"])
    return Evidence(
        f"In 20-20 at $\\eta = {COMMON_RATE:g}$, past the least test loss, the mean loss of a misread digit grows "
        f"by {format_range(100 * digits.loss, 0)} %, the share of these digits by at most "
        f"{format_at_most(digits.share.max(), 0)}, and what all other digits add to the test loss falls (@fig-turn, "
        "right). So the rise comes from misread digits, to whose right class the network gives ever less probability, "
        "and hardly from their number.",
        {
            "the mean loss of a misread digit grows by more than a tenth": bool(digits.loss.min() > 0.1),
            "by more than their share": bool((digits.loss > digits.share).all()),
            "what the others add falls": bool(digits.rest.max() < 0),
            "at an unchanged share, most of the rise would remain": bool(
                (digits.alone > digits.rise / 2).all()
            ),
        },
    )


@finding("overfitting")
def contrast_overfits(found: Results) -> Evidence:
    runs, digits = overfitting(few_examples(found.rows)), misreading(few_examples(found.rows))
    misread = found.programs["misread_at_least_and_end"].pivot(
        index="seed", columns="outcome", values="value"
    )
    p_values = [
        binomtest(int(each["least"]), int(each["least"] + each["end"])).pvalue
        for _, each in misread.iterrows()
    ]
    bound = format_rate(10.0 ** math.ceil(math.log10(max(p_values))))
    every = pd.concat([overfitting(rows) for rows in by_rate(found.rows)[COMMON_RATE].values()])
    return Evidence(
        f"On {FEW_EXAMPLES:,} training examples, at $\\eta = {FEW_EXAMPLES_LEARNING_RATE:g}$, 784-300-10 over-fits by "
        f"its test error too: the loss rises by {format_range(100 * runs['rise'], 0)} %, the error by "
        f"{format_range(runs['error_rise'], 1)} points. About twice as many test digits are misread at the end but "
        f"not at the least test loss as the other way round (McNemar's test from each start: p < {bound}).",
        {
            "every run rises": bool(runs["rises"].all()),
            "sooner than any network on all examples": bool(
                runs["best_epoch"].max() < every["best_epoch"].min()
            ),
            "and more": bool(runs["rise"].min() > every["rise"].max()),
            "at one epoch": runs["best_epoch"].nunique() == 1,
            "the error rises by more than a point": bool(runs["error_rise"].min() > 1),
            "digit by digit that is significant": max(p_values) < 1e-6,
            "about twice as many": bool((misread["end"] / misread["least"]).between(1.8, 2.2).all()),
            "at the same rate": FEW_EXAMPLES_LEARNING_RATE == COMMON_RATE,
            "the mean loss of a misread digit grows three times as much as their share": bool(
                digits.loss.min() > 3 * digits.share.max()
            ),
        },
    )


@statement("overfitting", said="As trained there, 784-300-10 over-fits mildly (we judge by the test loss).")
def wide_network_overfits_mildly(found: Results) -> Evidence:
    return _rises_at_the_source_rate(found, "300")


@statement("overfitting", said="10-10 and 20-20, at $\\eta = 0.1$, over-fit mildly.")
def small_networks_overfit_mildly(found: Results) -> Evidence:
    return _rises_at_the_source_rate(found, "10-10", "20-20")


def _rises_at_the_source_rate(found: Results, *names: str) -> Evidence:
    slow = by_rate(found.rows)[SOURCE_RATE]
    runs = pd.concat([overfitting(slow[name]) for name in names])
    return Evidence(
        f"After {runs['epochs'].max():,.0f} epochs test errors do lie {format_range(error_gap(runs), 1)} points above "
        f"train errors, as those of any network may. The test loss, by which we judge, rises in "
        f"{runs['rises'].sum()} of {format_count(len(runs), 'run')}.",
        {"each test loss rises again": bool(runs["rises"].all())},
    )
