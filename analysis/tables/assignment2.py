"""The tables of assignment 2."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown

from analysis import statistics
from analysis.engine.run import TRAIN_EXAMPLES
from analysis.question import label_sorted_stream
from analysis.question import minibatch as minibatch_experiment
from analysis.statistics import best_rates, last, t_interval
from analysis.tables import interval, markdown, mean_epoch, number, percent, rate_text

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}
ORDERS = {"shuffled": "shuffled (SGD)", "label_sorted": "sorted by label"}
ACTIVATIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}
NARROW = "-".join(map(str, minibatch_experiment.NARROW))  # exercise 1: as the rows name it
ACCURACIES = (0.95, 0.97)  # exercise 4: thresholds of test accuracy
MARGIN = 0.01  # rates whose accuracy lies within it of the best rate's make up the window of usable rates


def first_epochs(rows: pd.DataFrame, threshold: float, by: Sequence[str]) -> pd.Series[float]:
    """First epoch with that test accuracy of each run (told apart by the columns `by`), infinite if there is none."""
    accuracy = rows[rows["metric"] == "test_accuracy"]
    reached = accuracy["epoch"].where(accuracy["value"] >= threshold, np.inf)
    return reached.groupby([accuracy[column] for column in by]).min()


def window(accuracies: pd.Series[float]) -> pd.Series[float]:
    """Of the mean accuracies by learning rate, those within MARGIN of the best."""
    return accuracies[accuracies >= accuracies.max() - MARGIN]


def decades(rates: pd.Index[float]) -> float:
    """From the least to the largest rate, in powers of ten."""
    return math.log10(rates.max() / rates.min())


def rate_range(rates: pd.Index[float]) -> str:
    """The least and the largest rate, as the text writes them."""
    least, largest = rate_text(rates.min()), rate_text(rates.max())
    return f"{least} to {largest}" if len(rates) > 1 else least


# Exercise 1


def batch_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 1: the rows by setting, each at its best rate: columns setting, batch, budget and edge are added.

    A setting is a batch size with constant or decreasing rate; the full batch is one with the epochs of the others, and
    one with all of its own. The narrow network is left out, see `schedules`.

    Returns:
        Also, batch: the size, infinite for all examples; edge: whether the best rate is the grid's least or largest.
    """
    rows = rows[rows["hidden"] != NARROW]
    size = rows["batch_size"].astype(float).fillna(np.inf)
    name = size.map(lambda each: "all" if math.isinf(each) else f"{each:,.0f}")
    rows = rows.assign(
        batch=size, setting=name.where(rows["decay"] == 0, name + ", " + _decay(rows)), budget=rows["epochs"]
    )
    few = rows["epochs"].min()
    full = np.isinf(rows["batch"])
    cut = rows[full & (rows["epoch"] <= few)]
    rows = pd.concat([rows[~full], cut.assign(budget=few), rows[full].assign(setting="all, longer")])
    best = best_rates(rows, ["setting"])
    rates = rows.groupby("setting")["learning_rate"].agg(["min", "max"])
    edge = (rates["min"] == best) | (rates["max"] == best)
    return rows.merge(pd.DataFrame({"learning_rate": best, "edge": edge}).reset_index()).sort_values(
        ["budget", "batch", "decay", "seed", "update"], ignore_index=True
    )


def _decay(rows: pd.DataFrame) -> pd.Series[str]:
    """How the rate decreases, in words."""
    return rows["decay"].map({0.0: "constant", 0.1: "slow", 1.0: "fast"})


def schedules(rows: pd.DataFrame, hidden: str, rate: float | None = None) -> dict[str, pd.DataFrame]:
    """Exercise 1: a network trained on single examples with constant, slowly and fast decreasing rates.

    Args:
        rows: Of the experiment.
        hidden: The network.
        rate: The first learning rate of all three, None for each one's best.

    Returns:
        Final train_loss and test_accuracy: index seed, columns constant, slow and fast.
    """
    single = rows[(rows["hidden"] == hidden) & (rows["batch_size"] == 1)]
    single = single.assign(schedule=_decay(single))
    chosen = (
        statistics.at_best_rates(single, ["schedule"])
        if rate is None
        else single[single["learning_rate"] == rate]
    )
    return {
        metric: last(chosen, metric, ["schedule", "seed"]).unstack("schedule")[["constant", "slow", "fast"]]
        for metric in ("train_loss", "test_accuracy")
    }


