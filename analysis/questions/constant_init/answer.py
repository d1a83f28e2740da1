"""Exercise 2, a constant start: what networks learn whose weights and biases all begin with one value."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_fixed,
    format_percent,
    format_range,
    join_english,
    label,
)
from analysis.plotting import (
    GREEN,
    INK,
    ORANGE,
    PINK,
    QUIET,
    TRAIN,
    WIDTH,
    draw_line,
    mean_and_range,
    write_in,
)
from analysis.questions.constant_init.runs import (
    BATCH_SIZE,
    HIDDEN,
    LEARNING_RATE,
    ONE_UNIT_RATES,
    SLOWED_RATE,
)
from analysis.results import Results
from analysis.statistics import final_values

# Methods by name; the last one with steps that many times smaller as there are equal units.
METHODS = {"gd": "GD", "sgd": "SGD", "sgd_slowed": f"SGD, η/{HIDDEN[0]}"}
RANDOM, ONE_UNIT = "random", "one_unit"
STYLES: dict[str, dict[str, Any]] = {
    RANDOM: {"color": INK, "linewidth": 2.2},
    ONE_UNIT: {"color": QUIET, "linestyle": ":"},
}
LOOKS: tuple[dict[str, Any], ...] = (  # of the constants, from the smallest on
    {"color": TRAIN},
    {"color": ORANGE, "linestyle": (0, (5, 1.5))},
    {"color": GREEN, "linestyle": (0, (5, 1, 1, 1))},
    {"color": PINK, "linestyle": (0, (1.5, 1))},
)
SETTING = ["method", "activation", "initialization"]
CEILING = 6  # of the train loss as drawn
POOR, LEARNT = 0.5, 0.9  # test accuracies: what constant starts stay below, and random ones reach
LARGE = ("0.1", "1")  # the constants from which units are saturated
SATURATED = 0.01  # mean slope below which they are
NOTHING = 0.15  # test accuracy below which nothing is learnt
CHANCE = math.log(CLASSES)  # train loss of guessing


def named_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the columns SETTING, networks of one unit at the rate of their least mean train loss only.

    An initialization is the constant, as in "0.01", RANDOM, or ONE_UNIT for the network of one (random) unit.
    """
    method = rows["batch_size"].isna().map({True: "gd", False: "sgd"})
    method = method.where(rows["learning_rate"] != SLOWED_RATE, method + "_slowed")
    initialization = rows["init_scale"].map("{:g}".format).where(rows["init"] == "constant", RANDOM)
    named = rows.assign(method=method, initialization=initialization.where(rows["hidden"] != "1", ONE_UNIT))
    named = named[named["method"].isin(METHODS)]
    loss = final_values(named, "train_loss", [*SETTING, "learning_rate", "seed"])
    means = loss.groupby([*SETTING, "learning_rate"]).mean()
    best = means.groupby(SETTING).idxmin().map(lambda index: index[-1]).rename("learning_rate")
    return named.merge(best.reset_index())


def slopes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of the activation's derivative in constant networks, means over seeds.

    Returns:
        Index SETTING; columns start and end.
    """
    named = named_settings(rows)
    chosen = named[(named["metric"] == "mean_slope") & (named["init"] == "constant")]
    ordered = chosen.sort_values("update").groupby([*SETTING, "seed"])["value"]
    return pd.DataFrame({"start": ordered.first(), "end": ordered.last()}).groupby(SETTING).mean()


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


@exhibit(
    "fig-constant-start",
    "constant_init",
    explore=(
        "metric=train_loss"
        "&run=hidden:300,activation:tanh,init:constant,init_scale:0.01,batch_size:128,learning_rate:0.1"
        "&pin=init:uniform_fan_in,init_scale:1"
        "&pin=init_scale:0"
        "&pin=init_scale:1"
    ),
)
def train_losses(found: Results) -> Picture:
    """Draw SGD's train loss from every initialization, a panel per activation."""
    rows = named_settings(found.rows)
    rows = rows[rows["method"] == "sgd"]
    activations = rows["activation"].unique()
    figure, panels = plt.subplots(1, len(activations), figsize=(WIDTH, 2.0), sharey=True)
    styles = {
        **{name: {**look, "label": f"all {name}"} for name, look in zip(constants(rows), LOOKS, strict=True)},
        **{name: {**look, "label": label(name)} for name, look in STYLES.items()},
    }
    for axes, activation in zip(panels, activations, strict=True):
        of_activation = rows[rows["activation"] == activation]
        for initialization, style in styles.items():
            runs = of_activation[of_activation["initialization"] == initialization]
            draw_line(axes, mean_and_range(runs, "train_loss"), **style)
        axes.set_title(label(activation))
        axes.set_ylim(0, CEILING)
        axes.set_xlabel("epoch")
    panels[0].set_ylabel("train cross entropy")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(styles), fontsize=8
    )
    return Picture(
        figure,
        f"Train loss of SGD (batches of {BATCH_SIZE}) at η = {LEARNING_RATE:g} from constant starts and a random one, "
        f"and of networks of one hidden unit at the best of {count_words(len(ONE_UNIT_RATES), 'rate')}. Means, bands "
        f"the range over {count_words(found.rows['seed'].nunique(), 'seed')}; losses above {CEILING} are cut off.",
        "Three panels. In each the random start falls quickly towards zero. Constants of 0 and 0.01 stay at 2.3 or end "
        "about where the networks of one unit do, and larger ones lie above both or at 2.3.",
    )


