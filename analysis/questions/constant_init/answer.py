"""Exercise 2, a constant start: what networks learn whose weights and biases all begin with one value."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, Table, exhibit
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_fixed,
    format_percent,
    format_range,
    join_english,
    label,
)
from analysis.plotting import INK, QUIET, RATE_COLOURS, WIDTH, draw_line, mean_and_range
from analysis.questions.constant_init.runs import BATCH_SIZE, BUDGETS, HIDDEN, LEARNING_RATE, ONE_UNIT_RATES
from analysis.results import Results
from analysis.statistics import final_values

METHODS = ("gd", "sgd")
RANDOM, ONE_UNIT = "random", "one_unit"
STYLES: dict[str, dict[str, Any]] = {
    RANDOM: {"color": INK, "linewidth": 2.2},
    ONE_UNIT: {"color": QUIET, "linestyle": ":"},
}
SETTING = ["method", "activation", "initialization"]
CEILING = 4  # of the train loss as drawn
LEARNT = 0.3  # train loss below which a network has learnt
LARGE = ("0.1", "1")
COLLAPSED = 0.2  # test accuracy below which little more than one class is recognized
NOTHING = 0.15  # test accuracy below which nothing is learnt
CHANCE = math.log(CLASSES)  # train loss of guessing


def named_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the columns SETTING, networks of one unit at the rate of their least mean train loss only.

    An initialization is the constant, as in "0.01", RANDOM, or ONE_UNIT for the network of one (random) unit.
    """
    method = rows["batch_size"].isna().map({True: "gd", False: "sgd"})
    initialization = rows["init_scale"].map("{:g}".format).where(rows["init"] == "constant", RANDOM)
    named = rows.assign(method=method, initialization=initialization.where(rows["hidden"] != "1", ONE_UNIT))
    loss = final_values(named, "train_loss", [*SETTING, "learning_rate", "seed"])
    means = loss.groupby([*SETTING, "learning_rate"]).mean()
    best = means.groupby(SETTING).idxmin().map(lambda index: index[-1]).rename("learning_rate")
    return named.merge(best.reset_index())


def constants(rows: pd.DataFrame) -> list[str]:
    """Return the constant initializations of rows, smallest first."""
    return [
        f"{constant:g}" for constant in sorted(rows.loc[rows["init"] == "constant", "init_scale"].unique())
    ]


def final_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return train_loss and test_accuracy at the end, means over seeds; index: SETTING."""
    named = named_settings(rows)
    return pd.DataFrame(
        {
            metric: final_values(named, metric, [*SETTING, "seed"]).groupby(SETTING).mean()
            for metric in ("train_loss", "test_accuracy")
        }
    )


def label_entropy(labels: pd.Series[int]) -> float:
    """Return -Σ f_j ln f_j of the labels' shares f_j: the least loss of a network that ignores its input."""
    shares = labels.value_counts(normalize=True)
    return float(-(shares * np.log(shares)).sum())


# Exhibits


