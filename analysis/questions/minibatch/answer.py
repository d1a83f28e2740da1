"""Exercise 1, minibatches: what batch sizes from one example to all do to speed, accuracy and noise."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.engine.run import TRAIN_EXAMPLES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_interval,
    format_percent,
    format_range,
)
from analysis.plotting import (
    FAINT,
    GREEN,
    INK,
    LINE_STYLES,
    MARKER,
    ORANGE,
    PINK,
    QUIET,
    TEST,
    TRAIN,
    WIDTH,
    draw_line,
    mean_and_range,
    plain_ticks,
    write_in,
)
from analysis.questions.minibatch.runs import (
    BUDGETS,
    DECAYING,
    DECAYS,
    DENSE,
    FULL_BATCH_FACTOR,
    FURTHER_SIZE,
    LONG,
)
from analysis.results import Results, remembered
from analysis.statistics import (
    LEVEL,
    PLATEAU,
    PairedTest,
    at_best_rates,
    best_rates,
    final_values,
    gain_of_last_quarter,
    on_all_examples,
    paired_t,
    paired_tests_holm,
    repeated_measures_p,
    t_interval,
)

# Of the sizes, from the smallest on; those of which many lines are drawn elsewhere are told by their dashes as well.
COLOURS = (INK, TRAIN, GREEN, ORANGE, PINK, TEST, QUIET)
DASHES = {1_024: (0, (4, 1, 1, 1)), 8_192: ":", math.inf: "--"}
EARLY_ACCURACY = 0.95  # when it is reached tells the speed
SMALL_BATCHES = (1, 4, 16)  # said to be the fastest by epochs
LARGE_BATCHES = (128, 1_024, 8_192, math.inf)
LEAST_UPDATES = 1_024  # said to be the size from which on a larger batch saves no updates
SAID_BATCH, SAID_EARLY = 16, 2  # batches of this size are taken for what is said of a couple of epochs
SAID_EPOCHS = 100  # "hundreds" of epochs are at least so many


@remembered
def constant_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs at constant rates.

    Returns:
        Also, batch: the size, infinite for all examples; long: whether the run goes on until its size is done; dense:
        whether it goes on less far and is measured often.
    """
    batch = rows["batch_size"].astype(float).fillna(np.inf)
    short = rows["epochs"].min() * np.where(np.isinf(batch), FULL_BATCH_FACTOR, 1)
    further = rows["epochs"] != short
    longest = rows["epochs"].groupby(batch).transform("max")
    dense = further & (rows["epochs"] < longest)
    return rows.assign(batch=batch, long=further & ~dense, dense=dense)[rows["decay"] == 0]


@remembered
def long_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the long ones of `constant_runs`, each size at the rate that is best in their end."""
    return at_best_rates(constant_runs(rows).query("long"), ["batch"])


@remembered
def courses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `constant_runs` at every rate: the short ones, continued by the dense and then the long ones if there are.

    Seeds that have long runs only are left out, as those are not measured often enough to tell a speed.
    """
    runs = constant_runs(rows)
    found = runs[~runs["long"] & ~runs["dense"]]
    seeds = found["seed"].unique()
    for further in (runs[runs["dense"]], runs[runs["long"] & runs["seed"].isin(seeds)]):
        covered = found.groupby(["batch", "learning_rate"])["epoch"].max().rename("covered")
        added = further.join(covered, on=["batch", "learning_rate"])
        found = pd.concat([found, added[~(added["epoch"] <= added["covered"])]], ignore_index=True)
    return found.drop(columns="covered")


@remembered
def fastest_courses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `courses` of each size at its fastest rate."""
    rates = size_numbers(rows)["early_rate"].rename("learning_rate").reset_index()
    return courses(rows).merge(rates)


def crossings(runs: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Return the epoch at which an accuracy first reaches EARLY_ACCURACY; index: batch, learning_rate, seed.

    Between two measurements, the error is taken for a power of the epoch. Infinite if it is not reached.
    """
    points = runs[(runs["metric"] == metric) & (runs["epoch"] > 0)].sort_values("epoch")
    return points.groupby(["batch", "learning_rate", "seed"])[["epoch", "value"]].apply(_crossing)


