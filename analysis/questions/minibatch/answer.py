"""Exercise 1, minibatches: what batch sizes from one example to all do to speed, accuracy and noise."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from analysis.engine.run import TRAIN_EXAMPLES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_at_least,
    format_estimate,
    format_fixed,
    format_interval,
    format_mean_epoch,
    format_percent,
    join_english,
)
from analysis.plotting import (
    LINE_STYLES,
    RATE_COLOURS,
    WIDTH,
    draw_line,
    label_ends,
    mean_and_range,
    write_in,
)
from analysis.questions.minibatch.runs import BUDGETS, DECAYS, NARROW, NARROW_RATES
from analysis.results import Results, remembered
from analysis.statistics import (
    at_best_rates,
    best_rates,
    final_values,
    first_epochs,
    paired_t,
    t_interval,
)

SETTING = ["budget", "batch", "decay"]
WIDE_NETWORK = "300"
NARROW_NETWORK = "-".join(map(str, NARROW))
SLOW, FAST = DECAYS[:2]
SCHEDULES = {SLOW: "slow", FAST: "fast"}
# Batch sizes of the figure: 4 is like 1, and 8,192 between 1,024 and all.
DRAWN = (1, 16, 128, 1024, math.inf)
SMALL_BATCHES = (1, 4, 16, 128)  # said to reach GOOD_ACCURACY
GOOD_ACCURACY = 0.97  # of the test set
EARLY_ACCURACY = 0.95  # of the test set: the first epoch that reaches it is tabulated
SAID_BATCH, SAID_EARLY = 16, 2  # batches of this size are taken for what is said of a couple of epochs
SAID_EPOCHS = 100  # "hundreds" of epochs are at least so many


@remembered
def batch_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the wide network, by setting (the columns SETTING), each at its best rate.

    A setting is a batch size with a decay of the rate; the full batch is one setting with the epochs of the others, and
    one with all of its own.

    Returns:
        Also, batch: the size, infinite for all examples; budget: the epochs; edge: whether the best rate is the grid's
        least or largest.
    """
    rows = rows[rows["hidden"] != NARROW_NETWORK]
    rows = rows.assign(batch=rows["batch_size"].astype(float).fillna(np.inf), budget=rows["epochs"])
    few = rows["epochs"].min()
    full = np.isinf(rows["batch"])
    cut = rows[full & (rows["epoch"] <= few)]
    rows = pd.concat([rows[~full], cut.assign(budget=few), rows[full]])
    best = best_rates(rows, SETTING)
    rates = rows.groupby(SETTING)["learning_rate"].agg(["min", "max"])
    edge = (rates["min"] == best) | (rates["max"] == best)
    return rows.merge(pd.DataFrame({"learning_rate": best, "edge": edge}).reset_index()).sort_values(
        [*SETTING, "seed", "update"], ignore_index=True
    )


@remembered
def minibatch_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per setting, in the order of `batch_settings`.

    Returns:
        budget (epochs), batch, decay, learning_rate, edge, update_seconds, epoch_seconds, first_loss (train, after one
        epoch), train_loss (at the end), accuracy (its Interval), early (first epoch of EARLY_ACCURACY, by seed).
    """
    lines = []
    for setting, runs in batch_settings(rows).groupby(SETTING):
        end = runs[runs["epoch"] == runs["epoch"].max()]
        loss = runs[runs["metric"] == "train_loss"]
        lines.append(
            {
                **dict(zip(SETTING, setting, strict=True)),
                "learning_rate": runs["learning_rate"].iloc[0],
                "edge": runs["edge"].iloc[0],
                "update_seconds": (end["seconds"] / end["update"]).mean(),
                "epoch_seconds": (end["seconds"] / end["epoch"]).mean(),
                "first_loss": loss.loc[loss["epoch"] == 1, "value"].mean(),
                "train_loss": loss.loc[loss["epoch"] == loss["epoch"].max(), "value"].mean(),
                "accuracy": t_interval(final_values(runs, "test_accuracy", ["seed"])),
                "early": first_epochs(runs, EARLY_ACCURACY, ["seed"]),
            }
        )
    return pd.DataFrame(lines)


def minibatches(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return, of `minibatch_numbers`, batches of less than all examples at constant rates; index: batch."""
    return numbers[(numbers["decay"] == 0) & np.isfinite(numbers["batch"])].set_index("batch")


