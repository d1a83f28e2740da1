"""Q4, why cross entropy: three losses from the usual and from a wrong start, and their gradients at the logits."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_interval,
    format_mean_epoch,
    format_percent,
    label,
)
from analysis.plotting import GREEN, INK, MARKER, WIDTH, line_style, write_in
from analysis.results import Results
from analysis.statistics import (
    PairedTest,
    at_best_rates,
    final_values,
    first_epochs,
    paired_tests_holm,
    t_interval,
)

CHANCE = 0.1  # test accuracy of guessing
STUCK = 0.5  # test accuracy below which a network has not left its start
REFERENCE = "cross_entropy_softmax"
SOFTMAX, SIGMOID = "quadratic_softmax", "quadratic_sigmoid"
ACCURACIES = (0.90, 0.95)  # thresholds of test accuracy


def with_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Add columns `name`, of loss and output, and `shift`, by how much the output biases were shifted."""
    return rows.assign(
        name=rows["loss"] + "_" + rows["output"],
        shift=rows["init_scale"].where(rows["init"] == "saturated_output", 0.0),
    )


def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trained runs with names; the others are only there for their first gradient."""
    validated = rows.loc[rows["metric"] == "validation_accuracy", "key"]
    return with_names(rows[rows["key"].isin(validated)])


def trained_at_best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trained runs with names, from each start every loss at its best rate."""
    return at_best_rates(trained(rows), ["name", "shift"])


def first_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the root mean square over examples of the loss's gradient at the logits: name, shift, seed, norm."""
    probed = with_names(rows[(rows["metric"] == "error_norm") & (rows["update"] == 0)])
    last = probed[probed["index"] == probed["index"].max()]
    return last.rename(columns={"value": "norm"})[["name", "shift", "seed", "norm"]]


def wrong_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracies from the wrong start, every loss at its best rate there: name, seed, epoch, value."""
    runs = trained_at_best_rates(rows)
    chosen = runs[(runs["shift"] > 0) & (runs["metric"] == "test_accuracy")]
    return chosen[["name", "seed", "epoch", "value"]]


def usual_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of the usual start, every loss at its best rate.

    Returns:
        Columns name (losses in the order of the runs), seed, learning_rate, test_accuracy at the end, epochs_90 and
        epochs_95, the first epoch with that test accuracy (infinite if never).
    """
    chosen = trained_at_best_rates(rows)
    chosen = chosen[chosen["shift"] == 0]
    by = ["name", "seed", "learning_rate"]
    table = pd.DataFrame(
        {
            "test_accuracy": final_values(chosen, "test_accuracy", by),
            **{f"epochs_{100 * level:.0f}": first_epochs(chosen, level, by) for level in ACCURACIES},
        }
    ).reset_index()
    places = {name: place for place, name in enumerate(chosen["name"].unique())}
    return table.sort_values(["name", "seed"], key=lambda column: column.replace(places), ignore_index=True)


def behind_reference(runs: pd.DataFrame) -> dict[str, PairedTest]:
    """Return by how much cross entropy's test accuracy exceeds each other loss's; p-values adjusted after Holm."""
    accuracy = runs.pivot(index="seed", columns="name", values="test_accuracy")
    others = [name for name in runs["name"].unique() if name != REFERENCE]
    return paired_tests_holm({name: (accuracy[REFERENCE], accuracy[name]) for name in others})


# Exhibits


@exhibit(
    "fig-losses",
    "losses",
    explore=(
        "metric=test_accuracy&seeds=each"
        "&run=init:saturated_output,init_scale:5,loss:cross_entropy,output:softmax,learning_rate:1"
        "&pin=loss:quadratic"
        "&pin=loss:quadratic,output:sigmoid"
    ),
)
def gradients_and_accuracies(found: Results) -> Picture:
    """Draw each loss's gradient at the logits over the shift; accuracies from the usual and the wrong start."""
    errors, runs = first_errors(found.rows), trained_at_best_rates(found.rows)
    names = list(runs["name"].unique())
    figure, (norms, usual, wrong) = plt.subplots(1, 3, figsize=(WIDTH, 2.3), width_ratios=(1, 1, 1))
    usual.sharey(wrong)
    for name in names:
        style = line_style(name)
        mean = errors[errors["name"] == name].groupby("shift")["norm"].mean()
        norms.plot(mean.index, mean, markersize=MARKER, label=label(name), **style)
        for axes, start in ((usual, runs["shift"] == 0), (wrong, runs["shift"] > 0)):
            chosen = runs[start & (runs["name"] == name) & (runs["metric"] == "test_accuracy")]
            for _, run in chosen.groupby("seed"):
                axes.plot(run["epoch"], 100 * run["value"], linewidth=0.9, **{**style, "marker": ""})
    norms.set_yscale("log")
    norms.set_xticks(sorted(errors["shift"].unique()))
    norms.set_xlabel("output biases shifted by s")
    norms.set_ylabel("gradient at the logits")
    norms.legend(loc="lower left", fontsize=7)
    usual.set_ylabel("test accuracy in %")
    usual.set_title("usual start")
    wrong.set_title(f"wrong start, s = {errors['shift'].max():g}")
    for axes in (usual, wrong):
        axes.set_xlabel("epoch")
        axes.set_ylim(0, 100)
    return Picture(
        figure,
        f"{count_words(len(names), 'loss', 'losses').capitalize()}. Left: root mean square over the training examples "
        "of the gradient at the logits before the first update, over the shift $s$. Middle and right: test accuracy "
        "from the usual and the confidently wrong start, every loss at its own best rate for that start; a line per "
        "seed.",
        "Left: with cross entropy the gradient stays near the root of two, with both quadratic losses it falls by "
        "orders of magnitude. Middle and right: accuracy over epochs of the three losses.",
    )