@exhibit("fig-constant-start", "constant_init")
def train_losses(found: Results) -> Picture:
    """Draw the train loss from every initialization, a column per activation, GD above and SGD below."""
    rows = named_settings(found.rows)
    activations = rows["activation"].unique()
    figure, grid = plt.subplots(
        len(METHODS), len(activations), figsize=(WIDTH, 3.2), sharey=True, sharex="row", squeeze=False
    )
    values = constants(rows)
    styles: dict[str, dict[str, Any]] = {
        constant: {"color": colour, "label": f"all {constant}"}
        for constant, colour in zip(values, RATE_COLOURS(np.linspace(0, 0.9, len(values))), strict=True)
    }
    styles |= {name: {**style, "label": label(name)} for name, style in STYLES.items()}
    for row, method in zip(grid, METHODS, strict=True):
        for axes, activation in zip(row, activations, strict=True):
            chosen = rows[(rows["method"] == method) & (rows["activation"] == activation)]
            for initialization, style in styles.items():
                runs = chosen[chosen["initialization"] == initialization]
                if len(runs):
                    draw_line(axes, mean_and_range(runs, "train_loss"), **style)
            axes.set_title(f"{label(method)}, {label(activation)}")
            axes.set_ylim(0, CEILING)
        row[0].set_ylabel("train cross entropy")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    figure.legend(
        *grid[-1, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(styles), fontsize=8
    )
    return Picture(
        figure,
        "Train loss from constant starts, from a random start and, for SGD, of networks with one hidden unit, at "
        f"η = {LEARNING_RATE:g} (one unit: at the best of {count_words(len(ONE_UNIT_RATES), 'rate')}); GD takes one "
        f"update per epoch, SGD {BUDGETS[found.preset].updates(BATCH_SIZE):,} (batches of {BATCH_SIZE}). From no "
        f"constant does it come near the random start. Means, bands the range over "
        f"{count_words(found.rows['seed'].nunique(), 'seed')}; losses above {CEILING} are cut off.",
        "Six panels. In the lower three, for SGD, the random start falls quickly towards zero in each, while the "
        "constant starts stay at or above the level of the networks with one unit, some at 2.3.",
    )


@exhibit("tbl-constant-start", "constant_init")
def final_table(found: Results) -> Table:
    """Tabulate `final_means`."""
    means = final_means(found.rows)
    initializations = [*constants(found.rows), ONE_UNIT, RANDOM]
    lines = []
    for method in METHODS:
        for initialization in initializations:
            line = {"Method": label(method), "Start": label(initialization)}
            for activation in found.rows["activation"].unique():
                if (setting := (method, activation, initialization)) in means.index:
                    loss, accuracy = means.loc[setting]
                    line[label(activation)] = format_fixed(loss, 3)
                    line[f"{label(activation)} acc."] = (
                        format_percent(accuracy) if math.isfinite(accuracy) else "–"
                    )
            if len(line) > 2:
                lines.append(line)
    epochs = named_settings(found.rows).groupby("method")["epochs"].max()
    return Table(
        pd.DataFrame(lines),
        f"Final train loss and test accuracy after {count_words(epochs['gd'], 'epoch')} "
        f"(update{'s' if epochs['gd'] > 1 else ''}) of GD and {count_words(epochs['sgd'], 'epoch')} of SGD, means "
        "over the seeds.",
    )


# Findings


@finding("constant_init", headline=True)
def units_stay_identical(found: Results) -> Evidence:
    named = named_settings(found.rows)
    constant = named[named["init"] == "constant"]
    distance = constant.loc[constant["metric"] == "unit_distance", "value"]
    by = ["initialization", "activation"]
    final = final_values(named[named["method"] == "sgd"], "train_loss", [*by, "seed"])
    means = final.groupby(by).mean()
    stuck = means[constants(found.rows)]
    return Evidence(
        f"The hidden units stay identical, so {HIDDEN[0]} of them can do what one can: in all "
        f"{constant['key'].nunique()} runs the largest distance between two is exactly 0. No train loss of SGD ends "
        f"below {format_fixed(stuck.min(), 2)}, where random starts end at {format_range(means[RANDOM], 2)}.",
        {
            "the distance between two hidden units is 0 at every measurement": bool((distance == 0).all()),
            "every constant start ends above every random one by more than 1": bool(
                stuck.min() > means[RANDOM].max() + 1
            ),
            f"from every random start the loss ends below {LEARNT:g}": bool(final[RANDOM].max() < LEARNT),
        },
    )


@finding("constant_init", "label_sorted_stream")
def zero_moves_the_bias_only(found: Results, stream: Results) -> Evidence:
    named = named_settings(found.rows)
    dead = named[(named["initialization"] == "0") & named["activation"].isin(["tanh", "relu"])]
    hidden = dead.loc[(dead["metric"] == "gradient_norm") & (dead["index"] == 1), "value"]
    losses = final_values(dead, "train_loss", ["method", "activation", "seed"])
    entropy = label_entropy(stream.programs["labels"]["label_sorted"])
    return Evidence(
        "Measured: the gradient of the hidden layer is exactly 0 throughout, and the train loss ends at "
        f"{format_range(losses, 3)}, next to $H = {format_fixed(entropy, 3)}$.",
        {
            "the gradient of the hidden layer is 0 at every measurement": bool((hidden == 0).all()),
            "the train loss ends within 0.01 above the entropy of the labels": bool(
                (losses - entropy).between(-1e-4, 0.01).all()
            ),
        },
    )


@finding("constant_init")
def large_constants_fail(found: Results) -> Evidence:
    means = final_means(found.rows)
    large = means[means.index.get_level_values("initialization").isin(LARGE)]
    return Evidence(
        f"From {join_english(LARGE)} the networks do not even get so far: at most "
        f"{format_percent(large['test_accuracy'].max(), 0)} of the test examples are recognised.",
        {
            "the train loss ends above 2.2": bool((large["train_loss"] > 2.2).all()),
            f"less than {format_percent(COLLAPSED, 0)} of the test examples are recognised": bool(
                (large["test_accuracy"] < COLLAPSED).all()
            ),
        },
    )


# Statements by others


@statement("constant_init", said="From weights of zero the network does not learn anything.")
def nothing_is_learnt_from_zero(found: Results) -> Evidence:
    accuracy = final_means(found.rows)["test_accuracy"].xs(("sgd", "0"), level=("method", "initialization"))
    return Evidence(
        f"From 0, SGD with sigmoids reaches {format_percent(accuracy['sigmoid'])} test accuracy, through what one "
        "hidden unit can tell; with tanh and ReLU nothing is learnt but the label frequencies "
        f"({join_english(format_percent(accuracy[name]) for name in ('tanh', 'relu'))}).",
        {
            f"with every activation the test accuracy is below {format_percent(NOTHING, 0)}": bool(
                (accuracy < NOTHING).all()
            )
        },
    )