def full_batches(numbers: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return, of `minibatch_numbers`, those of gradient descent, with few and with many epochs."""
    full = numbers[np.isinf(numbers["batch"])]
    return full.iloc[0], full.iloc[-1]


def schedules(rows: pd.DataFrame, hidden: str, rate: float | None = None) -> dict[str, pd.DataFrame]:
    """Return how a network ends that is trained on single examples with constant and decreasing rates.

    Args:
        rows: Of the experiment.
        hidden: The network.
        rate: The first learning rate of all, None for each decay's best.

    Returns:
        Final train_loss and test_accuracy: index seed, a column per decay.
    """
    single = rows[(rows["hidden"] == hidden) & (rows["batch_size"] == 1)]
    chosen = at_best_rates(single, ["decay"]) if rate is None else single[single["learning_rate"] == rate]
    return {
        metric: final_values(chosen, metric, ["decay", "seed"]).unstack("decay")
        for metric in ("train_loss", "test_accuracy")
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
        "metric=train_loss&xlog=1&ylog=1"
        "&run=hidden:300,decay:0,batch_size:16,learning_rate:0.3"
        "&pin=batch_size:1,learning_rate:0.1"
        "&pin=batch_size:128,learning_rate:1"
        "&pin=batch_size:all,learning_rate:3"
    ),
)
def losses_by_batch_size(found: Results) -> Picture:
    """Draw the train loss of some batch sizes at their best constant rates against epochs, updates and time."""
    rows = batch_settings(found.rows).query("decay == 0 and batch in @DRAWN")
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.3), sharey=True)
    losses = rows[(rows["metric"] == "train_loss") & (rows["epoch"] > 0)]
    sizes = sorted(losses["batch"].unique())
    labels = []
    for size, colour in zip(sizes, RATE_COLOURS(np.linspace(0, 0.85, len(sizes))), strict=True):
        of_size = losses[losses["batch"] == size]
        runs = of_size[of_size["budget"] == of_size["budget"].max()]
        style = {
            "color": colour,
            "linestyle": "--" if np.isinf(size) else "-",
            "marker": "." if runs["epoch"].nunique() == 1 else "",
        }
        course = mean_and_range(runs, "train_loss")
        draw_line(panels[0], course, **style)
        labels.append((course.index[-1], course["mean"].iloc[-1], format_size(size), colour))
        for axes, x in zip(panels[1:], ("update", "seconds"), strict=True):
            means = runs.groupby("epoch")[[x, "value"]].mean()
            axes.plot(means[x], means["value"], **style)
    for axes, name in zip(panels, ("epoch", "update", "training time in s"), strict=True):
        axes.set_xscale("log")
        axes.set_xlabel(name)
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_yscale("log")
    panels[0].set_ylabel("train cross entropy")
    label_ends(panels[0], labels)
    return Picture(
        figure,
        f"Train loss of {count_words(len(sizes))} batch sizes (named at the ends), each at its best rate, against "
        "epochs, updates and the training time of our kernel. By epochs the small batches are ahead, by updates they "
        "are behind; dashed: all examples. Lines are means; the bands on the left span the "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}.",
        "Three panels of falling loss curves, one line per batch size. Against epochs the small batches are lowest "
        "and the full batch far above; against updates the order is reversed; against time it is that of the epochs.",
    )


@exhibit("tbl-minibatch", "minibatch")
def minibatch_table(found: Results) -> Table:
    """Tabulate `minibatch_numbers`."""
    lines = []
    plain = plain_epoch_seconds(found)
    for _, line in minibatch_numbers(found.rows).iterrows():
        constant = line["decay"] == 0
        schedule = "" if constant else f", {SCHEDULES.get(line['decay'], 'd = {:g}'.format(line['decay']))}"
        lines.append(
            {
                "Batch": format_size(line["batch"]) + schedule,
                "Best $\\eta$": f"{line['learning_rate']:g}" + ("*" if line["edge"] else ""),
                "Epochs": f"{line['budget']:.0f}",
                "s per epoch": format_fixed(line["epoch_seconds"], 2) if constant else "–",
                "in plain PyTorch": _format_seconds(plain.get(line["batch"])) if constant else "–",
                "Loss after 1 epoch": format_fixed(line["first_loss"], 3),
                "at the end": format_fixed(line["train_loss"], 4),
                "Epochs to 95 %": format_mean_epoch(line["early"]),
                "Test acc. in %": format_interval(line["accuracy"], 2, ""),
            }
        )
    wide = found.rows[found.rows["hidden"] != NARROW_NETWORK]
    edge = " (* on the edge of its grid)" if any("*" in line["Best $\\eta$"] for line in lines) else ""
    tried = sorted(set(wide.groupby("batch_size", dropna=False)["learning_rate"].nunique()))
    return Table(
        pd.DataFrame(lines),
        f"Every batch size at the best of its {' or '.join(map(count_words, tried))} rates{edge}, means over "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}. *Slow* and *fast*: decreasing rates $\\eta_\\tau = "
        f"\\eta / (1 + d\\, \\tau / T)$ with $d = {SLOW:g}$ and ${FAST:g}$ and $T$ updates per epoch. "
        "Time of an epoch in our kernel, evaluation excluded, and in plain PyTorch, both rough; train loss; first "
        "epoch, measured several times per epoch, of 95 % test accuracy; test accuracy at the end, which is not final "
        f"for batches of {SMALL_BATCHES[-1]} and more.",
        (11, 8, 9, 9, 11, 13, 11, 11, 14),
    )


@exhibit("tbl-noise", "minibatch")
def narrow_table(found: Results) -> Table:
    """Tabulate how the narrow network ends with constant and decreasing rates."""
    single = found.rows[found.rows["hidden"] == NARROW_NETWORK]
    rates = best_rates(single, ["decay"])
    noisy, best = (
        schedules(found.rows, NARROW_NETWORK, max(NARROW_RATES)),
        schedules(found.rows, NARROW_NETWORK),
    )
    lines = [
        {
            "Rate": SCHEDULES.get(decay, f"d = {decay:g}") if decay else "constant",
            f"Train loss at $\\eta = {max(NARROW_RATES):g}$": _format_losses(noisy["train_loss"][decay]),
            "Best $\\eta$": f"{rates[decay]:g}",
            "Train loss": _format_losses(best["train_loss"][decay]),
            "Test acc. in %": format_interval(t_interval(best["test_accuracy"][decay]), 2, ""),
        }
        for decay in sorted(rates.index)
    ]
    return Table(
        pd.DataFrame(lines),
        f"784-{NARROW_NETWORK}-10 after {count_words(round(single['epoch'].max()), 'epoch')} with single examples: at "
        "the largest rate that all schedules share, and each at its best rate; 95 % t intervals.",
    )


def _format_losses(losses: pd.Series[float]) -> str:
    return format_estimate(t_interval(losses), 3)


def _format_seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.3g}"


@sketch(
    "minibatch",
    alt="The train loss of small batches falls within an epoch, that of gradient descent much later.",
)
def sketch_of_losses(axes: Axes, found: Results) -> None:
    rows = batch_settings(found.rows).query("decay == 0 and metric == 'train_loss' and epoch > 0")
    for size, style in ((16, LINE_STYLES["sgd"]), (np.inf, LINE_STYLES["gd"])):
        of_size = rows[rows["batch"] == size]
        means = of_size[of_size["budget"] == of_size["budget"].max()].groupby("epoch")["value"].mean()
        axes.plot(means.index, means, color=style["color"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    write_in(axes, 0.03, 0.1, "batches of 16", LINE_STYLES["sgd"]["color"])
    write_in(axes, 0.5, 0.82, "all examples", LINE_STYLES["gd"]["color"])


# Findings


@finding("minibatch", headline=True)
def minibatches_win(found: Results) -> Evidence:
    numbers = minibatch_numbers(found.rows)
    accuracy = minibatches(numbers)["accuracy"].map(lambda interval: interval.mean)
    good = accuracy[accuracy >= GOOD_ACCURACY]
    gd, longer = full_batches(numbers)
    return Evidence(
        f"Small batches need far fewer epochs. After {count_words(round(gd['budget']))} of them, batches of up to "
        f"{format_size(good.index.max()) if len(good) else 'no size'} reach at least "
        f"{format_at_least(good.min()) if len(good) else '–'} test accuracy; gradient descent has "
        f"{format_percent(longer['accuracy'].mean)} after ten times as many.",
        {
            f"batches of {join_english(map(str, SMALL_BATCHES))} reach {format_percent(GOOD_ACCURACY, 0)}": set(
                SMALL_BATCHES
            )
            <= set(good.index),
            f"gradient descent stays below {format_percent(GOOD_ACCURACY, 0)}": max(
                gd["accuracy"].mean, longer["accuracy"].mean
            )
            < GOOD_ACCURACY,
            "its longer budget is the tenfold": bool(longer["budget"] == 10 * gd["budget"]),
        },
        f"Small batches reach in {gd['budget']:.0f} epochs an accuracy that gradient descent misses in "
        f"{longer['budget']:.0f}.",
    )


@finding("minibatch")
def one_epoch_beats_gradient_descent(found: Results) -> Evidence:
    numbers = minibatch_numbers(found.rows)
    _, gd = full_batches(numbers)
    first = minibatches(numbers)["first_loss"]
    below = first[first < gd["train_loss"]]
    return Evidence(
        f"A single epoch with batches of up to {format_size(below.index.max()) if len(below) else 'no size'} brings "
        f"the train loss below the {format_fixed(gd['train_loss'], 2)} that gradient descent reaches in "
        f"{gd['budget']:.0f}.",
        {
            "two batch sizes or more are ahead after one epoch": len(below) > 1,
            "they are the smallest": list(below.index) == list(first.index[: len(below)]),
        },
    )


@finding("minibatch", "adam_vs_sgd")
def small_batches_end_alike(found: Results, optimizers: Results) -> Evidence:
    settings = batch_settings(found.rows).query("decay == 0")
    few = settings[settings["budget"] == settings["budget"].min()]
    accuracy = final_values(few, "test_accuracy", ["batch", "seed"]).unstack("batch")
    smallest, *others = SMALL_BATCHES
    behind = {size: paired_t(accuracy[smallest], accuracy[size]).difference for size in others}
    largest = behind[others[-1]]
    longer = optimizers.rows[optimizers.rows["optimizer"] == "sgd"]  # with batches of that size
    ends = final_values(longer, "test_accuracy", ["epochs", "learning_rate", "seed"])
    ends = ends.groupby(["epochs", "learning_rate"]).mean().unstack("epochs").dropna()
    return Evidence(
        f"Among batches of up to {SMALL_BATCHES[-2]} no difference in test accuracy at the end can be told; those of "
        f"{others[-1]} are {format_interval(largest, 1, '')} points behind, and not yet done (@sec-adam).",
        {
            "the others' differences are within their intervals": all(
                abs(behind[size].mean) < behind[size].half_width for size in others[:-1]
            ),
            "the largest's is not": largest.mean > largest.half_width,
            "trained on, that size gains at every rate": bool((ends.iloc[:, -1] > ends.iloc[:, 0]).all()),
        },
    )


@finding("minibatch", "learning_rate")
def gradient_descent_comes_close(found: Results, rates: Results) -> Evidence:
    numbers = minibatch_numbers(found.rows)
    accuracy = rates.rows[(rates.rows["seed"] == 0) & (rates.rows["metric"] == "test_accuracy")]
    last = accuracy[accuracy["epoch"] == accuracy["epoch"].max()]
    best = minibatches(numbers)["accuracy"][SMALL_BATCHES[-1]].mean
    return Evidence(
        f"Given {last['epoch'].iloc[0]:,.0f} epochs, and all examples, gradient descent comes to "
        f"{format_percent(last['value'].max())} (@sec-q6).",
        {"it stays behind the small batches": bool(last["value"].max() < best)},
    )


@finding("minibatch")
def overhead_decides_the_time(found: Results) -> Evidence:
    numbers = minibatch_numbers(found.rows)
    ours = numbers.loc[numbers["decay"] == 0, "epoch_seconds"]
    plain = plain_epoch_seconds(found)
    early = minibatches(numbers)["early"].map(lambda epochs: epochs.mean())
    first = (early * plain).idxmin()
    return Evidence(
        "In plain PyTorch every update has an overhead: an epoch of single "
        f"examples takes {plain[1] / plain.min():.0f} times as long as the fastest, and "
        f"batches of {format_size(first)} are the first to reach {format_percent(EARLY_ACCURACY, 0)}. Our kernel has "
        f"next to none: its epochs differ by less than a factor of {count_words(math.ceil(ours.max() / ours.min()))}.",
        {
            "in plain PyTorch, single examples take more than five times as long as the best size": bool(
                plain[1] > 5 * plain.min()
            ),
            "neither the smallest nor the largest size is first to the early accuracy": first
            not in (early.index.min(), early.index.max()),
            "the times of our kernel lie within a factor of two": bool(ours.max() < 2 * ours.min()),
        },
    )


@finding("minibatch")
def constant_rates_suffice_where_all_is_fitted(found: Results) -> Evidence:
    ends = schedules(found.rows, WIDE_NETWORK)
    loss = ends["train_loss"].mean()
    return Evidence(
        "784-300-10 with single examples shows no such floor. A constant rate ends at a train loss of "
        f"{format_fixed(loss[0], 4)}, a fast decreasing one at {format_fixed(loss[FAST], 4)}.",
        {
            "the train loss is least with the constant rate": loss.idxmin() == 0,
            "with the constant rate it ends below 0.01": bool(loss[0] < 0.01),
        },
    )


@finding("minibatch")
def decreasing_rates_quench_noise(found: Results) -> Evidence:
    rate = max(NARROW_RATES)
    ends = schedules(found.rows, NARROW_NETWORK, rate)
    loss = ends["train_loss"].mean()
    best = schedules(found.rows, NARROW_NETWORK)["test_accuracy"]
    slow, fast = (paired_t(best[decay], best[0]).difference for decay in (SLOW, FAST))
    return Evidence(
        f"784-{NARROW_NETWORK}-10 cannot do that, and the noise stays: at $\\eta = {rate:g}$ a fast decreasing rate "
        f"ends at {format_percent(1 - loss[FAST] / loss[0], 0)} less train loss than a constant one (@tbl-noise). Each "
        "at its best rate, no difference in its test accuracy can be told from the noise of the seeds.",
        {
            "the faster the rate decreases, the lower the train loss": bool(
                loss[FAST] < loss[SLOW] < loss[0]
            ),
            "slow and constant do not differ at their best rates": abs(slow.mean) < slow.half_width,
            "fast and constant do not differ at their best rates": abs(fast.mean) < fast.half_width,
        },
    )


# Statements by others


@statement(
    "minibatch",
    "learning_rate",
    said="After a couple of epochs, minibatches are ahead of hundreds of epochs of gradient descent.",
)
def minibatches_beat_hundreds_of_epochs(found: Results, rates: Results) -> Evidence:
    settings = batch_settings(found.rows)
    few = min(SAID_EARLY, int(settings["budget"].min()))
    early = settings[
        (settings["batch"] == SAID_BATCH) & (settings["decay"] == 0) & (settings["epoch"] <= few)
    ]
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
