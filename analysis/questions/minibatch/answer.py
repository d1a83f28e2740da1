"""Exercise 1, minibatches: what batch sizes from one example to all do to speed, accuracy and noise."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.engine.run import TRAIN_EXAMPLES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_fixed,
    format_interval,
    format_percent,
    join_english,
)
from analysis.plotting import (
    FAINT,
    LINE_STYLES,
    PAPER,
    RATE_COLOURS,
    WIDTH,
    draw_line,
    mean_and_range,
    plain_ticks,
    with_contrast,
    write_in,
)
from analysis.questions.minibatch.runs import (
    BUDGETS,
    DECAYING,
    DECAYS,
    FULL_BATCH_FACTOR,
    NARROW,
    NARROW_RATES,
    jobs,
    long_jobs,
)
from analysis.results import Results, remembered
from analysis.statistics import (
    LEVEL,
    at_best_rates,
    final_values,
    first_epochs,
    paired_t,
    repeated_measures_p,
    t_interval,
)

WIDE_NETWORK = "300"
NARROW_NETWORK = "-".join(map(str, NARROW))
SLOW, FAST = DECAYS[:2]
SCHEDULES = {0.0: "constant", SLOW: "slow", FAST: "fast"}
EARLY_ACCURACY = 0.95  # of the test set: the first epoch that reaches it tells the speed
SMALL_BATCHES = (1, 4, 16)  # said to be the fastest by epochs
LARGE_BATCHES = (128, 1_024, 8_192, math.inf)  # said to need equally many updates
LARGEST_SETTLED = 1_024  # said to be on a plateau, with all smaller ones
PLATEAU = 0.001  # on it, the mean validation accuracy changes by less in the last quarter of the epochs
SAID_BATCH, SAID_EARLY = 16, 2  # batches of this size are taken for what is said of a couple of epochs
SAID_EPOCHS = 100  # "hundreds" of epochs are at least so many


@remembered
def constant_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the wide network's runs at constant rates.

    Returns:
        Also, batch: the size, infinite for all examples; long: whether the run goes on until its size is done.
    """
    rows = rows[rows["hidden"] != NARROW_NETWORK]
    batch = rows["batch_size"].astype(float).fillna(np.inf)
    short = rows["epochs"].min() * np.where(np.isinf(batch), FULL_BATCH_FACTOR, 1)
    return rows.assign(batch=batch, long=rows["epochs"] != short)[rows["decay"] == 0]


@remembered
def short_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what `constant_runs` has of the budget that all sizes share, each at the rate that is best by then."""
    runs = constant_runs(rows).query("not long")
    return at_best_rates(runs[runs["epoch"] <= runs["epochs"].min()], ["batch"])


@remembered
def long_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the long ones of `constant_runs`, each size at the rate that is best in their end."""
    return at_best_rates(constant_runs(rows).query("long"), ["batch"])


