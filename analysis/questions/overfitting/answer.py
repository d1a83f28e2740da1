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

from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_at_most,
    format_count,
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
    TEST,
    TRAIN,
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
    LEARNING_RATES,
    MEDIAN_OF,
    SOURCE_RATE,
    least_at,
    smooth,
)
from analysis.results import Results, of_groups, remembered
from analysis.statistics import END

NETWORKS = ("300", "10-10", "20-20")  # by the names of runs
FEW = f"300, {FEW_EXAMPLES:,} examples"
FAR, SLOW = f"300, η = {FAR_RATE:g}", f"20-20, η = {SOURCE_RATE:g}"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FAR: INK, SLOW: TRAIN, FEW: ORANGE}
DASHES: dict[str, Any] = {FAR: (0, (4, 1.5)), SLOW: (0, (3, 1, 1, 1)), "10-10": (0, (1, 1))}
RATES = {SOURCE_RATE: TRAIN, COMMON_RATE: INK, FAR_RATE: TEST}
PARTS: dict[str, Any] = {"train": ":", "test": "-"}
EPOCH_TICKS = (100, 1_000, 10_000)
UNSTEADY = 0.01
RISE = 0.01  # of the test loss, below which it may be one of the least of a noisy curve


@of_groups
def _groups(found: Results) -> dict[tuple[str, float], pd.DataFrame]:
    """Return the rows of every network at its rates; FEW: on few examples, SLOW: trained for longest."""
    on_all = found.rows[found.rows["train_examples"].isna()]
    longest = on_all["epochs"] > on_all["epochs"].min()
    few = found.rows[found.rows["train_examples"].notna()]
    return {
        **dict(iter(on_all[~longest].groupby(["hidden", "learning_rate"]))),
        (FEW, FEW_EXAMPLES_LEARNING_RATE): few,
        (SLOW, SOURCE_RATE): on_all[longest],
    }


def by_rate(found: Results) -> dict[float, dict[str, pd.DataFrame]]:
    """Return the rows of the networks trained on all examples for as long, by learning rate and network."""
    return {rate: {name: _groups(found)[name, rate] for name in NETWORKS} for rate in LEARNING_RATES}


def long_run(found: Results) -> pd.DataFrame:
    """Return the rows of 20-20 trained on at the source's rate."""
    return _groups(found)[SLOW, SOURCE_RATE]


def few_examples(found: Results) -> pd.DataFrame:
    """Return the rows of the network trained on few examples."""
    return _groups(found)[FEW, FEW_EXAMPLES_LEARNING_RATE]


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
    """Draw train and test error, above, and loss, below, of each run over epochs: a column per network.

    Learning rates are colours; the runs that were trained for longer continue those at their rate. The last column
    has the network that was trained on few examples.
    """
    columns = {name: [rows[name] for rows in by_rate(found).values()] for name in NETWORKS}
    longer = long_run(found)
    columns["20-20"][0] = longer
    few = few_examples(found)
    columns["300, few"] = [few]
    end = longer["epoch"].max()
    figure, grid = plt.subplots(2, len(columns), figsize=(WIDTH, 3.3), sharey="row")
    for (name, networks), (errors, losses) in zip(columns.items(), grid.T, strict=True):
        for rows in networks:
            _draw_errors_and_losses(errors, losses, rows)
        for axes in (errors, losses):
            axes.set_xscale("log")
            last = end if name in NETWORKS else few["epoch"].max()
            ticks = [epoch for epoch in EPOCH_TICKS if epoch < last]
            axes.set_xticks(ticks, [f"{epoch:,}" for epoch in ticks])
            axes.set_xlim(60, last)
            axes.xaxis.set_minor_locator(NullLocator())
        errors.set_title(name)
        losses.set_xlabel("epoch")
    grid[0, 0].set_ylim(0, 13)
    grid[0, 0].set_ylabel("error in %")
    grid[1, 0].set_yscale("log")
    grid[1, 0].set_ylim(0.003, 1)
    plain_ticks(grid[1, 0].yaxis)
    grid[1, 0].set_ylabel("loss")
    handles = [Line2D([], [], color=QUIET, label=part, linestyle=style) for part, style in PARTS.items()]
    handles += [Line2D([], [], color=colour, label=f"η = {rate:g}") for rate, colour in RATES.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8)
    return Picture(
        figure,
        "Train and test error, above, and loss, below, a line per start: centred running medians of up to "
        f"{MEDIAN_OF} measurements, {EVERY[found.preset]} epochs apart. At $\\eta = {SOURCE_RATE:g}$, the source's "
        f"rate, 20-20 goes on to {end:,.0f} epochs. *Few*: trained on "
        f"{FEW_EXAMPLES:,} examples. Dots: the least test loss of each run.",
        "Panels of falling curves, a column per network. At the smallest rate train and test hardly part; at the "
        "larger ones they do: errors level off, test losses turn up. With few examples both happen sooner and more.",
    )


