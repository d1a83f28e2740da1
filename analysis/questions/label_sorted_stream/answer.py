"""Exercise 3, examples sorted by label: usable learning rates, accuracy and forgetting, beside SGD and GD."""

from __future__ import annotations

import itertools
import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.engine.run import TRAIN_EXAMPLES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_interval,
    format_percent,
    format_rate,
    join_english,
    label,
)
from analysis.plotting import (
    MARKER,
    QUIET,
    RATE_COLOURS,
    WIDTH,
    draw_line,
    label_ends,
    line_style,
    mean_and_range,
    plain_ticks,
    write_in,
)
from analysis.questions.label_sorted_stream.runs import COMPARED, WITHIN_PASS_RATES
from analysis.results import Results, remembered
from analysis.statistics import final_values, first_epochs, paired_t, t_interval

RUN = ["order", "learning_rate", "seed"]
SHORT = {"shuffled": "SGD", "label_sorted": "sorted"}  # in figures
PLACES = {
    "shuffled": (2.2e-5, 38, "left"),
    "label_sorted": (1e-4, 15, "left"),
}  # of their names beside the lines
LONG = {"shuffled": "shuffled (SGD)", "gd": "all at once (GD)"}  # in tables and titles
DRAWN = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3)  # rates whose train loss is drawn
GOOD_EPOCH = 0.90  # mean test accuracy of an epoch
SPEED = 0.8  # test accuracy whose first pass is tabulated
CONVERGED = 2.0  # train loss clearly below that of guessing, 2.30
NEAR_CHANCE = 0.12  # test accuracy of always giving one label, at most
LATE = 6  # measurements within the last passes
CLOSE = 0.05  # relative distance of a train loss from that of gradient descent


@remembered
def few_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs over all learning rates, which are of few epochs."""
    held_out = rows[rows["validation_examples"] > 0]
    return held_out[held_out["epochs"] == held_out["epochs"].min()]


@remembered
def many_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of many epochs, at the end of each.

    Returns:
        Also, method: "label_sorted" or "gd"; step: the rate of gradient descent that an epoch corresponds to, η n for
        the sorted stream of n examples and η for gradient descent.
    """
    held_out = rows[rows["validation_examples"] > 0]
    slow = held_out[held_out["epochs"] == held_out["epochs"].max()]
    slow = slow[slow["epoch"] % 1 == 0]
    gd = slow["batch_size"].isna()
    n = (slow["update"] / slow["epoch"]).max()
    return slow.assign(
        method=gd.map({True: "gd", False: "label_sorted"}),
        step=(slow["learning_rate"] * np.where(gd, 1, n)).round(9),
    )


def within_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs over all examples that are measured within epochs, those at the larger rate."""
    chosen = rows[rows["validation_examples"] == 0]
    return chosen[chosen["learning_rate"] == max(WITHIN_PASS_RATES)]


def slow_accuracies(rows: pd.DataFrame) -> pd.Series[float]:
    """Return final test accuracies of the runs of many epochs; index: step, method, learning_rate, seed."""
    return final_values(many_epochs(rows), "test_accuracy", ["step", "method", "learning_rate", "seed"])


@remembered
def many_passes(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarize the sorted stream's runs of many epochs at every rate, means over seeds.

    Returns:
        Index learning_rate; loss, the train loss after the last epoch; lowest, its least value at the ends of epochs;
        accuracy, the last test accuracy; gd, the last train loss of gradient descent (not a number if there is none).
    """
    slow = many_epochs(rows)
    losses = slow[slow["metric"] == "train_loss"]
    means = losses.groupby(["method", "step", "epoch"])["value"].mean()
    last = means.groupby(["method", "step"]).last()
    sorted_ = slow[slow["method"] == "label_sorted"]
    rates = sorted_.groupby("step")["learning_rate"].first()
    accuracy = final_values(sorted_, "test_accuracy", ["step", "seed"]).groupby("step").mean()
    frame = pd.DataFrame(
        {
            "learning_rate": rates,
            "loss": last["label_sorted"],
            "lowest": means["label_sorted"].groupby("step").min(),
            "accuracy": accuracy,
            "gd": last["gd"].reindex(rates.index),
        }
    )
    return frame.set_index("learning_rate").sort_index()


