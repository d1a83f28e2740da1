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
    format_at_least,
    format_at_most,
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
    SMALLER_RATE,
)
from analysis.results import Results
from analysis.statistics import edge_of_biases, final_values, label_entropy

METHODS = {"gd": "GD", "sgd": "SGD"}
RANDOM = "random"
STYLES: dict[str, dict[str, Any]] = {
    "0": {"color": TRAIN, "label": "all 0"},
    "0.01": {"color": ORANGE, "linestyle": (0, (5, 1.5)), "label": "all 0.01"},
    "0.1": {"color": GREEN, "linestyle": (0, (1, 1)), "label": "all 0.1"},
    "1": {"color": PINK, "linestyle": (0, (4, 1, 1, 1)), "label": "all 1"},
    RANDOM: {"color": INK, "linewidth": 2.2, "label": "random"},
}
SETTING = ["method", "activation", "initialization"]
CEILING = 6  # of the train loss as drawn
POOR, LEARNT = 0.5, 0.85  # test accuracies: what constant starts stay below, and random ones reach
LARGE = ["0.1", "1"]  # the constants from which units are saturated
SATURATED = 0.01  # mean slope below which they are
NEAR_ENTROPY = 1e-4
NOTHING = 0.15  # test accuracy below which nothing is learnt
CHANCE = math.log(CLASSES)  # train loss of guessing


