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
from analysis.statistics import at_best_rates, final_values, first_epochs, paired_t, t_interval

RUN = ["order", "learning_rate", "seed"]
SHORT = {"shuffled": "SGD", "label_sorted": "sorted"}  # in figures
PLACES = {
    "shuffled": (2.5e-5, 29, "left"),
    "label_sorted": (1e-3, 1, "center"),
}  # of their names beside the lines
LONG = {"shuffled": "shuffled (SGD)", "gd": "all at once (GD)"}  # in tables and titles
DRAWN = (3e-6, 1e-5, 1e-3, 0.1)  # rates whose train loss is drawn
WITHIN = (1e-3, 0.1)  # of them, those whose accuracy within passes is drawn
GOOD = 0.90  # test accuracy
HALF_POINT = 0.005  # to which test accuracies are said to be the same
SPEED = 0.8  # test accuracy whose first pass is tabulated
LATE_PASSES = 100  # in which convergence is judged: ten measurements within passes, one at every tenth of one
MARGIN = 0.05  # of accuracy within a pass about that at its end
NEAR_CHANCE = 0.12  # test accuracy of always giving one label, at most
CLOSE = 0.05  # relative distance of a train loss from that of gradient descent


@remembered
def few_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs over all learning rates, which are of few epochs."""
    held_out = rows[rows["validation_examples"] > 0]
    return held_out[held_out["epochs"] == held_out["epochs"].min()]


@remembered
def sorted_long(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the sorted stream's runs of many epochs, with what is measured within epochs."""
    stream = (rows["order"] == "label_sorted") & rows["batch_size"].notna()
    held_out = rows[(rows["validation_examples"] > 0) & stream]
    return held_out[held_out["epochs"] == held_out["epochs"].max()]


def sgd_long(rows: pd.DataFrame) -> pd.DataFrame:
    """Return SGD's runs of more than few epochs, at the rate of highest final validation accuracy."""
    held_out = rows[(rows["validation_examples"] > 0) & (rows["order"] == "shuffled")]
    more = held_out["epochs"] > held_out["epochs"].min()
    return at_best_rates(held_out[held_out["batch_size"].notna() & more], ["order"])


