"""Q5, one-hot targets: a single output errs along the order of the labels, ten outputs do not."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage

from analysis import statistics
from analysis.engine.run import CLASSES, num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import (
    count_words,
    format_at_least,
    format_fixed,
    format_interval,
    format_percent,
    join_english,
    label,
)
from analysis.plotting import FAINT, INK, QUIET, WIDTH
from analysis.questions.encoding.runs import ADAM_RATES, LABEL_PERMUTATIONS
from analysis.results import Results, remembered
from analysis.statistics import t_interval

# Encodings by target, loss and output; the first two differ by nothing but the encoding.
SINGLE, ONE_HOT = "scaled_label_quadratic_sigmoid", "one_hot_quadratic_sigmoid"
REFERENCE = "one_hot_cross_entropy_softmax"
TENS = (REFERENCE, ONE_HOT)
# Single outputs whose error does not vanish at the ends of the scale.
LINEAR, UNSATURATED = "scaled_label_quadratic_identity", "scaled_label_cross_entropy_sigmoid"
SINGLES = (SINGLE, LINEAR, UNSATURATED)
FACES = {SINGLE: "white", ONE_HOT: INK}  # of points: hollow for a single output
USUAL, DEEPER, WIDER = "300", "300-300", "600"  # hidden layers
LEAST = 60  # percent: accuracies below are not drawn
CHANCE = 0.12  # above the test accuracy of always giving one digit


@remembered
def with_sgd(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of SGD: all encodings, some under label permutations."""
    return rows[rows["optimizer"] == "sgd"]