def minibatch_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 1: one row per setting, in the order of `batch_settings`.

    Returns:
        Index setting; batch, decay, budget (epochs), learning_rate, edge, update_seconds,
        epoch_seconds, first_loss (train, after one epoch), train_loss (at the end), accuracy (its Interval), epochs_95.
    """
    lines = {}
    for setting, runs in batch_settings(rows).groupby("setting", sort=False):
        end = runs[runs["epoch"] == runs["epoch"].max()]
        loss = runs[runs["metric"] == "train_loss"]
        one = runs.iloc[0]
        lines[setting] = {
            "batch": one["batch"],
            "decay": one["decay"],
            "budget": one["budget"],
            "learning_rate": one["learning_rate"],
            "edge": one["edge"],
            "update_seconds": (end["seconds"] / end["update"]).mean(),
            "epoch_seconds": (end["seconds"] / end["epoch"]).mean(),
            "first_loss": loss.loc[loss["epoch"] == 1, "value"].mean(),
            "train_loss": loss.loc[loss["epoch"] == loss["epoch"].max(), "value"].mean(),
            "accuracy": t_interval(last(runs, "test_accuracy", ["seed"])),
            "epochs_95": first_epochs(runs, ACCURACIES[0], ["seed"]).mean(),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("setting")


def plain_epoch(plain: pd.DataFrame) -> pd.Series[float]:
    """Exercise 1: seconds per epoch of 60,000 examples in plain PyTorch, by batch size."""
    by_size = plain.set_index("batch_size")["seconds"]
    return by_size * np.ceil(TRAIN_EXAMPLES / by_size.index)


def minibatch(rows: pd.DataFrame) -> Markdown:
    """Exercise 1: the numbers of `minibatch_numbers`."""
    lines = []
    for setting, line in minibatch_numbers(rows).iterrows():
        lines.append(
            {
                "Batch": str(setting).replace(", longer", ""),
                "Best $\\eta$": f"{line['learning_rate']:g}" + ("*" if line["edge"] else ""),
                "Epochs": f"{line['budget']:.0f}",
                "ms per update": f"{1e3 * line['update_seconds']:.3g}" if line["decay"] == 0 else "–",
                "s per epoch": number(line["epoch_seconds"], 2) if line["decay"] == 0 else "–",
                "Loss after 1 epoch": number(line["first_loss"], 3),
                "at the end": number(line["train_loss"], 4),
                "Epochs to 95 %": f"{line['epochs_95']:.1f}" if math.isfinite(line["epochs_95"]) else "–",
                "Test acc. in %": interval(line["accuracy"], 2, ""),
            }
        )
    return markdown(pd.DataFrame(lines))


# Exercise 2


def named_starts(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 2: the rows with columns method (GD, SGD) and start (the constant, "random", "one unit").

    The networks of one unit are those at the rate of the least mean train loss at the end.
    """
    method = rows["batch_size"].isna().map({True: "GD", False: "SGD"})
    start = rows["init_scale"].map("{:g}".format).where(rows["init"] == "constant", "random")
    named = rows.assign(method=method, start=start.where(rows["hidden"] != "1", "one unit"))
    by = ["method", "start", "activation"]
    loss = last(named, "train_loss", [*by, "learning_rate", "seed"])
    means = loss.groupby([*by, "learning_rate"]).mean()
    best = means.groupby(by).idxmin().map(lambda index: index[-1]).rename("learning_rate")
    return named.merge(best.reset_index())


def constant_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 2: train_loss and test_accuracy at the end, means over seeds; index: method, activation, start."""
    named = named_starts(rows)
    by = ["method", "activation", "start"]
    return pd.DataFrame(
        {
            metric: last(named, metric, [*by, "seed"]).groupby(by).mean()
            for metric in ("train_loss", "test_accuracy")
        }
    )


def constant_start(rows: pd.DataFrame) -> Markdown:
    """Exercise 2: final train loss and test accuracy of every start."""
    numbers = constant_numbers(rows)
    lines = []
    for method in ("GD", "SGD"):
        for start in dict.fromkeys(numbers.loc[method].index.get_level_values("start")):
            line = {"Method": method, "Start": start}
            for activation, name in ACTIVATIONS.items():
                cell = numbers.loc[(method, activation, start)]
                line[name] = number(cell["train_loss"], 3)
                line[f"{name} acc."] = (
                    percent(cell["test_accuracy"]) if math.isfinite(cell["test_accuracy"]) else "–"
                )
            lines.append(line)
    return markdown(pd.DataFrame(lines))


def label_entropy(labels: pd.Series[int]) -> float:
    """Exercise 2: -Σ f_j ln f_j of the labels' shares f_j: the least loss of a network that ignores its input."""
    shares = labels.value_counts(normalize=True)
    return float(-(shares * np.log(shares)).sum())


