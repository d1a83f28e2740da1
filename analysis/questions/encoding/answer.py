"""Q5, one-hot targets: a single output errs along the order of the labels, ten outputs do not."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage

from analysis import statistics
from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_interval,
    format_percent,
    join_english,
    label,
)
from analysis.plotting import MARKER, WIDTH, line_style
from analysis.questions.encoding.runs import LABEL_PERMUTATIONS
from analysis.results import Results

# Encodings by target, loss and output; the first two differ by nothing but the encoding.
SINGLE, ONE_HOT = "scaled_label_quadratic_sigmoid", "one_hot_quadratic_sigmoid"
REFERENCE = "one_hot_cross_entropy_softmax"


def best_rate_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every encoding under every label permutation at its best rate.

    Returns:
        The rows with columns `encoding` and `permutation`, 0 for the digits as they are.
    """
    permutations = {"-".join(map(str, labels)): place for place, labels in enumerate(LABEL_PERMUTATIONS)}
    named = rows.assign(
        encoding=rows["target"] + "_" + rows["loss"] + "_" + rows["output"],
        permutation=rows["labels"].map(permutations),
    )
    return statistics.at_best_rates(named, ["encoding", "permutation"])


def accuracies(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the final test accuracies by encoding: index seed, a column per label permutation."""
    return {
        str(name): statistics.final_values(group, "test_accuracy", ["seed", "permutation"]).unstack()
        for name, group in best_rate_rows(rows).groupby("encoding", sort=False)
    }


def permutation_tests(rows: pd.DataFrame) -> dict[str, float]:
    """Return p-values, adjusted after Holm: whether an encoding's accuracy depends on the label permutation.

    They are not numbers with a single seed.
    """
    found = accuracies(rows)
    if rows["seed"].nunique() < 2:
        return dict.fromkeys(found, math.nan)
    p = [statistics.repeated_measures_p(values) for values in found.values()]
    return dict(zip(found, statistics.holm(p), strict=True))


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


@exhibit("fig-encodings", "encoding")
def confusions_and_accuracies(found: Results) -> Picture:
    """Draw confusions of two encodings with the same loss, and accuracies under every label permutation."""
    counts, values = confusions(found.rows), accuracies(found.rows)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 2.35), width_ratios=(1, 1, 1.05))
    for axes, name in ((left, SINGLE), (middle, ONE_HOT)):
        chosen = counts[(counts["encoding"] == name) & (counts["permutation"] == 0)]
        image = _draw_confusion(axes, chosen)
        axes.set_title(label(name).partition(",")[0])
    left.set_ylabel("digit")
    bar = figure.colorbar(image, ax=(left, middle), shrink=0.75, pad=0.02)
    bar.ax.set_title("%", fontsize=8, loc="center")
    bar.set_ticks([0, 5, 25, 100])
    for name, table in values.items():
        _draw_accuracies(right, name, 100 * table)
    permutations = len(values[SINGLE].columns)
    right.set_xticks(range(permutations))
    right.set_xlim(-0.5, permutations - 0.5)
    right.set_ylim(min(40, *(100 * table.min(axis=None) - 5 for table in values.values())), 106)
    right.set_xlabel("numbering of the digits")
    right.set_ylabel("test accuracy in %")
    return Picture(
        figure,
        "A single output and ten. Left and middle: share of each digit's test images that is read as each digit, all "
        "seeds together; the single output errs along the diagonal. Right: test accuracy of every seed under the usual "
        f"numbering (0) and {count_words(permutations - 1, 'random one')}.",
        "Left: a matrix with a broad dark band along its diagonal, palest at its last digit. Middle: a matrix with a "
        "sharp diagonal. Right: the accuracies of one-hot targets lie on two level rows; those of the single output "
        "lie far below and scatter.",
    )


def _draw_confusion(axes: Axes, counts: pd.DataFrame) -> AxesImage:
    """Draw one encoding's confusions, in percent of the true class."""
    table = counts.pivot(index="true", columns="predicted", values="count").to_numpy()
    shares = 100 * table / table.sum(1, keepdims=True)
    axes.set_xlabel("read as")
    axes.set_xticks(range(0, CLASSES, 3))
    axes.set_yticks(range(0, CLASSES, 3))
    return axes.imshow(shares, cmap="gray_r", norm=PowerNorm(0.5, vmin=0, vmax=100))


def _draw_accuracies(axes: Axes, name: str, percent: pd.DataFrame) -> None:
    """Draw one encoding's accuracies with its name above them, or below where two rows are close."""
    style = line_style(name)
    for permutation, column in percent.items():
        axes.plot([permutation] * len(column), column, linestyle="", markersize=MARKER, **style)
    below = name == ONE_HOT
    axes.annotate(
        label(name),
        ((len(percent.columns) - 1) / 2, percent.min(axis=None) if below else percent.max(axis=None)),
        xytext=(0, -8 if below else 8),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=8,
        color=style["color"],
    )


@sketch("encoding", alt="Single output: which digit is read as which, a broad band along the diagonal.")
def sketch_of_confusion(axes: Axes, found: Results) -> None:
    counts = confusions(found.rows)
    chosen = counts[(counts["encoding"] == SINGLE) & (counts["permutation"] == 0)]
    _draw_confusion(axes, chosen)
    axes.set_xlabel("")
    axes.set_xticks([])
    axes.set_yticks([])


# Findings


@finding("encoding", headline=True)
def one_hot_beats_a_single_output(found: Results) -> Evidence:
    usual = {name: values[0] for name, values in accuracies(found.rows).items()}
    gap = statistics.paired_t(usual[ONE_HOT], usual[SINGLE]).difference
    mean = {name: format_percent(values.mean()) for name, values in usual.items()}
    return Evidence(
        "Because one output puts the digits on a line, where ten keep them apart: at its best learning rate the "
        f"network with a single output has {mean[SINGLE]} test accuracy after "
        f"{format_count(int(found.rows['epoch'].max()), 'epoch')}, {format_interval(gap, 1, '')} points less than with "
        f"ten one-hot outputs and the same loss, which has {mean[ONE_HOT]} ({mean[REFERENCE]} with cross entropy).",
        {"ten outputs are ahead by more than the interval's half width": gap.mean > gap.half_width},
        f"One output puts the digits on a line, and loses {100 * gap.mean:.0f} points by it.",
    )


@finding("encoding")
def errors_fall_on_neighbours(found: Results) -> Evidence:
    near = neighbour_shares(found.rows)
    single, one_hot = near[SINGLE], near[ONE_HOT]
    renumbered = single.drop(0)
    chance = 2 * (CLASSES - 1) / (CLASSES * (CLASSES - 1))
    return Evidence(
        f"{format_percent(single[0], 0)} of the single output's errors fall on a digit numbered next to the true one, "
        f"against {format_percent(one_hot[0], 0)} with one-hot targets and {format_percent(chance, 0)} if they were "
        f"spread evenly; and when the digits are renumbered at random, {format_percent(renumbered.min(), 0)} to "
        f"{format_percent(renumbered.max(), 0)} fall on the new neighbours: the numbering makes these errors, not the "
        "shapes.",
        {
            "under every numbering, more than twice as large a share as with one-hot targets falls on neighbours": bool(
                single.min() > 2 * one_hot.max()
            ),
            "under every numbering, it is more than twice the share of errors spread evenly": bool(
                single.min() > 2 * chance
            ),
        },
    )


@finding("encoding")
def ends_are_read_too_seldom(found: Results) -> Evidence:
    counts = confusions(found.rows)
    single = counts[counts["encoding"] == SINGLE]
    read = single.groupby(["permutation", "predicted"])["count"].sum().unstack()
    occur = single.groupby(["permutation", "true"])["count"].sum().unstack()
    ends = (read / occur)[[0, CLASSES - 1]]
    return Evidence(
        "The two ends, whose targets 0 and 1 a sigmoid never attains, are read only "
        f"{format_percent(ends.min(axis=None), 0)} to {format_percent(ends.max(axis=None), 0)} as often as they occur, "
        f"whatever digits are numbered 0 and {CLASSES - 1}.",
        {
            "under every numbering, both ends are read less often than they occur": bool(
                (ends < 1).all(axis=None)
            )
        },
    )


@finding("encoding")
def renumbering_moves_the_single_output(found: Results) -> Evidence:
    p = permutation_tests(found.rows)
    written = {name: _format_p(value) for name, value in p.items()}
    values = accuracies(found.rows)
    means = {name: join_english(map(format_percent, table.mean())) for name, table in values.items()}
    return Evidence(
        f"The mean accuracy of the single output is {means[SINGLE]} under the "
        f"{count_words(len(values[SINGLE].columns), 'numbering')} and depends on them (F test with "
        f"{format_count(found.rows['seed'].nunique(), 'seed')} as repeated measures, adjusted p = {written[SINGLE]}); "
        f"with ten outputs and the same loss it is {means[ONE_HOT]} (p = {written[ONE_HOT]}), with cross entropy "
        f"{means[REFERENCE]} (p = {written[REFERENCE]}).",
        {
            "the numbering changes the accuracy of the single output (p < 0.05)": p[SINGLE] < 0.05,
            "it does not change that of the other encodings (p > 0.05)": all(
                other > 0.05 for name, other in p.items() if name != SINGLE
            ),
        },
    )


def _format_p(p: float) -> str:
    return "–" if math.isnan(p) else format_fixed(p, 2 if p > 0.05 else 3)