@exhibit("tbl-losses", "losses")
def losses_table(found: Results) -> Table:
    """Tabulate each loss at its best rate."""
    numbers = usual_start(found.rows)
    behind = behind_reference(numbers)
    wrong = wrong_start(found.rows)
    lines = []
    for name, of_loss in numbers.groupby("name", sort=False):
        of_wrong = wrong[wrong["name"] == name]
        lines.append(
            {
                "Loss": label(name),
                "Best $\\eta$": f"{of_loss['learning_rate'].iloc[0]:g}",
                "Epochs to 90 %": format_mean_epoch(of_loss["epochs_90"]),
                "to 95 %": format_mean_epoch(of_loss["epochs_95"]),
                "Test acc.": format_interval(t_interval(of_loss["test_accuracy"])),
                "Behind, in points": format_interval(behind[name].difference, unit="")
                if name in behind
                else "–",
                **{
                    f"{words} {epoch:.0f}": _format_range(of_wrong[of_wrong["epoch"] == epoch]["value"])
                    for words, epoch in (("Wrong start: after", 1), ("after", wrong["epoch"].max()))
                },
            }
        )
    return Table(
        pd.DataFrame(lines),
        "Each loss at the learning rate of highest mean validation accuracy. From the usual start: mean first epoch "
        "with that test accuracy (–: not reached by all seeds), final test accuracy and its deficit to cross entropy "
        "with half widths of 95 % t intervals, paired by seed. From the wrong start, at the best rate for it: least "
        "and largest test accuracy of the seeds after that many epochs.",
        (17, 7, 9, 8, 16, 13, 15, 15),
    )


def _format_range(shares: pd.Series[float]) -> str:
    return f"{100 * shares.min():.1f} to {format_percent(shares.max())}"


@sketch("losses", alt="The gradient of cross entropy stays level, those of the quadratic losses fall.")
def sketch_of_gradients(axes: Axes, found: Results) -> None:
    for name, errors in first_errors(found.rows).groupby("name"):
        mean = errors.groupby("shift")["norm"].mean()
        axes.plot(mean.index, mean, **{**line_style(name), "marker": ""})
    axes.set_yscale("log")
    axes.margins(y=0.35)
    write_in(axes, 0.3, 0.88, "cross entropy", INK)
    write_in(axes, 0.03, 0.1, "quadratic loss", GREEN)


# Findings


@finding("losses", headline=True)
def cross_entropy_leaves_a_wrong_start(found: Results) -> Evidence:
    wrong = wrong_start(found.rows)
    first = wrong[wrong["epoch"] == 1].set_index(["name", "seed"])["value"]
    stuck = first[SOFTMAX] < STUCK
    return Evidence(
        "Because it corrects most where the network is most wrong. One epoch after a confidently wrong start, cross "
        f"entropy has at least {format_percent(first[REFERENCE].min(), 0)} test accuracy with every seed. The "
        f"quadratic loss of the same softmax is still near chance with {stuck.sum()} of {len(stuck)}.",
        {
            "every seed of cross entropy has left the start": bool(first[REFERENCE].min() > 0.8),
            "most seeds of the quadratic loss of softmax have not": bool(stuck.mean() > 0.5),
        },
        "It corrects a confident mistake at once, where the quadratic loss of softmax often stalls.",
    )