def _draw_errors_and_losses(errors: Axes, losses: Axes, rows: pd.DataFrame) -> None:
    """Draw both metrics over epochs, train and test, a line per run, with a dot at the least test loss."""
    colour = RATES[rows["learning_rate"].iloc[0]]
    for part, dashes in PARTS.items():
        of_part = 100 * (1 - smooth(_curves(rows, f"{part}_accuracy"))), smooth(_curves(rows, f"{part}_loss"))
        for axes, lines in zip((errors, losses), of_part, strict=True):
            axes.plot(lines.index, lines, color=colour, linestyle=dashes, linewidth=0.8)
    test = smooth(_curves(rows, "test_loss"))
    turns = least_at(test)
    least = [test.loc[epoch, run] for run, epoch in turns.items()]
    losses.plot(turns, least, "o", color=colour, markersize=2.5, clip_on=False)


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
    networks = by_rate(found)
    drawn = {
        "300": networks[COMMON_RATE]["300"],
        "20-20": networks[COMMON_RATE]["20-20"],
        FAR: networks[FAR_RATE]["300"],
        SLOW: long_run(found),
        FEW: few_examples(found),
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
        *(pair for networks in by_rate(found).values() for pair in networks.items()),
        ("longer", long_run(found)),
        ("few", few_examples(found)),
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
        f"Medians over the last {format_percent(END, 0)} of {epochs:,} epochs (*longer*, 20-20: of {longer:,}; *few*, "
        f"784-300-10 on {FEW_EXAMPLES:,} examples: of {few:,}). A range gives the least and largest of "
        f"{count_words(least)} starts, for 10-10 at $\\eta = {COMMON_RATE:g}$ of {count_words(most)}. *Rise*: how far "
        "the median of the test loss or test error lies above its least running median before; below zero, it is "
        "still falling. *Over-fits*: how many starts do, by the loss; †: training is unsteady, as the train loss "
        f"rises at more than {format_percent(UNSTEADY, 0)} of the measurements in the last half, from every start.",
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
    for name, rows in by_rate(found)[FAR_RATE].items():
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
        for rate, networks in by_rate(found).items()
    }
    slow, far = (pd.concat(numbers[rate].values()) for rate in (SOURCE_RATE, FAR_RATE))
    every = pd.concat([each for of_rate in numbers.values() for each in of_rate.values()])
    of_most = numbers[FAR_RATE]["20-20"]["error_rise"]
    return Evidence(
        "All three do, by the loss, if they are trained far enough; in 10-10 unsteady training may be the reason. By "
        f"the error, 784-300-10 over-fits between rates: at $\\eta = {FAR_RATE:g}$ it reads the training examples "
        f"better than at {COMMON_RATE:g}, and the test examples worse. Within a run on all examples the test error "
        f"hardly rises again: by at most {_ceil(every['error_rise'].drop(of_most.index).max())} points, in 20-20 at "
        f"{FAR_RATE:g} by up to {_ceil(of_most.max())}. The test loss does: at {FAR_RATE:g} in all three, in 20-20 at "
        f"{COMMON_RATE:g} as well, from every start, though the train loss ends lower. At the source's rate, "
        f"{SOURCE_RATE:g}, no test loss rises in {every['epochs'].max():,.0f} epochs.",
        {
            "784-300-10 fits better at the largest rate, and errs more": bool(
                numbers[FAR_RATE]["300"]["train_error"].max()
                < numbers[COMMON_RATE]["300"]["train_error"].min()
                and numbers[FAR_RATE]["300"]["test_error"].min()
                > numbers[COMMON_RATE]["300"]["test_error"].max()
            ),
            "10-10 is unsteady where it rises": all(
                _unsteady(by_rate(found)[rate]["10-10"]) for rate in (COMMON_RATE, FAR_RATE)
            ),
            "the error rises most in 20-20 at the largest rate": every["error_rise"].idxmax()
            in of_most.index,
            "its rise is small all the same": bool(every["error_rise"].max() < 1.5),
            "elsewhere it is less than half a point": bool(
                every["error_rise"].drop(of_most.index).max() < 0.5
            ),
            "at the largest rate every run rises": bool(far["rises"].all()),
            "so does every run of 20-20 at the common rate, steadily": bool(
                numbers[COMMON_RATE]["20-20"]["rises"].all()
                and not _unsteady(by_rate(found)[COMMON_RATE]["20-20"])
            ),
            "no run at the source's rate rises": bool((slow["rise"] < 0).all()),
            "where the test loss has risen, the train loss has fallen on": bool(
                (every["train_loss"] < every["best_train_loss"])[every["rises"]].all()
            ),
            "all have a gap": bool(error_gap(every).min() > 0),
            "all have equal epochs": every["epochs"].nunique() == 1,
        },
        f"At $\\eta = {SOURCE_RATE:g}$ nothing rises in {every['epochs'].max():,.0f} epochs; at {FAR_RATE:g} all test "
        "losses do.",
    )


