"""What others state of networks like ours, held against our results: the source report, rules of thumb, publications.

The source report is the answer by hand, of 2022, to the same assignments.
"""

from __future__ import annotations

import math

import pandas as pd

from analysis import statistics
from analysis.claims import Evidence, assignment2, claim
from analysis.question import learning_rate
from analysis.questions.published.runs import PRINTED
from analysis.results import Results
from analysis.tables import assignment1 as tables1
from analysis.tables import assignment2 as tables2
from analysis.tables import interval, number, percent, words
from analysis.tables import others as tables_others

SAID_EPOCHS = 100  # exercise 1: "hundreds" of epochs are at least so many
SAID_FACTOR = 10  # exercise 4: "an order of magnitude"


@claim(
    "sec-published",
    ("published",),
    "Nielsen's {printed} for 784-100-10 need a lucky start: with his settings, all weights from $N(0, 1)$, {stuck} of "
    "{seeds} seeds end with at least one digit unlearnt and {least} to {most} test accuracy, as he warns that some do; "
    "the others end at {other_least} to {other_most}. Of 784-30-10, {stuck_small} of {seeds} leave a digit unlearnt.",
)
def start_decides_nielsens_network(found: Results) -> Evidence:
    final = {
        hidden: statistics.last(found.rows[found.rows["hidden"] == hidden], "test_accuracy", ["seed"])
        for hidden in ("30", "100")
    }
    unlearnt = {hidden: tables_others.unlearnt_classes(found.rows, hidden) > 0 for hidden in final}
    stuck, other = final["100"][unlearnt["100"]], final["100"][~unlearnt["100"]]
    return Evidence(
        bool(len(stuck) > 0 and len(other) > 0 and stuck.max() < other.min()),
        {
            "printed": words(percent(1 - each.error, 2) for each in PRINTED if each.hidden == "100"),
            "stuck": str(len(stuck)),
            "seeds": str(len(final["100"])),
            "least": percent(stuck.min()),
            "most": percent(stuck.max()),
            "other_least": percent(other.min()),
            "other_most": percent(other.max()),
            "stuck_small": str(unlearnt["30"].sum()),
        },
    )


@claim(
    "sec-q2",
    ("learning_rate",),
    "After {epochs} epochs at $\\eta = 0.1$ the gap test − train is {gap}, and the test loss ends {rise} above its "
    "least value.",
    said="784-300-10 over-fits mildly.",
)
def wide_network_overfits_mildly(found: Results) -> Evidence:
    long = tables1.long_runs(found.rows)
    wide = tables1.overfitting_numbers(long[long["learning_rate"] == 0.1]).iloc[0]
    return Evidence(
        bool(wide["rise"] > 0.01),
        {
            "epochs": f"{wide['epochs']:,.0f}",
            "gap": number(wide["gap"], 3),
            "rise": percent(wide["rise"]),
        },
    )


@claim(
    "sec-q2",
    ("curves",),
    "The source's 20,000 epochs were not repeated; within {epochs} epochs the gap is at most {share} of the test loss.",
    said="10-10 and 20-20 over-fit mildly.",
)
def small_networks_overfit_mildly(found: Results) -> Evidence:
    small = [rows for name, rows in tables1.networks(found.rows).items() if name != "300"]
    runs = pd.concat([tables1.overfitting_numbers(rows) for rows in small])
    return Evidence(
        None,
        {
            "epochs": f"{runs['epochs'].max():,.0f}",
            "share": percent(float((runs["gap"] / runs["test_loss"]).max())),
        },
    )


@claim(
    "sec-q3",
    ("parameters",),
    "{values}, by formula and by counting.",
    said="β is 8,070, 16,330 and 238,510 for 784-10-10-10, 784-20-20-10 and 784-300-10.",
)
def numbers_of_parameters(found: Results) -> Evidence:
    counted = found.programs["count"].set_index("hidden").loc[["10-10", "20-20", "300"], "counted"]
    return Evidence(
        counted.tolist() == [8_070, 16_330, 238_510], {"values": words(f"{value:,}" for value in counted)}
    )


@claim(
    "sec-q4",
    (),
    "The other way round: NLL is applied to the logarithm of the softmax (@sec-q4).",
    said="Cross entropy is log-softmax applied to the negative log-likelihood.",
)
def composition_of_cross_entropy() -> Evidence:
    return Evidence(False, {})