def train_courses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the sorted stream's train losses along many epochs, means over seeds: index epoch, a column per rate."""
    losses = many_epochs(rows).query("method == 'label_sorted' and metric == 'train_loss'")
    return losses.pivot_table(index="epoch", columns="learning_rate", values="value")


def passes_of_sgd(few: pd.DataFrame, accuracy: float) -> float:
    """Return the first pass at whose end SGD, at its best rate, has that test accuracy in the mean; else infinity."""
    best = best_by_order(last_epochs(few))["shuffled"]
    runs = few[(few["order"] == "shuffled") & (few["learning_rate"] == best) & (few["epoch"] % 1 == 0)]
    means = runs[runs["metric"] == "test_accuracy"].groupby("epoch")["value"].mean()
    return float(min(means.index[means >= accuracy], default=math.inf))


def late_within_passes(rows: pd.DataFrame) -> pd.Series[float]:
    """Return validation accuracies within the last passes of the runs of many, at the rate that is best in the end.

    A measurement is a tenth of a pass later in the pass than the one before, so that ten of them show all of it.

    Returns:
        Means over seeds; index: epoch.
    """
    passes = many_passes(rows)
    best = passes["accuracy"].idxmax()
    held_out = rows[(rows["validation_examples"] > 0) & (rows["epochs"] == rows["epochs"].max())]
    within = held_out[(held_out["metric"] == "validation_accuracy") & (held_out["learning_rate"] == best)]
    return within.groupby("epoch")["value"].mean().tail(LATE)


def epoch_means(rows: pd.DataFrame, metric: str = "test_accuracy") -> pd.Series[float]:
    """Return a metric's mean over the measurements of each epoch (from 1); index: RUN, number."""
    chosen = rows[(rows["metric"] == metric) & (rows["epoch"] > 0)]
    number = np.ceil(chosen["epoch"] - 1e-9).astype(int).rename("number")
    return chosen.groupby([*RUN, number])["value"].mean()


@remembered
def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarize the last epoch of every run.

    Returns:
        Index RUN; test and validation, mean accuracies over the last epoch; end, the test accuracy at its very end;
        least and most, the extremes of test accuracy within it; count, the number of measurements.
    """
    final = rows["epoch"].max()
    within = rows[(rows["metric"] == "test_accuracy") & (rows["epoch"] > final - 1)].groupby(RUN)["value"]
    return pd.DataFrame(
        {
            "test": epoch_means(rows).xs(int(final), level="number"),
            "validation": epoch_means(rows, "validation_accuracy").xs(int(final), level="number"),
            "end": final_values(rows, "test_accuracy", RUN),
            "least": within.min(),
            "most": within.max(),
            "count": within.count(),
        }
    )


def best_by_order(ends: pd.DataFrame) -> pd.Series[float]:
    """Return, of `last_epochs`, each order's learning rate of highest mean validation accuracy."""
    means = ends["validation"].groupby(["order", "learning_rate"]).mean()
    return means.groupby("order").idxmax().map(lambda index: index[-1])


def label_starts(labels: pd.DataFrame) -> list[float]:
    """Return where in the sorted epoch each label begins, as a share of it."""
    counts = labels["label_sorted"].value_counts().sort_index()
    return [float(share) for share in (counts.cumsum() - counts) / counts.sum()]