def _crossing(points: pd.DataFrame) -> float:
    """Return the crossing of one run's points, in the order of their epochs."""
    reached = np.flatnonzero(points["value"] >= EARLY_ACCURACY)
    if not len(reached):
        return math.inf
    around = points.iloc[max(0, reached[0] - 1) : reached[0] + 1]
    with np.errstate(divide="ignore"):  # of an error of 0
        logs = np.log(around["epoch"]), np.log(1 - around["value"])
    # np.interp wants ascending abscissae, and the error falls
    return float(np.exp(np.interp(-math.log(1 - EARLY_ACCURACY), -logs[1], logs[0])))


@remembered
def size_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per batch size, index: batch.

    Returns:
        early_rate: The rate whose validation accuracy is the first to reach EARLY_ACCURACY, in the mean over seeds.
        early, early_updates: When test accuracy reaches it there, in epochs and updates, by seed.
        learning_rate: Best in the end of the long runs.
        epochs: Of the long runs.
        gain: Of mean validation accuracy in their last quarter.
        settled: Whether that is too little to count.
        accuracy: Test accuracy in their end, by seed.
    """
    fastest = (
        (crossings(courses(rows), "validation_accuracy").groupby(["batch", "learning_rate"]).mean())
        .groupby("batch")
        .idxmin()
    )
    reached = crossings(courses(rows), "test_accuracy")
    lines = {}
    for batch, runs in long_runs(rows).groupby("batch"):
        gain = gain_of_last_quarter(runs)
        early = reached[fastest[batch]]
        lines[batch] = {
            "early_rate": fastest[batch][1],
            "early": early,
            "early_updates": early * (runs["update"].max() / runs["epoch"].max()),
            "learning_rate": runs["learning_rate"].iloc[0],
            "epochs": runs["epochs"].iloc[0],
            "gain": gain,
            "settled": abs(gain) < PLATEAU,
            "accuracy": final_values(runs, "test_accuracy", ["seed"]),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("batch")


def mean_crossings(rows: pd.DataFrame, column: str = "early") -> pd.Series[float]:
    """Return the mean over seeds of a column of `size_numbers`."""
    return size_numbers(rows)[column].map(lambda values: values.mean())


def final_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the test accuracy in the end of the long runs: a row per seed, a column per size; missing if not run."""
    return pd.DataFrame(dict(size_numbers(rows)["accuracy"]))


@remembered
def leads_over_descent(rows: pd.DataFrame) -> dict[float, PairedTest]:
    """Return by how much every batch size ends above gradient descent, by size."""
    return _leads(final_accuracies(rows))


def _leads(ends: pd.DataFrame) -> dict[float, PairedTest]:
    both = ends.dropna()
    return paired_tests_holm({size: (both[size], both[np.inf]) for size in both if np.isfinite(size)})


def schedules(rows: pd.DataFrame, batch_size: int) -> dict[int, dict[str, pd.DataFrame]]:
    """Return how training ends with constant and decreasing rates, each at its best.

    Returns:
        By the epochs that all of them were trained for: train_loss and test_accuracy at the end; index: seed, a column
        per decay.
    """
    of_size = rows[rows["batch_size"] == batch_size]
    ends = {}
    for epochs, runs in of_size.groupby("epochs"):
        chosen = at_best_rates(runs[runs["seed"].isin(runs.loc[runs["decay"] > 0, "seed"])], ["decay"])
        ends[int(epochs)] = {
            metric: final_values(chosen, metric, ["decay", "seed"]).unstack("decay")
            for metric in ("train_loss", "test_accuracy")
        }
    return ends


def _rate_of_decay(rows: pd.DataFrame, batch_size: int, decay: float) -> float:
    """Return the best rate of a size's longest runs with a decay."""
    runs = rows[(rows["batch_size"] == batch_size) & (rows["decay"] == decay)]
    return float(best_rates(runs[runs["epochs"] == runs["epochs"].max()], ["decay"]).iloc[0])


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


