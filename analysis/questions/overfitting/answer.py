"""Q2, over-fitting: what train and test curves of three networks say, and of one that does over-fit."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from analysis import plotting
from analysis.exhibits import Picture, Table, exhibit
from analysis.findings import Evidence, finding, statement
from analysis.formatting import format_fixed, format_percent, join_english
from analysis.plotting import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    WIDTH,
    label_ends,
    plain_ticks,
)
from analysis.questions.overfitting.runs import FEW_EXAMPLES
from analysis.results import Results

NETWORKS = ("300", "10-10", "20-20")
FEW = "300, few examples"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FEW: ORANGE}
RISEN = 0.01  # a run's test loss has risen if it ends by more than that share above its least value


def by_network(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples, by hidden sizes."""
    everything = rows[rows["train_examples"].isna()]
    return {name: everything[everything["hidden"] == name] for name in NETWORKS}


def few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the network trained on few examples."""
    return rows[rows["train_examples"].notna()]


def overfitting(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a network.

    Returns:
        Index key; epochs, train_loss, test_loss and gap at the last epoch, train_accuracy, test_accuracy there,
        best_epoch of least test loss, best_loss and best_train_loss there, and rise: how far the last test loss
        lies above it, relative to it.
    """
    train, test = _curves(rows, "train_loss"), _curves(rows, "test_loss")
    best = test.min()
    return pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train.iloc[-1],
            "test_loss": test.iloc[-1],
            "gap": test.iloc[-1] - train.iloc[-1],
            "train_accuracy": _curves(rows, "train_accuracy").iloc[-1],
            "test_accuracy": _curves(rows, "test_accuracy").iloc[-1],
            "best_epoch": test.idxmin(),
            "best_loss": best,
            "best_train_loss": [train.loc[epoch, run] for run, epoch in test.idxmin().items()],
            "rise": test.iloc[-1] / best - 1,
        }
    )