def class_retention(rows: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return how well each class is recognized on the sorted stream after its own block, and after the next.

    Returns:
        One row per seed, epoch and class: its test accuracy at the last measurement within its own block, and at the
        last within the next (in the last epoch, the last class has none): seed, epoch, class, own, next.
    """
    chosen = within_epochs(rows)
    accuracy = chosen[(chosen["metric"] == "class_accuracy") & (chosen["order"] == "label_sorted")]
    ends = [*label_starts(labels)[1:], 1.0]
    epochs = round(float(accuracy["epoch"].max()))
    blocks = [(begun, digit, begun + end) for begun in range(epochs) for digit, end in enumerate(ends)]
    lines = []
    for seed, run in accuracy.groupby("seed"):
        table = run.pivot(index="epoch", columns="index", values="value").sort_index()
        for (begun, digit, end), (_, _, following) in itertools.pairwise(blocks):
            own, later = (table.loc[: place + 1e-9, digit].iloc[-1] for place in (end, following))
            lines.append((seed, begun + 1, digit, own, later))
    return pd.DataFrame(lines, columns=["seed", "epoch", "class", "own", "next"])


def log10_orders(labels: pd.Series[int]) -> float:
    """Return log₁₀ of the number of orders that are sorted by label, ∏ n_j!."""
    return float(sum(math.lgamma(count + 1) for count in labels.value_counts()) / math.log(10))


# Exhibits


@exhibit("fig-labels", "label_sorted_stream")
def label_image(found: Results) -> Picture:
    """Draw one pixel for every second label, row by row, in each order."""
    # every second one: half of them weigh half as much, and look alike
    labels = found.programs["labels"].sort_values("position")[::2]
    orders = found.rows["order"].unique()
    figure, panels = plt.subplots(1, len(orders), figsize=(WIDTH, 1.4), squeeze=False)
    width = 400
    height = -(-len(labels) // width)
    for axes, order in zip(panels[0], orders, strict=True):
        pixels = np.full(width * height, np.nan)
        pixels[: len(labels)] = labels[order]
        image = axes.imshow(
            pixels.reshape(height, width),
            cmap=RATE_COLOURS,
            vmin=0,
            vmax=9,
            interpolation="nearest",
            aspect="auto",
        )
        axes.set_title(LONG.get(order, label(order)))
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(image, ax=list(panels[0]), ticks=range(0, 10, 3), label="label", aspect=12)
    return Picture(
        figure,
        "The labels in the order of the first pass, every second one, row by row: drawn at random, and sorted.",
        "Left: ten shades mixed like noise. Right: ten bands of one shade each, from label 0 above to label 9 below.",
    )


@exhibit(
    "fig-stream",
    "label_sorted_stream",
    explore="metric=test_accuracy&run=order:label_sorted,batch_size:1,learning_rate:0.1&pin=order:shuffled",
)
def accuracies_and_losses(found: Results) -> Picture:
    """Draw test accuracy over the learning rate, after few passes and after many, and the train loss along many."""
    figure, (rates, course) = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    ends, slow = last_epochs(few_epochs(found.rows)), many_epochs(found.rows)
    for order in found.rows["order"].unique():
        intervals = ends.loc[order]["test"].groupby("learning_rate").agg(t_interval)
        _draw_intervals(rates, intervals, **line_style(order))
        x, y, side = PLACES.get(order, (intervals.index[-1], 100 * intervals.iloc[-1].mean, "right"))
        rates.text(x, y, SHORT.get(order, label(order)), color=line_style(order)["color"], ha=side)
    late = slow_accuracies(found.rows).xs("label_sorted", level="method")
    intervals = late.groupby("learning_rate").agg(t_interval)
    passes = f"{slow['epoch'].max():.0f} passes"
    style = {**line_style("label_sorted"), "linestyle": "--", "markerfacecolor": "white"}
    _draw_intervals(rates, intervals, **style)
    rates.text(9e-7, 95, f"sorted, {passes}", color=style["color"])
    rates.set_xscale("log")
    rates.set_xlabel("learning rate η")
    rates.set_ylabel("test accuracy in %")
    rates.set_ylim(0, 100)
    course.set_xscale("log")
    course.set_yscale("log")
    drawn = slow.loc[slow["learning_rate"].isin(DRAWN) & (slow["method"] == "label_sorted"), "step"]
    steps = sorted(drawn.unique())
    labels = []
    for step, colour in zip(steps, RATE_COLOURS(np.linspace(0, 1, len(steps))), strict=True):
        for method, dashes in (("gd", ":"), ("label_sorted", "-")):
            runs = slow[(slow["step"] == step) & (slow["method"] == method) & (slow["epoch"] >= 1)]
            losses = mean_and_range(runs, "train_loss")
            draw_line(course, losses, colour, linestyle=dashes)
            if method == "label_sorted":
                rate = format_rate(runs["learning_rate"].iloc[0])
                labels.append((losses.index[-1], losses["mean"].iloc[-1], rate, colour))
    course.set_xlim(left=10)
    plain_ticks(course.yaxis)
    course.set_xlabel("pass")
    course.set_ylabel("train cross entropy")
    label_ends(course, labels)
    return Picture(
        figure,
        "SGD and the sorted stream. Left: test accuracy over the learning rate, as the mean over the last of few "
        f"passes, and at the end of {passes} of the sorted stream; 95 % t intervals. Right: train loss at the ends of "
        "passes, of the sorted stream at some rates $\\eta$ (named at the ends), and of gradient descent with the rate "
        f"$\\eta n$ of {count_words(len(set(COMPARED) & set(DRAWN)))} of them (dotted). Means; bands span "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}.",
        "Left: SGD has a broad plateau of high accuracy; the sorted stream stays near chance at every rate for few "
        "passes; after many it is far above, with a dip between small and large rates, and falls back at the largest. "
        "Right: losses fall over hundreds of passes, steepest at a large rate; that of the largest rises.",
    )


def _draw_intervals(axes: Axes, intervals: pd.Series[Any], **style: Any) -> None:
    """Draw means of shares in percent over a learning rate, with their intervals."""
    axes.errorbar(
        intervals.index,
        [100 * interval.mean for interval in intervals],
        [100 * interval.half_width if interval.n > 1 else 0 for interval in intervals],
        markersize=MARKER,
        capsize=2,
        **style,
    )


@exhibit("tbl-stream", "label_sorted_stream")
def stream_table(found: Results) -> Table:
    """Tabulate each order at its best rate; the sorted one for many epochs, beside gradient descent."""
    few = few_epochs(found.rows)
    ends = last_epochs(few)
    best = best_by_order(ends)
    lines = []
    as_good = passes_of_sgd(few, many_passes(found.rows)["accuracy"].max())
    shown = [("shuffled", as_good)] if as_good < few["epoch"].max() else []
    for order, passes in (*shown, *((order, few["epoch"].max()) for order in found.rows["order"].unique())):
        runs = few[(few["order"] == order) & (few["learning_rate"] == best[order]) & (few["epoch"] <= passes)]
        lines.append(
            {
                "Order": f"{LONG.get(order, label(order))}, best rate",
                "$\\eta$": format_rate(best[order]),
                "Passes": f"{passes:.0f}",
                "Mean": format_interval(t_interval(last_epochs(runs)["test"]), 2, ""),
                "At the end": format_interval(t_interval(last_epochs(runs)["end"]), 2, ""),
                f"Passes to {format_percent(SPEED, 0)}": _format_passes(first_epochs(runs, SPEED, RUN)),
                "Train loss": format_fixed(final_values(runs, "train_loss", RUN).mean(), 2),
            }
        )
    slow, many = slow_accuracies(found.rows), many_epochs(found.rows)
    losses = final_values(many, "train_loss", ["step", "method", "seed"])
    passes = first_epochs(many, SPEED, ["step", "method", "seed"])
    for step in slow.index.unique("step"):
        for method in slow[step].index.unique("method")[::-1]:
            of_method = slow[step, method]
            lines.append(
                {
                    "Order": LONG.get(method, label(method)),
                    "$\\eta$": format_rate(of_method.index.unique("learning_rate")[0]),
                    "Passes": f"{many['epoch'].max():.0f}",
                    "Mean": "–",
                    "At the end": format_interval(t_interval(of_method), 2, ""),
                    f"Passes to {format_percent(SPEED, 0)}": _format_passes(passes[step, method]),
                    "Train loss": format_fixed(losses[step, method].mean(), 2),
                }
            )
    return Table(
        pd.DataFrame(lines),
        "Above, both orders at their best rates of few passes, chosen by the mean validation accuracy of the last "
        f"pass: test accuracy in that pass, as the mean of {count_words(ends['count'].max(), 'measurement')}, and at "
        f"its end; first pass, measured as often, with {format_percent(SPEED, 0)}. Below, the sorted stream and "
        "gradient descent (one update per pass, with the rate $\\eta n$) for many passes, measured at their ends. "
        "Accuracies in percent; mean train losses at the end.",
        (27, 11, 8, 15, 15, 11, 9),
    )


def _format_passes(passes: pd.Series[float]) -> str:
    mean = passes.mean()
    return "–" if not math.isfinite(mean) else f"{mean:.1f}" if mean < 10 else f"{mean:.0f}"


@exhibit(
    "fig-pass",
    "label_sorted_stream",
    explore="metric=class_accuracy&run=order:label_sorted",
)
def within_pass(found: Results) -> Picture:
    """Draw, within epochs, class accuracies of the sorted stream; test accuracy and gradient cosine of each order."""
    rows, starts = within_epochs(found.rows), label_starts(found.programs["labels"])
    figure, (classes, accuracy, cosine) = plt.subplots(
        3, 1, figsize=(WIDTH, 3.0), sharex=True, height_ratios=(1.3, 1, 1)
    )
    of_class = rows[(rows["metric"] == "class_accuracy") & (rows["order"] == "label_sorted")]
    grid = of_class.pivot_table(index="index", columns="epoch", values="value")
    image = classes.pcolormesh(
        grid.columns,
        grid.index,
        100 * grid,
        shading="nearest",
        cmap="cividis",
        vmin=0,
        vmax=100,
        rasterized=True,
    )
    classes.set_yticks(range(0, 10, 3))
    classes.set_ylabel("class")
    figure.colorbar(image, ax=classes, label="accuracy in %", pad=0.01)
    for order in rows["order"].unique():
        chosen, colour = rows[rows["order"] == order], line_style(order)["color"]
        draw_line(accuracy, 100 * mean_and_range(chosen, "test_accuracy"), colour)
        draw_line(cosine, mean_and_range(chosen, "gradient_cosine"), colour, linewidth=1)
    write_in(accuracy, 0.8, 0.72, "SGD", line_style("shuffled")["color"])
    write_in(accuracy, 0.8, 0.3, "sorted", line_style("label_sorted")["color"])
    epochs = math.ceil(rows["epoch"].max())
    for axes in (accuracy, cosine):
        for begin in (begun + start for begun in range(epochs) for start in starts):
            axes.axvline(begin, color=QUIET, linewidth=0.4, zorder=0)
    accuracy.set_ylabel("accuracy in %")
    accuracy.set_ylim(0, 100)
    cosine.set_ylabel("cosine")
    cosine.axhline(0, color=QUIET, linewidth=0.8)
    cosine.set_xlabel("pass")
    cosine.set_xlim(0, epochs)
    examples = round(rows["update"].max() / rows["epoch"].max())
    return Picture(
        figure,
        f"{count_words(epochs, 'pass', 'passes').capitalize()} at η = {rows['learning_rate'].max():g} over "
        f"{'all ' if examples == TRAIN_EXAMPLES else ''}{examples:,} examples; vertical lines: the label changes. "
        "Above, test accuracy of each class on the sorted stream: high while its label is shown, lost soon after. "
        "Middle: test accuracy of both orders. Below: cosine between the next example's gradient and $\\nabla R$. "
        f"Means and ranges over {count_words(rows['seed'].nunique(), 'seed')}.",
        "Above, a map of class accuracy: bright cells run along the diagonal of each pass. Middle, SGD rises and "
        "stays high, the sorted stream saws. Below, two bands of cosines.",
    )


@sketch(
    "label_sorted_stream",
    alt="Test accuracy over the learning rate: high when shuffled, at chance when sorted.",
)
def sketch_of_rates(axes: Axes, found: Results) -> None:
    ends = last_epochs(few_epochs(found.rows))
    for order in found.rows["order"].unique():
        means = ends.loc[order]["test"].groupby("learning_rate").mean()
        axes.plot(means.index, means, color=line_style(order)["color"])
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    write_in(axes, 0.38, 0.6, "shuffled", line_style("shuffled")["color"])
    write_in(axes, 0.38, 0.24, "sorted", line_style("label_sorted")["color"])


# Findings


@finding("label_sorted_stream", headline=True)
def sorted_needs_many_passes(found: Results) -> Evidence:
    few = few_epochs(found.rows)
    means = last_epochs(few)["test"].groupby(["order", "learning_rate"]).mean()
    sgd, most = means["shuffled"], means["label_sorted"].max()
    good = sgd.index[sgd > GOOD_EPOCH]
    limit = math.ceil(20 * most) / 20  # the next multiple of 5 %
    usable = f"from {format_rate(good.min())} to {format_rate(good.max())}" if len(good) else "at none"
    late, passes = many_passes(found.rows)["accuracy"], round(many_epochs(found.rows)["epoch"].max())
    of_sgd = passes_of_sgd(few, late.max())
    as_much = (
        count_words(round(of_sgd), "pass", "passes")
        if math.isfinite(of_sgd)
        else "more passes than were made"
    )
    return Evidence(
        f"On the sorted stream {format_count(passes, 'pass', 'passes')} at the best rate, "
        f"{format_rate(late.idxmax())}, teach the network what SGD learns in {as_much}: "
        f"{format_percent(late.max(), 0)} test accuracy. Within "
        f"{count_words(round(few['epoch'].max()), 'pass', 'passes')} it has no more than {format_percent(limit, 0)} at "
        f"any rate, averaged over the last of them; SGD has more than {format_percent(GOOD_EPOCH, 0)} {usable}.",
        {
            f"SGD exceeds {format_percent(GOOD_EPOCH, 0)} with more than three rates": len(good) > 3,
            "within few passes the sorted stream stays below 50 % at every rate": limit < 0.5,
            f"within many it exceeds {format_percent(GOOD_EPOCH, 0)} at some": bool(late.max() > GOOD_EPOCH),
            "SGD has as much within few": math.isfinite(of_sgd),
        },
        f"Sorted by label, {format_count(passes, 'pass', 'passes')} teach the network what SGD learns in {as_much}.",
    )


@finding("label_sorted_stream")
def many_passes_converge(found: Results) -> Evidence:
    passes = many_passes(found.rows)
    converges = (passes["loss"] < CONVERGED) & (passes["loss"] <= passes["lowest"])
    window = passes[converges]
    beyond = passes.index[passes.index > window.index.max()]
    rates = f"from {format_rate(window.index.min())} to {format_rate(window.index.max())}"
    where = (
        f"the rates {rates}, and at {format_rate(beyond[0])} no longer"
        if len(beyond)
        else f"all rates that were tried for so long, {rates}"
    )
    return Evidence(
        f"In {format_count(round(many_epochs(found.rows)['epoch'].max()), 'pass', 'passes')} it converges at {where}.",
        {
            "these rates follow one another": bool(
                converges.loc[window.index.min() : window.index.max()].all()
            ),
            "at a larger one it does not": len(beyond) > 0,
        },
    )


@finding("label_sorted_stream")
def two_kinds_of_rates(found: Results) -> Evidence:
    accuracy = many_passes(found.rows)["accuracy"]
    best = accuracy.idxmax()
    between = accuracy[(accuracy.index > COMPARED[-1]) & (accuracy.index < best)]
    if between.empty:
        return Evidence("No rate lies between small and large ones.", {"some rate lies between": False})
    small = accuracy[accuracy.index < between.idxmin()]
    courses = train_courses(found.rows)
    peaks = courses.max() / courses.iloc[0]
    return Evidence(
        f"Two kinds of rates do well: small ones, best {format_rate(small.idxmax())} with "
        f"{format_percent(small.max(), 0)} test accuracy, and large ones. At {format_rate(between.idxmin())}, in "
        f"between, it ends at {format_percent(between.min(), 0)}.",
        {
            "the rate in between is behind a smaller one and the best": bool(
                between.min() < min(small.max(), accuracy.max()) - 0.05
            ),
            "at the small rate the train loss stays near or below the first": bool(
                peaks[small.idxmax()] < 1.2
            ),
            "at the best it rises far above": bool(peaks[best] > 2),
        },
    )


@finding("label_sorted_stream")
def large_rates_rise_first(found: Results) -> Evidence:
    best = many_passes(found.rows)["accuracy"].idxmax()
    course = train_courses(found.rows)[best]
    return Evidence(
        f"At {format_rate(best)} the train loss at the ends of passes is {format_fixed(course.max(), 1)} after "
        f"{course.idxmax():.0f} of them, far above that of guessing, before it falls to "
        f"{format_fixed(course.iloc[-1], 2)}.",
        {
            "it rises to more than twice that of guessing": bool(course.max() > 2 * course.iloc[0]),
            "and ends below a tenth of it": bool(course.iloc[-1] < 0.1 * course.iloc[0]),
        },
    )


@finding("label_sorted_stream")
def sorted_follows_gradient_descent(found: Results) -> Evidence:
    passes = many_passes(found.rows).dropna()
    apart = passes["loss"] / passes["gd"] - 1
    close, far = apart[apart < CLOSE], apart.index[-1]
    reached = first_epochs(many_epochs(found.rows), SPEED, ["learning_rate", "step", "method", "seed"])
    on_the_way = reached.groupby(["step", "method"]).mean().unstack("method").dropna()
    return Evidence(
        f"At rates of up to {format_rate(close.index.max())} its train loss ends within {format_percent(CLOSE, 0)} of "
        f"that of gradient descent with the rate $\\eta n$, which is ahead on the way (@tbl-stream). At "
        f"{format_rate(far)}, where $\\eta n$ is no small step, "
        f"it ends {format_fixed(1 + apart[far], 2)} times as high.",
        {
            "at the least rate the two losses are close": bool(apart.iloc[0] < CLOSE),
            "the distance grows with the rate": apart.is_monotonic_increasing,
            "gradient descent comes sooner to 80 %": bool(
                (on_the_way["gd"] < on_the_way["label_sorted"]).any()
                and (on_the_way["gd"] <= on_the_way["label_sorted"]).all()
            ),
            "at the largest rate they are not close": bool(apart[far] > 4 * CLOSE),
        },
    )


@finding("label_sorted_stream")
def number_of_orders(found: Results) -> Evidence:
    labels = found.programs["labels"]
    counts = labels["label_sorted"].value_counts().sort_index()
    return Evidence(
        f"For the training set, $n_0, \\dots, n_9$ are {join_english(f'{count:,}' for count in counts)}: "
        f"$10^{{{log10_orders(labels['label_sorted']):.1f}}}$ sequences.",
        {
            "the sorted labels increase": labels["label_sorted"].is_monotonic_increasing,
            "both orders have as many examples of each label": counts.equals(
                labels["shuffled"].value_counts().sort_index()
            ),
        },
    )


@finding("label_sorted_stream")
def sorted_is_worse(found: Results) -> Evidence:
    few = few_epochs(found.rows)
    ends = last_epochs(few)
    best = best_by_order(ends)
    sgd, stream = (ends.loc[(order, best[order])] for order in ("shuffled", "label_sorted"))
    gap = paired_t(sgd["test"], stream["test"]).difference
    accuracies = slow_accuracies(found.rows).xs("label_sorted", level="method")
    late = t_interval(accuracies.xs(many_passes(found.rows)["accuracy"].idxmax(), level="learning_rate"))
    return Evidence(
        f"After few passes, no. Each at its best rate of {count_words(round(few['epoch'].max()), 'pass', 'passes')}, "
        f"SGD has {format_percent(sgd['test'].mean(), 0)} test accuracy on average over the last one, the sorted "
        f"stream {format_percent(stream['test'].mean(), 0)}. After many, nearly: {format_interval(late)}, still "
        f"{100 * (sgd['test'].mean() - late.mean):.1f} points less than SGD after few.",
        {
            "SGD is ahead by more than a point": gap.mean > 0.01,
            "the interval of its lead lies above 0": gap.mean > gap.half_width,
            "after many passes the sorted stream is still behind": late.mean < sgd["test"].mean(),
            "by less than two points": late.mean > sgd["test"].mean() - 0.02,
        },
    )


@finding("label_sorted_stream")
def forgetting(found: Results) -> Evidence:
    retention = class_retention(found.rows, found.programs["labels"])
    own, later = retention["own"].mean(), retention["next"].mean()
    return Evidence(
        f"At $\\eta = {within_epochs(found.rows)['learning_rate'].max():g}$, {format_percent(own, 0)} of a class's "
        "test examples are recognised at the end of its own block, as the network then gives its label to everything, "
        f"and {format_percent(later, 0)} one block later.",
        {
            "more than 80 % are recognized at the end of the own block": bool(own > 0.8),
            "less than half as many are one block later": bool(later < own / 2),
            "at the end of the passes the network is near chance": bool(
                _at_the_end(found.rows) < NEAR_CHANCE
            ),
        },
    )


@finding("label_sorted_stream")
def forgetting_fades(found: Results) -> Evidence:
    late, best = late_within_passes(found.rows), many_passes(found.rows)["accuracy"].idxmax()
    return Evidence(
        f"In hundreds of passes it learns not to forget. At $\\eta = {best:g}$, at {count_words(len(late))} points of "
        f"the last {late.index.max() - late.index.min():.0f} passes, all in other places of the pass, its "
        f"validation accuracy is {100 * late.min():.1f} to "
        f"{format_percent(late.max())}.",
        {
            "within a pass it varies by less than two points": bool(late.max() - late.min() < 0.02),
            "the places are spread over the pass": bool(
                (late.index % 1).max() - (late.index % 1).min() > 0.5
            ),
        },
    )


def _at_the_end(rows: pd.DataFrame) -> float:
    """Return the test accuracy of the sorted stream at the end of the last of `within_epochs`, mean over seeds."""
    chosen = within_epochs(rows)
    ends = final_values(chosen[chosen["order"] == "label_sorted"], "test_accuracy", ["seed"])
    return float(ends.mean())


@finding("label_sorted_stream")
def running_gradient_is_biased(found: Results) -> Evidence:
    rows = within_epochs(found.rows)
    cosines = rows[rows["metric"] == "gradient_cosine"].groupby("order")["value"]
    mean = cosines.mean()
    epochs = math.ceil(rows["epoch"].max())
    along = {1: "the pass", 2: "both passes"}.get(epochs, f"all {count_words(epochs, 'pass', 'passes')}")
    return Evidence(
        f"Measured along {along} (@fig-pass, below), the cosine of the next example's gradient with $\\nabla R$ is "
        f"{format_fixed(mean['label_sorted'], 2)} on average on the sorted stream, and "
        f"{format_fixed(mean['shuffled'], 2)} for shuffled examples.",
        {
            "on the sorted stream the mean cosine is negative": bool(mean["label_sorted"] < 0),
            "with shuffled examples it is positive": bool(mean["shuffled"] > 0),
        },
    )
