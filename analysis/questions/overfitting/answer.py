"""Q2, over-fitting: what train and test curves of three networks say, and of one that does over-fit."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import plotting
from analysis.engine.run import num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import count_words, format_fixed, format_percent, format_range
from analysis.plotting import FAINT, GREEN, INK, ORANGE, PINK, TRAIN_TEST, WIDTH, plain_ticks, write_in
from analysis.questions.overfitting.runs import FEW_EXAMPLES, LEARNING_RATE, SOURCE_RATE
from analysis.results import Results, remembered

NETWORKS = ("300", "10-10", "20-20")
FEW = f"300, {FEW_EXAMPLES:,} examples"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FEW: ORANGE}
RISEN = 0.01  # share by which the test loss of a run that over-fits ends above its least value, at least
FIRST_DRAWN = 10  # epoch at which the figure's curves begin
MEDIAN_OF = 21  # measurements, around each: curves without single spikes


@remembered
def by_network(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples, at the larger of their rates, by hidden sizes."""
    return {name: group for (name, rate), group in _by_rate(rows).items() if rate != SOURCE_RATE}


@remembered
def at_source_rate(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples at the rate of the source, by hidden sizes."""
    return {name: group for (name, rate), group in _by_rate(rows).items() if rate == SOURCE_RATE}


def _by_rate(rows: pd.DataFrame) -> dict[tuple[str, float], pd.DataFrame]:
    everything = rows[rows["train_examples"].isna()]
    groups = dict(iter(everything.groupby(["hidden", "learning_rate"])))
    return {key: groups[key] for key in sorted(groups, key=lambda key: (NETWORKS.index(key[0]), key[1]))}


@remembered
def few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the network trained on few examples."""
    return rows[rows["train_examples"].notna()]


@remembered
def overfitting(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a network.

    Returns:
        Index key; epochs, train_loss, test_loss and gap at the last epoch, best_epoch of least test loss,
        best_train_loss there, rise: how far the last test loss lies above the least, relative to it; and overfits:
        whether it has risen by more than RISEN while the train loss has fallen. Losses are running medians.
    """
    train, test = smooth(_curves(rows, "train_loss")), smooth(_curves(rows, "test_loss"))
    best = test.min()
    numbers = pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train.iloc[-1],
            "test_loss": test.iloc[-1],
            "gap": test.iloc[-1] - train.iloc[-1],
            "best_epoch": test.idxmin(),
            "best_train_loss": [train.loc[epoch, run] for run, epoch in test.idxmin().items()],
            "rise": test.iloc[-1] / best - 1,
        }
    )
    has_fallen = numbers["train_loss"] < numbers["best_train_loss"]
    return numbers.assign(overfits=(numbers["rise"] > RISEN) & has_fallen)


def _curves(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


def smooth(curves: pd.DataFrame) -> pd.DataFrame:
    """Return running medians along the index, which pass over single spikes."""
    return curves.rolling(MEDIAN_OF, min_periods=1, center=True).median()


# Exhibits


@exhibit(
    "fig-curves",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:10-10"
        "&pin=hidden:300,learning_rate:2"
    ),
)
def curves(found: Results) -> Picture:
    """Draw train and test loss above, train and test error below, of every run; a column per network."""
    fast, slow = by_network(found.rows), at_source_rate(found.rows)
    figure, grid = plt.subplots(2, len(fast), figsize=(WIDTH, 3.1), sharex="col", sharey="row", squeeze=False)
    for column, name in enumerate(fast):
        above, below = grid[:, column]
        for frame, look in ((fast[name], {}), (slow[name], {"alpha": 0.45})):
            for part, style in TRAIN_TEST.items():
                losses = smooth(_curves(frame, f"{part}_loss").drop(index=0))
                errors = 100 * (1 - smooth(_curves(frame, f"{part}_accuracy").drop(index=0)))
                above.plot(losses.index, losses, linewidth=0.9, **style, **look)
                below.plot(errors.index, errors, linewidth=0.9, **style, **look)
        above.set_title(f"{name}, η = {fast[name]['learning_rate'].iloc[0]:g}")
        for axes in (above, below):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(left=FIRST_DRAWN)
            plain_ticks(axes.yaxis)
        below.set_xlabel("epoch")
    grid[0, 0].set_ylabel("cross entropy")
    grid[1, 0].set_ylabel("error in %")
    plotting.train_test_legend(grid[0, 0])
    return Picture(
        figure,
        f"Train and test loss (above) and error (below) of every run, running medians of {MEDIAN_OF} measurements, on "
        f"logarithmic axes; pale: at $\\eta = {SOURCE_RATE:g}$.",
        "Six panels of falling curves, a column per network. The train and the test curve of the wide network nearly "
        "coincide; those of the two small networks part late, and the test loss of 20-20 turns up.",
    )


@exhibit(
    "fig-gap",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1&seeds=each"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:300,train_examples:1000"
    ),
)
def generalisation_gap(found: Results) -> Picture:
    """Draw every run's test loss relative to its least so far, and its gap, against epochs."""
    figure, (rises, gaps) = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    frames = {**by_network(found.rows), FEW: few_examples(found.rows)}
    for axes, draw in ((rises, _rise), (gaps, _gap)):
        axes.set_xscale("log")
        for name, frame in frames.items():
            values = draw(_curves(frame, "train_loss"), _curves(frame, "test_loss"))
            values = smooth(values[values.index > 0])
            axes.plot(values.index, values, color=COLOURS[name], linewidth=0.9)
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=100)
    rises.set_ylabel("rise of the test loss in %")
    rises.set_ylim(-1, 40)
    gaps.set_ylabel("test loss − train loss")
    gaps.set_ylim(-0.03, 0.55)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return Picture(
        figure,
        "Over-fitting, a line per run, running medians as above. Left: how far the test loss lies "
        "above its least value so far. Right: the gap, test loss − train loss. The wide network and the few examples "
        "had fewer epochs.",
        "Left: the lines of the wide network stay at zero, those of 20-20 and of the few examples climb late. Right: "
        "the gap of the few examples is largest, that of 20-20 next.",
    )


def _rise(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    return 100 * (test / test.cummin() - 1)


def _gap(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    return test - train


@exhibit("tbl-overfitting", "overfitting")
def overfitting_table(found: Results) -> Table:
    """Tabulate `overfitting`: least and largest value of the runs."""
    lines = []
    for network, frames in (
        *((name, (at_source_rate(found.rows)[name], by_network(found.rows)[name])) for name in NETWORKS),
        (FEW, (few_examples(found.rows),)),
    ):
        for rows in frames:
            numbers = overfitting(rows)
            lines.append(
                {
                    "Network": network,
                    "$\\eta$": f"{rows['learning_rate'].iloc[0]:g}",
                    "Epochs": f"{numbers['epochs'].max():,.0f}",
                    "Train loss": format_range(numbers["train_loss"], 3),
                    "Test loss": format_range(numbers["test_loss"], 3),
                    "Epoch of least test loss": " to ".join(
                        dict.fromkeys(f"{epoch:,.0f}" for epoch in numbers["best_epoch"].agg(["min", "max"]))
                    ),
                    "Rise since, in %": format_range(100 * numbers["rise"], 1),
                    "Over-fit": f"{numbers['overfits'].sum()} of {len(numbers)}",
                }
            )
    return Table(
        pd.DataFrame(lines),
        "Losses at the last epoch (running medians), the epoch of least test loss, how far the test loss ends above "
        f"that, and how many of the runs over-fit: those whose test loss ends more than {format_percent(RISEN, 0)} "
        "above its least value while their train loss has fallen since. Least and largest value of the runs.",
        (14, 6, 9, 14, 14, 15, 13, 10),
    )


@sketch("overfitting", alt="The test loss of 784-300-10 stays least, that of 20-20 rises late.")
def sketch_of_rise(axes: Axes, found: Results) -> None:
    frames = by_network(found.rows)
    for name in ("300", "20-20"):
        rise = _rise(_curves(frames[name], "train_loss"), _curves(frames[name], "test_loss"))
        axes.plot(rise.index, rise.mean(axis="columns"), color=COLOURS[name])
    axes.set_xscale("log")
    axes.set_xlim(left=100)
    axes.set_ylim(-1, 15)
    write_in(axes, 0.03, 0.82, "test loss above its least", INK)
    write_in(axes, 0.6, 0.5, "20-20", COLOURS["20-20"])
    write_in(axes, 0.1, 0.16, "300", COLOURS["300"])


# Findings


@finding("overfitting", headline=True)
def small_networks_overfit(found: Results) -> Evidence:
    networks = by_network(found.rows)
    numbers = {name: overfitting(rows) for name, rows in networks.items()}
    wide, small, smallest = (numbers[name] for name in ("300", "20-20", "10-10"))
    slow = [overfitting(rows) for rows in at_source_rate(found.rows).values()]
    as_long = [overfitting(rows[rows["epoch"] <= wide["epochs"].max()]) for rows in networks.values()]
    return Evidence(
        f"On all examples, no network over-fits within {wide['epochs'].max():,.0f} epochs. Trained ten times as long "
        "the small ones do, mildly, and only at the larger of two rates: every run of 20-20, whose test loss rises by "
        f"up to {format_percent(small['rise'].max(), 0)}, and {count_words(smallest['overfits'].sum())} of the "
        f"{count_words(len(smallest))} of 10-10.",
        {
            "no run over-fits within the epochs of 784-300-10": not any(
                each["overfits"].any() for each in as_long
            ),
            "the small ones were given ten times as many": bool(
                small["epochs"].max() == smallest["epochs"].max() == 10 * wide["epochs"].max()
            ),
            "no run at the source's rate over-fits": not any(each["overfits"].any() for each in slow),
            "all runs of 20-20 over-fit": bool(small["overfits"].all()),
            "some but not all runs of 10-10 do": bool(0 < smallest["overfits"].mean() < 1),
            "the rise stays below a fifth": bool(small["rise"].max() < 0.2),
        },
        "On all examples, over-fitting is mild and comes only after thousands of epochs.",
    )


@finding("overfitting")
def wide_network_is_not_done(found: Results) -> Evidence:
    networks = by_network(found.rows)
    numbers, small = overfitting(networks["300"]).iloc[0], overfitting(networks["20-20"])
    cost = {name: num_parameters_of(name) * overfitting(networks[name])["epochs"].max() for name in NETWORKS}
    return Evidence(
        "784-300-10 had fewer epochs and yet the most arithmetic, as an epoch costs in proportion to the weights. Its "
        f"test loss is least at the last epoch, at a train loss of {format_fixed(numbers['train_loss'], 3)}; that of "
        f"20-20 turns at about {format_fixed(small['best_train_loss'].mean(), 3)}. Whether 784-300-10 would over-fit "
        "later, these runs do not show.",
        {
            "epochs times weights are most for 784-300-10": max(cost, key=cost.__getitem__) == "300",
            "its test loss is least at the end": bool(numbers["best_epoch"] == numbers["epochs"]),
            "its train loss is below that of 20-20 at its least test loss": bool(
                numbers["train_loss"] < small["best_train_loss"].min()
            ),
        },
    )


@finding("overfitting")
def error_hardly_rises(found: Results) -> Evidence:
    accuracy = smooth(_curves(by_network(found.rows)["20-20"], "test_accuracy"))
    losses = overfitting(by_network(found.rows)["20-20"])
    lost = accuracy.max() - accuracy.iloc[-1]
    return Evidence(
        "When 20-20 over-fits, its probabilities suffer more than its decisions: the test error rises with the loss, "
        f"but by at most {100 * lost.max():.1f} points.",
        {
            "the test loss rises by more than 5 % in every run": bool(losses["rise"].min() > 0.05),
            "the error rises by less than half a point in every run": bool(lost.max() < 0.005),
            "and by something": bool(lost.min() > 0),
        },
    )


@finding("overfitting")
def contrast_overfits(found: Results) -> Evidence:
    runs = overfitting(few_examples(found.rows))
    return Evidence(
        f"For contrast, 784-300-10 trained on {FEW_EXAMPLES:,} examples over-fits plainly, at the same number of "
        f"epochs: its test loss rises by {format_percent(runs['rise'].mean(), 0)}.",
        {
            "every run over-fits": bool(runs["overfits"].all()),
            "the test loss rises by more than 20 % in every run": bool(runs["rise"].min() > 0.2),
        },
    )


@finding("overfitting")
def gaps_rank_alike(found: Results) -> Evidence:
    fast = {name: overfitting(rows) for name, rows in by_network(found.rows).items()}
    groups = [*(fast[name] for name in NETWORKS), overfitting(few_examples(found.rows))]
    return Evidence(
        "The gaps at the ends of the runs rank the networks alike.",
        {
            name: all(
                before[column].mean() < after[column].mean() for before, after in itertools.pairwise(groups)
            )
            for name, column in (
                ("the gaps rise from network to network", "gap"),
                ("so do the rises", "rise"),
            )
        },
    )


@finding("overfitting")
def single_runs(found: Results) -> Evidence:
    alone = [*at_source_rate(found.rows).values(), by_network(found.rows)["300"]]
    runs = {rows["key"].nunique() for rows in alone}
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$, and of 784-300-10, there is {count_words(max(runs), 'run')} each.",
        {"there is one run of each": runs == {1}},
    )


@statement("overfitting", said="784-300-10 over-fits mildly.")
def wide_network_overfits_mildly(found: Results) -> Evidence:
    wide = overfitting(at_source_rate(found.rows)["300"]).iloc[0]
    return Evidence(
        f"After {wide['epochs']:,.0f} epochs at the source's $\\eta = {SOURCE_RATE:g}$ the test loss is at its least, "
        f"{format_fixed(wide['test_loss'], 3)}, and still below the train loss: by either sign, no.",
        {"it over-fits": bool(wide["overfits"])},
    )


@statement("overfitting", said="10-10 and 20-20, at $\\eta = 0.1$, over-fit mildly.")
def small_networks_overfit_mildly(found: Results) -> Evidence:
    slow = {name: overfitting(rows) for name, rows in at_source_rate(found.rows).items()}
    fast = {name: overfitting(rows)["overfits"] for name, rows in by_network(found.rows).items()}
    ours = slow["10-10"].iloc[0]
    return Evidence(
        f"At that rate neither does; at {LEARNING_RATE[(20, 20)]:g}, {count_words(fast['20-20'].sum(), 'run')} of "
        f"20-20 and {count_words(fast['10-10'].sum())} of 10-10 do. The source's curves of 10-10 end near 0.29 and "
        f"0.40. Ours end at {format_fixed(ours['train_loss'], 2)} and {format_fixed(ours['test_loss'], 2)}.",
        {"both over-fit": bool(slow["10-10"]["overfits"].all() and slow["20-20"]["overfits"].all())},
    )