@remembered
def fast_ends(rows: pd.DataFrame) -> dict[float, pd.Series[float]]:
    """Return, of large batches, the final test accuracies of the long runs at the fastest rate, by size; index seed."""
    runs = constant_runs(rows).query("long")
    ends = final_values(runs, "test_accuracy", ["batch", "learning_rate", "seed"])
    rates = size_numbers(rows)["early_rate"]
    return {size: ends[size, rates[size]] for size in LARGE_BATCHES}


# Exhibits


@exhibit(
    "fig-minibatch",
    "minibatch",
    explore=(
        "metric=test_accuracy&xlog=1"
        "&run=decay:0,batch_size:16,learning_rate:0.3"
        "&pin=batch_size:1,learning_rate:0.1"
        "&pin=batch_size:128,learning_rate:1"
        "&pin=batch_size:all,learning_rate:1"
    ),
)
def test_errors_by_batch_size(found: Results) -> Picture:
    """Draw the test error of all batch sizes against epochs, updates and the time of plain PyTorch; and their ends."""
    rows, plain = fastest_courses(found.rows), plain_epoch_seconds(found)
    rows = rows[(rows["metric"] == "test_accuracy") & (rows["epoch"] > 0)]
    figure, places = plt.subplot_mosaic(
        [["epoch", "update", "plain"], ["speed", "speed", "end"]],
        figsize=(WIDTH, 3.9),
        height_ratios=(1, 0.8),
    )
    panels, last = [places[name] for name in ("epoch", "update", "plain")], places["end"]
    sizes = sorted(rows["batch"].unique())
    handles = []
    for size, colour in zip(sizes, COLOURS, strict=False):
        dashes: Any = DASHES.get(size, "-")
        handles.append(Line2D([], [], color=colour, linestyle=dashes, label=format_size(size)))
        runs = rows[rows["batch"] == size]
        runs = runs.assign(plain=runs["epoch"] * plain[size])
        for axes, x in zip(panels, ("epoch", "update", "plain"), strict=True):
            errors = 100 * (1 - mean_and_range(runs, "test_accuracy", x))
            draw_line(axes, errors, color=colour, linestyle=dashes)
    for axes, name in zip(panels, ("epoch", "update", "s in plain PyTorch"), strict=True):
        axes.set_xscale("log")
        axes.set_xlabel(name)
        axes.axhline(100 * (1 - EARLY_ACCURACY), color=FAINT, linewidth=0.8, zorder=0)
    for axes in panels:
        axes.sharey(panels[0])
        axes.tick_params(labelleft=axes is panels[0])
    panels[0].set_yscale("log")
    plain_ticks(panels[0].yaxis)
    panels[0].set_ylabel("test error in %")
    ends = [t_interval(1 - final_accuracies(found.rows)[size].dropna()) for size in sizes]
    fast = fast_ends(found.rows)
    last.errorbar(
        range(len(sizes)),
        [100 * each.mean for each in ends],
        [100 * each.half_width for each in ends],
        fmt="o",
        color=INK,
        markersize=MARKER,
        capsize=2,
    )
    last.plot(
        [sizes.index(size) for size in fast],
        [100 * (1 - fast[size].mean()) for size in fast],
        "o",
        color=INK,
        markerfacecolor="white",
        markersize=MARKER,
    )
    last.set_ylabel("final test error in %")
    _draw_speeds(places["speed"], found)
    for axes in (places["speed"], last):
        names = [format_size(size) for size in sizes]
        axes.set_xticks(range(len(sizes)), names, rotation=45 if axes is last else 0)
        axes.set_xlabel("batch size")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return Picture(
        figure,
        f"Above: test error of {count_words(len(sizes))} batch sizes, each at its fastest rate of @tbl-minibatch, "
        "against epochs, updates and the time of so many epochs in plain PyTorch; grey: "
        f"{format_percent(1 - EARLY_ACCURACY, 0)}. Lines are means; the bands span the "
        f"{count_words(rows['seed'].nunique(), 'seed')}. Below, left: epochs, updates and seconds until test accuracy "
        f"is {format_percent(EARLY_ACCURACY, 0)}, a dot per seed. Below, right: final test error of the long runs, at "
        f"the best rate with 95 % t intervals and, hollow, of batches from {format_size(LARGE_BATCHES[0])} on at "
        "the fastest rate.",
        "Three panels of falling error curves, one line per batch size. Against epochs the lines lie side by side, "
        "small batches to the left, and all end close to each other. Against updates the lines of the large batches "
        "coincide, to the left of the small ones. Against time, a middle size is leftmost. Below, epochs that grow "
        "with the size, updates that fall and level off, seconds that are least in between; ends that lie within "
        "half a point.",
    )