@remembered
def courses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `long_runs` with their beginnings from the short runs of the same rates and seeds, measured more often."""
    late = long_runs(rows)
    early = constant_runs(rows).query("not long").merge(late[["batch", "learning_rate"]].drop_duplicates())
    covered = late["batch"].map(early.groupby("batch")["epoch"].max())
    return pd.concat([early, late[late["epoch"] > covered]], ignore_index=True)


@remembered
def size_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per batch size, index: batch.

    Returns:
        short_rate, learning_rate: Best in the budget that all share, and in the end of the long runs.
        short_accuracy, accuracy: Test accuracy in the end of either, by seed.
        epochs: Of the long runs.
        gain: Of mean validation accuracy in their last quarter.
        settled: Whether that is too little to count.
        train_loss: In their end.
        early_rate: The rate that is the fastest to EARLY_ACCURACY with every seed, of all.
        early, early_updates: First epoch and first update with that accuracy there, by seed.
    """
    short = short_runs(rows).groupby("batch")
    reached = first_epochs(constant_runs(rows), EARLY_ACCURACY, ["batch", "learning_rate", "long", "seed"])
    fastest = reached.groupby(["batch", "learning_rate", "long"]).mean().groupby("batch").idxmin()
    lines = {}
    for batch, runs in long_runs(rows).groupby("batch"):
        first = short.get_group(batch)
        gain = _last_quarter(runs)
        early = reached[fastest[batch]]
        lines[batch] = {
            "short_rate": first["learning_rate"].iloc[0],
            "learning_rate": runs["learning_rate"].iloc[0],
            "short_accuracy": final_values(first, "test_accuracy", ["seed"]),
            "accuracy": final_values(runs, "test_accuracy", ["seed"]),
            "epochs": runs["epochs"].iloc[0],
            "gain": gain,
            "settled": abs(gain) < PLATEAU,
            "train_loss": final_values(runs, "train_loss", ["seed"]).mean(),
            "early_rate": fastest[batch][1],
            "early": early,
            "early_updates": early * (runs["update"].max() / runs["epoch"].max()),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("batch")


def _last_quarter(runs: pd.DataFrame) -> float:
    """Return how much the mean validation accuracy of runs changes in the last quarter of their epochs."""
    before = runs[runs["epoch"] <= 0.75 * runs["epochs"]]
    ends = (final_values(each, "validation_accuracy", ["seed"]).mean() for each in (runs, before))
    return float(next(ends) - next(ends))


def kernel_seconds(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the seconds of an epoch in our kernel, of the short runs; index: batch."""
    runs = constant_runs(rows).query("not long")
    ends = runs[runs["epoch"] == runs["epochs"]]
    return (ends["seconds"] / ends["epoch"]).groupby(ends["batch"]).mean()


def settled_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the final test accuracy of the batch sizes on a plateau: a row per seed, a column per size."""
    numbers = size_numbers(rows)
    return pd.DataFrame(dict(numbers.loc[numbers["settled"], "accuracy"]))


def schedules(
    rows: pd.DataFrame, hidden: str, batch_size: int = 1, rate: float | None = None
) -> dict[str, Any]:
    """Return how a network ends that is trained with constant and decreasing rates for the budget that all share.

    Args:
        rows: Of the experiment.
        hidden: The network.
        batch_size: Of its batches.
        rate: The first learning rate of all, None for each decay's best.

    Returns:
        rates: The first learning rate; index: decay.
        train_loss, test_accuracy: At the end; index: seed, a column per decay.
    """
    runs = rows[(rows["hidden"] == hidden) & (rows["batch_size"] == batch_size)]
    runs = runs[runs["epochs"] == rows["epochs"].min()]
    chosen = at_best_rates(runs, ["decay"]) if rate is None else runs[runs["learning_rate"] == rate]
    return {
        "rates": chosen.groupby("decay")["learning_rate"].first(),
        **{
            metric: final_values(chosen, metric, ["decay", "seed"]).unstack("decay")
            for metric in ("train_loss", "test_accuracy")
        },
    }


def train_examples(found: Results) -> int:
    """Return the number of examples that the runs are trained on."""
    return BUDGETS[found.preset].train_examples


def plain_epoch_seconds(found: Results) -> pd.Series[float]:
    """Return the seconds of an epoch of the runs' training examples in plain PyTorch; index: batch as in a setting."""
    seconds = found.programs["plain_seconds"].set_index("batch_size")["seconds"]
    examples = train_examples(found)
    of_epoch = seconds.where(seconds.index < TRAIN_EXAMPLES, seconds * examples / TRAIN_EXAMPLES)
    of_epoch *= np.ceil(examples / seconds.index)
    return of_epoch.rename(index={TRAIN_EXAMPLES: np.inf})


def format_size(batch: float) -> str:
    """Return a batch size as the text writes it."""
    return f"{batch:,.0f}" if math.isfinite(batch) else "all"


# Exhibits


@exhibit(
    "fig-minibatch",
    "minibatch",
    explore=(
        "metric=test_accuracy&xlog=1"
        "&run=hidden:300,decay:0,batch_size:16,learning_rate:0.3"
        "&pin=batch_size:1,learning_rate:0.1"
        "&pin=batch_size:128,learning_rate:1"
        "&pin=batch_size:all,learning_rate:1"
    ),
)
def test_errors_by_batch_size(found: Results) -> Picture:
    """Draw the test error of all batch sizes against epochs, updates and the time that plain PyTorch takes."""
    rows, plain = courses(found.rows), plain_epoch_seconds(found)
    rows = rows[(rows["metric"] == "test_accuracy") & (rows["epoch"] > 0)]
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.4), sharey=True)
    sizes = sorted(rows["batch"].unique())
    for size, colour in zip(sizes, RATE_COLOURS(np.linspace(0, 1, len(sizes))), strict=True):
        runs = rows[rows["batch"] == size]
        runs = runs.assign(plain=runs["epoch"] * plain[size])
        for axes, x in zip(panels, ("epoch", "update", "plain"), strict=True):
            errors = 100 * (1 - mean_and_range(runs, "test_accuracy", x))
            draw_line(axes, errors, color=colour, linestyle="--" if np.isinf(size) else "-")
            if x != "update" or size not in LARGE_BATCHES[1:]:
                joined = x == "update" and size == LARGE_BATCHES[0]
                name = format_size(size) + (f" to {format_size(max(sizes))}" if joined else "")
                small = size in SMALL_BATCHES
                apart = 6 * (SMALL_BATCHES.index(size) - 1) if small and x == "epoch" else 0
                above = np.isinf(size) or (small and x != "epoch")
                place = (3 if above else -8 if joined else -3, 2 if above else apart)
                axes.annotate(
                    name,
                    (errors.index[0], errors["mean"].iloc[0]),
                    xytext=place,
                    textcoords="offset points",
                    color=with_contrast(colour, PAPER, 4.5),
                    ha="right",
                    va="bottom" if above else "center",
                    fontsize=8,
                )
    for axes, name in zip(panels, ("epoch", "update", "s in plain PyTorch"), strict=True):
        axes.set_xscale("log")
        axes.set_xlim(left=axes.dataLim.x0 / 25)  # room for the labels
        axes.set_xlabel(name)
        axes.axhline(100 * (1 - EARLY_ACCURACY), color=FAINT, linewidth=0.8, zorder=0)
    panels[0].set_yscale("log")
    panels[0].set_ylim(top=150)
    plain_ticks(panels[0].yaxis)
    panels[0].set_ylabel("test error in %")
    return Picture(
        figure,
        f"Test error of {count_words(len(sizes))} batch sizes, each at the rate that is best in the end, against "
        "epochs, updates and the time of so many epochs in plain PyTorch. At one rate, batches of "
        f"{format_size(LARGE_BATCHES[0])} and more need equally many updates. Dashed: all examples; grey: "
        f"{format_percent(1 - EARLY_ACCURACY, 0)}. Lines are means; the bands span the "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}.",
        "Three panels of falling error curves, one line per batch size. Against epochs the lines lie side by side, "
        "small batches to the left, and all but the largest two end level, close to each other. Against updates the "
        "lines of the large batches coincide, to the left of the small ones. Against time, a middle size is leftmost.",
    )