@remembered
def all_with_adam(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Adam with the hidden layer that all encodings have."""
    return rows[(rows["optimizer"] == "adam") & (rows["hidden"] == USUAL)]


@remembered
def deeper(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Adam with two hidden layers."""
    return rows[rows["hidden"] == DEEPER]


@remembered
def wider(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Adam with one hidden layer of as many units as those two have."""
    return rows[rows["hidden"] == WIDER]


@remembered
def with_adam(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the shorter runs of Adam: all encodings, some under label permutations."""
    adam = all_with_adam(rows)
    return adam[adam["epochs"] == adam["epochs"].min()]


@remembered
def with_adam_for_longer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the longer runs of Adam: the best encodings, with the digits as they are."""
    adam = all_with_adam(rows)
    return adam[adam["epochs"] == adam["epochs"].max()]


@remembered
def best_rate_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, with names, of every encoding under every label permutation at its best rate.

    All are of one optimizer and one number of epochs.
    """
    return statistics.at_best_rates(_with_names(rows), ["encoding", "permutation"])


def _with_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Add columns `encoding` and `permutation`, 0 for the digits as they are."""
    permutations = {"-".join(map(str, labels)): place for place, labels in enumerate(LABEL_PERMUTATIONS)}
    return rows.assign(
        encoding=rows["target"] + "_" + rows["loss"] + "_" + rows["output"],
        permutation=rows["labels"].map(permutations),
    )


@remembered
def accuracies(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the final test accuracies by encoding: index seed, a column per label permutation."""
    return {
        str(name): statistics.final_values(group, "test_accuracy", ["seed", "permutation"]).unstack()
        for name, group in best_rate_rows(rows).groupby("encoding", sort=False)
    }


def final_train_accuracies(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the train accuracies at the end, mean over seeds, with the digits as they are; index: encoding."""
    final = statistics.final_values(
        best_rate_rows(rows), "train_accuracy", ["permutation", "encoding", "seed"]
    )
    return final[0].groupby("encoding").mean()


@remembered
def along_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies at every measurement of Adam's runs with the digits as they are, means over seeds.

    Returns:
        Index: encoding, epochs of the run, learning_rate, epoch; columns train_accuracy, test_accuracy.
    """
    usual = _with_names(all_with_adam(rows))
    return usual[usual["permutation"] == 0].pivot_table(
        index=["encoding", "epochs", "learning_rate", "epoch"],
        columns="metric",
        values="value",
        aggfunc="mean",
    )[["train_accuracy", "test_accuracy"]]


@remembered
def confusions(rows: pd.DataFrame) -> pd.DataFrame:
    """Return numbers of test examples, all seeds together: encoding, permutation, true, predicted, count.

    Classes are numbered as the permutation numbers them.
    """
    found = best_rate_rows(rows)
    found = found[found["metric"] == "confusion"]
    found = found[found["update"] == found["update"].max()]
    classes = found.assign(true=found["index"] // CLASSES, predicted=found["index"] % CLASSES)
    counts = classes.groupby(["encoding", "permutation", "true", "predicted"])["value"].sum()
    return counts.rename("count").reset_index()


def neighbour_shares(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the share of errors that fall on a class numbered next to the true one: index encoding, permutation."""
    counts = confusions(rows)
    errors = counts[counts["true"] != counts["predicted"]]
    near = errors["count"].where((errors["true"] - errors["predicted"]).abs() == 1, 0)
    by = [errors["encoding"], errors["permutation"]]
    return near.groupby(by).sum() / errors["count"].groupby(by).sum()


# Exhibits


def _numberings() -> str:
    """Return what the digits become under the random numberings."""
    return join_english("".join(map(str, labels)) for labels in LABEL_PERMUTATIONS[1:])


@exhibit(
    "fig-encodings",
    "encoding",
    explore=(
        "metric=test_accuracy&seeds=each"
        "&run=target:one_hot,loss:quadratic,output:sigmoid,optimizer:adam,learning_rate:0.003"
        "&pin=target:scaled_label,learning_rate:0.01"
        "&pin=target:scaled_label,loss:cross_entropy,learning_rate:0.01"
        "&pin=loss:cross_entropy,output:softmax"
    ),
)
def confusions_and_accuracies(found: Results) -> Picture:
    """Draw a single output's confusions, test over train accuracies, and accuracies under every label permutation."""
    adam = with_adam(found.rows)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 2.4), width_ratios=(1, 1.1, 1.5))
    counts = confusions(adam)
    image = _draw_confusion(left, counts[(counts["encoding"] == SINGLE) & (counts["permutation"] == 0)])
    left.set_ylabel("digit")
    bar = figure.colorbar(image, ax=left, location="top", shrink=0.8, pad=0.03)
    bar.set_label("share of the digit's images, %", fontsize=7.5)
    bar.set_ticks([0, 5, 25, 100])

    course, values = 100 * along_training(found.rows), accuracies(adam)
    for name, face in FACES.items():
        middle.plot(*course.loc[name].to_numpy().T, **_marks(face))
    middle.plot([LEAST, 100], [LEAST, 100], color=QUIET, linewidth=0.6, linestyle="--")
    middle.set_xlabel("train accuracy in %")
    middle.set_ylabel("test accuracy in %")
    middle.set(xlim=(LEAST, 101), ylim=(LEAST, 101), xticks=range(LEAST, 101, 10))

    numberings = values[SINGLE].columns
    columns = [
        *((place, str(place), (SINGLE, ONE_HOT), place) for place in numberings),
        (len(numberings) + 0.2, "cross\nentropy", (UNSATURATED, REFERENCE), 0),
        (len(numberings) + 1.6, "linear", (LINEAR,), 0),
    ]
    for place, _, names, numbering in columns:
        for name in names:
            seeds = values[name][numbering]
            apart = [place + 0.14 * (seed - (len(seeds) - 1) / 2) for seed in range(len(seeds))]
            right.plot(apart, 100 * seeds, **_marks(FACES[ONE_HOT if name in TENS else SINGLE]))
    right.sharey(middle)
    right.axvline(len(numberings) - 0.5, color=FAINT, linewidth=0.8)
    right.set_xticks([place for place, *_ in columns], [text for _, text, *_ in columns])
    start, end = right.get_xlim()
    middle_of_numberings = (numberings.to_numpy().mean() - start) / (end - start)
    right.set_xlabel("numbering", x=middle_of_numberings, ha="center")
    for name, height in ((SINGLE, 88), (ONE_HOT, 94)):
        right.text(
            -0.4, height, "ten outputs" if name == ONE_HOT else "single output", fontsize=8, va="center"
        )
    return Picture(
        figure,
        "Adam, a single output (hollow) and ten (filled). Left: how the single sigmoid with the quadratic loss "
        "reads each digit, all seeds together; the grey scale is that of the square root. Middle: train and test "
        "accuracy of these two encodings at every measurement and every rate, means over seeds; on the dashed line "
        f"both are equal. Right: every seed under the usual numbering (0) and {count_words(len(numberings) - 1)} "
        f"random ones, in which the digits 0 to 9 become {_numberings()}; and the other encodings under the usual "
        "one.",
        "Left: a matrix with a broad dark band along its diagonal. Middle: ten outputs lie just below the diagonal "
        "where both accuracies are equal; a single output leaves it at about 70 % and stays level from there. Right: "
        "ten outputs lie on one level row at the top, a single output far below at a height for each numbering.",
    )


def _marks(face: str) -> dict[str, Any]:
    """Return the look of points of one face colour."""
    return {
        "linestyle": "",
        "marker": "o",
        "markersize": 2.8,
        "color": INK,
        "markerfacecolor": face,
        "markeredgewidth": 0.6,
    }


def _draw_confusion(axes: Axes, counts: pd.DataFrame) -> AxesImage:
    """Draw one encoding's confusions, in percent of the true class."""
    table = counts.pivot(index="true", columns="predicted", values="count").to_numpy()
    shares = 100 * table / table.sum(1, keepdims=True)
    axes.set_xlabel("read as")
    axes.set_xticks(range(0, CLASSES, 3))
    axes.set_yticks(range(0, CLASSES, 3))
    return axes.imshow(shares, cmap="gray_r", norm=PowerNorm(0.5, vmin=0, vmax=100))


@exhibit("tbl-encodings", "encoding")
def encodings_table(found: Results) -> Table:
    """Tabulate every encoding at its best rates, with SGD and with Adam, with the digits as they are."""
    sgd, adam, longer = (select(found.rows) for select in (with_sgd, with_adam, with_adam_for_longer))
    rates = [
        best_rate_rows(rows).groupby(["encoding", "permutation"])["learning_rate"].first()
        for rows in (sgd, adam)
    ]
    near, train, long_train = (
        neighbour_shares(adam),
        final_train_accuracies(adam),
        final_train_accuracies(longer),
    )
    epochs = [f"{rows['epoch'].max():.0f}" for rows in (sgd, adam, longer)]
    long = accuracies(longer)
    lines = [
        [
            label(name),
            f"{rates[0][name, 0]:g}",
            _format_accuracy(accuracies(sgd)[name][0]),
            f"{rates[1][name, 0]:g}",
            format_fixed(100 * train[name], 1),
            _format_accuracy(table[0]),
            format_fixed(100 * long_train[name], 1),
            _format_accuracy(long[name][0]),
            format_fixed(100 * near[name, 0], 0),
        ]
        for name, table in accuracies(adam).items()
    ]
    for other, words in ((wider(found.rows), f"{WIDER} units"), (deeper(found.rows), "two layers")):
        train, near = final_train_accuracies(other), neighbour_shares(other)
        rate = best_rate_rows(other).groupby("encoding")["learning_rate"].first()
        lines += [
            [
                f"{label(name).partition(',')[0]}, {words}",
                *("–", "–"),
                f"{rate[name]:g}",
                format_fixed(100 * train[name], 1),
                _format_accuracy(table[0]),
                *("–", "–"),
                format_fixed(100 * near[name, 0], 0),
            ]
            for name, table in accuracies(other).items()
        ]
    return Table(
        pd.DataFrame(
            lines,
            columns=[
                "Outputs and loss",
                "SGD: $\\eta$",
                "SGD: test",
                "Adam: $\\eta$",
                "Adam: train",
                "Adam: test",
                "Longer: train",
                "Longer: test",
                "Near",
            ],
        ),
        f"Every encoding under the usual numbering, in percent: accuracy after {epochs[0]} epochs of SGD, "
        f"{epochs[1]} of Adam and, at the same rate, {epochs[2]} (*longer*); for test examples with 95 % t "
        "intervals; $\\eta$ is the best rate. *Near*: share of the errors, with Adam, that fall on a digit "
        f"numbered next to the true one ({200 / CLASSES:.0f} if spread evenly). Last rows: with the quadratic "
        f"loss, with one hidden layer of {WIDER} units, or two of {USUAL}.",
        (32, 8, 12, 8, 9, 12, 9, 12, 7),
    )


def _format_accuracy(values: pd.Series[float]) -> str:
    return format_interval(t_interval(values), 1, "")


@sketch("encoding", alt="Single output: which digit is read as which, a broad band along the diagonal.")
def sketch_of_confusion(axes: Axes, found: Results) -> None:
    counts = confusions(with_adam(found.rows))
    chosen = counts[(counts["encoding"] == SINGLE) & (counts["permutation"] == 0)]
    _draw_confusion(axes, chosen)
    axes.set_xlabel("")
    axes.set_xticks([])
    axes.set_yticks([])


# Findings


@finding("encoding", headline=True)
def one_hot_beats_a_single_output(found: Results) -> Evidence:
    sgd, adam = (accuracies(rows) for rows in (with_sgd(found.rows), with_adam(found.rows)))
    gaps = [
        statistics.paired_t(values[ONE_HOT][0], values[name][0]).difference
        for values in (sgd, adam)
        for name in SINGLES
    ]
    best = max(adam[name][0].mean() for name in SINGLES)
    renumbered = adam[SINGLE].mean().max()
    ten = [mean for name in TENS for mean in adam[name].mean()]
    least, epochs = format_at_least(min(ten)), with_adam(found.rows)["epoch"].max()
    usual = max(adam[name][0].mean() for name in TENS)
    return Evidence(
        "Because the loss of a single output treats digits with neighbouring numbers as nearly the same, for no "
        "reason but their numbers, and, with SGD, because a sigmoid saturates at both ends of the line on which it "
        "must order all ten. Each of ten outputs need only tell one class from the others. With one hidden layer, "
        f"after {epochs:.0f} epochs of Adam (@sec-adam), the best of {count_words(len(SINGLES), 'single output')} "
        f"(sigmoid with either loss, or linear) reaches {format_percent(best)} test accuracy, and up to "
        f"{format_percent(renumbered)} if the digits are renumbered. Ten one-hot outputs reach {least} or more "
        "(@tbl-encodings). With SGD the gap is larger still. These reasons do not explain all of it: avoiding "
        "saturation gains nothing with Adam, and a second hidden layer closes most of the gap.",
        {
            "with SGD the gap to the best single output is larger": min(
                gap.mean for gap in gaps[: len(SINGLES)]
            )
            > min(gap.mean for gap in gaps[len(SINGLES) :]),
            "ten outputs are ahead of every single one by more than the interval, with both optimizers": all(
                gap.mean > gap.half_width for gap in gaps
            ),
            "with Adam ten outputs end within a quarter of a point, whatever loss and numbering": max(ten)
            - min(ten)
            < 0.0025,
            "the best numbering is better for the single sigmoid than the usual one": bool(renumbered > best),
            "it leaves the single sigmoid more than ten points behind": bool(min(ten) - renumbered > 0.1),
        },
        f"With one hidden layer, one output reads at best {format_percent(renumbered, 0)}, ten read "
        f"{format_percent(usual, 0)}.",
    )


@finding("encoding")
def errors_fall_on_neighbours(found: Results) -> Evidence:
    near = neighbour_shares(with_adam(found.rows))
    single, one_hot = near[SINGLE], near[ONE_HOT]
    return Evidence(
        f"{format_percent(single[0], 0)} of the single sigmoid's errors fall on a digit numbered next to the true "
        f"one; after renumbering, {format_percent(single.drop(0).min(), 0)} or more fall on the new neighbours.",
        {
            "under every numbering, more than twice as large a share as with one-hot targets falls on neighbours": bool(
                single.min() > 2 * one_hot.max()
            ),
            "under every numbering, it is more than twice the share of errors spread evenly": bool(
                single.min() > 2 * 2 / CLASSES
            ),
        },
    )


@finding("encoding")
def renumbering_moves_the_single_output(found: Results) -> Evidence:
    adam = with_adam(found.rows)
    values = accuracies(adam)
    single, ten = values[SINGLE], values[ONE_HOT].mean()
    best = single.mean().idxmax()
    ahead = 100 * (single[best] - single[0]).min()
    return Evidence(
        f"With Adam, the single sigmoid's mean test accuracy lies between {format_percent(single.mean().min())} and "
        f"{format_percent(single.mean().max())}, depending on the numbering; that of ten outputs hardly changes.",
        {
            "with every seed some numbering is ahead of the usual one": bool(ahead > 1),
            "with ten outputs the means lie within a quarter of a point": bool(
                ten.max() - ten.min() < 0.0025
            ),
        },
    )


@finding("encoding")
def saturation_slows_and_the_metric_stays(found: Results) -> Evidence:
    longer = with_adam_for_longer(found.rows)
    sgd, adam, long = (accuracies(rows) for rows in (with_sgd(found.rows), with_adam(found.rows), longer))
    gained, later, last = (
        statistics.paired_t(values[UNSATURATED][0], values[SINGLE][0]).difference
        for values in (sgd, adam, long)
    )
    missing = statistics.paired_t(adam[REFERENCE][0], adam[UNSATURATED][0]).difference
    return Evidence(
        f"With SGD this gains {format_interval(gained, 1, '')} points (@tbl-encodings). With Adam, which enlarges "
        f"small gradients, it gains nothing, and in the longer runs it loses {format_interval(-last, 1, '')}.",
        {
            "with SGD cross entropy gains more than the interval": gained.mean > gained.half_width,
            "with Adam it does not gain": later.mean < later.half_width,
            "with Adam for longer it is behind by more than the interval": last.mean < -last.half_width,
            "more is missing than was gained": missing.mean > gained.mean,
        },
    )


@finding("encoding")
def ends_are_read_well(found: Results) -> Evidence:
    counts = confusions(with_adam(found.rows))
    table = counts[(counts["encoding"] == SINGLE) & (counts["permutation"] == 0)].pivot(
        index="true", columns="predicted", values="count"
    )
    read = pd.Series(np.diag(table) / table.sum(axis="columns"), table.index)
    ends = read[[0, CLASSES - 1]]
    return Evidence(
        "In the end they are read well all the same (@fig-encodings, left).",
        {"each is read better than the digits on average": bool(ends.min() > read.mean())},
    )


@finding("encoding")
def linear_output_is_no_better(found: Results) -> Evidence:
    longer, sgd = with_adam_for_longer(found.rows), with_sgd(found.rows)
    of_linear = _with_names(sgd).query("encoding == @LINEAR")
    by_rate = statistics.final_values(of_linear, "test_accuracy", ["learning_rate", "seed"])
    best = by_rate.groupby("learning_rate").mean().idxmax()
    train, read = final_train_accuracies(longer), accuracies(longer)
    return Evidence(
        f"As {USUAL} hidden units near $\\tfrac12$ feed it, its loss has a curvature of about $1 + "
        f"\\tfrac{{{USUAL}}}4 = {1 + int(USUAL) / 4:.0f}$, which limits the rate of SGD to roughly "
        f"{2 / (1 + int(USUAL) / 4):.2f}: with SGD it is the worst of all. With Adam, in the longer runs, it fits as "
        "many training examples as the single sigmoid, but reads fewer test examples (@tbl-encodings).",
        {
            "with SGD all other encodings are more accurate": accuracies(sgd)[LINEAR][0].max()
            < min(values[0].min() for name, values in accuracies(sgd).items() if name != LINEAR),
            "at larger rates than twice the best it learns nothing": bool(
                (by_rate[by_rate.index.get_level_values("learning_rate") > 2 * best] < CHANCE).all()
            ),
            "the best rate is next to that limit": 0.5 < best / (2 / (1 + int(USUAL) / 4)) < 2,
            "it fits as many training examples as the single sigmoid, within a point": abs(
                train[LINEAR] - train[SINGLE]
            )
            < 0.01,
            "it reads fewer test examples, with every seed": read[LINEAR][0].max() < read[SINGLE][0].min(),
        },
    )


@finding("encoding")
def line_generalises_worse(found: Results) -> Evidence:
    longer = with_adam_for_longer(found.rows)
    train, test = final_train_accuracies(longer)[SINGLE], accuracies(longer)[SINGLE][0].mean()
    gained = test - accuracies(with_adam(found.rows))[SINGLE][0].mean()
    ten = along_training(found.rows).loc[ONE_HOT].query("epoch < epochs / 2")
    alike = (ten["train_accuracy"] - train).abs().idxmin()
    other_train, other_test = ten.loc[alike]
    return Evidence(
        f"In {longer['epoch'].max():.0f} epochs the single sigmoid comes to read {format_percent(train)} of the "
        f"training examples, but only {format_percent(test)} of the test examples. When ten outputs with the same "
        f"loss fit about as many, after {alike[-1]:.0f} epochs, they read {format_percent(other_test)} of the test "
        "examples (@fig-encodings, middle).",
        {
            "more epochs gain more in training than in the test": bool(
                train - final_train_accuracies(with_adam(found.rows))[SINGLE] > 0.05 > 5 * abs(gained)
            ),
            "ten outputs fit about as many training examples": bool(abs(train - other_train) < 0.01),
            "they read far more test examples": bool(other_test - test > 0.15),
        },
    )


@finding("encoding")
def thresholds_gain_little(found: Results) -> Evidence:
    table = found.programs["learnt_thresholds"]
    reading = table.pivot(index="seed", columns=["hidden", "reading"], values="value")[USUAL]
    gain = statistics.paired_t(reading["thresholds"], reading["nearest"]).difference
    return Evidence(
        "Nor does the way it is read explain the gap: other thresholds between the digits, those that suit the "
        f"training examples best, change test accuracy by {format_interval(gain, 1, '')} points.",
        {
            "every start gains": bool((reading["thresholds"] > reading["nearest"]).all()),
            "thresholds gain less than a tenth of what the single output is behind ten": bool(
                gain.mean + gain.half_width
                < (accuracies(with_adam(found.rows))[ONE_HOT][0].mean() - reading["nearest"].mean()) / 10
            ),
        },
    )


@finding("encoding")
def second_layer_narrows_the_gap(found: Results) -> Evidence:
    one, wide, two = (
        accuracies(rows) for rows in (with_adam(found.rows), wider(found.rows), deeper(found.rows))
    )
    before, wider_by, left = (
        statistics.paired_t(each[ONE_HOT][0], each[SINGLE][0]).difference for each in (one, wide, two)
    )
    rates = pd.concat(
        best_rate_rows(rows).groupby("encoding")["learning_rate"].first()
        for rows in (wider(found.rows), deeper(found.rows))
    )
    return Evidence(
        f"With two hidden layers of {USUAL} units the single sigmoid is {format_interval(left, 1, '')} points behind "
        f"ten outputs with the same loss; with one layer of {USUAL}, or of {WIDER}, which has more weights than the "
        f"two, it is more than {math.floor(100 * min(before.mean, wider_by.mean))} (@tbl-encodings). Why a second "
        "layer finds an order that generalises better, our runs do not tell.",
        {
            "the single sigmoid reads more from every start": bool(
                two[SINGLE][0].min() > max(one[SINGLE][0].max(), wide[SINGLE][0].max())
            ),
            "most of the gap is closed": left.mean < before.mean / 2,
            "but not by the wider layer, which has more weights": wider_by.mean > 0.9 * before.mean
            and num_parameters_of(WIDER) > num_parameters_of(DEEPER),
            "with either depth the line can be fitted on the training examples": bool(
                min(
                    final_train_accuracies(rows)[SINGLE]
                    for rows in (with_adam_for_longer(found.rows), deeper(found.rows))
                )
                > 0.97
            ),
            "ten outputs stay ahead by more than the interval": left.mean > left.half_width,
            "no best rate is the smallest or the largest": bool(
                rates.between(min(ADAM_RATES), max(ADAM_RATES), inclusive="neither").all()
            ),
        },
    )