@claim(
    "sec-q6",
    ("learning_rate",),
    "Of the rates from {low} to {high}, {count} of {all} converge after {epochs} epochs by the criteria of "
    "@tbl-learning-rates{others}.",
    said="Every $\\eta \\le 2$ converges nicely.",
)
def rates_up_to_two_converge(found: Results) -> Evidence:
    verdicts = tables1.learning_rate_numbers(tables1.long_runs(found.rows)).set_index("learning_rate")[
        "verdict"
    ]
    tried = verdicts[verdicts.index <= 2]
    other = tried[tried != "converges"]
    return Evidence(
        other.empty,
        {
            "low": f"{tried.index.min():g}",
            "high": f"{tried.index.max():g}",
            "count": str(len(tried) - len(other)),
            "all": str(len(tried)),
            "epochs": f"{learning_rate.EPOCHS[found.preset]:,}",
            "others": "; " + words(f"{rate:g} is {verdict}" for rate, verdict in other.items())
            if len(other)
            else "",
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "After {epochs} epochs its train loss is {loss} and its test accuracy {accuracy}, while $\\eta = 0.3$ has {other} "
    "and {other_accuracy}. The source's image for 0.001 is a copy of that for 0.3, so it shows no such run.",
    said="$\\eta = 0.001$ converges.",
)
def smallest_rate_converges(found: Results) -> Evidence:
    numbers = tables1.learning_rate_numbers(tables1.long_runs(found.rows)).set_index("learning_rate")
    small, other = numbers.loc[0.001], numbers.loc[0.3]
    return Evidence(
        small["verdict"] == "converges",
        {
            "epochs": f"{small['epochs']:,}",
            "loss": number(small["train_loss"], 3),
            "accuracy": percent(small["test_accuracy"]),
            "other": number(other["train_loss"], 3),
            "other_accuracy": percent(other["test_accuracy"]),
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "In the last half of the epochs their train loss rises in {five} and {eight} of the steps; 5 ends at {loss}, the "
    "least of all rates being {least}.",
    said="$\\eta = 5$ and $8$ are unstable, though 5 still gets low.",
)
def largest_rates_are_unstable(found: Results) -> Evidence:
    numbers = tables1.learning_rate_numbers(tables1.long_runs(found.rows)).set_index("learning_rate")
    large = numbers.loc[[5.0, 8.0]]
    return Evidence(
        bool((large["verdict"] == "unstable").all() and large["train_loss"].iloc[0] < 0.5),
        {
            "five": percent(large["rises"].iloc[0]),
            "eight": percent(large["rises"].iloc[1]),
            "loss": number(large["train_loss"].iloc[0], 4),
            "least": number(numbers["train_loss"].min(), 4),
        },
    )


@claim(
    "sec-q7",
    ("vanishing_gradient",),
    "With ReLU every further hidden layer multiplies the first layer's gradient by {relu} (geometric mean).",
    said="ReLU makes gradients explode.",
)
def relu_explodes(found: Results) -> Evidence:
    factor = tables1.depth_factors(found.rows)["relu"]
    return Evidence(bool(factor > 1), {"relu": number(factor, 2)})


@claim(
    "sec-q7",
    (),
    "They add a layer's input to its output; setting values to 0 at random is dropout (@sec-q7).",
    said="Residual connections set weights to 0 at random.",
)
def residual_connections_drop() -> Evidence:
    return Evidence(False, {})


@claim(
    "sec-minibatch",
    ("minibatch", "learning_rate"),
    "Two epochs with batches of {size} give {accuracy} test accuracy (mean over seeds, on 50,000 examples); gradient "
    "descent, at the best of the rates in @sec-q6, first has it after {epochs}.",
    said="After a couple of epochs, minibatches are ahead of hundreds of epochs of gradient descent.",
)
def minibatches_beat_hundreds_of_epochs(found: Results, rates: Results) -> Evidence:
    size = 16
    settings = tables2.batch_settings(found.rows)
    early = settings[(settings["setting"] == str(size)) & (settings["epoch"] <= 2)]
    accuracy = statistics.last(early, "test_accuracy", ["seed"]).mean()
    long = tables1.long_runs(rates.rows)
    curves = long[long["metric"] == "test_accuracy"]
    reached = curves.loc[curves["value"] >= accuracy, "epoch"].min()
    last = curves["epoch"].max()
    return Evidence(
        not reached < SAID_EPOCHS,
        {
            "size": str(size),
            "accuracy": percent(accuracy),
            "epochs": f"{reached:,.0f} epochs" if math.isfinite(reached) else f"more than {last:,.0f} epochs",
        },
    )


@claim(
    "sec-constant-start",
    ("constant_init",),
    "From 0, SGD with sigmoids reaches {sigmoid} test accuracy, through what one hidden unit can tell; with tanh and "
    "ReLU nothing is learnt but the label frequencies ({others}).",
    said="From weights of zero the network does not learn anything.",
)
def nothing_is_learnt_from_zero(found: Results) -> Evidence:
    numbers = tables2.constant_numbers(found.rows).xs("0", level="start").loc["SGD", "test_accuracy"]
    return Evidence(
        bool((numbers < 0.15).all()),
        {
            "sigmoid": percent(numbers["sigmoid"]),
            "others": words(percent(numbers[name]) for name in ("tanh", "relu")),
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "Each at its best rate, SGD needs {factors} times Adam's epochs to 95 and 97 % test accuracy (means over {seeds} "
    "seeds).",
    said="In the first epochs Adam is faster than SGD by an order of magnitude.",
)
def adam_is_an_order_faster(found: Results) -> Evidence:
    epochs = tables2.best_optimizers(found.rows).groupby("optimizer")[["epochs_95", "epochs_97"]].mean()
    factors = epochs.loc["sgd"] / epochs.loc["adam"]
    return Evidence(
        bool((factors >= SAID_FACTOR).any()),
        {
            "factors": words(number(factor, 1) for factor in factors),
            "seeds": str(found.rows["seed"].nunique()),
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "The difference is {gap} points in favour of Adam (95 % t interval, {seeds} paired seeds).",
    said="A difference in final accuracy between Adam and SGD is hard to notice, and may be luck.",
)
def adams_lead_is_luck(found: Results) -> Evidence:
    best = tables2.best_optimizers(found.rows).pivot(
        index="seed", columns="optimizer", values="test_accuracy"
    )
    test = statistics.paired_t(best["adam"], best["sgd"])
    return Evidence(
        not test.difference.mean > test.difference.half,
        {"gap": interval(test.difference, 2, ""), "seeds": str(test.difference.n)},
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "It ends at {accuracy} test accuracy, {behind} points behind {best} (paired, adjusted p = {p}).",
    said="A rule of thumb: the best learning rate of Adam is 3e-4.",
)
def rule_of_thumb(found: Results) -> Evidence:
    ours = assignment2.rule_of_thumb_is_not_best(found)
    return Evidence(not ours.holds, ours.numbers)
