"""Q4, why cross entropy: accuracies and first gradients of three losses, from the usual and from a wrong start."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from analysis.exhibits import Picture, Table, exhibit
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_interval,
    format_mean_epoch,
    format_percent,
    format_scientific,
    label,
)
from analysis.plotting import WIDTH, draw_line, line_style, mean_and_range
from analysis.questions.losses.runs import BUDGETS
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
REFERENCE = "cross_entropy_softmax"
SOFTMAX, SIGMOID = "quadratic_softmax", "quadratic_sigmoid"
ACCURACIES = (0.90, 0.95)  # thresholds of test accuracy
MULTIPLES = {1: "the same number of epochs", 2: "twice the epochs"}


def with_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Add columns `name`, of loss and output, and `bias`, by how much an output's bias was raised."""
    return rows.assign(
        name=rows["loss"] + "_" + rows["output"],
        bias=rows["init_scale"].where(rows["init"] == "biased_output", 0.0),
    )


def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trained runs with names; the others are only there for their first gradient."""
    validated = rows.loc[rows["metric"] == "validation_accuracy", "key"]
    return with_names(rows[rows["key"].isin(validated)])


def trained_at_best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trained runs with names, from each start every loss at its best rate."""
    return at_best_rates(trained(rows), ["name", "bias"])