@exhibit("tbl-minibatch", "minibatch")
def minibatch_table(found: Results) -> Table:
    """Tabulate `size_numbers`."""
    numbers, plain = size_numbers(found.rows), plain_epoch_seconds(found)
    lines = [
        {
            "Batch": format_size(batch),
            "Fastest $\\eta$": f"{line['early_rate']:g}",
            "Epochs to 95 %": _format_count(line["early"].mean()),
            "Updates to 95 %": _format_count(line["early_updates"].mean()),
            "s per epoch": f"{plain[batch]:.3g}",
            "Best $\\eta$ first": f"{line['short_rate']:g}",
            "Test acc., %": format_interval(t_interval(line["short_accuracy"]), 1, ""),
            "Best $\\eta$ last": f"{line['learning_rate']:g}",
            "Epochs": f"{line['epochs']:,}",
            "Last quarter": f"{100 * line['gain']:+.2f}".replace("-", "−"),
            "Train loss": format_fixed(line["train_loss"], 4),
            "Final test acc., %": format_interval(t_interval(line["accuracy"]), 2, ""),
        }
        for batch, line in zip(numbers.index, numbers.to_dict("records"), strict=True)
    ]
    runs = constant_runs(found.rows)
    seeds = count_words(found.rows["seed"].nunique(), "seed")
    few = count_words(round(runs["epochs"].min()), "epoch")
    tried, kept = (
        " or ".join(map(count_words, sorted(set(each.groupby("batch")["learning_rate"].nunique()))))
        for _, each in runs.groupby("long")
    )
    return Table(
        pd.DataFrame(lines),
        f"Every batch size, means over {seeds}. *To 95 %* test accuracy: first measurement, at the fastest rate of "
        f"all; *s per epoch* in plain PyTorch, rough. *First*: the best of {tried} rates after {few}, and its test "
        f"accuracy by then. *Last*: the best of {kept} of these after so many more epochs; in their *last quarter* "
        "the validation accuracy changes by so many points.",
        (6, 8, 8, 9, 7, 6, 10, 6, 7, 8, 8, 12),
    )