@exhibit("tbl-constant-start", "constant_init")
def final_table(found: Results) -> Table:
    """Tabulate final losses and accuracies, and the slopes of constant networks."""
    means, slope = final_means(found.rows), slopes(found.rows)
    initializations = [*constants(found.rows), ONE_UNIT, RANDOM]
    lines = []
    for method, name in METHODS.items():
        for initialization in initializations:
            line = {"Method": name, "Start": label(initialization)}
            for activation in found.rows["activation"].unique():
                if (setting := (method, activation, initialization)) in means.index:
                    loss, accuracy = means.loc[setting, ["train_loss", "test_accuracy"]]
                    line[label(activation)] = f"{format_fixed(loss, 2)} ({100 * accuracy:.0f})"
                    line[f"{label(activation)} slope"] = (
                        "→".join(f"{each:.2f}" for each in slope.loc[setting])
                        if setting in slope.index
                        else "–"
                    )
            if len(line) > 2:
                lines.append(line)
    epochs = named_settings(found.rows).groupby("method")["epochs"].max()
    return Table(
        pd.DataFrame(lines),
        f"Final train loss, and in brackets test accuracy in %, after {count_words(epochs['gd'], 'epoch')} "
        f"(update{'s' if epochs['gd'] > 1 else ''}) of GD and {count_words(epochs['sgd'], 'epoch')} of SGD, "
        f"with $\\eta = {LEARNING_RATE:g}$ unless it says less, one unit at its best rate, and the "
        "mean slope $r'(z_1)$ over units and examples at the start and at the end; means over the seeds.",
        (15, 11, 12, 12, 12, 12, 14, 12),
    )


@sketch(
    "constant_init",
    alt="The train loss from a random start falls to zero, that from a constant start stays high.",
)
def sketch_of_losses(axes: Axes, found: Results) -> None:
    rows = named_settings(found.rows).query(
        "method == 'sgd' and activation == 'tanh' and metric == 'train_loss'"
    )
    for initialization, colour in ((RANDOM, INK), ("0.01", ORANGE)):
        means = rows[rows["initialization"] == initialization].groupby("epoch")["value"].mean()
        axes.plot(means.index, means, color=colour)
    axes.set_ylim(0, 2.6)
    write_in(axes, 0.4, 0.8, "all weights alike", ORANGE)
    write_in(axes, 0.4, 0.2, "random weights", INK)


# Findings


@finding("constant_init", headline=True)
def units_stay_identical(found: Results) -> Evidence:
    constant = found.rows[found.rows["init"] == "constant"]
    distance = constant.loc[constant["metric"] == "unit_distance", "value"]
    accuracies = final_means(found.rows)["test_accuracy"].xs("sgd", level="method").unstack("initialization")
    stuck, random = accuracies[constants(found.rows)].max(axis=None), accuracies[RANDOM].min()
    return Evidence(
        f"The hidden units stay identical, so {HIDDEN[0]} of them compute what one could: in all "
        f"{constant['key'].nunique()} runs the largest distance between two is 0 at every measurement. After SGD no "
        f"constant start has more than {format_percent(stuck, 0)} test accuracy, and no random one less than "
        f"{format_percent(random, 0)} (means over the seeds).",
        {
            "the distance between two hidden units is 0 at every measurement": bool((distance == 0).all()),
            f"no constant start reaches {format_percent(POOR, 0)} test accuracy": bool(stuck < POOR),
            f"every random start reaches {format_percent(LEARNT, 0)}": bool(random >= LEARNT),
        },
        f"{HIDDEN[0]} hidden units that start alike stay alike: they compute what one could.",
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
def small_steps_learn_nothing(found: Results) -> Evidence:
    slowed = final_means(found.rows)["train_loss"].xs("sgd_slowed", level="method")
    return Evidence(
        f"So at η/{HIDDEN[0]} next to nothing is learnt: no train loss ends below {format_fixed(slowed.min(), 2)}, "
        f"where guessing has {format_fixed(CHANCE, 2)}.",
        {"every loss ends within 0.1 below that of guessing, or above": bool(slowed.min() > CHANCE - 0.1)},
    )


@finding("constant_init")
def ones_are_saturated(found: Results) -> Evidence:
    start = slopes(found.rows)["start"].unstack("activation")
    slope = start[start.index.get_level_values("initialization").isin(LARGE)]
    means = final_means(found.rows)["train_loss"].xs(LARGE[-1], level="initialization").unstack("activation")
    losses = means[["sigmoid", "tanh"]].min(axis=None)
    return Evidence(
        f"From {join_english(LARGE)}, sigmoids and tanh are saturated at once, as a hidden unit sees the sum of the "
        f"pixels: their mean slope is below {SATURATED:g}. From {LARGE[-1]}, with either rate and method, their loss "
        "ends above that of guessing.",
        {
            "the mean slope of sigmoid and tanh is below the threshold": bool(
                (slope[["sigmoid", "tanh"]] < SATURATED).all(axis=None)
            ),
            "the loss of both ends above that of guessing": bool(losses > CHANCE),
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