def first_gradients(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the norm of the gradient at the start, all layers together: name, bias, seed, norm."""
    probed = with_names(rows[(rows["metric"] == "gradient_norm") & (rows["update"] == 0)])
    squares = probed.assign(norm=probed["value"] ** 2)
    return squares.groupby(["name", "bias", "seed"])["norm"].sum().pow(0.5).reset_index()


def usual_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of the usual start, every loss at its best rate.

    Returns:
        Columns name (losses in the order of the runs), seed, learning_rate, test_accuracy at the end, epochs_90 and
        epochs_95, the first epoch with that test accuracy (infinite if never).
    """
    chosen = trained_at_best_rates(rows)
    chosen = chosen[chosen["bias"] == 0]
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


@exhibit("fig-losses", "losses")
def gradients_and_accuracies(found: Results) -> Picture:
    """Draw first gradients of each loss over the raised bias; accuracies from the usual and the wrong start."""
    gradients, runs = first_gradients(found.rows), trained_at_best_rates(found.rows)
    names = runs["name"].unique()
    figure, (norms, usual, wrong) = plt.subplots(1, 3, figsize=(WIDTH, 2.5), width_ratios=(0.9, 1, 1))
    usual.sharey(wrong)
    for name in names:
        style = line_style(name)
        mean = gradients[gradients["name"] == name].groupby("bias")["norm"].mean()
        norms.plot(mean.index, mean, markersize=3, label=label(name), **style)
        for axes, start in ((usual, runs["bias"] == 0), (wrong, runs["bias"] > 0)):
            summary = mean_and_range(runs[start & (runs["name"] == name)], "test_accuracy")
            draw_line(axes, 100 * summary, **{**style, "marker": ""})
    norms.set_yscale("log")
    norms.set_xticks(sorted(gradients["bias"].unique()))
    norms.set_xlabel("bias raised by s")
    norms.set_ylabel("norm of the first gradient")
    usual.legend(*norms.get_legend_handles_labels(), loc="lower right", fontsize=8)
    usual.set_ylabel("test accuracy in %")
    usual.set_title("usual start")
    wrong.set_title(f"wrong start, s = {gradients['bias'].max():g}")
    for axes in (usual, wrong):
        axes.set_xlabel("epoch")
        axes.set_ylim(0, 100)
    return Picture(
        figure,
        f"{count_words(len(names), 'loss', 'losses').capitalize()}. Left: norm of the training loss's gradient, all "
        "layers together, over the raised bias $s$. Middle and right: test accuracy from the usual and the confidently "
        "wrong start, every loss at its own best rate. Lines are means, bands the range over the seeds.",
        "Left: with cross entropy the norm rises and stays large, with the quadratic loss of softmax outputs it falls "
        "by orders of magnitude. Middle and right: cross entropy is above both quadratic losses at every epoch; from "
        "the wrong start one of them stays low for several epochs.",
    )


@exhibit("tbl-losses", "losses")
def losses_table(found: Results) -> Table:
    """Tabulate each loss at its best rate."""
    numbers = usual_start(found.rows)
    behind = behind_reference(numbers)
    runs = trained_at_best_rates(found.rows)
    wrong = runs[runs["bias"] > 0]
    early = (
        wrong[(wrong["metric"] == "test_accuracy") & (wrong["epoch"] == 1)].groupby("name")["value"].mean()
    )
    late = final_values(wrong, "test_accuracy", ["name", "seed"]).groupby("name").mean()
    lines = []
    for name, of_loss in numbers.groupby("name", sort=False):
        lines.append(
            {
                "Loss": label(name),
                "Best $\\eta$": f"{of_loss['learning_rate'].iloc[0]:g}",
                "Epochs to 90 %": format_mean_epoch(of_loss["epochs_90"]),
                "to 95 %": format_mean_epoch(of_loss["epochs_95"]),
                "Test acc.": format_interval(t_interval(of_loss["test_accuracy"])),
                "Behind": format_interval(behind[name].difference) if name in behind else "–",
                "Wrong start: after 1 epoch": format_percent(early[name]),
                f"after {wrong['epoch'].max():.0f}": format_percent(late[name]),
            }
        )
    return Table(
        pd.DataFrame(lines),
        "Each loss at the learning rate of highest mean validation accuracy: mean first epoch with that test accuracy "
        "(–: not reached by all seeds), final test accuracy and its deficit to cross entropy, paired by seed, with "
        "half widths of 95 % Student t intervals; test accuracy from the wrong start, at the best rate for it.",
        (19, 8, 10, 8, 17, 16, 13, 9),
    )


# Findings


@finding("losses", headline=True)
def cross_entropy_trains_better(found: Results) -> Evidence:
    numbers = usual_start(found.rows)
    behind = behind_reference(numbers)
    accuracy = numbers.groupby("name")["test_accuracy"].mean()
    epochs = format_count(int(trained(found.rows)["epoch"].max()), "epoch")
    seeds = numbers["seed"].nunique()
    largest = format_scientific(max(test.p for test in behind.values()))
    return Evidence(
        f"Because its gradient does not vanish where the network is wrong: after {epochs}, each loss at its own best "
        f"learning rate, 784-300-10 has {format_percent(accuracy[REFERENCE])} test accuracy with cross entropy, "
        f"{format_interval(behind[SOFTMAX].difference, 1, '')} points more than with the quadratic loss of softmax "
        f"outputs and {format_interval(behind[SIGMOID].difference, 1, '')} more than with that of sigmoid outputs "
        + (f"(95 % intervals over {seeds} shared seeds; p ≤ {largest})." if seeds > 1 else "(one seed)."),
        {
            "cross entropy has the higher mean accuracy": all(
                test.difference.mean > 0 for test in behind.values()
            ),
            "the differences are significant at 5 %": all(test.p < 0.05 for test in behind.values()),
        },
    )


@finding("losses")
def quadratic_gradient_vanishes_when_wrong(found: Results) -> Evidence:
    gradients = first_gradients(found.rows)
    norms = gradients[gradients["bias"] == gradients["bias"].max()].groupby("name")["norm"].mean()
    reference, softmax = norms[REFERENCE], norms[SOFTMAX]
    runs = trained_at_best_rates(found.rows)
    one = runs[(runs["bias"] > 0) & (runs["epoch"] == 1) & (runs["metric"] == "test_accuracy")]
    accuracy = one.groupby("name")["value"].mean()
    return Evidence(
        f"With the bias of one output raised by {gradients['bias'].max():g}, the first gradient has norm "
        f"{format_fixed(reference, 1)} with cross entropy but {format_fixed(softmax, 4)} with the quadratic loss of "
        f"softmax, {float(f'{reference / softmax:.1g}'):,.0f} times less; after one epoch from there the test accuracy "
        f"is {format_percent(accuracy[REFERENCE], 0)} and {format_percent(accuracy[SOFTMAX], 0)}.",
        {
            "the gradient of the quadratic loss of softmax is more than 100 times smaller": bool(
                reference > 100 * softmax
            ),
            "after one epoch cross entropy is ahead by more than 20 points": bool(
                accuracy[REFERENCE] > accuracy[SOFTMAX] + 0.2
            ),
        },
    )


@finding("losses")
def quadratic_losses_are_stuck(found: Results) -> Evidence:
    runs = trained(found.rows)
    usual = runs[runs["bias"] == 0]
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
    deviation = float((means.drop(columns=REFERENCE) - CHANCE).abs().max(axis=None))
    loss = final_values(above, "train_loss", ["name", "learning_rate", "seed"]).groupby("name").mean()
    return Evidence(
        f"The quadratic losses cannot make up for it by larger steps: from $\\eta = {rate:g}$ on they end within "
        f"{100 * deviation:.1f} points of {format_percent(CHANCE, 0)} accuracy, with outputs that sit in the wrong "
        f"corner (softmax, training loss {format_fixed(loss[SOFTMAX], 2)}) or all at 0 (sigmoid, "
        f"{format_fixed(loss[SIGMOID], 2)}), whereas cross entropy still reaches {format_percent(reference)} with "
        f"$\\eta = {rate:g}$.",
        {
            "the quadratic losses end within 2 points of guessing": deviation < 0.02,
            "cross entropy exceeds 90 % at the same rate": bool(reference > 0.9),
            "the loss of softmax is that of a wrong corner": bool(abs(loss[SOFTMAX] - (1 - CHANCE)) < 0.01),
            "the loss of sigmoids is that of outputs at 0": bool(abs(loss[SIGMOID] - 0.5) < 0.01),
        },
    )


@finding("published")
def quadratic_comes_close(found: Results) -> Evidence:
    rows = found.rows[(found.rows["hidden"] == "300") & (found.rows["loss"] == "quadratic")]
    accuracy = t_interval(final_values(rows, "test_accuracy", ["seed"]))
    multiple = rows["epoch"].max() / BUDGETS[found.preset].epochs
    return Evidence(
        f"With smaller batches ({rows['batch_size'].iloc[0]:.0f}) and "
        f"{MULTIPLES.get(multiple, f'{multiple:g} times the epochs')}, 784-300-10 reaches {format_interval(accuracy)} "
        "test accuracy with the quadratic loss of sigmoid outputs.",
        {"the mean test accuracy exceeds 97 %": accuracy.mean > 0.97},
    )


@statement(said="Cross entropy is log-softmax applied to the negative log-likelihood.")
def composition_of_cross_entropy() -> Evidence:
    return Evidence(
        "The other way round: NLL is applied to the logarithm of the softmax (@sec-q4).",
        {"the NLL comes first": False},
    )