@exhibit("tbl-noise", "minibatch")
def schedule_table(found: Results) -> Table:
    """Tabulate how networks end with constant and decreasing rates, at their best rates and at one that is large."""
    settings = [*((WIDE_NETWORK, size) for size in DECAYING), (NARROW_NETWORK, 1)]
    ends = [(*setting, schedules(found.rows, *setting)) for setting in settings]
    ends.append((NARROW_NETWORK, 1, schedules(found.rows, NARROW_NETWORK, 1, max(NARROW_RATES))))
    lines = [
        {
            "Network": f"784-{hidden}-10",
            "Batch": f"{batch_size}",
            "$\\eta$": _format_rates(schedule["rates"]),
            **{
                f"Loss, {name}": format_fixed(schedule["train_loss"][decay].mean(), 4)
                for decay, name in SCHEDULES.items()
            },
            **{
                f"Acc., {name}": format_interval(t_interval(schedule["test_accuracy"][decay]), 2, "")
                for decay, name in SCHEDULES.items()
            },
        }
        for hidden, batch_size, schedule in ends
    ]
    epochs = count_words(round(found.rows["epochs"].min()), "epoch")
    return Table(
        pd.DataFrame(lines),
        f"Train loss and test accuracy in % after {epochs} with constant, slowly and fast decreasing rates "
        f"$\\eta_\\tau = \\eta / (1 + d\\, \\tau / T)$, with $d = {SLOW:g}$ and ${FAST:g}$ and $T$ updates per epoch: "
        "each at its best $\\eta$, in this order, and in the last line at the largest that all share. Means, of "
        "accuracies with 95 % t intervals.",
        (11, 6, 11, 8, 8, 8, 13, 13, 13),
    )


def _format_rates(rates: pd.Series[float]) -> str:
    """Return rates in their order; once if they are all the same."""
    return ", ".join(f"{rate:g}" for rate in (rates if rates.nunique() > 1 else rates[:1]))


def _format_count(count: float) -> str:
    return format_fixed(count, 1 if count < 10 else 0) if math.isfinite(count) else "–"