@finding("overfitting")
def threshold_hardly_matters(found: Results) -> Evidence:
    frames = {
        (rate, name): overfitting(rows)
        for rate, networks in by_rate(found).items()
        for name, rows in networks.items()
    }
    open_one = frames.pop((COMMON_RATE, "10-10"))
    others = pd.concat([*frames.values(), overfitting(few_examples(found))])
    rising = others.loc[others["rises"], "rise"].min()
    highest = 0 if math.isnan(rising) else math.floor(100 * rising)
    return Evidence(
        f"Any threshold up to {highest} % gives the same verdicts, except for 10-10 at $\\eta = {COMMON_RATE:g}$, "
        "whose starts differ.",
        {
            "of all others, those that rise do so by more, and the rest fall": bool(
                highest > 100 * RISE and others.loc[~others["rises"], "rise"].max() < 0
            ),
            "of that one, some rise and some do not": open_one["rises"].nunique() == 2,
        },
    )


def _ceil(points: float) -> str:
    """Write points rounded up, as "at most" needs them."""
    return f"{math.ceil(10 * points) / 10:.1f}"


@finding("overfitting")
def rate_matters_too(found: Results) -> Evidence:
    networks = by_rate(found)
    end, rising = overfitting(networks[COMMON_RATE]["300"]), overfitting(networks[FAR_RATE]["300"])
    unsteady = [
        (rate, name)
        for rate in (COMMON_RATE, FAR_RATE)
        for name in NETWORKS
        if _unsteady(networks[rate][name])
    ]
    return Evidence(
        f"At $\\eta = {FAR_RATE:g}$ the test loss of 784-300-10 rises by {format_range(100 * rising['rise'], 0)} %; "
        f"it turns where $\\eta$ times epochs is {format_range(FAR_RATE * rising['best_epoch'], 0)}. At "
        f"{COMMON_RATE:g} training ends before, at a product of {COMMON_RATE * end['epochs'].max():,.0f}; whether it "
        "would turn later is open. Where the training of the small networks is unsteady (†), part of the rise may come "
        "from that.",
        {
            "all runs rise": bool(rising["rises"].all()),
            "none at the common rate does": bool((end["rise"] < 0).all()),
            "at the smaller rate training ends before the product at which it turns at the larger": bool(
                COMMON_RATE * end["epochs"].max() < FAR_RATE * rising["best_epoch"].min()
            ),
            "10-10 is unsteady at both rates, 20-20 at the larger, 784-300-10 at neither": set(unsteady)
            == {(COMMON_RATE, "10-10"), (FAR_RATE, "10-10"), (FAR_RATE, "20-20")},
        },
    )