@remembered
def many_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the sorted stream's runs of many epochs and gradient descent's, at the end of each epoch.

    Returns:
        Also, method: "label_sorted" or "gd"; step: the rate of gradient descent that an epoch corresponds to, η n for
        the sorted stream of n examples and η for gradient descent.
    """
    slow = pd.concat([sorted_long(rows), rows[rows["batch_size"].isna()]])
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
        Index learning_rate; loss, the train loss after the last epoch; falls, whether it fell all through the last
        LATE_PASSES, at the ends of epochs; accuracy, the last test accuracy; gd, the last train loss of gradient
        descent (not a number if there is none).
    """
    slow = many_epochs(rows)
    losses = slow[slow["metric"] == "train_loss"]
    means = losses.groupby(["method", "step", "epoch"])["value"].mean()
    last = means.groupby(["method", "step"]).last()
    late = losses[losses["epoch"] >= losses["epoch"].max() - LATE_PASSES]
    courses = late[late["epoch"] % 10 == 0].groupby(["method", "step", "epoch"])["value"].mean()
    falls = courses.groupby(["method", "step"]).agg(
        lambda values: values.is_monotonic_decreasing and len(values) > 1
    )
    sorted_ = slow[slow["method"] == "label_sorted"]
    rates = sorted_.groupby("step")["learning_rate"].first()
    accuracy = final_values(sorted_, "test_accuracy", ["step", "seed"]).groupby("step").mean()
    frame = pd.DataFrame(
        {
            "learning_rate": rates,
            "loss": last["label_sorted"],
            "falls": falls["label_sorted"].astype(bool),
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
    """Return the first pass at whose end SGD, at its best rate, has that test accuracy in the mean, to within half a
    point; else infinity."""
    best = best_by_order(last_epochs(few))["shuffled"]
    runs = few[(few["order"] == "shuffled") & (few["learning_rate"] == best) & (few["epoch"] % 1 == 0)]
    means = runs[runs["metric"] == "test_accuracy"].groupby("epoch")["value"].mean()
    return float(min(means.index[means >= accuracy - HALF_POINT], default=math.inf))


@remembered
def departures(rows: pd.DataFrame) -> pd.Series[float]:
    """Return how far accuracy within the late passes of the sorted stream lies from that at their ends.

    Within passes it is measured on the validation examples, at their ends on the test examples, and interpolated
    between measured ends.

    Returns:
        Means over seeds; index: learning_rate, epoch.
    """
    slow = sorted_long(rows)
    means = slow.groupby(["metric", "learning_rate", "epoch"], observed=True)["value"].mean()
    last = slow["epoch"].max()
    parts = {}
    for rate, within in means["validation_accuracy"].groupby("learning_rate"):
        ends, within = means["test_accuracy"][rate], within[rate]
        ends = ends[ends.index % 1 == 0]
        within = within[(within.index > last - LATE_PASSES) & (within.index % 1 != 0)]
        parts[rate] = within - np.interp(within.index, ends.index, ends)
    return pd.concat(parts, names=["learning_rate", "epoch"])


def largest_departures(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the largest departure within late passes, either way; index: learning_rate."""
    return departures(rows).abs().groupby("learning_rate").max()


def jump(rows: pd.DataFrame) -> float:
    """Return the largest factor by which gradient descent's train loss grows between late measurements, at its largest
    rate, in any run."""
    many = many_epochs(rows)
    gd = many[(many["method"] == "gd") & (many["metric"] == "train_loss")]
    gd = gd[(gd["step"] == gd["step"].max()) & (gd["epoch"] >= gd["epoch"].max() - LATE_PASSES)]
    courses = gd.pivot(index="epoch", columns="seed", values="value")
    return float((courses / courses.shift()).max(axis=None))


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
    figure, panels = plt.subplots(1, len(orders), figsize=(WIDTH, 1.0), squeeze=False)
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
    """Draw test accuracy over the learning rate, after few passes and many; train loss and accuracy along many."""
    figure, (rates, course, within) = plt.subplots(1, 3, figsize=(WIDTH, 2.05))
    few, slow = few_epochs(found.rows), many_epochs(found.rows)
    ends = last_epochs(few)
    for order in found.rows["order"].unique():
        of_order = ends.loc[order].groupby("learning_rate").mean()
        _draw_ends(rates, of_order["end"], of_order["least"], of_order["most"], **line_style(order))
        x, y, side = PLACES.get(order, (of_order.index[-1], 100 * of_order["end"].iloc[-1], "right"))
        separator = " " if order == "label_sorted" else "\n"
        name = f"{SHORT.get(order, label(order))},{separator}{few['epoch'].max():.0f} passes"
        rates.text(x, y, name, color=line_style(order)["color"], ha=side)
    late = many_passes(found.rows)["accuracy"]
    away = departures(found.rows).unstack("epoch").reindex(late.index).fillna(0)
    passes = f"{slow['epoch'].max():.0f} passes"
    style = {**line_style("label_sorted"), "linestyle": "--", "markerfacecolor": "white"}
    _draw_ends(
        rates, late, late + away.min(axis=1).clip(upper=0), late + away.max(axis=1).clip(lower=0), **style
    )
    rates.text(9e-7, 104, f"sorted, {passes}", color=style["color"])
    rates.set_xscale("log")
    rates.set_xlabel("learning rate η")
    rates.set_ylabel("test accuracy in %")
    rates.set_ylim(0, 114)
    rates.set_yticks(range(0, 101, 20))
    _draw_losses(course, slow)
    _draw_accuracies(within, sorted_long(found.rows))
    return Picture(
        figure,
        "Left: test accuracy at the end of "
        f"{count_words(round(few['epoch'].max()), 'pass', 'passes')}, and of {passes} of the sorted stream; bars span "
        f"accuracy within the last pass or, of {passes}, within the last {LATE_PASSES}. "
        "Middle: train loss of the stream at the ends of passes, at some rates; dotted, of gradient descent with "
        f"$\\eta n$ for {format_rate(DRAWN[0])}. Right: accuracy at the ends of passes (lines, test examples), and "
        "within them (dots, validation examples), each a tenth of a pass later in the pass. Means over "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}; bands in the middle span them.",
        "Left: SGD has a broad plateau of high accuracy; the sorted stream stays low at every rate for few passes; "
        "after many it is far above, with a dip between small and large rates, and falls back at the largest. Middle: "
        "losses fall over hundreds of passes, at the large rates after a rise. Right: dots swing about their line, "
        "widest at the least rate, and hardly at the largest in the end.",
    )


def _draw_ends(
    axes: Axes, ends: pd.Series[float], least: pd.Series[float], most: pd.Series[float], **style: Any
) -> None:
    """Draw shares in percent over a learning rate, with bars from the least to the most."""
    bars = 100 * np.array([ends - least, most - ends]).clip(min=0)
    axes.errorbar(ends.index, 100 * ends, bars, markersize=MARKER, capsize=2, **style)


def _draw_losses(axes: Axes, slow: pd.DataFrame) -> None:
    """Draw the train loss along many passes, and that of gradient descent for the least rate."""
    axes.set_yscale("log")
    labels = []
    for rate in DRAWN:
        colour = _rate_colour(rate)
        step = slow.loc[(slow["learning_rate"] == rate) & (slow["method"] == "label_sorted"), "step"].max()
        for method, dashes in (("gd", ":"), ("label_sorted", "-")):
            runs = slow[(slow["step"] == step) & (slow["method"] == method) & (slow["epoch"] % 10 == 0)]
            if method == "gd" and rate != DRAWN[0]:
                continue
            losses = mean_and_range(runs, "train_loss")
            draw_line(axes, losses, colour, linestyle=dashes)
            if method == "label_sorted":
                labels.append((losses.index[-1], losses["mean"].iloc[-1], format_rate(rate), colour))
    plain_ticks(axes.yaxis)
    axes.set_xticks(range(0, round(slow["epoch"].max()) + 1, 100))
    axes.set_xlabel("pass")
    axes.set_ylabel("train cross entropy")
    label_ends(axes, labels)


def _rate_colour(rate: float) -> Any:
    return RATE_COLOURS(DRAWN.index(rate) / (len(DRAWN) - 1))


def _draw_accuracies(axes: Axes, slow: pd.DataFrame) -> None:
    """Draw accuracy along many passes, at their ends and within them."""
    axes.set_ylim(0, 100)
    labels = []
    for rate in WITHIN:
        colour = _rate_colour(rate)
        runs = slow[slow["learning_rate"] == rate]
        ends = 100 * mean_and_range(runs[runs["epoch"] % 10 == 0], "test_accuracy")["mean"]
        places = 100 * mean_and_range(runs, "validation_accuracy")["mean"]
        axes.plot(ends.index, ends, color=colour)
        axes.plot(places.index, places, ".", color=colour, markersize=MARKER)
        labels.append((ends.index[-1], ends.iloc[-1], format_rate(rate), colour))
    axes.set_xticks(range(0, round(slow["epoch"].max()) + 1, 100))
    axes.set_xlabel("pass")
    axes.set_ylabel("accuracy in %")
    label_ends(axes, labels)


@exhibit("tbl-stream", "label_sorted_stream")
def stream_table(found: Results) -> Table:
    """Tabulate SGD after few passes and on its plateau; the sorted stream at every rate, beside gradient descent."""
    few, sgd, many = few_epochs(found.rows), sgd_long(found.rows), many_epochs(found.rows)
    passes = many_passes(found.rows)
    best = best_by_order(last_epochs(few))
    speed = f"To {format_percent(SPEED, 0)}"
    lines = []

    def add(runs: pd.DataFrame, away: float, first: pd.Series[float], converges: str = "–") -> None:
        lines.append(
            {
                "Order": SHORT[runs["order"].iloc[0]],
                "$\\eta$": format_rate(runs["learning_rate"].iloc[0]),
                "Passes": f"{runs['epoch'].max():.0f}",
                "Test accuracy": format_interval(t_interval(final_values(runs, "test_accuracy", RUN)), 2, ""),
                "Within": format_fixed(100 * away, 1) if math.isfinite(away) else "–",
                "Converges": converges,
                speed: _format_passes(first),
                "Loss": format_fixed(final_values(runs, "train_loss", RUN).mean(), 2),
                "GD loss": "–",
            }
        )

    as_good = passes_of_sgd(few, passes["accuracy"].max())
    if math.isfinite(as_good):
        runs = few[(few["order"] == "shuffled") & (few["learning_rate"] == best["shuffled"])]
        runs = runs[runs["epoch"] <= as_good]
        last = last_epochs(runs)[["least", "most", "end"]].mean()
        away = max(last["most"] - last["end"], last["end"] - last["least"])
        add(runs, away, first_epochs(runs, SPEED, RUN))
    of_few = few[(few["order"] == "shuffled") & (few["learning_rate"] == sgd["learning_rate"].iloc[0])]
    add(sgd, math.nan, first_epochs(of_few, SPEED, RUN))
    away = largest_departures(found.rows)
    reached = first_epochs(many, SPEED, ["step", "method", "seed"])
    for rate in passes.index:
        runs = many[(many["method"] == "label_sorted") & (many["learning_rate"] == rate)]
        step = runs["step"].iloc[0]
        converges = passes["falls"][rate] and away[rate] < MARGIN
        add(runs, away[rate], reached[step, "label_sorted"], "yes" if converges else "no")
        if math.isfinite(passes["gd"][rate]):
            lines[-1]["GD loss"] = format_fixed(passes["gd"][rate], 2)
    return Table(
        pd.DataFrame(lines),
        "SGD and the sorted stream; GD loss: that of gradient descent with the rate $\\eta n$. Within: how far "
        "accuracy departs at most from that at the ends of passes, in points, at ten places of the pass; in the "
        f"last pass or, of {many['epoch'].max():.0f}, in the last {LATE_PASSES}, there on validation examples; means "
        f"over seeds. To {format_percent(SPEED, 0)}: the first pass with this test accuracy. Loss: on the training "
        "examples. The rates of SGD were chosen by validation accuracy.",
        (9, 12, 8, 16, 9, 11, 9, 9, 10),
    )


def plateau_passes(sgd: pd.DataFrame) -> tuple[float, float]:
    """Return a quarter of the passes of SGD's longer runs, or the first measurement after it, and all of them."""
    measured = sgd.loc[sgd["epoch"] > 0, "epoch"]
    return float(measured[measured >= measured.max() / 4].min()), float(measured.max())


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
        3, 1, figsize=(WIDTH, 2.2), sharex=True, height_ratios=(1.3, 1, 1)
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
    figure.colorbar(image, ax=classes, label="%", pad=0.01)
    for order in rows["order"].unique():
        chosen, colour = rows[rows["order"] == order], line_style(order)["color"]
        draw_line(accuracy, 100 * mean_and_range(chosen, "test_accuracy"), colour)
        draw_line(cosine, mean_and_range(chosen, "gradient_cosine"), colour, linewidth=1)
    epochs = math.ceil(rows["epoch"].max())
    for axes in (accuracy, cosine):
        for begin in (begun + start for begun in range(epochs) for start in starts):
            axes.axvline(begin, color=QUIET, linewidth=0.4, zorder=0)
    accuracy.set_ylabel("accuracy\nin %")
    accuracy.set_ylim(0, 100)
    cosine.set_ylabel("cosine")
    cosine.axhline(0, color=QUIET, linewidth=0.8)
    cosine.set_xlabel("pass")
    cosine.set_xlim(0, epochs)
    ends = final_values(rows, "test_accuracy", ["order"]).groupby("order").mean()
    label_ends(
        accuracy,
        [
            (epochs, 100 * ends[order], name, line_style(order)["color"])
            for order, name in (("shuffled", "SGD"), ("label_sorted", "sorted"))
        ],
    )
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
    means = last_epochs(few).groupby(["order", "learning_rate"]).mean()
    sgd, most = means["end"]["shuffled"], means["most"]["label_sorted"].max()
    good = sgd.index[sgd > GOOD]
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
        f"{format_percent(late.max(), 0)} test accuracy (@tbl-stream). In "
        f"{count_words(round(few['epoch'].max()), 'pass', 'passes')} it comes at no rate to more than "
        f"{format_percent(limit, 0)} anywhere in the last pass; SGD ends above {format_percent(GOOD, 0)} {usable}.",
        {
            f"SGD exceeds {format_percent(GOOD, 0)} with more than three rates": len(good) > 3,
            "within few passes the sorted stream stays below 50 % at every rate": limit < 0.5,
            f"within many it exceeds {format_percent(GOOD, 0)} at some": bool(late.max() > GOOD),
            "SGD has as much within few": math.isfinite(of_sgd),
        },
        f"Sorted by label, {format_count(passes, 'pass', 'passes')} teach the network what SGD learns in {as_much}.",
    )


@finding("label_sorted_stream")
def loss_falls_to_the_end(found: Results) -> Evidence:
    falls = many_passes(found.rows)["falls"]
    window = falls.index[falls]
    beyond = falls.index[falls.index > window.max()]
    rates = f"from {format_rate(window.min())} to {format_rate(window.max())}" if len(window) else "none"
    return Evidence(
        f"The loss falls at all {count_words(len(window))} rates {rates}"
        + (f", and at {format_rate(beyond[0])} no longer." if len(beyond) else "."),
        {
            "these rates follow one another": bool(
                len(window) and falls.loc[window.min() : window.max()].all()
            ),
            "at a larger one it does not hold": len(beyond) > 0,
        },
    )


@finding("label_sorted_stream")
def accuracy_holds_within_passes(found: Results) -> Evidence:
    away = _judged_departures(found.rows)
    holds, fails = away[away < MARGIN], away[away >= MARGIN]
    if holds.empty or fails.empty:
        return Evidence(
            "Accuracy holds at all rates or at none.", {"it holds at some rates and not at others": False}
        )
    between = fails[(fails.index > holds.index.min()) & (fails.index < holds.index.max())]
    least, accuracy = away.index.min(), many_passes(found.rows)["accuracy"]
    strict, loose = (away.index[away < factor * MARGIN] for factor in (1 / 2, 2))
    return Evidence(
        f"Accuracy holds at {_rates(holds.index)}, where the method thus converges. Between these it departs by up "
        f"to {100 * between.max():.0f} points (@tbl-stream; @fig-stream, right), and by {100 * away[least]:.0f} at "
        f"{format_rate(least)}, where the network has come to {format_percent(accuracy[least], 0)} only. With "
        f"{100 * MARGIN / 2:g} points instead of {100 * MARGIN:g}, {_rates(holds.index.difference(strict))} would "
        f"fail; with {200 * MARGIN:g}, {_rates(loose.difference(holds.index))} would pass.",
        {
            "it holds at the rate that ends best, and at a hundredth of that or less": bool(
                accuracy.idxmax() in holds.index and holds.index.min() <= accuracy.idxmax() / 100
            ),
            "in between it fails at some rate by more than twice the margin": len(between) > 0
            and bool(between.max() > 2 * MARGIN),
            "at the least rate it fails": least in fails.index,
        },
    )


def _rates(rates: pd.Index[float]) -> str:
    return join_english(map(format_rate, rates))


@finding("label_sorted_stream")
def sgd_by_the_same_conditions(found: Results) -> Evidence:
    few = few_epochs(found.rows)
    sgd = few[(few["order"] == "shuffled") & (few["metric"] == "train_loss") & (few["epoch"] % 1 == 0)]
    losses = sgd.pivot_table(index="epoch", columns="learning_rate", values="value")
    ends = last_epochs(few).groupby(["order", "learning_rate"]).mean().loc["shuffled"]
    away = np.maximum(ends["most"] - ends["end"], ends["end"] - ends["least"])
    meets = (losses.diff().iloc[1:] < 0).all() & (away < MARGIN)
    last = meets.index[meets].max()
    until, beyond = meets.loc[:last], meets.index[meets.index > last]
    window = until.index[until[::-1].cummin()[::-1]]  # without a gap
    return Evidence(
        f"In its {count_words(round(few['epoch'].max()), 'pass', 'passes')}, SGD meets both conditions at all rates "
        f"from {format_rate(window.min())} to {format_rate(last)}, and at {format_rate(beyond.min())} no longer.",
        {
            "there are more than three such rates": len(window) > 3,
            "they reach as far as those of the sorted stream": bool(
                last >= many_passes(found.rows)["accuracy"].idxmax()
            ),
            "at a larger one they do not hold": len(beyond) > 0,
        },
    )


def _judged_departures(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the largest departures at the rates at which the loss falls to the end."""
    falls, away = many_passes(rows)["falls"], largest_departures(rows)
    return away[falls.reindex(away.index)].dropna()


@finding("label_sorted_stream")
def slower_than_sgd(found: Results) -> Evidence:
    few, many = few_epochs(found.rows), many_epochs(found.rows)
    by = ["order", "learning_rate", "seed"]
    sgd = first_epochs(few, SPEED, by)["shuffled"].groupby("learning_rate").mean().min()
    stream = first_epochs(many[many["method"] == "label_sorted"], SPEED, by)["label_sorted"]
    means = stream.groupby("learning_rate").mean()
    small = means[means.index <= max(COMPARED)]
    in_passes = (
        f"less than {count_words(math.ceil(sgd), 'pass', 'passes')}"
        if math.isfinite(sgd)
        else "more passes than were made"
    )
    return Evidence(
        f"To {format_percent(SPEED, 0)} test accuracy the stream takes {means.min():.0f} passes at "
        f"{format_rate(means.idxmin())}, and {small.min():.0f} at {format_rate(small.idxmin())}. SGD at its best rate "
        f"takes {in_passes}.",
        {
            "it takes over a hundred times as many passes as SGD": bool(means.min() > 100 * sgd),
            "a small rate takes at most half as many again as the fastest": bool(
                small.min() < 1.5 * means.min() < math.inf
            ),
            "SGD takes less than a pass": bool(sgd < 1),
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
    apart = (passes["loss"] / passes["gd"] - 1).abs()
    close, largest = apart[apart < CLOSE], apart.index[-1]
    many = many_epochs(found.rows)
    steps = many[many["method"] == "gd"].groupby("step")["learning_rate"].first()
    reached = first_epochs(many, SPEED, ["learning_rate", "step", "method", "seed"])
    on_the_way = reached.groupby(["step", "method"]).mean().unstack("method").dropna()
    on_the_way = on_the_way[np.isfinite(on_the_way).all(axis=1)]
    on_the_way = on_the_way.loc[: steps.index[len(close) - 1] if len(close) else 0]
    return Evidence(
        f"At rates of up to {format_rate(close.index.max())} its train loss ends within {format_percent(CLOSE, 0)} of "
        f"that of gradient descent with the rate $\\eta n$, which is ahead on the way. At {format_rate(largest)} "
        f"gradient descent is no yardstick: with $\\eta n = {steps.index[-1]:g}$ it is unstable (@sec-q6), and its "
        f"loss still jumps by a factor of {format_fixed(jump(found.rows), 1)} late.",
        {
            "at the two least rates the losses are close": bool((apart.iloc[:2] < CLOSE).all()),
            "gradient descent comes sooner to 80 %, where both come": bool(
                len(on_the_way) and (on_the_way["gd"] < on_the_way["label_sorted"]).all()
            ),
            "at the largest rate the loss of gradient descent jumps": jump(found.rows) > 1.5,
            "that of the stream falls there": bool(many_passes(found.rows)["falls"][largest]),
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
    sgd, passes_by_rate = sgd_long(found.rows), many_passes(found.rows)
    early, late = (
        final_values(sgd[sgd["epoch"] <= until], "test_accuracy", ["seed"]) for until in plateau_passes(sgd)
    )
    stream = sorted_long(found.rows)
    best = stream["learning_rate"] == passes_by_rate["accuracy"].idxmax()
    stream = stream[best & (stream["epoch"] % 10 == 0)]
    end = final_values(stream, "test_accuracy", ["seed"])
    passes, of_sgd = round(stream["epoch"].max()), [round(each) for each in plateau_passes(sgd)]
    gap = paired_t(late, end).difference
    courses = stream[stream["metric"] == "test_accuracy"].groupby("epoch")["value"].mean()
    rise = courses.iloc[-1] - courses.loc[: max(0, passes - 20)].iloc[-1]
    same = courses.loc[: min(of_sgd[1], passes)].iloc[-1]
    return Evidence(
        f"Not quite. At {of_sgd[1]} passes SGD is on a plateau: {format_interval(t_interval(late))}, as at "
        f"{of_sgd[0]}. At its best rate the sorted stream has {format_percent(same, 0)} then; {passes} passes bring it "
        f"within {format_interval(gap, 1, '')} points of SGD, and the last 20 of them still add {100 * rise:.1f}.",
        {
            "SGD has gained less than 0.1 points since a quarter of its passes": bool(
                abs(late.mean() - early.mean()) < 0.001
            ),
            "the interval of its lead lies above 0": gap.mean > gap.half_width,
            "it leads by more than a point, and less than two": 0.01 < gap.mean < 0.02,
            "after equally many passes it is far ahead": bool(same < late.mean() - 0.2),
            "the sorted stream still rises": bool(0 < rise < 0.01),
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


def _at_the_end(rows: pd.DataFrame) -> float:
    """Return the test accuracy of the sorted stream at the end of the last of `within_epochs`, mean over seeds."""
    chosen = within_epochs(rows)
    ends = final_values(chosen[chosen["order"] == "label_sorted"], "test_accuracy", ["seed"])
    return float(ends.mean())


@finding("label_sorted_stream")
def running_gradient_is_biased(found: Results) -> Evidence:
    rows = found.rows[found.rows["metric"] == "gradient_cosine"]
    mean = rows.groupby(["order", "learning_rate"])["value"].mean()
    stream, shuffled = mean["label_sorted"], mean["shuffled"]
    epochs = math.ceil(rows["epoch"].max())
    along = {1: "the pass", 2: "both passes"}.get(epochs, f"all {count_words(epochs, 'pass', 'passes')}")
    return Evidence(
        f"At {' and '.join(map(format_rate, stream.index))}, the cosine of the next example's gradient with "
        f"$\\nabla R$, averaged along {along} (@fig-pass), is {format_fixed(stream.max(), 2)} or less on the sorted "
        f"stream, and at least {format_fixed(shuffled.min(), 2)} for shuffled examples.",
        {
            "on the sorted stream the mean cosine is clearly negative": bool((stream < -0.5).all()),
            "with shuffled examples it is positive": bool((shuffled > 0).all()),
        },
    )


@finding("label_sorted_stream", "learning_rate")
def proof_covers_smallest_rates(found: Results, descent: Results) -> Evidence:
    curvature = descent.rows.query("metric == 'sharpness' and epoch == 0")["value"].min()
    many = many_epochs(found.rows)
    n = round((many["update"] / many["epoch"]).max())
    passes = many_passes(found.rows)
    rates, best = passes.index, passes["accuracy"].idxmax()
    bound = 1 / (n * curvature)
    covered = rates[rates <= bound]
    return Evidence(
        f"The condition is strict: $\\Lambda$ is no less than the sharpness $\\lambda_{{\\max}}$, which is above "
        f"{math.floor(curvature)} at each of our starts (@sec-q6), so that it allows no rate above "
        f"{format_rate(float(f'{bound:.0e}'))}: "
        f"of those tried {join_english(map(format_rate, covered)) if len(covered) else 'none'} at most.",
        {
            "it allows the least of our rates at most": bool(bound < rates[1]),
            "it may allow that": bool(bound > rates[0]),
            "the best rate is more than a thousand times as large": bool(best > 1000 * bound),
        },
    )
