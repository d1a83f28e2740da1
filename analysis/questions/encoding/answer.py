"""Q5, one-hot targets: a single output errs along the order of the labels, ten outputs do not."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from analysis import statistics
from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import (
    count_words,
    format_at_most,
    format_fixed,
    format_interval,
    format_percent,
    join_english,
    label,
)
from analysis.plotting import FAINT, MARKER, WIDTH, line_style, plain_ticks
from analysis.questions.encoding.runs import LABEL_PERMUTATIONS
from analysis.results import Results, remembered
from analysis.statistics import t_interval

# Encodings by target, loss and output; the first two differ by nothing but the encoding.
SINGLE, ONE_HOT = "scaled_label_quadratic_sigmoid", "one_hot_quadratic_sigmoid"
REFERENCE = "one_hot_cross_entropy_softmax"
# Single outputs whose error does not vanish at the ends of the scale.
LINEAR, UNSATURATED = "scaled_label_quadratic_identity", "scaled_label_cross_entropy_sigmoid"
SINGLES = (SINGLE, LINEAR, UNSATURATED)
CHANCE = 0.12  # above the test accuracy of always giving one digit


@remembered
def with_sgd(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of SGD: all encodings, and label permutations."""
    return rows[rows["optimizer"] == "sgd"]


@remembered
def with_adam(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Adam: all encodings, with the digits as they are."""
    adam = rows[rows["optimizer"] == "adam"]
    return adam[adam["epochs"] == adam["epochs"].min()]


@remembered
def with_adam_for_longer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the longest runs of Adam: single outputs of sigmoids."""
    adam = rows[rows["optimizer"] == "adam"]
    return adam[adam["epochs"] == adam["epochs"].max()]


@remembered
def best_rate_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every encoding under every label permutation at its best rate, for one optimizer.

    Returns:
        The rows with columns `encoding` and `permutation`, 0 for the digits as they are.
    """
    permutations = {"-".join(map(str, labels)): place for place, labels in enumerate(LABEL_PERMUTATIONS)}
    named = rows.assign(
        encoding=rows["target"] + "_" + rows["loss"] + "_" + rows["output"],
        permutation=rows["labels"].map(permutations),
    )
    return statistics.at_best_rates(named, ["encoding", "permutation"])


@remembered
def accuracies(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the final test accuracies by encoding: index seed, a column per label permutation."""
    return {
        str(name): statistics.final_values(group, "test_accuracy", ["seed", "permutation"]).unstack()
        for name, group in best_rate_rows(rows).groupby("encoding", sort=False)
    }


@remembered
def permutation_tests(rows: pd.DataFrame) -> dict[str, float]:
    """Return p-values, adjusted after Holm: whether an encoding's accuracy depends on the label permutation.

    They are not numbers with a single seed, or for an encoding that was trained under one permutation.
    """
    found = accuracies(rows)
    p = {
        name: statistics.repeated_measures_p(values)
        for name, values in found.items()
        if min(values.shape) > 1
    }
    return dict.fromkeys(found, math.nan) | dict(zip(p, statistics.holm(list(p.values())), strict=True))


def final_train_accuracies(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the train accuracies at the end, where they were measured, mean over seeds; index: encoding."""
    final = statistics.final_values(
        best_rate_rows(rows), "train_accuracy", ["encoding", "permutation", "seed"]
    )
    return final.groupby("encoding").mean()


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


def end_shares(rows: pd.DataFrame) -> pd.Series[float]:
    """Return how often classes 0 and 9 are read, relative to how often they occur: index encoding, permutation."""
    counts = confusions(rows)
    ends = [0, CLASSES - 1]
    by = ["encoding", "permutation"]
    read = counts[counts["predicted"].isin(ends)].groupby(by)["count"].sum()
    return read / counts[counts["true"].isin(ends)].groupby(by)["count"].sum()


# Exhibits


@exhibit(
    "fig-encodings",
    "encoding",
    explore=(
        "metric=test_accuracy&seeds=each"
        "&run=target:one_hot,loss:quadratic,output:sigmoid,optimizer:sgd,learning_rate:1"
        "&pin=target:scaled_label,learning_rate:3"
        "&pin=target:scaled_label,loss:cross_entropy"
        "&pin=loss:cross_entropy,output:softmax"
    ),
)
def confusions_and_accuracies(found: Results) -> Picture:
    """Draw confusions of two encodings with the same loss, and accuracies under every label permutation."""
    counts, values = confusions(with_adam(found.rows)), accuracies(with_sgd(found.rows))
    adam = accuracies(with_adam(found.rows))
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 2.3), width_ratios=(1, 1, 1.25))
    for axes, name in ((left, SINGLE), (middle, ONE_HOT)):
        chosen = counts[(counts["encoding"] == name) & (counts["permutation"] == 0)]
        image = _draw_confusion(axes, chosen)
        axes.set_title("single sigmoid" if name == SINGLE else "ten outputs")
    left.set_ylabel("digit")
    bar = figure.colorbar(image, ax=(left, middle), shrink=0.75, pad=0.02)
    bar.ax.set_title("%", fontsize=8, loc="center")
    bar.set_ticks([0, 5, 25, 100])
    for position, (name, table) in enumerate(values.items()):
        style = line_style(name)
        for permutation, column in (100 * (1 - table)).items():
            place = permutation + 0.13 * (position - (len(values) - 1) / 2)
            right.plot([place] * len(column), column, linestyle="", markersize=MARKER, **style)
        place = len(values[SINGLE].columns) + 0.13 * (position - (len(values) - 1) / 2)
        right.plot(
            [place] * len(adam[name]), 100 * (1 - adam[name][0]), linestyle="", markersize=MARKER, **style
        )
    permutations = len(values[SINGLE].columns)
    right.axvline(permutations - 0.5, color=FAINT, linewidth=0.8)
    right.set_yscale("log")
    plain_ticks(right.yaxis)
    right.set_xticks(range(permutations + 1), [*map(str, range(permutations)), "0,\nAdam"])
    right.set_xlim(-0.5, permutations + 0.5)
    right.set_xlabel("numbering of the digits")
    right.set_ylabel("test error in %")
    handles = [Line2D([], [], linestyle="", **line_style(name), label=label(name)) for name in values]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5)
    return Picture(
        figure,
        "A single output and ten. Left and middle: share of each digit's test images that is read as each digit, "
        "with the quadratic loss of sigmoid outputs and Adam, all seeds together; the grey scale is that of the "
        "square root. Right: test error of every seed, with SGD under the usual numbering (0) and "
        f"{count_words(permutations - 1, 'random one')}, and with Adam.",
        "Left: a matrix with a broad dark band along its diagonal, palest at its last digit. Middle: a matrix with a "
        "sharp diagonal. Right: the errors of one-hot targets lie on two level rows near the bottom; those of the "
        "three single outputs lie far above and scatter.",
    )


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
    """Tabulate every encoding at its best rates, with SGD and with Adam."""
    lines = []
    for optimizer, rows in (("SGD", with_sgd(found.rows)), ("Adam", with_adam(found.rows))):
        chosen = best_rate_rows(rows)
        rates = chosen.groupby(["encoding", "permutation"])["learning_rate"].first()
        near, ends = neighbour_shares(rows), end_shares(rows)
        train = final_train_accuracies(rows)
        for name, table in accuracies(rows).items():
            renumbered = table.drop(columns=0).mean()
            lines.append(
                {
                    "Outputs and loss": label(name),
                    "Steps": f"{optimizer}, {rates[name][0]:g}",
                    "Train acc.": format_percent(train[name], 1) if name in train else "–",
                    "Test acc.": format_interval(t_interval(table[0])),
                    "Renumbered": f"{100 * renumbered.min():.1f}–{format_percent(renumbered.max())}"
                    if len(renumbered)
                    else "–",
                    "Errors on neighbours": format_percent(near[name][0], 0),
                    "0 and 9 read": format_percent(ends[name][0], 0),
                }
            )
    epochs = [rows["epoch"].max() for rows in (with_sgd(found.rows), with_adam(found.rows))]
    return Table(
        pd.DataFrame(lines),
        f"Every encoding at its best learning rate under the usual numbering, {epochs[0]:.0f} epochs with SGD and "
        f"{epochs[1]:.0f} with Adam: train and test accuracy, with the half width of a 95 % t interval; least and "
        "largest mean accuracy when the digits are renumbered; share of the errors that fall on a digit numbered next "
        f"to the true one ({format_percent(2 / CLASSES, 0)} if spread evenly); how often 0 and 9 are read, relative to "
        "how often they occur.",
        (30, 15, 9, 16, 14, 12, 8),
    )


@sketch("encoding", alt="Single output: which digit is read as which, a broad band along the diagonal.")
def sketch_of_confusion(axes: Axes, found: Results) -> None:
    counts = confusions(with_sgd(found.rows))
    chosen = counts[(counts["encoding"] == SINGLE) & (counts["permutation"] == 0)]
    _draw_confusion(axes, chosen)
    axes.set_xlabel("")
    axes.set_xticks([])
    axes.set_yticks([])


# Findings


@finding("encoding", headline=True)
def one_hot_beats_a_single_output(found: Results) -> Evidence:
    gaps, adam = [], accuracies(with_adam(found.rows))
    for values in (accuracies(with_sgd(found.rows)), adam):
        ten = values.get(ONE_HOT, values[REFERENCE])
        gaps += [statistics.paired_t(ten[0], values[name][0]).difference for name in SINGLES]
    best = max(SINGLES, key=lambda name: adam[name][0].mean())
    ten = [adam[name][0].mean() for name in (REFERENCE, ONE_HOT)]
    longer = accuracies(with_adam_for_longer(found.rows))
    latest = max((values[0].mean() for name, values in longer.items() if name in SINGLES), default=0.0)
    least = math.floor(100 * min(min(ten) - latest, *(gap.mean for gap in gaps)))
    return Evidence(
        "Because one output puts the digits on a line, where ten keep them apart. Trained with Adam, the best of "
        f"{count_words(len(SINGLES), 'single output')} reaches {format_percent(adam[best][0].mean())} test accuracy, "
        f"where ten one-hot outputs reach {format_percent(min(ten))} with either loss. Longer training does not close "
        f"the gap: the best then has {format_percent(latest)}.",
        {
            "ten outputs are ahead of every single one by more than the interval, with both optimizers": all(
                gap.mean > gap.half_width for gap in gaps
            ),
            "with Adam both losses of ten outputs end within a quarter of a point": max(ten) - min(ten)
            < 0.0025,
            "longer training closes less than a tenth of the gap": latest - adam[best][0].mean()
            < 0.1 * (min(ten) - adam[best][0].mean()),
        },
        f"One output puts the digits on a line, and lost at least {least} points here.",
    )


@finding("encoding")
def errors_fall_on_neighbours(found: Results) -> Evidence:
    near = neighbour_shares(with_sgd(found.rows))
    single, one_hot = near[SINGLE], near[ONE_HOT]
    return Evidence(
        f"With SGD, {format_percent(single[0], 0)} of the single sigmoid's errors fall on a digit numbered next to the "
        f"true one. After renumbering, {format_percent(single.drop(0).min(), 0)} to "
        f"{format_percent(single.drop(0).max(), 0)} "
        "fall on the new neighbours: the numbering makes these errors, not the shapes.",
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
def ends_are_read_too_seldom(found: Results) -> Evidence:
    of_single, with_steps = (
        end_shares(rows)[SINGLE] for rows in (with_sgd(found.rows), with_adam(found.rows))
    )
    linear = end_shares(with_adam(found.rows))[LINEAR][0]
    return Evidence(
        "With SGD the single sigmoid reads the digits at the two ends at most "
        f"{format_at_most(of_single.max(), 0)} as often as they occur, under every numbering. With Adam, which makes "
        f"small gradients large, it reads them {format_percent(with_steps[0], 0)} as often, much as the linear output "
        f"does ({format_percent(linear, 0)}).",
        {
            "with SGD, under every numbering, the ends are read less often than they occur": bool(
                (of_single < 1).all()
            ),
            "with Adam they are read more often than with SGD under any": bool(
                with_steps[0] > of_single.max()
            ),
            "with Adam the linear output reads them about as often": abs(with_steps[0] - linear) < 0.05,
        },
    )


@finding("encoding")
def saturation_slows_and_the_metric_stays(found: Results) -> Evidence:
    sgd, adam = (accuracies(rows) for rows in (with_sgd(found.rows), with_adam(found.rows)))
    gained, later = (
        statistics.paired_t(values[UNSATURATED][0], values[SINGLE][0]).difference for values in (sgd, adam)
    )
    missing = statistics.paired_t(adam[REFERENCE][0], adam[UNSATURATED][0]).difference
    return Evidence(
        f"With SGD this gains {format_interval(gained, 1, '')} points, with Adam nothing "
        f"({format_interval(later, 1, '')}): saturation slows the training. The {100 * missing.mean:.0f} "
        "points that are then still missing to ten outputs are hardly the work of saturation.",
        {
            "with SGD cross entropy gains more than the interval": gained.mean > gained.half_width,
            "with Adam it does not gain": later.mean < later.half_width,
            "more is missing than was gained": missing.mean > gained.mean,
        },
    )


@finding("encoding")
def half_is_missing_in_training(found: Results) -> Evidence:
    rows = with_adam(found.rows)
    train, test = final_train_accuracies(rows), accuracies(rows)
    fit = 100 * (train[REFERENCE] - train[SINGLE])
    gaps = {name: 100 * (train[name] - test[name][0].mean()) for name in (SINGLE, REFERENCE)}
    return Evidence(
        f"Of what the single sigmoid lacks with Adam, {fit:.0f} points are missing on the training examples already. "
        f"The rest is lost between training and test: there the single sigmoid loses {gaps[SINGLE]:.0f} points, ten "
        f"outputs {gaps[REFERENCE]:.0f}.",
        {
            "it fits fewer of its training examples": bool(fit > 5),
            "it also generalises worse": bool(gaps[SINGLE] > gaps[REFERENCE] + 5),
        },
    )


@finding("encoding")
def longer_training_does_not_help(found: Results) -> Evidence:
    short, long = with_adam(found.rows), with_adam_for_longer(found.rows)
    before, after = accuracies(short), accuracies(long)
    names = [name for name in SINGLES if name in after]
    gained = [after[name][0].mean() - before[name][0].mean() for name in names]
    train = final_train_accuracies(long)[names]
    changes = join_english(
        f"{100 * gain:+.1f}".replace("-", "−") + f" ({label(name).rpartition(', ')[2]})"
        for name, gain in zip(names, gained, strict=True)
    )
    return Evidence(
        f"In {long['epoch'].max():.0f} epochs instead of {short['epoch'].max():.0f}, the single sigmoids fit "
        f"{100 * train.min():.0f} and {format_percent(train.max(), 0)} of their training examples, but their test "
        f"accuracy changes by {changes} points only: a line can be fitted, and generalises badly.",
        {
            "none gains more than two points": max(gained) < 0.02,
            "both fit at least five points more than before": bool(
                (train - final_train_accuracies(short)[names] > 0.05).all()
            ),
            "there are two of them": len(names) == 2,
        },
    )


@finding("encoding")
def linear_output_errs_alike(found: Results) -> Evidence:
    rows = with_sgd(found.rows)
    final = rows[rows["epoch"] == rows["epoch"].max()]
    linear = final[final["output"] == "identity"]
    test = linear[linear["metric"] == "test_accuracy"].groupby("learning_rate")["value"].mean()
    best, near = test.idxmax(), neighbour_shares(with_adam(found.rows))
    adam = accuracies(with_adam(found.rows))[LINEAR][0].mean()
    return Evidence(
        f"The linear output hardly trains with SGD: above $\\eta = {best:g}$ it ends at chance. With Adam it comes to "
        f"{format_percent(adam)} test accuracy, and {format_percent(near[LINEAR][0], 0)} of its errors fall on "
        "neighbours, like those of the sigmoids.",
        {
            "with SGD, larger rates end at chance": bool((test[test.index > best] < CHANCE).all()),
            "with Adam it is more accurate by far": bool(adam > 2 * test.max()),
            "most errors of all single outputs fall on neighbours": all(
                near[name][0] > 0.7 for name in SINGLES
            ),
        },
    )


@finding("encoding")
def renumbering_moves_the_single_output(found: Results) -> Evidence:
    p = permutation_tests(with_sgd(found.rows))
    spread = {
        name: 100 * (table.mean().max() - table.mean().min())
        for name, table in accuracies(with_sgd(found.rows)).items()
    }
    return Evidence(
        f"Under the numberings the mean accuracy of the single sigmoid varies by {spread[SINGLE]:.1f} points, that of "
        f"ten outputs with the same loss by {spread[ONE_HOT]:.2f} (F tests, adjusted: p = {_format_p(p[SINGLE])} and "
        f"{_format_p(p[ONE_HOT])}).",
        {
            "the numbering changes the accuracy of the single sigmoid (p < 0.05)": p[SINGLE] < 0.05,
            "it does not change that of ten outputs (p > 0.05)": all(
                p[name] > 0.05 for name in (ONE_HOT, REFERENCE)
            ),
        },
    )


def _format_p(p: float) -> str:
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else format_fixed(p, 2 if p > 0.05 else 3)