def _curves(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


# Exhibits


@exhibit("fig-curves", "overfitting")
def loss_curves(found: Results) -> Picture:
    """Draw train and test loss of the networks against epochs: linear axes above, logarithmic below."""
    frames = by_network(found.rows)
    figure, grid = plt.subplots(2, len(frames), figsize=(WIDTH, 3.9), squeeze=False)
    for column, (name, frame) in enumerate(frames.items()):
        for row, logarithmic in enumerate((False, True)):
            plotting.loss_panel(grid[row, column], frame, logarithmic)
        grid[0, column].set_title(name)
        grid[0, column].set_ylim(bottom=0)
        grid[0, column].set_xlabel("")
    for row in grid:
        row[0].set_ylabel("cross entropy")
    plotting.train_test_legend(grid[0, 0])
    return Picture(
        figure,
        "Train and test loss against epochs, on linear (above) and logarithmic axes (below): the two curves of a "
        "network all but coincide. Lines are means, bands the range over the seeds.",
        "Six panels of falling loss curves, a column per network; in each panel the dashed test curve lies on or just "
        "above the solid train curve.",
    )


@exhibit("fig-gap", "overfitting")
def generalisation_gap(found: Results) -> Picture:
    """Draw test loss minus train loss against epochs; a dot marks the epoch of least test loss."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    labels = []
    for name, frame in {**by_network(found.rows), FEW: few_examples(found.rows)}.items():
        test = plotting.mean_and_range(frame, "test_loss")["mean"]
        gap = (test - plotting.mean_and_range(frame, "train_loss")["mean"])[test.index > 0]
        axes.plot(gap.index, gap, color=COLOURS[name])
        best = test[test.index > 0].idxmin()
        axes.plot(best, gap[best], "o", color=COLOURS[name], markersize=5)
        labels.append((gap.index[-1], gap.iloc[-1], name, COLOURS[name]))
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("test loss − train loss")
    label_ends(axes, labels)
    return Picture(
        figure,
        f"Generalisation gap, test loss − train loss, of the three networks, and of 784-300-10 trained on "
        f"{FEW_EXAMPLES:,} examples only; dots mark the epoch of least test loss.",
        "Three lines stay close to zero; the line of the network with few examples climbs steeply, and its dot lies "
        "far before its end.",
    )


@exhibit("fig-seconds", "overfitting")
def loss_against_seconds(found: Results) -> Picture:
    """Draw mean test loss against training time."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.4))
    labels = []
    for name, frame in by_network(found.rows).items():
        rows = frame[(frame["metric"] == "test_loss") & (frame["epoch"] > 0)]
        means = rows.groupby("epoch")[["seconds", "value"]].mean()
        axes.plot(means["seconds"], means["value"], color=COLOURS[name])
        labels.append((means["seconds"].iloc[-1], means["value"].iloc[-1], name, COLOURS[name]))
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel("training time in seconds")
    axes.set_ylabel("test cross entropy")
    label_ends(axes, labels)
    return Picture(
        figure,
        "Test loss against training time (evaluation excluded): the same curves, by wall clock.",
        "Three falling curves of test loss over seconds on logarithmic axes.",
    )


@exhibit("tbl-overfitting", "overfitting")
def overfitting_table(found: Results) -> Table:
    """Tabulate `overfitting`, means over seeds."""
    lines = []
    for name, rows in {**by_network(found.rows), FEW: few_examples(found.rows)}.items():
        mean = overfitting(rows).mean()
        lines.append(
            {
                "Network": name,
                "Epochs": f"{mean['epochs']:,.0f}",
                "Train loss": format_fixed(mean["train_loss"], 4),
                "Test loss": format_fixed(mean["test_loss"], 4),
                "Gap": format_fixed(mean["gap"], 4),
                "Train acc.": format_percent(mean["train_accuracy"], 2),
                "Test acc.": format_percent(mean["test_accuracy"], 2),
                "Epoch of least test loss": f"{mean['best_epoch']:,.0f}",
                "Rise since": format_percent(mean["rise"], 1),
            }
        )
    return Table(
        pd.DataFrame(lines),
        "Verdict in numbers: means over the seeds at the last epoch, and at the epoch of least test loss.",
    )


# Findings


@finding("overfitting", headline=True)
def no_overfitting(found: Results) -> Evidence:
    networks = {name: overfitting(rows) for name, rows in by_network(found.rows).items()}
    runs = pd.concat(networks.values())
    share = float((runs["gap"] / runs["test_loss"]).max())
    spikes = runs[runs["rise"] > RISEN]
    gaps = join_english(format_fixed(numbers["gap"].mean(), 3) for numbers in networks.values())
    return Evidence(
        f"No: at the last epoch the mean gap test − train is {gaps} for {join_english(networks)} "
        f"({found.rows['seed'].nunique()} seeds), in no run more than {format_percent(share)} of the test loss; in the "
        f"{len(spikes)} of {len(runs)} runs whose test loss ends more than {format_percent(RISEN, 0)} above its least "
        f"value (by up to {format_percent(float(runs['rise'].max()), 0)}), the train loss has risen with it, which is "
        "instability and not over-fitting.",
        {
            "the gap is below 10 % of the test loss": share < 0.1,
            "where the test loss has risen, so has the train loss": bool(
                (spikes["train_loss"] > spikes["best_train_loss"]).all()
            ),
        },
    )


@finding("overfitting")
def contrast_overfits(found: Results) -> Evidence:
    runs = overfitting(few_examples(found.rows))
    mean = runs.mean()
    return Evidence(
        f"For contrast, 784-300-10 trained on {FEW_EXAMPLES:,} examples only does over-fit: its test loss is least at "
        f"epoch {mean['best_epoch']:,.0f} and then rises by {format_percent(mean['rise'], 0)}, while its train loss "
        f"falls to {format_fixed(mean['train_loss'], 4)}.",
        {
            "the test loss rises by more than 2 % in every run": bool(runs["rise"].min() > 0.02),
            "the train loss falls on in every run": bool(
                (runs["train_loss"] < runs["best_train_loss"]).all()
            ),
        },
    )


@statement("learning_rate", said="784-300-10 over-fits mildly.")
def wide_network_overfits_mildly(found: Results) -> Evidence:
    rows = found.rows[(found.rows["seed"] == 0) & (found.rows["learning_rate"] == 0.1)]
    wide = overfitting(rows).iloc[0]
    return Evidence(
        f"After {wide['epochs']:,.0f} epochs at $\\eta = 0.1$ the gap test − train is {format_fixed(wide['gap'], 3)}, "
        f"and the test loss ends {format_percent(wide['rise'])} above its least value.",
        {"the test loss has risen": bool(wide["rise"] > RISEN)},
    )


@statement("overfitting", said="10-10 and 20-20 over-fit mildly.")
def small_networks_overfit_mildly(found: Results) -> Evidence:
    runs = pd.concat([overfitting(rows) for name, rows in by_network(found.rows).items() if name != "300"])
    share = float((runs["gap"] / runs["test_loss"]).max())
    return Evidence(
        f"The source's 20,000 epochs were not repeated; within {runs['epochs'].max():,.0f} epochs the gap is at most "
        f"{format_percent(share)} of the test loss.",
        None,
    )
