"""Exercise 3, examples sorted by label: usable learning rates, accuracy and forgetting, beside SGD and GD."""

from __future__ import annotations

import itertools
import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.engine.run import CLASSES, TRAIN_EXAMPLES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import (
    count_words,
    format_fixed,
    format_interval,
    format_percent,
    format_range,
    format_rate,
    join_english,
)
from analysis.plotting import (
    FAINT,
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
from analysis.questions.label_sorted_stream.runs import (
    MORE_PASSES,
    ORDERS,
    SLOW,
    THEN_SHUFFLED_RATE,
    WITHIN_PASS_RATES,
)
from analysis.results import Results, remembered
from analysis.statistics import (
    PLATEAU,
    best_rates,
    final_values,
    first_epochs,
    gain_of_last_quarter,
    paired_t,
    t_interval,
)

RUN = ["order", "learning_rate", "seed"]
NAMES = {"shuffled": "SGD", "label_sorted": "sorted", "gd": "GD, ηn"}  # in figures
LONG = {"shuffled": "shuffled (SGD)"}  # in titles
DRAWN = (1e-5, 1e-3, 0.1)  # rates whose train loss is drawn
UNTABULATED = {("shuffled", 0.003), *(("label_sorted", rate) for rate in (3e-6, 3e-5, 3e-4, 3e-3, 0.2))}
GOOD = 0.90  # test accuracy
FAST = 0.95  # test accuracy whose first pass is tabulated
LATE_PASSES = 100  # in which a loss must fall
DONE = 0.01  # train loss below which a rate converges
SPREAD_PASSES = 40  # in which validation accuracy is measured at several places of the pass
SCATTERED = 0.05  # half width of an interval of accuracies, from which on their range says more
CLOSE = 0.1  # relative distance of a train loss from that of gradient descent
NEAR_CHANCE = 0.12  # test accuracy of always giving one label, at most


@remembered
def few_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs over all learning rates, which are of few epochs."""
    held_out = rows[rows["validation_examples"] > 0]
    return held_out[held_out["epochs"] == held_out["epochs"].min()]


@remembered
def many_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of many epochs: of the sorted stream, SGD and gradient descent.

    At rates with longer runs alone these are cut.

    Returns:
        Also, method: "label_sorted", "shuffled" or "gd"; step: the rate of gradient descent that an epoch corresponds
        to, η n for streams of n examples and η for gradient descent.
    """
    held_out = rows[(rows["validation_examples"] > 0) & rows["order"].isin(ORDERS)]
    many = held_out[held_out["epochs"].isin({budget.epochs for budget in SLOW.values()})]
    longer = held_out[held_out["epochs"].isin(MORE_PASSES.values())]
    alone = longer[~longer["learning_rate"].isin(many["learning_rate"])]
    passes = many["epochs"].max()
    many = pd.concat([many, alone[alone["epoch"] <= passes].assign(epochs=passes)])
    gd = many["batch_size"].isna()
    n = (many["update"] / many["epoch"]).max()
    return many.assign(
        method=many["order"].where(~gd, "gd"),
        step=(many["learning_rate"] * np.where(gd, 1, n)).round(9),
    )


def shuffled_once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of an order that is drawn at random and stays, over as many epochs."""
    return rows[rows["order"] == "shuffled_once"]


@remembered
def with_more_passes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the sorted stream and SGD for twice as many passes, with their method as in `many_epochs`."""
    held_out = rows[rows["validation_examples"] > 0]
    longer = held_out[held_out["epochs"].isin(MORE_PASSES.values())]
    return longer.assign(method=longer["order"])


def within_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs over all examples that are measured within epochs, those at the larger rate."""
    chosen = rows[rows["validation_examples"] == 0]
    return chosen[chosen["learning_rate"] == max(WITHIN_PASS_RATES)]


@remembered
def progress(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarize the runs of many epochs at every rate, means over seeds.

    Returns:
        Index method (of `many_epochs` but "gd"), learning_rate; loss, the last train loss; gd, that of gradient descent
        with η n (not a number if there is none); accuracy, the last test accuracy; verdict: whether the rate
        "converges", to a loss below DONE, in these passes or in more, is "falling" at every measurement in the
        LATE_PASSES, or "fails".
    """
    many = many_epochs(rows)
    losses = train_courses(rows)
    late = losses[losses.index >= losses.index.max() - LATE_PASSES]
    accuracy = final_values(many, "test_accuracy", ["method", "learning_rate", "seed"])
    streams = accuracy.drop("gd").groupby(["method", "learning_rate"]).mean()
    steps = many.groupby(["method", "learning_rate"])["step"].first()[streams.index]
    longer = final_values(with_more_passes(rows), "train_loss", ["method", "learning_rate", "seed"])
    loss, falls = late.iloc[-1][streams.index], (late.diff().iloc[1:] < 0).all()[streams.index]
    last = loss.copy()
    last.update(longer.groupby(["method", "learning_rate"]).mean())
    return pd.DataFrame(
        {
            "loss": loss,
            "gd": late.iloc[-1]["gd"].rename(lambda rate: round(rate, 9)).reindex(steps).to_numpy(),
            "accuracy": streams,
            "verdict": np.where(last < DONE, "converges", np.where(falls, "falling", "fails")),
        }
    )


def train_courses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the train losses along many epochs, means over seeds: index epoch; columns method, learning_rate."""
    losses = many_epochs(rows).query("metric == 'train_loss'")
    return losses.pivot_table(index="epoch", columns=["method", "learning_rate"], values="value")


def follows_descent(lines: pd.DataFrame) -> pd.Series[bool]:
    """Return whether the loss of `progress` ends close to that of gradient descent, by its index."""
    return (lines["loss"] / lines["gd"] - 1).abs() < CLOSE


def first_passes(rows: pd.DataFrame, accuracy: float) -> pd.Series[float]:
    """Return the first pass with that test accuracy, means over seeds; index: method, step.

    What SGD has within few passes is measured more often in the runs of few.
    """
    by = ["method", "step", "seed"]
    many, few = many_epochs(rows), few_epochs(rows)
    sgd = many[many["method"] == "shuffled"].drop_duplicates(["learning_rate"])[
        ["learning_rate", "method", "step"]
    ]
    few = few[few["order"] == "shuffled"].merge(sgd, on="learning_rate")
    steps = many.drop_duplicates(["method", "learning_rate"])[["method", "learning_rate", "step"]]
    longer = with_more_passes(rows).merge(steps, on=["method", "learning_rate"])
    runs = pd.concat([few, many, longer])
    return first_epochs(runs, accuracy, by).groupby(["method", "step"]).mean()


def passes_to_loss(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the first pass with a train loss below DONE, means over seeds; index: method, learning_rate."""
    few = few_epochs(rows)
    runs = pd.concat([few.assign(method=few["order"]), many_epochs(rows), with_more_passes(rows)])
    return _first_below(runs, ["method", "learning_rate", "seed"]).groupby(["method", "learning_rate"]).mean()


def _first_below(runs: pd.DataFrame, by: list[str]) -> pd.Series[float]:
    """Return the first epoch with a train loss below DONE, infinity where there is none; index: by."""
    losses = runs[runs["metric"] == "train_loss"]
    reached = losses["epoch"].where(losses["value"] < DONE, np.inf)
    return reached.groupby([losses[column] for column in by]).min()


def best_streams(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the learning rate of highest final validation accuracy among the runs of many epochs; index: method."""
    many = many_epochs(rows)
    return best_rates(many[many["method"] != "gd"], ["method"])


@remembered
def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarize the last epoch of every run.

    Returns:
        Index RUN; end, the test accuracy at its very end; least and most, the extremes within it.
    """
    within = rows[(rows["metric"] == "test_accuracy") & (rows["epoch"] > rows["epoch"].max() - 1)]
    extremes = within.groupby(RUN)["value"].agg(["min", "max"])
    return pd.DataFrame(
        {"end": final_values(rows, "test_accuracy", RUN), "least": extremes["min"], "most": extremes["max"]}
    )


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


# Exhibits


@exhibit(
    "fig-stream",
    "label_sorted_stream",
    explore="metric=test_accuracy&run=order:label_sorted,batch_size:1,learning_rate:0.1&pin=order:shuffled",
)
def accuracies_and_losses(found: Results) -> Picture:
    """Draw test accuracy over the learning rate, after few passes and after many; train losses along many."""
    figure, (early, late, course) = plt.subplots(1, 3, figsize=(WIDTH, 2.2))
    few, many = few_epochs(found.rows), many_epochs(found.rows)
    ends = last_epochs(few)
    for order in ("shuffled", "label_sorted"):
        of_order = ends.loc[order].groupby("learning_rate").mean()
        _draw_ends(early, of_order["end"], of_order["least"], of_order["most"], **line_style(order))
    write_in(early, 0.06, 0.74, NAMES["shuffled"], line_style("shuffled")["color"])
    write_in(early, 0.5, 0.3, NAMES["label_sorted"], line_style("label_sorted")["color"])
    last = progress(found.rows)["accuracy"]
    for method in ("label_sorted", "shuffled"):
        late.plot(last[method].index, 100 * last[method], markersize=MARKER, **line_style(method))
    gd = many[many["method"] == "gd"]
    n = (many["step"] / many["learning_rate"]).max()
    of_gd = 100 * final_values(gd, "test_accuracy", ["step", "seed"]).groupby("step").mean()
    late.plot(of_gd.index / n, of_gd, markersize=MARKER, **line_style("gd"))
    write_in(late, 0.05, 0.93, NAMES["gd"], line_style("gd")["color"])
    write_in(late, 0.62, 0.93, NAMES["shuffled"], line_style("shuffled")["color"])
    write_in(late, 0.18, 0.4, NAMES["label_sorted"], line_style("label_sorted")["color"])
    for axes, runs in ((early, few), (late, many)):
        axes.set_title(f"after {count_words(round(runs['epoch'].max()), 'pass', 'passes')}")
        axes.set_xscale("log")
        axes.set_xlim(5e-7, 2)
        axes.set_xlabel("learning rate η")
        axes.set_ylim(0, 116)
        axes.set_yticks(range(0, 101, 20))
    early.set_ylabel("test accuracy in %")
    _draw_losses(course, found.rows)
    return Picture(
        figure,
        "Left and middle: final test accuracy; bars on the left span the accuracy within the last pass. GD has the "
        "rate $\\eta n$. Right: train loss at the ends of passes; dotted: gradient descent with $\\eta n$ for "
        f"{format_rate(DRAWN[0])}; SGD at {format_rate(DRAWN[-1])}. Means over "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}; bands on the right span them.",
        "Left: SGD has a broad plateau of high accuracy, the sorted stream stays low at every rate. Middle: the stream "
        "is far above, with a dip between small and large rates, and falls back at the largest. Right: losses of the "
        "stream fall over hundreds of passes, at large rates after a rise; that of SGD is far below.",
    )


def _draw_ends(
    axes: Axes, ends: pd.Series[float], least: pd.Series[float], most: pd.Series[float], **style: Any
) -> None:
    """Draw shares in percent over a learning rate, with bars from the least to the most."""
    bars = 100 * np.array([ends - least, most - ends]).clip(min=0)
    axes.errorbar(ends.index, 100 * ends, bars, markersize=MARKER, capsize=2, **style)


def _draw_losses(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the train loss along many passes: of the stream at some rates, of gradient descent and of SGD."""
    many, longer = many_epochs(rows), with_more_passes(rows)
    steps = many.groupby(["method", "learning_rate"])["step"].first()
    lines = [
        *(("label_sorted", rate, "-", _rate_colour(rate), format_rate(rate)) for rate in DRAWN),
        ("gd", steps["label_sorted", DRAWN[0]], ":", _rate_colour(DRAWN[0]), ""),
        ("shuffled", DRAWN[-1], "-", line_style("shuffled")["color"], NAMES["shuffled"]),
    ]
    axes.set_yscale("log")
    labels = []
    for method, rate, dashes, colour, name in lines:
        runs = pd.concat([many, longer])
        runs = runs[(runs["method"] == method) & (runs["learning_rate"] == rate)]
        losses = mean_and_range(runs[runs["epochs"] == runs["epochs"].max()], "train_loss")
        draw_line(axes, losses, colour, linestyle=dashes)
        labels.append((losses.index[-1], losses["mean"].iloc[-1], name, colour))
    plain_ticks(axes.yaxis, decades=True)
    axes.set_title("along passes")
    axes.set_xticks(range(0, round(longer["epoch"].max()) + 1, 200))
    axes.set_xlabel("pass")
    axes.set_ylabel("train loss")
    label_ends(axes, [each for each in labels if each[2]])


def _rate_colour(rate: float) -> Any:
    return RATE_COLOURS(DRAWN.index(rate) / (len(DRAWN) - 1))


@exhibit("tbl-stream", "label_sorted_stream")
def stream_table(found: Results) -> Table:
    """Tabulate SGD and the sorted stream over many passes at every rate, beside gradient descent."""
    many, lines = many_epochs(found.rows), progress(found.rows)
    first, done = first_passes(found.rows, FAST), passes_to_loss(found.rows)
    steps = many.groupby(["method", "learning_rate"])["step"].first()
    ends = final_values(many, "test_accuracy", ["method", "learning_rate", "seed"])
    last = round(many["epoch"].max())
    longer = with_more_passes(found.rows)
    late = {
        metric: final_values(longer, metric, ["method", "learning_rate", "seed"])
        for metric in ("train_loss", "test_accuracy")
    }
    more, further = longer["epochs"].max(), set(zip(longer["method"], longer["learning_rate"], strict=True))
    table = [
        {
            "$\\eta$": name.format(format_rate(float(str(rate)))),
            "Loss": _format_loss(line["loss"]),
            "GD's": "" if math.isnan(line["gd"]) else _format_loss(line["gd"]),
            "Test acc., %": _mean_or_range(ends[method, rate]),
            f"To {100 * FAST:.0f} %": _format_passes(first.loc[(method, steps[method, rate])]),
            f"To loss {DONE:g}": _format_passes(done[method, rate]),
            f"Loss, {more}": _format_loss(late["train_loss"][method, rate].mean())
            if (method, rate) in further
            else "",
            f"Acc., {more}": _mean_or_range(late["test_accuracy"][method, rate])
            if (method, rate) in further
            else "",
            "Verdict": line["verdict"],
        }
        for method, name in (("shuffled", "SGD, {}"), ("label_sorted", "stream, {}"))
        for rate, line in lines.loc[method].iterrows()
        if (method, rate) not in UNTABULATED
    ]
    for rate, runs in shuffled_once(found.rows).groupby("learning_rate"):
        table.append(
            {
                "$\\eta$": f"once, {format_rate(float(str(rate)))}",
                "Loss": _format_loss(final_values(runs, "train_loss", ["seed"]).mean()),
                "Test acc., %": _mean_or_range(final_values(runs, "test_accuracy", ["seed"])),
                f"To {100 * FAST:.0f} %": _at_most(first_epochs(runs, FAST, ["seed"]), runs),
                f"To loss {DONE:g}": _at_most(_first_below(runs, ["seed"]), runs),
            }
        )
    return Table(
        pd.DataFrame(table).fillna(""),
        f"SGD and the sorted stream after {last} passes. *Loss*: train cross entropy; *GD's*: that of gradient "
        f"descent with the rate $\\eta n$. *To*: the first pass with {100 * FAST:.0f} % test accuracy and with a loss "
        f"below {DONE:g}, in all passes run, measured at most ten apart (–: never). *{more}*: values after {more} "
        f"passes, for the rates run that long. A rate *converges* if its loss ends below {DONE:g} in the longest run, "
        f"is *falling* if the loss falls at every measurement in the last {LATE_PASSES} of {last} passes all "
        "the same, and otherwise *fails*. @fig-stream has the rates between. Last rows: examples that are shuffled "
        f"once and then cycled. Means over {count_words(many['seed'].nunique(), 'seed')}; of scattered accuracies the "
        "least and largest.",
        (24, 10, 7, 15, 7, 7, 10, 14, 12),
    )


def _format_loss(loss: float) -> str:
    return np.format_float_positional(float(f"{loss:.2g}")) if loss < 1e-3 else f"{loss:#.3g}".rstrip(".")


def _mean_or_range(accuracies: pd.Series[float]) -> str:
    """Return accuracies in percent as a mean with its interval; where they are scattered, the least and the largest."""
    interval = t_interval(accuracies)
    if SCATTERED < interval.half_width < math.inf:
        return f"{format_range(100 * accuracies, 1)}"
    return format_interval(interval, 2, "")


def _at_most(passes: pd.Series[float], runs: pd.DataFrame) -> str:
    """Write the mean of passes; where no run was measured before, that it took no more."""
    first = runs.loc[runs["epoch"] > 0, "epoch"].min()
    return f"{'≤' if (passes == first).all() else ''}{_format_passes(passes.mean())}"


def _format_passes(passes: float) -> str:
    return "–" if not math.isfinite(passes) else f"{passes:.1f}" if passes < 10 else f"{passes:.0f}"


@exhibit(
    "fig-pass",
    "label_sorted_stream",
    explore="metric=class_accuracy&run=order:label_sorted",
)
def within_pass(found: Results) -> Picture:
    """Draw, within epochs, class accuracies of the sorted stream; test accuracy and gradient cosine of each order."""
    rows, starts = within_epochs(found.rows), label_starts(found.programs["labels"])
    figure, (classes, cosine) = plt.subplots(2, 1, figsize=(WIDTH, 2.2), sharex=True, height_ratios=(1, 1.2))
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
    shuffled = rows[rows["order"] == "shuffled"]
    draw_line(
        cosine, mean_and_range(shuffled, "gradient_cosine"), line_style("shuffled")["color"], linewidth=1
    )
    often = found.programs["cosines"]
    cosine.plot(often["epoch"], often["value"], color=line_style("label_sorted")["color"], linewidth=0.8)
    epochs = math.ceil(rows["epoch"].max())
    for begin in (begun + start for begun in range(epochs) for start in starts):
        cosine.axvline(begin, color=FAINT, linewidth=0.6, zorder=0)
    cosine.set_ylabel("cosine")
    cosine.axhline(0, color=QUIET, linewidth=0.8)
    cosine.set_xlabel("pass")
    cosine.set_xlim(0, epochs)
    end = shuffled[shuffled["metric"] == "gradient_cosine"].groupby("epoch")["value"].mean().iloc[-2]
    label_ends(
        cosine,
        [
            (epochs, height, NAMES[order], line_style(order)["color"])
            for order, height in (("shuffled", end), ("label_sorted", often["value"].iloc[-2]))
        ],
    )
    examples = round(rows["update"].max() / rows["epoch"].max())
    return Picture(
        figure,
        f"{count_words(epochs, 'pass', 'passes').capitalize()} at $\\eta = {rows['learning_rate'].max():g}$ over "
        f"{'all ' if examples == TRAIN_EXAMPLES else ''}{examples:,} examples; vertical lines: the label changes. "
        "Above, test accuracy of each class on the sorted stream: high while its label is shown, lost soon after. "
        "Below: cosine between the next example's gradient and $\\nabla R$; on the sorted stream of one seed, "
        f"measured every {round(examples * often['epoch'].iloc[1])} updates, so that the peak after a change is seen "
        "whole only where a measurement falls into it; else means and ranges over "
        f"{count_words(rows['seed'].nunique(), 'seed')}.",
        "Above, a map of class accuracy: bright cells run along the diagonal of each pass. Below, two bands of "
        "cosines, that of SGD about zero, that of the sorted stream near minus one.",
    )


@sketch(
    "label_sorted_stream",
    alt="Test accuracy over the learning rate: high when shuffled, at chance when sorted.",
)
def sketch_of_rates(axes: Axes, found: Results) -> None:
    ends = last_epochs(few_epochs(found.rows))
    for order in ORDERS:
        means = ends.loc[order]["end"].groupby("learning_rate").mean()
        axes.plot(means.index, means, color=line_style(order)["color"])
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    write_in(axes, 0.38, 0.6, "shuffled", line_style("shuffled")["color"])
    write_in(axes, 0.38, 0.24, "sorted", line_style("label_sorted")["color"])


# Findings


@finding("label_sorted_stream", headline=True)
def sorted_needs_many_passes(found: Results) -> Evidence:
    best = best_streams(found.rows)["label_sorted"]
    lines = progress(found.rows).loc["label_sorted"]
    accuracy, falling = lines["accuracy"][best], lines["verdict"] != "fails"
    converging = lines.index[lines["verdict"] == "converges"]
    first = first_passes(found.rows, FAST)
    stream = first["label_sorted"].min()
    of_sgd = first["shuffled"].get(first["label_sorted"].idxmin(), math.inf)
    return Evidence(
        "On the sorted stream the network needs hundreds of passes to learn what SGD learns in one. In "
        f"{round(with_more_passes(found.rows)['epochs'].max())} passes its train loss falls below {DONE:g} at rates "
        f"from {format_rate(converging.min())} to {format_rate(converging.max())} (i); at the fastest of them, $\\eta "
        f"= {format_rate(best)}$, it reaches {format_percent(FAST, 0)} test accuracy after about "
        f"{float(f'{stream:.2g}'):.0f} passes (@tbl-stream). At smaller rates the loss was still falling at the end; "
        "at larger ones it does not fall.",
        {
            **_after_few_passes(found.rows)[2],
            "within many it has more than the last of the tabulated accuracies": bool(accuracy > FAST),
            "it converges at some rates, the best among them": best in converging,
            "it takes over a hundred passes to that": bool(100 < stream < math.inf),
            "SGD takes less than one, at that rate": bool(of_sgd < 1),
            "the loss falls at all rates up to the best, and at none beyond": bool(
                falling[:best].all() and not falling[falling.index > best].any()
            ),
        },
        "Sorted by label, examples are learnt in hundreds of passes instead of one.",
    )


@finding("label_sorted_stream")
def few_passes_are_not_enough(found: Results) -> Evidence:
    good, limit, conditions = _after_few_passes(found.rows)
    usable = f"from {format_rate(good.min())} to {format_rate(good.max())}" if len(good) else "at none"
    return Evidence(
        f"In {count_words(round(few_epochs(found.rows)['epoch'].max()), 'pass', 'passes')} the stream's test accuracy "
        f"exceeds {format_percent(limit, 0)} at no rate, where SGD ends above {format_percent(GOOD, 0)} {usable} "
        "(@fig-stream, left).",
        conditions,
    )


def _after_few_passes(rows: pd.DataFrame) -> tuple[pd.Index[float], float, dict[str, bool]]:
    """Return SGD's rates with GOOD accuracy, a bound on the stream's at any rate, and what must hold of both."""
    means = last_epochs(few_epochs(rows)).groupby(["order", "learning_rate"]).mean()
    sgd, most = means["end"]["shuffled"], means["most"]["label_sorted"].max()
    good = sgd.index[sgd > GOOD]
    limit = math.ceil(20 * most) / 20  # the next multiple of 5 %
    conditions = {
        "within few passes the sorted stream stays below 50 % at every rate": limit < 0.5,
        "rates at which SGD is good follow one another": len(good) > 1
        and bool((sgd[good.min() : good.max()] > GOOD).all()),
    }
    return good, limit, conditions


@finding("label_sorted_stream")
def rates_that_converge(found: Results) -> Evidence:
    lines = progress(found.rows)
    passes, more = (round(each(found.rows)["epochs"].max()) for each in (many_epochs, with_more_passes))
    rates = {
        (method, verdict): lines.loc[method].query("verdict == @verdict").index
        for method in ("label_sorted", "shuffled")
        for verdict in ("converges", "falling", "fails")
    }
    converging, failing = (rates["label_sorted", verdict] for verdict in ("converges", "fails"))
    of_sgd = rates["shuffled", "converges"]
    slow_sgd, failing_sgd = (rates["shuffled", verdict] for verdict in ("falling", "fails"))
    soon = lines.loc["label_sorted"].query("loss < @DONE").index
    nearest = rates["label_sorted", "falling"].max()
    late = final_values(with_more_passes(found.rows), "train_loss", ["method", "learning_rate", "seed"])
    done = passes_to_loss(found.rows)
    stream, of_descent = (
        done[method].reindex(converging).dropna() for method in ("label_sorted", "shuffled")
    )
    at_best, of_sgd_there = (each.get(converging.max(), math.nan) for each in (stream, of_descent))
    return Evidence(
        f"In {passes} passes SGD converges, to a train loss below {DONE:g}, at all rates tried from "
        f"{format_rate(of_sgd.min())} to {format_rate(of_sgd.max())}, the stream at "
        f"{_rates(soon) if len(soon) else 'none'}; in {more} the stream does at {_rates(converging)} (@tbl-stream). At "
        f"smaller rates its loss is still falling (at $\\eta =$ {format_rate(nearest)} it ends just above), from "
        f"{format_rate(failing.min())} on it does not fall. At its fastest, "
        f"{format_rate(converging.max())}, the stream takes {at_best:.0f} passes where SGD takes "
        f"{of_sgd_there:.0f}.",
        {
            "the stream's rates follow each other: slow, converging, failing": bool(
                rates["label_sorted", "falling"].max() < converging.min()
                and converging.max() < failing.min()
                and len(converging) > 1
            ),
            "the largest of the slow ones ends less than half above the bound": bool(
                late["label_sorted"].groupby("learning_rate").mean().get(nearest, math.inf) < 1.5 * DONE
            ),
            "SGD takes far fewer passes at each of these": bool(of_descent.max() < stream.min() / 10),
            "the stream takes fewest at the largest of them": bool(at_best == stream.min()),
            "SGD converges at a decade of rates": bool(of_sgd.max() > 10 * of_sgd.min()),
            "its rates hold all of the stream": bool(
                of_sgd.min() <= converging.min() and converging.max() <= of_sgd.max()
            ),
            "its window is known on both sides": bool(
                len(slow_sgd)
                and len(failing_sgd)
                and slow_sgd.max() < of_sgd.min() < of_sgd.max() < failing_sgd.min()
            ),
        },
    )


@finding("label_sorted_stream")
def speeds_of_the_stream(found: Results) -> Evidence:
    stream = progress(found.rows).loc["label_sorted"]
    following = stream.index[follows_descent(stream)]
    return Evidence(
        "At small rates one pass does about what one step of GD with the rate $\\eta n$ does: up to "
        f"$\\eta =$ {format_rate(following.max())} the final loss is within {format_percent(CLOSE, 0)} of that of "
        "GD.",
        {
            "it follows GD at the least rates": len(following) > 1
            and bool(follows_descent(stream)[: following.max()].all()),
        },
    )


def _rates(rates: pd.Index[float]) -> str:
    return join_english(map(format_rate, rates))


@finding("label_sorted_stream")
def rates_in_between_come_later(found: Results) -> Evidence:
    stream = progress(found.rows).loc["label_sorted"]
    accuracy, best = stream["accuracy"], best_streams(found.rows)["label_sorted"]
    small = accuracy[stream.index[follows_descent(stream)]].idxmax()
    longer = with_more_passes(found.rows)
    late = final_values(longer, "train_loss", ["method", "learning_rate", "seed"])["label_sorted"]
    larger = accuracy[(accuracy.index > small) & (accuracy.index < best)]
    later, between = larger.index[larger < accuracy[small]], larger.idxmin()
    passes, more = (round(rows["epoch"].max()) for rows in (many_epochs(found.rows), longer))
    courses = train_courses(found.rows)["label_sorted"]
    peaks = courses.max() / courses.iloc[0]
    return Evidence(
        f"At larger rates, up to {format_rate(later.max())}, it learns more slowly: after {passes} passes it has "
        f"{format_percent(accuracy[between], 0)} test accuracy at {format_rate(between)}, but "
        f"{format_percent(accuracy[small], 0)} at {format_rate(small)}. After {more} the larger of these rates has "
        f"the lower train loss, {late[between].mean():.2f} against {late[small].mean():.2f}.",
        {
            "the rate in between is behind a smaller one and the best": bool(
                accuracy[between] < min(accuracy[small], accuracy[best]) - 0.05
            ),
            "these rates follow each other": list(later) == list(larger.index[: len(later)]),
            "after more passes every start is ahead of all of the smaller one": bool(
                late[between].max() < late[small].min()
            ),
            "at the small rate the train loss stays near or below the first": bool(peaks[small] < 1.2),
            "at larger ones it rises far above": bool(peaks[best] > 2 and peaks[between] > 1.2),
        },
    )


@finding("label_sorted_stream")
def sorting_matters_and_not_the_fixed_order(found: Results) -> Evidence:
    by = ["learning_rate", "seed"]
    once, many = shuffled_once(found.rows), many_epochs(found.rows)
    sgd, stream = (many[many["method"] == method] for method in ORDERS)

    def ends(rows: pd.DataFrame, metric: str) -> pd.Series[float]:
        return final_values(rows, metric, by)

    rates = once["learning_rate"].sort_values().unique()
    apart = {
        rate: paired_t(ends(sgd, "test_accuracy")[rate], ends(once, "test_accuracy")[rate]).difference
        for rate in rates
    }
    means = {
        name: ends(rows, "train_loss").groupby("learning_rate").mean()[rates]
        for name, rows in (("once", once), ("sgd", sgd), ("stream", stream))
    }
    return Evidence(
        "Shuffled once and then cycled, the examples are learnt as by SGD (last rows of @tbl-stream).",
        {
            "every difference is within its interval": all(
                abs(each.mean) <= each.half_width for each in apart.values()
            ),
            "and every loss within a tenth": bool((means["once"] / means["sgd"] - 1).abs().max() < 0.1),
            "where that of the sorted stream is a hundred times as large": bool(
                (means["stream"] > 100 * means["sgd"]).all()
            ),
        },
    )


@finding("label_sorted_stream")
def sorted_is_worse(found: Results) -> Evidence:
    many, best = many_epochs(found.rows), best_streams(found.rows)
    ends = final_values(many, "test_accuracy", ["method", "learning_rate", "seed"])
    stream, sgd = (ends[method, best[method]] for method in ("label_sorted", "shuffled"))
    gap = paired_t(sgd, stream).difference
    courses = (
        many[many["metric"] == "test_accuracy"].groupby(["method", "learning_rate", "epoch"])["value"].mean()
    )
    rising = courses["label_sorted", best["label_sorted"]]
    last = rising.index.max()
    rise = rising.iloc[-1] - rising.loc[: last - 20].iloc[-1]
    longer = with_more_passes(found.rows)
    at_best = longer[longer["learning_rate"] == longer["method"].map(best)]
    late, losses = (
        final_values(at_best, metric, ["method", "seed"]) for metric in ("test_accuracy", "train_loss")
    )
    left = paired_t(late["shuffled"], late["label_sorted"]).difference
    gain = gain_of_last_quarter(at_best[at_best["method"] == "label_sorted"])

    return Evidence(
        f"Not quite. After {last:.0f} passes each, at the rates of highest validation accuracy "
        f"({format_rate(best['shuffled'])} for SGD, {format_rate(best['label_sorted'])} for the stream), test "
        f"accuracy is {format_interval(gap, 1, '')} points lower on the stream (@tbl-stream). The stream still gains. "
        f"After {longer['epoch'].max():.0f} passes each, at the same rates, it is {format_interval(left, 1, '')} "
        "points behind, although its train loss is then nearly 0 as well.",
        {
            "it leads with every seed": bool((sgd - stream).min() > 0),
            "it leads by more than a point, and less than two": 0.01 < gap.mean < 0.02,
            "the sorted stream still rises": bool(0.001 < rise < 0.01),
            "with more passes it comes closer": left.mean < gap.mean,
            "SGD still leads, with every seed": bool((late["shuffled"] - late["label_sorted"]).min() > 0),
            "it is not on a plateau then": gain > PLATEAU,
            "both train losses are nearly 0": bool(losses.groupby("method").mean().max() < DONE / 100),
        },
    )


@finding("label_sorted_stream")
def forgetting(found: Results) -> Evidence:
    retention = class_retention(found.rows, found.programs["labels"])
    own, later = retention["own"].mean(), retention["next"].mean()
    return Evidence(
        f"At $\\eta = {within_epochs(found.rows)['learning_rate'].max():g}$, {format_percent(own, 0)} of a class's "
        "test examples are recognised at the end of the block of its label, because the network then gives its label "
        f"to everything, and {format_percent(later, 0)} one block later.",
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
def shuffling_afterwards_gains_nothing(found: Results) -> Evidence:
    table = found.programs["then_shuffled"].query("metric == 'test_accuracy'")
    courses = table.pivot(index="seed", columns="pass", values="value")
    gain = paired_t(courses.iloc[:, -1], courses[0]).difference
    return Evidence(
        f"Shuffling from then on does not help: {count_words(courses.columns[-1])} passes of SGD change the test "
        f"accuracy by {format_interval(gain, 1, '')} points. The stream has led to weights that generalise a little "
        "worse.",
        {
            "the change is less than two tenths of a point from every start": bool(
                (courses.iloc[:, -1] - courses[0]).abs().max() < 0.002
            ),
        },
    )


@finding("label_sorted_stream")
def late_passes_forget_little(found: Results) -> Evidence:
    many, best = many_epochs(found.rows), best_streams(found.rows)["label_sorted"]
    stream = many[(many["method"] == "label_sorted") & (many["learning_rate"] == best)]
    last = round(stream["epoch"].max())
    late = stream[(stream["metric"] == "validation_accuracy") & (stream["epoch"] > last - SPREAD_PASSES)]
    return Evidence(
        f"Late in training it hardly forgets: in the last {SPREAD_PASSES} of {last} passes at {format_rate(best)}, "
        f"validation accuracy at places spread over the pass lies between {format_percent(late['value'].min())} and "
        f"{format_percent(late['value'].max())}.",
        {
            "the places are spread over the pass": bool((late["epoch"] % 1).round(1).nunique() > 3),
            "accuracies lie within two points": bool(np.ptp(late["value"]) < 0.02),
        },
    )


@finding("label_sorted_stream")
def running_gradient_is_biased(found: Results) -> Evidence:
    rows, stream = within_epochs(found.rows), found.programs["cosines"]
    cosines = rows[(rows["metric"] == "gradient_cosine") & (rows["order"] == "shuffled")]
    shuffled, mean = cosines.groupby("epoch")["value"].mean().mean(), stream["value"].mean()
    since = updates_since_change(found)
    above = since[stream["value"] > 0].max()
    below = since[since > above].min()
    return Evidence(
        f"At $\\eta = {rows['learning_rate'].max():g}$ the cosine of the next example's gradient with $\\nabla R$ "
        f"averages {format_fixed(mean, 2)} on the sorted stream, and {format_fixed(shuffled, 2)} for shuffled "
        "examples. On the stream it is positive only right after a change of label: wherever it was measured within "
        f"{above:.0f} updates of the change, and nowhere from {below:.0f} updates on (@fig-pass).",
        {
            "on the sorted stream the mean cosine is clearly negative": bool(mean < -0.5),
            "with shuffled examples it is positive": bool(shuffled > 0),
            "after a change it is positive, whenever it was measured so soon": bool(
                (stream["value"][since <= above] > 0).all() and (stream["value"] > 0.5).sum() > 1
            ),
            "for less than a hundredth of a block": bool(below < _examples(found.rows) / CLASSES / 100),
        },
    )


def updates_since_change(found: Results) -> pd.Series[float]:
    """Return how many updates before each of the cosines the label of the sorted stream last changed."""
    epochs = found.programs["cosines"]["epoch"].to_numpy()
    starts, examples = label_starts(found.programs["labels"]), len(found.programs["labels"])
    place = np.round(epochs % 1 * examples)
    begun = np.round(np.sort(starts) * examples)
    return pd.Series(place - begun[np.searchsorted(begun, place, side="right") - 1])


@finding("label_sorted_stream")
def weights_keep_growing(found: Results) -> Evidence:
    norms = found.programs["weight_norms"].pivot(index="epoch", columns="order", values="value")
    stream, passes = norms["label_sorted"], round(norms.index[-1])
    third = norms.loc[norms.index >= passes / 3].iloc[0], norms.loc[norms.index >= 2 * passes / 3].iloc[0]
    first, last = third[0] - norms.iloc[0], norms.iloc[-1] - third[1]
    return Evidence(
        f"On the stream $\\lVert w \\rVert$ grows from {stream.iloc[0]:.0f} to {stream.iloc[-1]:.0f} in {passes} "
        f"passes at {format_rate(THEN_SHUFFLED_RATE)}, ever more slowly, but no bound is seen.",
        {
            "it grows tenfold, with SGD as well": bool((norms.iloc[-1] > 10 * norms.iloc[0]).all()),
            "it still grows at the end": bool((last > 0).all()),
            "more slowly than at first": bool((last < first / 5).all()),
        },
    )


@finding("label_sorted_stream", "learning_rate")
def proof_covers_smallest_rates(found: Results, descent: Results) -> Evidence:
    curvature = descent.rows.query("metric == 'sharpness' and epoch == 0")["value"].min()
    stream = progress(found.rows).loc["label_sorted"]
    rates, best = stream.index, best_streams(found.rows)["label_sorted"]
    bound = 1 / (_examples(found.rows) * curvature)
    covered = rates[rates <= bound]
    return Evidence(
        f"$\\Lambda$ is no less than the sharpness $\\lambda_{{\\max}}$, which is above {math.floor(curvature)} at "
        "each of our starts (@sec-q6), so the condition rules out every rate above "
        f"{format_rate(float(f'{bound:.0e}'))}. Of the rates tried it allows at most {_rates(covered)}, where the "
        "stream follows GD.",
        {
            "it allows the least of our rates at most": bool(bound < rates[1]),
            "it may allow that": bool(bound > rates[0]),
            "the stream follows GD there": bool(follows_descent(stream).iloc[0]),
            "the best rate is more than ten thousand times as large": bool(best > 10_000 * bound),
        },
    )


def _examples(rows: pd.DataFrame) -> int:
    """Return the number of training examples of the runs of many epochs."""
    many = many_epochs(rows)
    return round(float((many["update"] / many["epoch"]).max()))