def named_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of 300 units at LEARNING_RATE with the columns SETTING.

    An initialization is the constant, as in "0.01", or RANDOM.
    """
    rows = rows[(rows["hidden"] == str(HIDDEN[0])) & (rows["learning_rate"] == LEARNING_RATE)]
    return rows.assign(
        method=rows["batch_size"].isna().map({True: "gd", False: "sgd"}),
        initialization=rows["init_scale"].map("{:g}".format).where(rows["init"] == "constant", RANDOM),
    )


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


# Exhibits


@exhibit(
    "fig-constant-start",
    "constant_init",
    explore=(
        "metric=train_loss"
        "&run=activation:tanh,init:constant,init_scale:0.01,batch_size:128"
        "&pin=init:uniform_fan_in,init_scale:1"
        "&pin=init_scale:0"
        "&pin=init_scale:1"
    ),
)
def train_losses(found: Results) -> Picture:
    """Draw the train loss from every initialization, a row per method and a panel per activation."""
    rows = named_settings(found.rows)
    activations = rows["activation"].unique()
    figure, panels = plt.subplots(
        len(METHODS), len(activations), figsize=(WIDTH, 3.0), sharex="row", sharey=True
    )
    for line, (method, name) in zip(panels, METHODS.items(), strict=True):
        for axes, activation in zip(line, activations, strict=True):
            chosen = rows[(rows["method"] == method) & (rows["activation"] == activation)]
            for initialization, style in STYLES.items():
                runs = chosen[chosen["initialization"] == initialization]
                draw_line(axes, mean_and_range(runs, "train_loss"), **style)
            axes.set_title(f"{label(activation)}, {name}")
            axes.set_ylim(0, CEILING)
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    for axes in panels[:, 0]:
        axes.set_ylabel("train loss")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STYLES), fontsize=8
    )
    seeds = count_words(rows["seed"].nunique(), "seed")
    return Picture(
        figure,
        f"Train loss at $\\eta = {LEARNING_RATE:g}$ from constant starts and a random one: above gradient descent, "
        f"below SGD (batches of {BATCH_SIZE}). Means; bands: the range over {seeds} (constants under gradient descent "
        f"need one). Losses above {CEILING} are cut off. Where fewer than {count_words(len(STYLES), 'line')} are "
        "seen, some coincide (@tbl-constant-start).",
        "Six panels. In each the random start falls towards zero and the constants stay far above: that of 0 at 2.3, "
        "but for sigmoids under SGD, that of 0.01 at 2.3 or falling to no less than 1.5, larger ones mostly above 2.3.",
    )


@exhibit("tbl-constant-start", "constant_init")
def final_table(found: Results) -> Table:
    """Tabulate final losses and accuracies, and the slopes of constant networks."""
    means, slope = final_means(found.rows), slopes(found.rows)
    lines = []
    for method, name in METHODS.items():
        for initialization in [*constants(found.rows), RANDOM]:
            line = {"Method": name, "Start": initialization}
            for activation in found.rows["activation"].unique():
                setting = (method, activation, initialization)
                loss, accuracy = means.loc[setting, ["train_loss", "test_accuracy"]]
                line[label(activation)] = f"{format_fixed(loss, 2)} ({100 * accuracy:.0f})"
                line[f"{label(activation)} slope"] = (
                    " → ".join(map(_slope_text, slope.loc[setting])) if setting in slope.index else "–"
                )
            lines.append(line)
    epochs = named_settings(found.rows).groupby("method")["epochs"].max()
    return Table(
        pd.DataFrame(lines),
        f"Final train loss, and in brackets test accuracy in %, after {count_words(epochs['gd'], 'epoch')} "
        f"(updates) of GD and {count_words(epochs['sgd'], 'epoch')} of SGD with $\\eta = {LEARNING_RATE:g}$, and the "
        "mean slope $r'(z_1)$ over units and examples at the start and at the end; means over the seeds, of constants "
        "under GD one run, as nothing in it is random.",
        (8, 8, 10, 18, 10, 18, 10, 18),
    )


def _slope_text(slope: float) -> str:
    """Return a slope with two decimals, and of those that these would round to 0 a bound."""
    return "0" if slope == 0 else f"<{SATURATED:g}" if slope < SATURATED else f"{slope:.2f}"


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
    rows = named_settings(found.rows)
    constant = rows[rows["init"] == "constant"]
    distance = constant.loc[constant["metric"] == "unit_distance", "value"]
    accuracies = final_means(found.rows)["test_accuracy"].unstack("initialization")
    small = [each for each in constants(found.rows) if each not in LARGE]
    stuck, saturated = (
        accuracies[starts].groupby("method").max().max(axis="columns") for starts in (small, LARGE)
    )
    random = accuracies[RANDOM].groupby("method").min()
    epochs = rows.groupby("method")["epochs"].max()
    return Evidence(
        f"Units that are equal get equal updates, so the hidden units stay identical, and {HIDDEN[0]} of them "
        f"compute what one could: in all {constant['key'].nunique()} runs at $\\eta = {LEARNING_RATE:g}$ the "
        "largest distance between two is 0 at every measurement. One unit can do little, as all ten logits follow its "
        "one number, a function of one weighted sum of the pixels: after "
        f"{count_words(epochs['sgd'], 'epoch')} of SGD every constant start has at most "
        f"{format_at_most(stuck['sgd'], 0)} test accuracy, and every random one at least "
        f"{format_at_least(random['sgd'], 0)} (means over the seeds). From 0, tanh and ReLUs learn nothing but the "
        f"label frequencies; from {join_english(LARGE)} the units saturate or die, and hardly anything is learnt.",
        {
            "the distance between two hidden units is 0 at every measurement": bool((distance == 0).all()),
            f"no constant start reaches {format_percent(POOR, 0)} test accuracy": bool(
                (stuck < POOR).all() and (saturated < POOR).all()
            ),
            f"the large ones stay below {format_percent(NOTHING, 0)}": bool((saturated < NOTHING).all()),
            f"every random start reaches {format_percent(LEARNT, 0)}": bool((random >= LEARNT).all()),
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
def one_unit_learns_the_same(found: Results) -> Evidence:
    runs = found.programs["one_unit"]
    losses = runs.pivot(index=["activation", "constant", "epoch"], columns="units", values="train_loss")
    off = (losses[HIDDEN[0]] - losses[1]).abs().max()
    moved = losses[1].groupby(["activation", "constant"]).agg(np.ptp)
    return Evidence(
        "In double precision the losses of the two networks agree to nine decimals for "
        f"{count_words(runs['epoch'].max(), 'epoch')}, from {count_words(len(moved))} starts and with all three "
        "activations.",
        {
            "the losses agree to nine decimals": bool(off < 1e-9),
            "with each activation": set(runs["activation"]) == set(found.rows["activation"]),
            "from every start the loss changes by more than a thousandth": bool(moved.min() > 1e-3),
        },
    )


@finding("constant_init")
def small_constants_train_one_unit(found: Results) -> Evidence:
    small = next(each for each in constants(found.rows) if each not in LARGE and float(each) > 0)
    slope = slopes(found.rows).xs(small, level="initialization")
    accuracies = final_means(found.rows)["test_accuracy"].xs(
        ("sgd", small), level=("method", "initialization")
    )
    return Evidence(
        "Neither dead nor saturated, it learns with every activation, by SGD to "
        f"{format_range(100 * accuracies, 0)} % test accuracy (@tbl-constant-start).",
        {
            "the slopes stay well above those of saturated units": bool(
                slope.min(axis=None) > 10 * SATURATED
            ),
            "every activation reads more than a quarter of the digits": bool(accuracies.min() > 0.25),
        },
    )


@finding("constant_init")
def ones_are_saturated(found: Results) -> Evidence:
    start = slopes(found.rows)["start"].unstack("activation")
    slope = start[start.index.get_level_values("initialization").isin(LARGE)]
    means = final_means(found.rows)["train_loss"].unstack("activation")
    large = means.index.get_level_values("initialization").isin(LARGE)
    losses = means.loc[large, ["sigmoid", "tanh"]].min(axis=None)
    return Evidence(
        "Sigmoids and tanh are saturated at once, because a hidden unit sees the sum of the pixels: their mean "
        f"slope is below {SATURATED:g}.",
        {
            "the mean slope of sigmoid and tanh is below the threshold": bool(
                (slope[["sigmoid", "tanh"]] < SATURATED).all(axis=None)
            ),
            "the loss of both ends above that of guessing": bool(losses > CHANCE),
        },
    )


@finding("label_sorted_stream")
def edge_of_the_biases(stream: Results) -> Evidence:
    edge = edge_of_biases(stream.programs["labels"]["label_sorted"])
    return Evidence(
        "That is too much: where $p$ is the label frequencies, the largest eigenvalue of "
        f"$\\operatorname{{diag}}(p) - p\\, p^\\top$ (@eq-logits) is {2 / edge:.3f}, so that rates above {edge:.0f} "
        "are unstable (@sec-q6).",
        {"the rate of the saturated units lies beyond it": (1 + HIDDEN[0]) * LEARNING_RATE > edge},
    )


@finding("constant_init", "label_sorted_stream")
def smaller_rate_does_not_overshoot(found: Results, stream: Results) -> Evidence:
    losses = found.rows[
        (found.rows["learning_rate"] == SMALLER_RATE)
        & (found.rows["init"] == "constant")
        & (found.rows["metric"] == "train_loss")
    ].pivot(index="epoch", columns="activation", values="value")
    labels = stream.programs["labels"]["label_sorted"]
    entropy = label_entropy(labels)
    near = losses.index[(losses - entropy < NEAR_ENTROPY).all(axis="columns")]
    first = int(near.min()) if len(near) else losses.index.max()
    return Evidence(
        f"At $\\eta = {SMALLER_RATE:g}$, where the rate is {(1 + HIDDEN[0]) * SMALLER_RATE:.4g}, the loss of "
        f"{join_english(map(label, losses.columns))} from 1 does not oscillate: it is never above its first value, "
        f"$\\ln 10 = {math.log(CLASSES):.3f}$, and within {count_words(first, 'update')} at "
        f"{format_fixed(losses.loc[first].max(), 3)}, next to $H$.",
        {
            "it begins at that of guessing": bool((losses.iloc[0] - math.log(CLASSES)).abs().max() < 1e-3),
            "it never lies above the first loss": bool((losses <= losses.iloc[0] + 1e-6).all(axis=None)),
            "it comes near the entropy within ten updates, and stays": bool(
                len(near) and first < 10 and len(near) == len(losses.loc[first:])
            ),
            "at the larger rate the steps are too large, at this one not": (1 + HIDDEN[0]) * SMALLER_RATE
            < edge_of_biases(labels)
            < (1 + HIDDEN[0]) * LEARNING_RATE,
        },
    )


@finding("constant_init")
def one_unit_does_not_get_far(found: Results) -> Evidence:
    one = found.rows[(found.rows["hidden"] == "1") & (found.rows["metric"] == "test_accuracy")]
    best = one.groupby("activation")["value"].max()
    rates = sorted(one["learning_rate"].unique())
    return Evidence(
        "One unit can do little from random starts, too: an ordinary one, trained with SGD for "
        f"{one['epochs'].max():,} epochs at $\\eta$ = {join_english(f'{rate:g}' for rate in rates)}, has at most "
        f"{format_at_most(best.max(), 0)} test accuracy at any measurement.",
        {
            "with no activation does it read half of the digits": bool(best.max() < POOR),
            "the best rate is not the largest or the smallest": one.loc[
                one["value"].idxmax(), "learning_rate"
            ]
            == rates[1],
        },
    )


@finding("constant_init")
def updates_tell_the_methods_apart(found: Results) -> Evidence:
    one, by = found.programs["one_unit_for_longer"], named_settings(found.rows)
    updates = by.groupby("method")["update"].max()
    ends = one[one["epoch"] == one["epoch"].max()].set_index("constant")["train_loss"]
    of_sgd = final_means(found.rows)["train_loss"]["sgd", "sigmoid"][[f"{each:g}" for each in ends.index]]
    return Evidence(
        f"Given as many updates as SGD, {updates['sgd']:,.0f} instead of {updates['gd']:,.0f}, GD of the one "
        "effective sigmoid comes as far, to a train loss of "
        f"{join_english(f'{format_fixed(loss, 2)} from {constant:g}' for constant, loss in ends.items())}.",
        {
            "as many updates": bool(one["epoch"].max() == updates["sgd"]),
            "the losses are near those of SGD": bool((ends.to_numpy() - of_sgd.to_numpy()).max() < 0.1),
        },
    )


@finding("constant_init")
def large_relus_die(found: Results) -> Evidence:
    relu = slopes(found.rows).xs("relu", level="activation")
    large = relu[relu.index.get_level_values("initialization").isin(LARGE)]
    return Evidence(
        "ReLUs pass the sum of the pixels on without a bound, make larger steps and die: their mean slope falls "
        f"from {format_range(large['start'], 0)} to {format_fixed(large['end'].max(), 2)} or less.",
        {
            "all are active at the start": bool((large["start"] > 0.99).all()),
            "few are at the end": bool((large["end"] < 0.05).all()),
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