@finding("overfitting")
def slow_runs_turn_late(found: Results) -> Evidence:
    """Compare starts that both rates have, where the learning rate times epochs is the same."""
    slow, fast = by_rate(found)[SOURCE_RATE], by_rate(found)[COMMON_RATE]
    epochs = max(overfitting(rows)["epochs"].max() for rows in slow.values())
    worth = epochs * SOURCE_RATE / COMMON_RATE
    apart = max(
        (_train_loss(slow[name], epochs) / _train_loss(fast[name], worth) - 1).abs().max()
        for name in NETWORKS
    )
    longer, common = overfitting(long_run(found)), overfitting(fast["20-20"])
    far = overfitting(by_rate(found)[FAR_RATE]["20-20"])
    products = [SOURCE_RATE * longer["best_epoch"].mean(), COMMON_RATE * common["best_epoch"].mean()]
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$ no network gets that far: {epochs:,.0f} epochs there do what {worth:,.0f} do "
        f"at {COMMON_RATE:g}. Trained for {longer['epochs'].max():,.0f} epochs, 20-20 over-fits at {SOURCE_RATE:g} as "
        f"well, by the loss: its test loss rises by {format_range(100 * longer['rise'], 0)} %. It turns at about the "
        f"same $\\eta$ times epochs as at {COMMON_RATE:g} (@fig-turn, left), at {FAR_RATE:g} later.",
        {
            "the losses agree": bool(apart < 0.05),
            "no network gets that far": bool(worth < common["best_epoch"].min()),
            "trained on, every start over-fits": bool(longer["rises"].all()),
            "after more than twice as many epochs": bool(longer["best_epoch"].min() > 2 * epochs),
            "where the rate times epochs is about the same": bool(max(products) < 1.1 * min(products)),
            "at the largest rate later": bool(
                FAR_RATE * far["best_epoch"].min() > COMMON_RATE * common["best_epoch"].max()
            ),
        },
    )


def _train_loss(rows: pd.DataFrame, epoch: float) -> pd.Series[float]:
    """Return each start's train loss about an epoch; index seed."""
    curves = rows[rows["metric"] == "train_loss"].pivot(index="epoch", columns="seed", values="value")
    return smooth(curves).loc[:epoch].iloc[-1]


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
    digits = misreading(by_rate(found)[COMMON_RATE]["20-20"])
    return Evidence(
        f"In 20-20 at $\\eta = {COMMON_RATE:g}$, past the least test loss, the mean loss of a misread digit grows by "
        f"{format_range(100 * digits.loss, 0)} %, the share of these digits by at most "
        f"{format_at_most(digits.share.max(), 0)}, and what all other digits add to the test loss falls (@fig-turn, "
        "right). So the rise there comes from misread digits, whose right class gets less probability on average, "
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
    runs, digits = overfitting(few_examples(found)), misreading(few_examples(found))
    misread = found.programs["misread_at_least_and_end"].pivot(
        index="seed", columns="outcome", values="value"
    )
    p_values = [
        binomtest(int(each["least"]), int(each["least"] + each["end"])).pvalue
        for _, each in misread.iterrows()
    ]
    bound = format_rate(10.0 ** math.ceil(math.log10(max(p_values))))
    every = pd.concat([overfitting(rows) for rows in by_rate(found)[COMMON_RATE].values()])
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
    slow = by_rate(found)[SOURCE_RATE]
    runs = pd.concat([overfitting(slow[name]) for name in names])
    return Evidence(
        f"After {runs['epochs'].max():,.0f} epochs test errors do lie {format_range(error_gap(runs), 1)} points above "
        f"train errors, as those of any network may. The test loss, by which we judge, rises in "
        f"{runs['rises'].sum()} of {format_count(len(runs), 'run')}.",
        {"each test loss rises again": bool(runs["rises"].all())},
    )