@sketch(
    "minibatch",
    alt="The test error of small batches falls within an epoch, that of gradient descent much later, almost as far.",
)
def sketch_of_errors(axes: Axes, found: Results) -> None:
    rows = courses(found.rows).query("metric == 'test_accuracy' and epoch > 0")
    for size, style in ((16, LINE_STYLES["sgd"]), (np.inf, LINE_STYLES["gd"])):
        errors = 1 - rows[rows["batch"] == size].groupby("epoch")["value"].mean()
        axes.plot(errors.index, errors, color=style["color"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    write_in(axes, 0.05, 0.5, "batches of 16", LINE_STYLES["sgd"]["color"])
    write_in(axes, 0.5, 0.82, "all examples", LINE_STYLES["gd"]["color"])


# Findings


@finding("minibatch", "learning_rate", headline=True)
def small_batches_are_faster(found: Results, rates: Results) -> Evidence:
    early = size_numbers(found.rows)["early"].map(lambda epochs: epochs.mean())
    small, gd = early[early.index <= max(SMALL_BATCHES)].max(), _descent(rates)
    settled = settled_accuracies(found.rows)
    means, largest = settled.mean(), settled.columns.max()
    spread = 100 * (means.max() - means.min())
    return Evidence(
        f"The smaller the batch, the fewer epochs: to {format_percent(EARLY_ACCURACY, 0)} test accuracy, batches of "
        f"up to {max(SMALL_BATCHES)} take no more than {format_fixed(small, 1)}. Gradient descent on all "
        f"{TRAIN_EXAMPLES:,} examples takes {format_fixed(gd.min(), 0)} at the best of the many rates of @sec-q6. "
        "The end depends little on the size: trained until they no longer improve, batches of up to "
        f"{format_size(largest)} reach {100 * means.min():.1f} to {format_percent(means.max())}.",
        {
            "the larger the batch, the more epochs": early.is_monotonic_increasing
            and math.isfinite(early[np.inf]),
            "even at the best rate all examples take more than any batch": bool(
                gd.min() > early[np.isfinite(early.index)].max()
            ),
            f"all sizes up to {LARGEST_SETTLED:,} are on a plateau": largest == LARGEST_SETTLED,
            "their accuracies lie within half a point": bool(spread < 0.5),
        },
        f"Smaller batches need far fewer epochs; up to {format_size(largest)}, final accuracies differ by {spread:.2f} "
        "points.",
    )


def _descent(rates: Results) -> pd.Series[float]:
    """Return the mean first epoch of gradient descent with EARLY_ACCURACY, in Q6's runs; index: learning rate."""
    return first_epochs(rates.rows, EARLY_ACCURACY, ["learning_rate", "seed"]).groupby("learning_rate").mean()


@finding("minibatch", "learning_rate")
def large_batches_save_no_updates(found: Results, rates: Results) -> Evidence:
    numbers, descent = size_numbers(found.rows), _descent(rates)
    updates = numbers["early_updates"].map(lambda values: values.mean())
    first, *larger = LARGE_BATCHES
    smaller, fastest = updates.loc[:first], numbers["early_rate"]
    return Evidence(
        f"Up to {format_size(first)}, a larger batch bears a rate at least as large and saves updates: "
        f"{format_percent(EARLY_ACCURACY, 0)} takes {format_fixed(updates.iloc[0], 0)} single examples and "
        f"{format_fixed(updates[first], 0)} batches of {format_size(first)}. Beyond, {fastest[first]:g} is the "
        "fastest of the few rates tried, and at that rate a larger batch saves none. A rate in between does: with "
        f"all examples {descent.idxmin():g} takes {format_fixed(descent.min(), 0)} updates (@sec-q6); it was not "
        "tried with batches.",
        {
            "up to the first of the large sizes, updates fall": len(smaller) > 1
            and smaller.is_monotonic_decreasing,
            "and the rate does not": fastest.loc[:first].is_monotonic_increasing,
            "beyond, the rate is the same": bool((fastest[larger] == fastest[first]).all()),
            "and the updates are within a quarter": bool(
                ((updates[larger] / updates[first] - 1).abs() < 0.25).all()
            ),
            "with all examples a larger rate saves more": bool(
                descent.idxmin() > fastest[np.inf] and descent.min() < 0.75 * updates[first]
            ),
        },
    )


@finding("minibatch")
def overhead_decides_the_time(found: Results) -> Evidence:
    ours, plain = kernel_seconds(found.rows), plain_epoch_seconds(found)
    early = size_numbers(found.rows)["early"].map(lambda epochs: epochs.mean())
    first = (early * plain).idxmin()
    long = set(long_jobs(found.preset))
    devices = {
        each.device_name
        for job, each in zip(jobs(found.preset), found.provenance, strict=True)
        if job not in long
    }
    return Evidence(
        "In plain PyTorch every update has an overhead: an epoch of single "
        f"examples takes {plain[1] / plain.min():.0f} times as long as the fastest, and "
        f"batches of {format_size(first)} are the first to reach {format_percent(EARLY_ACCURACY, 0)}. Our kernel has "
        f"next to none: an epoch takes {ours.min():.2f} to {ours.max():.2f} s per run.",
        {
            "in plain PyTorch, single examples take more than five times as long as the best size": bool(
                plain[1] > 5 * plain.min()
            ),
            "neither the smallest nor the largest size is first to the early accuracy": first
            not in (early.index.min(), early.index.max()),
            "the times of our kernel lie within a factor of two": bool(ours.max() < 2 * ours.min()),
            "all were taken on one device": len(devices) == 1,
        },
    )


@finding("minibatch")
def largest_batches_are_unfinished(found: Results) -> Evidence:
    numbers = size_numbers(found.rows)
    rising = numbers[~numbers["settled"]]
    sizes = join_english(f"{size:,.0f}" if math.isfinite(size) else "all examples" for size in rising.index)
    gains = join_english(f"{100 * gain:.2f}" for gain in rising["gain"])
    ends = join_english(f"{100 * values.mean():.1f}" for values in rising["accuracy"])
    return Evidence(
        f"All sizes up to {LARGEST_SETTLED:,} end on one. Batches of {sizes} do not: in their last quarter they still "
        f"gain {gains} points, so the test accuracies at which they stop, {ends} %, are not final.",
        {
            "exactly the sizes up to the largest said are on a plateau": set(
                numbers.index[numbers["settled"]]
            )
            == set(numbers.index[numbers.index <= LARGEST_SETTLED]),
            "the others rise": bool(len(rising) and (rising["gain"] > 0).all()),
        },
    )


@finding("minibatch")
def smaller_may_end_higher(found: Results) -> Evidence:
    settled = settled_accuracies(found.rows)
    means = settled.mean()
    small, large = means[means.index <= max(SMALL_BATCHES)], means[means.index >= LARGE_BATCHES[0]]
    p = _sizes_differ_p(settled)
    weaker = max((_sizes_differ_p(settled.drop(seed)) for seed in settled.index), default=math.nan)
    return Evidence(
        "On the plateaus, smaller may be slightly better. Mean test accuracy goes down with the size, from "
        f"{100 * means.max():.2f} to {100 * means.min():.2f} %, and an F test with repeated measures tells the "
        f"sizes apart ($p$ = {p:.3f}), but not whichever seed is left out ($p$ up to {weaker:.2f}).",
        {
            "every small size lies above every large one": bool(small.min() > large.max()),
            "the F test tells the sizes apart": bool(p < 1 - LEVEL),
            "with some seed left out, it does not": not weaker < 1 - LEVEL,
        },
    )


def _sizes_differ_p(settled: pd.DataFrame) -> float:
    """Return the p-value of the F test over sizes; not a number for a single seed or size."""
    return repeated_measures_p(settled) if min(settled.shape) > 1 else math.nan


@finding("minibatch")
def early_gaps_are_gaps_in_speed(found: Results) -> Evidence:
    numbers = size_numbers(found.rows)
    short, long = (
        numbers[column].map(lambda values: 100 * values.mean()) for column in ("short_accuracy", "accuracy")
    )
    sizes = [LARGE_BATCHES[0], LARGEST_SETTLED]
    before, after = short.iloc[0] - short[sizes], long.iloc[0] - long[sizes]
    epochs = count_words(round(short_runs(found.rows)["epoch"].max()), "epoch")
    return Evidence(
        f"After {epochs}, batches of {join_english(map(format_size, sizes))} are "
        f"{join_english(f'{gap:.1f}' for gap in before)} points behind single examples. In the end, "
        f"{join_english(f'{gap:.2f}' for gap in after)} points are left: most of each gap was speed.",
        {
            "single examples are ahead at first": bool((before > 0).all()),
            "less than half of either gap is left": bool((after < before / 2).all()),
        },
    )


@finding("minibatch")
def early_rates_may_be_too_large(found: Results) -> Evidence:
    numbers, runs = size_numbers(found.rows), constant_runs(found.rows).query("long")
    ends = final_values(runs, "test_accuracy", ["batch", "learning_rate", "seed"])
    line, rates = numbers.loc[LARGEST_SETTLED], ends[LARGEST_SETTLED].unstack("learning_rate")
    small, large = rates.columns.min(), rates.columns.max()
    lost = paired_t(rates[small], rates[large]).difference
    return Evidence(
        f"With batches of {LARGEST_SETTLED:,}, $\\eta = {large:g}$ is the best by then, and ends "
        f"{format_interval(lost, 1, '')} points below $\\eta = {small:g}$: what is best for a short run may be too "
        "large for a long one.",
        {
            "the larger rate is best first": line["short_rate"] == large,
            "the smaller one is best in the end": line["learning_rate"] == small,
            "the larger one ends lower": lost.mean > lost.half_width,
        },
    )


@finding("minibatch")
def constant_rates_suffice_where_all_is_fitted(found: Results) -> Evidence:
    noisy = max(DECAYING)
    loss, larger = (schedules(found.rows, WIDE_NETWORK, size)["train_loss"].mean() for size in (1, noisy))
    ends = [schedules(found.rows, WIDE_NETWORK, size)["test_accuracy"].mean() for size in DECAYING]
    gains = pd.concat([mean[list(DECAYS)] - mean[0] for mean in ends])
    return Evidence(
        "784-300-10 with single examples shows no such floor. A constant rate ends at a train loss of "
        f"{format_fixed(loss[0], 4)}, a fast decreasing one at {format_fixed(loss[FAST], 4)}. Batches of "
        f"{noisy} gain in train loss if the rate decreases slowly (@tbl-noise), but in test accuracy neither gains.",
        {
            "the train loss is least with the constant rate": loss.idxmin() == 0,
            "with the constant rate it ends below 0.01": bool(loss[0] < 0.01),
            "with larger batches a slowly decreasing rate ends lower": bool(larger[SLOW] < larger[0]),
            "none of the decreasing rates gains a tenth of a point": bool((gains < PLATEAU).all()),
        },
    )


@finding("minibatch")
def decreasing_rates_quench_noise(found: Results) -> Evidence:
    rate = max(NARROW_RATES)
    loss = schedules(found.rows, NARROW_NETWORK, 1, rate)["train_loss"].mean()
    best = schedules(found.rows, NARROW_NETWORK)
    differences = {
        (metric, decay): paired_t(best[metric][decay], best[metric][0]).difference
        for metric in ("train_loss", "test_accuracy")
        for decay in DECAYS
    }
    return Evidence(
        f"784-{NARROW_NETWORK}-10 cannot do that, and the noise stays: at $\\eta = {rate:g}$ a fast decreasing rate "
        f"ends at {format_percent(1 - loss[FAST] / loss[0], 0)} less train loss than a constant one (@tbl-noise). But "
        "a smaller constant rate does as well: each at its best, the schedules differ neither in train loss nor in "
        "test accuracy by more than their seeds scatter.",
        {
            "the faster the rate decreases, the lower the train loss": bool(
                loss[FAST] < loss[SLOW] < loss[0]
            ),
            "the best constant rate is smaller": best["rates"][0] < rate,
            **{
                f"{metric.replace('_', ' ')} of {SCHEDULES[decay]} and constant does not differ at the best rates": abs(
                    difference.mean
                )
                <= difference.half_width
                for (metric, decay), difference in differences.items()
            },
        },
    )


# Statements by others


@statement(
    "minibatch",
    "learning_rate",
    said="After a couple of epochs, minibatches are ahead of hundreds of epochs of gradient descent.",
)
def minibatches_beat_hundreds_of_epochs(found: Results, rates: Results) -> Evidence:
    runs = short_runs(found.rows)
    few = min(SAID_EARLY, int(runs["epoch"].max()))
    early = runs[(runs["batch"] == SAID_BATCH) & (runs["epoch"] <= few)]
    accuracy = final_values(early, "test_accuracy", ["seed"]).mean()
    descent = rates.rows[(rates.rows["seed"] == 0) & (rates.rows["metric"] == "test_accuracy")]
    reached = descent.loc[descent["value"] >= accuracy, "epoch"].min()
    epochs = (
        f"{reached:,.0f} epochs"
        if math.isfinite(reached)
        else f"more than {descent['epoch'].max():,.0f} epochs"
    )
    examples = train_examples(found)
    return Evidence(
        f"{count_words(few, 'epoch').capitalize()} with batches of {SAID_BATCH} give{'s' if few == 1 else ''} "
        f"{format_percent(accuracy)} test accuracy (mean over seeds, on {examples:,} examples); gradient descent, "
        f"at the best of the rates in @sec-q6, first has it after {epochs}.",
        {f"gradient descent does not have it within {SAID_EPOCHS} epochs": not reached < SAID_EPOCHS},
    )