def _draw_speeds(axes: Axes, found: Results) -> None:
    """Draw what each size takes to EARLY_ACCURACY at its fastest rate: epochs, updates and seconds of plain PyTorch."""
    numbers, plain = size_numbers(found.rows), plain_epoch_seconds(found)
    taken = {
        "epochs": list(numbers["early"]),
        "updates": list(numbers["early_updates"]),
        "seconds": [each * plain[size] for size, each in numbers["early"].items()],
    }
    places = ((0.56, 0.5), (0.3, 0.8), (0.68, 0.2))
    looks = zip(places, (INK, TRAIN, ORANGE), "os^", strict=True)
    for (name, of_sizes), (where, colour, marker) in zip(taken.items(), looks, strict=True):
        means = [each.mean() for each in of_sizes]
        axes.plot(range(len(means)), means, color=colour)
        for place, each in enumerate(of_sizes):
            axes.plot([place] * len(each), each, marker, color=colour, markersize=MARKER)
        write_in(axes, *where, name, colour)
    axes.set_yscale("log")
    axes.set_ylabel(f"to {format_percent(EARLY_ACCURACY, 0)} accuracy")
    plain_ticks(axes.yaxis, decades=True)


@exhibit("tbl-minibatch", "minibatch")
def minibatch_table(found: Results) -> Table:
    """Tabulate `size_numbers`, with times and leads over gradient descent."""
    numbers, plain = size_numbers(found.rows), plain_epoch_seconds(found)
    leads = leads_over_descent(found.rows)
    early = format_percent(EARLY_ACCURACY, 0)
    lines = [
        {
            "Batch": format_size(batch),
            "Fastest $\\eta$": f"{line['early_rate']:g}",
            f"Epochs to {early}": _format_count(line["early"].mean()),
            f"Updates to {early}": _format_count(line["early_updates"].mean()),
            "s per epoch": f"{plain[batch]:#.2g}".rstrip("."),
            f"s to {early}": _format_count(line["early"].mean() * plain[batch]),
            "Best $\\eta$": f"{line['learning_rate']:g}",
            "Epochs": f"{line['epochs']:,}",
            "Last quarter": f"{100 * line['gain']:+.2f}".replace("-", "−"),
            "Final test acc., %": format_interval(t_interval(line["accuracy"]), 2, ""),
            "Lead over GD": format_interval(leads[batch].difference, 2, "") if batch in leads else "",
        }
        for batch, line in zip(numbers.index, numbers.to_dict("records"), strict=True)
    ]
    for size in DECAYING:
        epochs, ends = max(schedules(found.rows, size).items())
        lines += [
            {
                "Batch": f"{size}, $d = {decay:g}$",
                "Best $\\eta$": f"{_rate_of_decay(found.rows, size, decay):g}",
                "Epochs": f"{epochs:,}",
                "Final test acc., %": format_interval(t_interval(ends["test_accuracy"][decay]), 2, ""),
            }
            for decay in DECAYS
        ]
    return Table(
        pd.DataFrame(lines).fillna(""),
        f"Speed (means over {count_words(courses(found.rows)['seed'].nunique(), 'seed')}) and final accuracy (over "
        f"{count_words(len(final_accuracies(found.rows)))} up to batches of {FURTHER_SIZE:,}) of every batch size. "
        f"*Fastest*: the rate at which validation accuracy reaches {early} soonest, and the epochs, updates and "
        "seconds (plain PyTorch, two cores) until test accuracy reaches it at that rate. *Best*: the best of "
        f"{_long_rates(found.rows)} rates after the epochs beside it; *last quarter*: by how many points validation "
        "accuracy changes in the last quarter of these. The lead over GD is in points, paired by the seeds that both "
        "have; 95 % t intervals, not adjusted. Last rows: with a decay $d$, over three seeds.",
        (14, 8, 8, 9, 7, 7, 6, 8, 8, 13, 13),
    )