# Exercise 3


def orderings(labels: pd.Series[int]) -> float:
    """Exercise 3: log₁₀ of the number of orders that are sorted by label, ∏ n_j!."""
    return float(sum(math.lgamma(count + 1) for count in labels.value_counts()) / math.log(10))


def stream_window(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: the rows of the runs over all learning rates, for few passes."""
    held_out = rows[rows["validation_examples"] > 0]
    return held_out[held_out["epochs"] == held_out["epochs"].min()]


def slow_stream(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: the rows, at the end of each pass, of the runs for many passes.

    Returns:
        Also, method: "label_sorted" or "gd"; step: the rate of gradient descent that a pass corresponds to, η n for the
        sorted stream of n examples and η for gradient descent.
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


def slow_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: the ends of `slow_stream`: index step, method, learning_rate, seed; test_accuracy, train_loss."""
    slow = slow_stream(rows)
    by = ["step", "method", "learning_rate", "seed"]
    return pd.DataFrame({metric: last(slow, metric, by) for metric in ("test_accuracy", "train_loss")})


def pass_means(rows: pd.DataFrame, metric: str = "test_accuracy") -> pd.Series[float]:
    """Exercise 3: a metric's mean over each pass (from 1); index: order, learning_rate, seed, pass."""
    chosen = rows[(rows["metric"] == metric) & (rows["epoch"] > 0)]
    number_of_pass = np.ceil(chosen["epoch"] - 1e-9).astype(int).rename("pass")
    return chosen.groupby(["order", "learning_rate", "seed", number_of_pass])["value"].mean()


def stream_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: the last pass of every run.

    Returns:
        Index order, learning_rate, seed; test and validation, mean accuracies over the last pass; end, the test
        accuracy at its very end; least and most, the extremes of test accuracy within it.
    """
    by = ["order", "learning_rate", "seed"]
    final = rows["epoch"].max()
    within = rows[(rows["metric"] == "test_accuracy") & (rows["epoch"] > final - 1)].groupby(by)["value"]
    return pd.DataFrame(
        {
            "test": pass_means(rows).xs(int(final), level="pass"),
            "validation": pass_means(rows, "validation_accuracy").xs(int(final), level="pass"),
            "end": last(rows, "test_accuracy", by),
            "least": within.min(),
            "most": within.max(),
        }
    )


def stream_best(ends: pd.DataFrame) -> pd.Series[float]:
    """Exercise 3: each order's learning rate of highest mean validation accuracy over the last pass."""
    means = ends["validation"].groupby(["order", "learning_rate"]).mean()
    return means.groupby("order").idxmax().map(lambda index: index[-1])


def stream_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: order, learning_rate, measure ("test", "end" as in `stream_ends`), mean, half of the t interval."""
    ends = stream_ends(stream_window(rows))
    lines = []
    for (order, rate), runs in ends.groupby(["order", "learning_rate"]):
        for measure in ("test", "end"):
            found = t_interval(runs[measure])
            lines.append((order, rate, measure, found.mean, found.half))
    return pd.DataFrame(lines, columns=["order", "learning_rate", "measure", "mean", "half"])


def stream_at_best(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: the rows of each order's runs at its best rate."""
    chosen = stream_window(rows)
    return chosen.merge(stream_best(stream_ends(chosen)).rename("learning_rate").reset_index())


def looked_into(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: the rows of the runs at the larger rate that are looked into within a pass, over all examples."""
    chosen = rows[rows["validation_examples"] == 0]
    return chosen[chosen["learning_rate"] == max(label_sorted_stream.WITHIN_PASS_RATES)]


def label_starts(labels: pd.DataFrame) -> list[float]:
    """Exercise 3: where in the sorted pass each label begins, as a share of it."""
    counts = labels["label_sorted"].value_counts().sort_index()
    return [float(share) for share in (counts.cumsum() - counts) / counts.sum()]


def recalled(rows: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Exercise 3: how a class is remembered on the sorted stream that is looked into.

    Returns:
        One row per seed, pass and class: its test accuracy at the last measurement within its own block, and at the
        last within the next (in the last pass, the last class has none): seed, pass, class, own, next.
    """
    chosen = looked_into(rows)
    accuracy = chosen[(chosen["metric"] == "class_accuracy") & (chosen["order"] == "label_sorted")]
    ends = [*label_starts(labels)[1:], 1.0]
    passes = round(float(accuracy["epoch"].max()))
    blocks = [(begun, label, begun + end) for begun in range(passes) for label, end in enumerate(ends)]
    lines = []
    for seed, run in accuracy.groupby("seed"):
        table = run.pivot(index="epoch", columns="index", values="value").sort_index()
        for (begun, label, end), (_, _, following) in itertools.pairwise(blocks):
            own, later = (table.loc[: place + 1e-9, label].iloc[-1] for place in (end, following))
            lines.append((seed, begun + 1, label, own, later))
    return pd.DataFrame(lines, columns=["seed", "pass", "class", "own", "next"])


def stream_table(rows: pd.DataFrame) -> Markdown:
    """Exercise 3: both orders at their best rates; the sorted one for many passes, beside gradient descent."""
    window_rows = stream_window(rows)
    ends = stream_ends(window_rows)
    lines = []
    for order, rate in stream_best(ends)[list(ORDERS)].items():
        runs = ends.loc[(order, rate)]
        lines.append(
            {
                "Order": f"{ORDERS[order]}, best rate",
                "$\\eta$": rate_text(rate),
                "Passes": f"{window_rows['epoch'].max():.0f}",
                "Mean": interval(t_interval(runs["test"]), 2, ""),
                "Least": number(100 * runs["least"].mean(), 1),
                "Most": number(100 * runs["most"].mean(), 1),
                "At the end": interval(t_interval(runs["end"]), 2, ""),
            }
        )
    passes = f"{slow_stream(rows)['epoch'].max():.0f}"
    accuracies = slow_ends(rows)["test_accuracy"]
    for step in accuracies.index.unique("step"):
        for method, name in (("label_sorted", ORDERS["label_sorted"]), ("gd", "all at once (GD)")):
            of_method = accuracies[step, method]
            lines.append(
                {
                    "Order": name,
                    "$\\eta$": rate_text(of_method.index.unique("learning_rate")[0]),
                    "Passes": passes,
                    **dict.fromkeys(("Mean", "Least", "Most"), "–"),
                    "At the end": interval(t_interval(of_method), 2, ""),
                }
            )
    return markdown(pd.DataFrame(lines))


# Exercise 4


def optimizer_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 4: final test accuracy: columns optimizer, learning_rate, mean, half (of the t interval), n."""
    final = last(rows, "test_accuracy", ["optimizer", "learning_rate", "seed"])
    lines = []
    for (optimizer, rate), values in final.groupby(["optimizer", "learning_rate"]):
        found = t_interval(values)
        lines.append((optimizer, rate, found.mean, found.half, found.n))
    return pd.DataFrame(lines, columns=["optimizer", "learning_rate", "mean", "half", "n"])


def accuracies(numbers: pd.DataFrame, optimizer: str) -> pd.Series[float]:
    """Exercise 4: of `optimizer_numbers`, the mean by learning rate."""
    return numbers[numbers["optimizer"] == optimizer].set_index("learning_rate")["mean"]


def best_optimizers(rows: pd.DataFrame) -> pd.DataFrame:
    """Exercise 4: one row per run, each optimizer at its best rate.

    Returns:
        Columns optimizer, seed, learning_rate, test_accuracy (at the end), first (after one epoch), epochs_95,
        epochs_97.
    """
    chosen = statistics.at_best_rates(rows, ["optimizer"])
    by = ["optimizer", "seed", "learning_rate"]
    numbers = {
        "test_accuracy": last(chosen, "test_accuracy", by),
        "first": last(chosen[chosen["epoch"] == 1], "test_accuracy", by),
    }
    for threshold in ACCURACIES:
        numbers[f"epochs_{100 * threshold:.0f}"] = first_epochs(chosen, threshold, by)
    return pd.DataFrame(numbers).reset_index()


def optimizers(rows: pd.DataFrame) -> Markdown:
    """Exercise 4: both optimizers at their best rates, and their windows."""
    numbers, best = optimizer_numbers(rows), best_optimizers(rows)
    lines = []
    for optimizer, name in OPTIMIZERS.items():
        runs = best[best["optimizer"] == optimizer]
        means = accuracies(numbers, optimizer)
        lines.append(
            {
                "Optimizer": name,
                "Best $\\eta$": f"{runs['learning_rate'].iloc[0]:g}",
                "Within 1 point": rate_range(window(means).index),
                "Above 90 %": rate_range(means[means > 0.9].index),
                "Epochs to 95 %": mean_epoch(runs["epochs_95"]),
                "to 97 %": mean_epoch(runs["epochs_97"]),
                "After 1 epoch": interval(t_interval(runs["first"])),
                "Test acc.": interval(t_interval(runs["test_accuracy"])),
            }
        )
    return markdown(pd.DataFrame(lines))