@finding("losses")
def sigmoids_leave_the_wrong_start(found: Results) -> Evidence:
    runs = trained_at_best_rates(found.rows)
    chosen = runs[(runs["metric"] == "test_accuracy") & (runs["epoch"] == 1) & (runs["name"] == SIGMOID)]
    usual, wrong = (
        chosen[chosen["shift"] > 0 if is_wrong else chosen["shift"] == 0] for is_wrong in (False, True)
    )
    return Evidence(
        f"Sigmoid outputs leave it all the same, with at least {format_percent(wrong['value'].min(), 0)} after one "
        f"epoch, and so ahead of their usual start ({format_percent(usual['value'].mean(), 0)}).",
        {
            "every seed has left the wrong start after one epoch": bool(wrong["value"].min() > 0.8),
            "the usual start is slower": bool(usual["value"].mean() < wrong["value"].min()),
        },
    )


@finding("losses")
def cross_entropy_trains_better(found: Results) -> Evidence:
    numbers = usual_start(found.rows)
    behind = behind_reference(numbers)
    return Evidence(
        "With each loss at its best rate, cross entropy ends ahead: by "
        f"{format_interval(behind[SOFTMAX].difference, 1, '')} points of test accuracy of the quadratic loss with "
        f"softmax outputs. It is {format_interval(behind[SIGMOID].difference, 1, '')} points ahead of that with "
        "sigmoids.",
        {
            "cross entropy has the higher mean accuracy": all(
                test.difference.mean > 0 for test in behind.values()
            ),
            "the differences are significant at 5 %": all(test.p < 0.05 for test in behind.values()),
        },
    )


@finding("losses")
def quadratic_gradient_vanishes_when_wrong(found: Results) -> Evidence:
    errors = first_errors(found.rows)
    by_shift = errors.groupby(["name", "shift"])["norm"].mean().unstack("name")
    largest = by_shift.iloc[-1]
    ratio = largest[REFERENCE] / largest
    return Evidence(
        f"At $s = {by_shift.index[-1]:g}$ cross entropy's gradient at the logits is "
        f"{float(f'{ratio[SOFTMAX]:.2g}'):,.0f} times that of the quadratic loss with softmax outputs, and "
        f"{float(f'{ratio[SIGMOID]:.2g}'):,.0f} times that with sigmoid outputs.",
        {
            "with cross entropy it grows with the shift": by_shift[REFERENCE].is_monotonic_increasing,
            "with both quadratic losses it falls from each shift to the next, from 1 on": all(
                by_shift[name].iloc[1:].is_monotonic_decreasing for name in (SOFTMAX, SIGMOID)
            ),
            "both are more than 50 times smaller at the end": bool(ratio[[SOFTMAX, SIGMOID]].min() > 50),
        },
    )


@finding("losses")
def quadratic_losses_are_stuck(found: Results) -> Evidence:
    runs = trained(found.rows)
    usual = runs[runs["shift"] == 0]
    numbers = usual_start(found.rows)
    best = numbers.loc[numbers["name"] != REFERENCE, "learning_rate"].max()
    above = usual[usual["learning_rate"] > best]
    if above.empty:
        return Evidence(
            f"No rate above $\\eta = {best:g}$, the best of a quadratic loss, was tried.",
            {"larger rates were tried": False},
        )
    accuracy = final_values(above, "test_accuracy", ["name", "learning_rate", "seed"])
    means = accuracy.groupby(["name", "learning_rate"]).mean().unstack("name")
    rate = means.index.min()
    reference = means.loc[rate, REFERENCE]
    return Evidence(
        f"Larger steps do not make up for it: at $\\eta = {rate:g}$ both quadratic losses end at chance, with outputs "
        f"stuck in a corner, where cross entropy still reaches {format_percent(reference)}.",
        {
            "the quadratic losses end within 2 points of guessing": bool(
                (means.drop(columns=REFERENCE) - CHANCE).abs().max(axis=None) < 0.02
            ),
            "cross entropy exceeds 90 % at the same rate": bool(reference > 0.9),
        },
    )


@finding("published")
def quadratic_comes_close(found: Results) -> Evidence:
    rows = found.rows[found.rows["hidden"] == "300"]
    final = final_values(rows, "test_accuracy", ["loss", "seed"])
    quadratic, reference = (t_interval(final[loss]) for loss in ("quadratic", "cross_entropy"))
    return Evidence(
        f"With batches of {rows['batch_size'].iloc[0]:.0f} and {rows['epoch'].max():.0f} epochs, the quadratic loss of "
        f"sigmoid outputs reaches {format_interval(quadratic)} test accuracy, cross entropy "
        f"{format_interval(reference)}.",
        {
            "the mean test accuracy exceeds 97 %": quadratic.mean > 0.97,
            "cross entropy is less than a point ahead": abs(reference.mean - quadratic.mean) < 0.01,
        },
    )


@statement(said="Cross entropy is log-softmax applied to the negative log-likelihood.")
def composition_of_cross_entropy() -> Evidence:
    return Evidence(
        "The other way round: NLL is applied to the logarithm of the softmax (@sec-q4).",
        {"the NLL comes first": False},
    )