def _format_count(count: float) -> str:
    """Return a positive number with two significant digits, from a thousand on with three; a dash if infinite."""
    if not math.isfinite(count):
        return "–"
    rounded = float(f"{count:.{2 if count < 1_000 else 3}g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


@sketch(
    "minibatch",
    alt="The test error of small batches falls within an epoch, that of gradient descent much later, almost as far.",
)
def sketch_of_errors(axes: Axes, found: Results) -> None:
    rows = fastest_courses(found.rows).query("metric == 'test_accuracy' and epoch > 0")
    for size, style in ((16, LINE_STYLES["sgd"]), (np.inf, LINE_STYLES["gd"])):
        errors = 1 - rows[rows["batch"] == size].groupby("epoch")["value"].mean()
        axes.plot(errors.index, errors, color=style["color"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    write_in(axes, 0.05, 0.5, "batches of 16", LINE_STYLES["sgd"]["color"])
    write_in(axes, 0.5, 0.82, "all examples", LINE_STYLES["gd"]["color"])


# Findings


@finding("minibatch", headline=True)
def small_batches_are_faster(found: Results) -> Evidence:
    early, accuracies = mean_crossings(found.rows), final_accuracies(found.rows)
    updates, seconds = mean_crossings(found.rows, "early_updates"), early * plain_epoch_seconds(found)
    small, first = early[early.index <= max(SMALL_BATCHES)], LARGE_BATCHES[0]
    ends = accuracies.mean()
    fastest = seconds.idxmin()
    return Evidence(
        f"Smaller batches need fewer epochs: to reach {format_percent(EARLY_ACCURACY, 0)} test accuracy, batches of "
        f"up to {max(SMALL_BATCHES)} take less than one, and gradient descent on all {train_examples(found):,} "
        f"examples takes {_format_count(early[np.inf])}. Larger batches, up to {LEAST_UPDATES:,}, need fewer "
        "updates. Because each update has an overhead, very small batches are slow by the clock, and batches of "
        f"{format_size(fastest)} are the fastest. The final accuracy depends little on the batch size: trained to a "
        f"plateau, all sizes reach {100 * ends.min():.1f} to {format_percent(ends.max())} on the test examples.",
        {
            "from the largest of the small sizes on, each takes more epochs": early.loc[
                max(SMALL_BATCHES) :
            ].is_monotonic_increasing
            and math.isfinite(early[np.inf]),
            "the small ones take less than half of what the next takes": bool(small.max() < early[first] / 2),
            "and less than one epoch": bool(small.max() < 1),
            "up to that size, updates fall": updates.loc[:LEAST_UPDATES].is_monotonic_decreasing,
            "by the clock a middle size is the fastest": bool(small.index[0] < fastest < np.inf),
            "all sizes are on a plateau": bool(size_numbers(found.rows)["settled"].all()),
            "their accuracies lie within half a point": bool(np.ptp(ends) < 0.005),
        },
        "Smaller batches need far fewer epochs; all sizes end within tenths of a point.",
    )


@finding("minibatch", "learning_rate")
def larger_batches_save_updates(found: Results, descent: Results) -> Evidence:
    updates, rates = mean_crossings(found.rows, "early_updates"), size_numbers(found.rows)["early_rate"]
    first, long = LARGE_BATCHES[0], constant_runs(found.rows).query(f"long and batch >= {LEAST_UPDATES}")
    beyond, rate = updates.loc[LEAST_UPDATES:], rates[np.inf]
    means = crossings(courses(found.rows), "test_accuracy").groupby(["learning_rate", "batch"]).mean()
    shared = means[size_numbers(found.rows)["learning_rate"][np.inf]].loc[first:]
    at_best = shared * (updates / mean_crossings(found.rows)).loc[first:]
    next_rate = DENSE[LEAST_UPDATES][0][-1]
    of_descent = crossings(descent.rows.assign(batch=np.inf), "test_accuracy").groupby(
        ["learning_rate", "batch"]
    )
    return Evidence(
        f"Up to batches of {format_size(first)} the fastest rate grows with the batch, and up to {LEAST_UPDATES:,} a "
        f"larger batch saves updates (@tbl-minibatch): single examples take {_format_count(updates.iloc[0])} to reach "
        f"{format_percent(EARLY_ACCURACY, 0)}, batches of {LEAST_UPDATES:,} take "
        f"{_format_count(updates[LEAST_UPDATES])}. Beyond that a larger batch saves none; these are slower at $\\eta "
        f"= {next_rate:g}$ than at {rate:g} (for GD see @tbl-learning-rates).",
        {
            "up to the said size, updates fall": len(updates.loc[:LEAST_UPDATES]) > 1
            and updates.loc[:LEAST_UPDATES].is_monotonic_decreasing,
            "up to the first of the large sizes the rate grows": rates.loc[:first].is_monotonic_increasing
            and rates[first] > rates.iloc[0],
            "beyond, the rate is the largest of them": bool(
                (rates.loc[LEAST_UPDATES:] == long["learning_rate"].max()).all()
            ),
            "the next larger rate is slower with each of them": all(
                table.loc[(rate, size)] < table.loc[(next_rate, size)]
                for size in beyond.index
                for table in [of_descent.mean() if math.isinf(size) else means]
            ),
            "larger batches take fewer updates than the first of them": bool(beyond.max() < updates[first]),
            "but among themselves within half": bool(beyond.max() < 1.5 * beyond.min()),
            "at the rate that is best in the end, all large sizes take about equally many": (
                size_numbers(found.rows)["learning_rate"].loc[first:].nunique() == 1
            )
            and bool(at_best.max() < 1.25 * at_best.min()),
        },
    )


def _long_rates(rows: pd.DataFrame) -> str:
    """Return in words how many rates every size was trained at for long."""
    numbers = constant_runs(rows).query("long").groupby("batch")["learning_rate"].nunique()
    return " or ".join(map(count_words, sorted(set(numbers))))


@finding("minibatch", "overfitting")
def few_rates_were_long(found: Results, longer: Results) -> Evidence:
    numbers = size_numbers(found.rows)
    tried = constant_runs(found.rows).query("long").groupby("batch")["learning_rate"]
    best, least, most = numbers["learning_rate"], tried.min(), tried.max()
    between, smallest = (list(best.index[each]) for each in ((least < best) & (best < most), best == least))
    wide = on_all_examples(longer.rows, "300")
    ends = final_values(wide, "test_accuracy", ["learning_rate", "seed"])
    smaller = max(rate for rate in ends.index.unique(0) if rate < best[np.inf])
    return Evidence(
        "For all sizes but gradient descent the best rate of the long runs has a worse one on either side. The best "
        f"of GD is the smallest tried; at $\\eta = {smaller:g}$, for as many epochs but on all {TRAIN_EXAMPLES:,} "
        f"examples, it ends at {format_range(100 * ends[smaller], 1)} % (with the runs of @sec-q2).",
        {
            "every size's best rate is the smallest tried or has a worse one on either side": len(
                between + smallest
            )
            == len(numbers),
            "gradient descent alone is at the smallest": smallest == [math.inf],
            "a smaller rate of GD, for as many epochs, ends within a tenth of a point": bool(
                wide["epochs"].max() == LONG[None][1]
                and abs(ends[smaller].mean() - numbers["accuracy"][np.inf].mean()) < 0.001
            ),
        },
    )


@finding("minibatch")
def overhead_decides_the_time(found: Results) -> Evidence:
    plain = plain_epoch_seconds(found)
    seconds = mean_crossings(found.rows) * plain
    first, second, *_ = seconds.sort_values().index
    return Evidence(
        f"In plain PyTorch an epoch of single examples takes {plain[1] / plain.min():.0f} times as long as one of "
        f"batches of {format_size(plain.idxmin())}. Batches of {format_size(first)} are the first to reach "
        f"{format_percent(EARLY_ACCURACY, 0)}, in {_format_count(seconds[first])} s; single examples take "
        f"{_format_count(seconds.iloc[0])} s, gradient descent {_format_count(seconds[np.inf])} s.",
        {
            "in plain PyTorch, single examples take more than five times as long as the best size": bool(
                plain[1] > 5 * plain.min()
            ),
            "the fastest two are told apart by more than timings vary": bool(
                seconds[second] > 1.2 * seconds[first]
            ),
            "either end takes four times as long as the fastest size": bool(
                (seconds.iloc[[0, -1]] > 4 * seconds.min()).all()
            ),
        },
    )


@finding("minibatch")
def small_batches_end_higher(found: Results) -> Evidence:
    ends = final_accuracies(found.rows).dropna(axis="columns")
    means = ends.mean()
    return Evidence(
        f"All sizes end on one. The sizes up to {format_size(ends.columns[-1])}, with "
        f"{count_words(len(ends), 'seed')} each, differ (F test with repeated measures, "
        f"{_bound(_sizes_differ_p(ends))}), the smallest ones ending highest, but by at most "
        f"{math.ceil(1_000 * (means.max() - means.min())) / 10:.1f} points in the mean.",
        {
            "all sizes are on a plateau": bool(size_numbers(found.rows)["settled"].all()),
            **_small_end_higher(found.rows),
            "the means lie within half a point": bool(means.max() - means.min() < 0.005),
        },
    )


@finding("minibatch")
def descent_ends_about_as_high(found: Results) -> Evidence:
    leads, ends = leads_over_descent(found.rows), final_accuracies(found.rows).dropna()
    bound = max(abs(test.difference.mean) + test.difference.half_width for test in leads.values())
    return Evidence(
        f"Against gradient descent, run with {count_words(len(ends), 'seed')}, we detect no lead after Holm's "
        f"correction; the intervals leave room for leads of up to {math.ceil(1_000 * bound) / 10:.1f} points, and the "
        "leads are of the order of the change that a plateau allows.",
        {
            "no mean lead over gradient descent is half a point": bool(
                max(abs(test.difference.mean) for test in leads.values()) < 0.005
            ),
            "nor as large as three times what a plateau allows": bool(
                max(abs(test.difference.mean) for test in leads.values()) < 3 * PLATEAU
            ),
            **_no_lead_over_descent(found.rows),
        },
    )


def _small_end_higher(rows: pd.DataFrame) -> dict[str, bool]:
    """Return what must hold for the small ones of the sizes that have all seeds to be said to end higher."""
    ends = final_accuracies(rows).dropna(axis="columns")
    small = ends.columns.isin(SMALL_BATCHES)
    means = ends.mean()
    return {
        "the F test tells the sizes apart": _sizes_differ_p(ends) < 1 - LEVEL,
        "every small size ends above every larger one": bool(means[small].min() > means[~small].max()),
    }


def _no_lead_over_descent(rows: pd.DataFrame) -> dict[str, bool]:
    """Return what must hold for no size to be said to lead over gradient descent."""
    return {
        "no lead over gradient descent can be told": not _lead_p(final_accuracies(rows).dropna()) < 1 - LEVEL
    }


def _bound(p: float) -> str:
    """Write a p-value as a bound, with three decimals."""
    return f"p < {math.floor(1_000 * p + 1) / 1_000:.3f}"


def _lead_p(ends: pd.DataFrame) -> float:
    """Return the least p-value of the leads over gradient descent; not a number for a single seed."""
    return min(test.p for test in _leads(ends).values()) if len(ends) > 1 else math.nan


def _sizes_differ_p(ends: pd.DataFrame) -> float:
    """Return the p-value of the F test over the sizes with all seeds; not a number for a single seed or size."""
    complete = ends.dropna(axis="columns")
    return repeated_measures_p(complete) if min(complete.shape) > 1 else math.nan


@finding("minibatch")
def fast_rates_end_lower(found: Results) -> Evidence:
    numbers, sizes = size_numbers(found.rows), list(LARGE_BATCHES)
    fast, best = numbers.loc[sizes, "early_rate"], numbers.loc[sizes, "learning_rate"]
    ends = fast_ends(found.rows)
    losses = pd.concat({size: final_accuracies(found.rows)[size] - ends[size] for size in sizes}).dropna()
    spread = np.ptp(final_accuracies(found.rows).mean())
    return Evidence(
        f"The learning rate matters more: from batches of {LARGE_BATCHES[0]} on, every run at the fastest rate ends "
        f"{100 * losses.min():.1f} to {100 * losses.max():.1f} points below the one at the best rate "
        "(@fig-minibatch, right).",
        {
            "the fastest rate is the larger one": bool((fast > best).all()),
            "the rates are the same for these sizes": fast.nunique() == best.nunique() == 1,
            "in each run, the loss is larger than the sizes' means differ": bool(losses.min() > spread),
        },
    )


@finding("minibatch")
def constant_rates_suffice_where_all_is_fitted(found: Results) -> Evidence:
    ends = {size: schedules(found.rows, size) for size in DECAYING}
    losses = [of_epochs["train_loss"].mean() for of_epochs in ends[1].values()]
    behind = {
        decay: [
            paired_t(accuracy[0], accuracy[decay]).difference
            for of_size in ends.values()
            for accuracy in (of_epochs["test_accuracy"] for of_epochs in of_size.values())
        ]
        for decay in DECAYS
    }
    large = DECAYS[-1]
    most = [each.mean for each in behind[large]]
    return Evidence(
        "A decreasing rate, which the proof of SGD asks for (@sec-sorted), gains nothing here (last rows of "
        f"@tbl-minibatch): with $d = {large:g}$ runs end {100 * min(most):.1f} to {100 * max(most):.1f} points lower "
        "than at the constant rate.",
        {
            "the train loss of single examples is least with the constant rate": all(
                loss.idxmin() == 0 for loss in losses
            ),
            "with the constant rate it ends below 0.01": all(bool(loss[0] < 0.01) for loss in losses),
            "no decay ends higher, beyond a twentieth of a point": min(
                each.mean for of_decay in behind.values() for each in of_decay
            )
            > -0.0005,
            "the largest ends lower, by more than its interval": all(
                each.mean > each.half_width for each in behind[large]
            ),
        },
    )


# Statements by others


@statement(
    "minibatch",
    said="After a couple of epochs, minibatches are ahead of hundreds of epochs of gradient descent.",
)
def minibatches_beat_hundreds_of_epochs(found: Results) -> Evidence:
    runs = courses(found.rows)
    early = at_best_rates(constant_runs(found.rows).query(f"not long and batch == {SAID_BATCH}"), ["batch"])
    few = min(SAID_EARLY, int(early["epoch"].max()))
    accuracy = final_values(early[early["epoch"] <= few], "test_accuracy", ["seed"]).mean()
    descent = runs[np.isinf(runs["batch"]) & (runs["metric"] == "test_accuracy")]
    means = descent.groupby(["learning_rate", "epoch"])["value"].mean().reset_index()
    reached = means.loc[means["value"] >= accuracy, "epoch"].min()
    epochs = (
        f"at the measurement after {reached:,.0f} epochs"
        if math.isfinite(reached)
        else f"not within {descent['epoch'].max():,.0f} epochs"
    )
    return Evidence(
        f"{count_words(few, 'epoch').capitalize()} with batches of {SAID_BATCH} give{'s' if few == 1 else ''} "
        f"{format_percent(accuracy)} test accuracy (mean over seeds); gradient descent, at the fastest of its rates "
        f"and measured seldom, first has it {epochs}.",
        {f"gradient descent does not have it within {SAID_EPOCHS} epochs": not reached < SAID_EPOCHS},
    )
