"""The findings of assignment 1."""

from __future__ import annotations

import pandas as pd

from analysis import statistics
from analysis.claims import Evidence, claim
from analysis.experiments import curves, exercise1, gradient_descent, published
from analysis.results import Results
from analysis.tables import assignment1 as tables
from analysis.tables import interval, number, percent, power, words

CHANCE = 0.1  # test accuracy of guessing
NAMED = {"ten": "10-10", "twenty": "20-20", "wide": "300"}  # the networks whose β the text names


@claim(
    "sec-exercise-1",
    ("exercise1",),
    "The completed program reaches {accuracy} test accuracy after {epochs} epochs with $\\eta = {rate}$; its "
    "training loss falls at every epoch, from {first} to {last}.",
)
def exercise1_accuracy(found: Results) -> Evidence:
    rows = found.programs["program"]
    losses = rows.loc[rows["metric"] == "train_loss", "value"]
    final = rows[rows["metric"] == "test_accuracy"].iloc[-1]
    return Evidence(
        bool((losses.diff().dropna() < 0).all() and final["value"] > 0.85),
        {
            "accuracy": percent(final["value"], 2),
            "epochs": f"{final['epoch']:.0f}",
            "rate": f"{exercise1.LEARNING_RATE:g}",
            "first": number(losses.iloc[0], 3),
            "last": number(losses.iloc[-1], 3),
        },
    )


@claim(
    "sec-q1",
    ("gradient_descent",),
    "Measured in double precision: the optimizer's step is $-\\eta \\nabla R(w)$ up to a relative deviation of "
    "{optimizer_step}; $\\nabla R(w)$ is the size-weighted mean of the gradients of all batches of {batch} up to "
    "{weighted_batches}, and shuffling the examples changes it by {shuffled}; the gradient of one such batch alone "
    "is off by {one_batch}.",
)
def gradient_descent_is_full(found: Results) -> Evidence:
    deviation = found.programs["checks"].set_index("check")["deviation"]
    exact = deviation.drop("one_batch")
    return Evidence(
        bool((exact < 1e-12).all() and deviation["one_batch"] > 0.01),
        {
            **{str(check): power(value) for check, value in exact.items()},
            "one_batch": percent(deviation["one_batch"], 0),
            "batch": str(gradient_descent.BATCH_SIZE),
        },
    )


@claim(
    "sec-q2",
    ("curves",),
    "No: at the last epoch the mean gap test − train is {gaps} for {names} ({seeds} seeds), in no run more than "
    "{share} of the test loss; in the {spikes} of {runs} runs whose test loss ends more than 1 % above its least "
    "value (by up to {rise}), the train loss has risen with it, which is instability and not over-fitting.",
)
def no_overfitting(found: Results) -> Evidence:
    networks = {name: tables.overfitting_numbers(rows) for name, rows in tables.networks(found.rows).items()}
    runs = pd.concat(networks.values())
    share = float((runs["gap"] / runs["test_loss"]).max())
    spikes = runs[runs["rise"] > 0.01]
    return Evidence(
        bool(share < 0.1 and (spikes["train_loss"] > spikes["best_train_loss"]).all()),
        {
            "gaps": words(number(numbers["gap"].mean(), 3) for numbers in networks.values()),
            "names": words(networks),
            "seeds": str(found.rows["seed"].nunique()),
            "share": percent(share),
            "spikes": str(len(spikes)),
            "runs": str(len(runs)),
            "rise": percent(float(runs["rise"].max()), 0),
        },
    )


@claim(
    "sec-q2",
    ("curves",),
    "For contrast, 784-300-10 trained on {examples} examples only does over-fit: its test loss is least at epoch "
    "{best} and then rises by {rise}, while its train loss falls to {train}.",
)
def contrast_overfits(found: Results) -> Evidence:
    numbers = tables.overfitting_numbers(tables.few_examples(found.rows))
    mean = numbers.mean()
    return Evidence(
        bool(numbers["rise"].min() > 0.02 and (numbers["train_loss"] < numbers["best_train_loss"]).all()),
        {
            "examples": f"{curves.FEW_EXAMPLES:,}",
            "best": f"{mean['best_epoch']:,.0f}",
            "rise": percent(mean["rise"], 0),
            "train": number(mean["train_loss"], 4),
        },
    )


@claim(
    "sec-q3",
    ("parameters",),
    "$\\beta$ is {ten} for 784-10-10-10, {twenty} for 784-20-20-10 and {wide} for 784-300-10, and agrees with the "
    "tensors of all {count} networks that were built.",
)
def parameters_counted(found: Results) -> Evidence:
    table = found.programs["count"].set_index("hidden")
    beta = {name: f"{table.loc[hidden, 'beta']:,}" for name, hidden in NAMED.items()}
    return Evidence(bool((table["beta"] == table["counted"]).all()), {**beta, "count": str(len(table))})


@claim(
    "sec-q4",
    ("losses",),
    "Because its gradient does not vanish where the network is wrong: after {epochs} epochs, each loss at its own best "
    "learning rate, 784-300-10 has {reference} test accuracy with cross entropy, {softmax_gap} points more than with "
    "the quadratic loss of softmax outputs and {sigmoid_gap} more than with that of sigmoid outputs.",
)
def cross_entropy_trains_better(found: Results) -> Evidence:
    numbers = tables.loss_numbers(found.rows)
    behind = tables.behind_cross_entropy(numbers)
    accuracy = numbers.groupby("name")["test_accuracy"].mean()
    return Evidence(
        all(test.difference.mean > 0 and test.p < 0.05 for test in behind.values()),
        {
            "epochs": f"{tables.trained_losses(found.rows)['epoch'].max():.0f}",
            "reference": percent(accuracy["cross entropy"]),
            "softmax_gap": interval(behind["quadratic, softmax"].difference, 1, ""),
            "sigmoid_gap": interval(behind["quadratic, sigmoid"].difference, 1, ""),
        },
    )


@claim(
    "sec-q4",
    ("losses",),
    "With the bias of one output raised by {bias}, the first gradient has norm {reference} with cross entropy but "
    "{softmax} with the quadratic loss of softmax, {factor} times less; after one epoch from there the test accuracy "
    "is {reference_accuracy} and {softmax_accuracy}.",
)
def quadratic_gradient_vanishes_when_wrong(found: Results) -> Evidence:
    gradients = tables.first_gradients(found.rows)
    norms = gradients[gradients["bias"] == gradients["bias"].max()].groupby("name")["norm"].mean()
    reference, softmax = norms["cross entropy"], norms["quadratic, softmax"]
    trained = tables.trained_losses(found.rows)
    one = trained[(trained["bias"] > 0) & (trained["epoch"] == 1) & (trained["metric"] == "test_accuracy")]
    accuracy = one.groupby("name")["value"].mean()
    return Evidence(
        bool(reference > 100 * softmax and accuracy["cross entropy"] > accuracy["quadratic, softmax"] + 0.2),
        {
            "bias": f"{gradients['bias'].max():g}",
            "reference": number(reference, 1),
            "softmax": number(softmax, 4),
            "factor": f"{float(f'{reference / softmax:.1g}'):,.0f}",
            "reference_accuracy": percent(accuracy["cross entropy"], 0),
            "softmax_accuracy": percent(accuracy["quadratic, softmax"], 0),
        },
    )


@claim(
    "sec-q4",
    ("losses",),
    "The quadratic losses cannot make up for it by larger steps: from $\\eta = {rate}$ on they end within {most} of "
    "{chance} accuracy, with outputs that sit in the wrong corner (softmax, training loss {softmax}) or all at 0 "
    "(sigmoid, {sigmoid}), whereas cross entropy still reaches {reference} with $\\eta = {rate}$.",
)
def quadratic_losses_are_stuck(found: Results) -> Evidence:
    rows = tables.named_losses(found.rows[found.rows["epochs"] == found.rows["epochs"].max()])
    usual = rows[rows["bias"] == 0]
    accuracy = statistics.last(usual, "test_accuracy", ["name", "learning_rate", "seed"])
    loss = statistics.last(usual, "train_loss", ["name", "learning_rate", "seed"])
    means = accuracy.groupby(["name", "learning_rate"]).mean().unstack("name")
    numbers = tables.loss_numbers(found.rows)
    best = numbers.loc[numbers["name"] != "cross entropy", "learning_rate"].max()
    quadratic = means.loc[means.index > best].drop(columns="cross entropy")
    rate = quadratic.index.min()
    stuck = loss[loss.index.get_level_values("learning_rate") > best].groupby("name").mean()
    deviation = float((quadratic - CHANCE).abs().max(axis=None))
    return Evidence(
        bool(
            deviation < 0.02
            and means.loc[rate, "cross entropy"] > 0.9
            and abs(stuck["quadratic, softmax"] - (1 - CHANCE)) < 0.01
            and abs(stuck["quadratic, sigmoid"] - 0.5) < 0.01
        ),
        {
            "rate": f"{rate:g}",
            "most": f"{100 * deviation:.1f} points",
            "chance": percent(CHANCE, 0),
            "softmax": number(stuck["quadratic, softmax"], 2),
            "sigmoid": number(stuck["quadratic, sigmoid"], 2),
            "reference": percent(means.loc[rate, "cross entropy"]),
        },
    )


@claim(
    "sec-q4",
    ("published",),
    "With smaller batches ({batch}) and twice the epochs, 784-300-10 reaches {accuracy} test accuracy with the "
    "quadratic loss of sigmoid outputs.",
)
def quadratic_comes_close(found: Results) -> Evidence:
    rows = found.rows[(found.rows["hidden"] == "300") & (found.rows["loss"] == "quadratic")]
    accuracy = statistics.t_interval(statistics.last(rows, "test_accuracy", ["seed"]))
    return Evidence(
        accuracy.mean > 0.97,
        {"batch": str(published.OTHERS_BATCH_SIZE), "accuracy": interval(accuracy)},
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "Very, and more so below its best value than above: within {epochs} epochs the rates from {low} to {high} reach "
    "{least} to {most} test accuracy, the best being {best}; {slow} end at {slow_accuracies}, and {fast} at "
    "{fast_accuracies}.",
)
def learning_rate_window(found: Results) -> Evidence:
    table = tables.learning_rate_numbers(found.rows).set_index("learning_rate")
    accuracy = table["test_accuracy"]
    good = accuracy[accuracy >= tables.ACCURACIES[0]]
    slow, fast = accuracy[accuracy.index < good.index.min()], accuracy[accuracy.index > good.index.max()]
    one_window = len(good) + len(slow) + len(fast) == len(accuracy) and len(slow) > 0 and len(fast) > 0
    return Evidence(
        bool(one_window and slow.min() < fast.min()),
        {
            "epochs": f"{table['epochs'].max():,}",
            "low": f"{good.index.min():g}",
            "high": f"{good.index.max():g}",
            "least": percent(good.min()),
            "most": percent(good.max()),
            "best": f"{accuracy.idxmax():g}",
            "slow": words(f"{rate:g}" for rate in slow.index),
            "slow_accuracies": words(percent(value) for value in slow),
            "fast": words(f"{rate:g}" for rate in fast.index),
            "fast_accuracies": words(percent(value) for value in fast),
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "No rate diverges, but with {unstable} the train loss still goes up and down in the last half of the epochs.",
)
def learning_rate_unstable(found: Results) -> Evidence:
    table = tables.learning_rate_numbers(found.rows).set_index("learning_rate")
    unstable = table.index[table["verdict"] == "unstable"]
    return Evidence(
        bool(len(unstable) and unstable.min() > 1 and not (table["verdict"] == "diverges").any()),
        {"unstable": words(f"{rate:g}" for rate in unstable)},
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "At the common start the sharpness exceeds $2/\\eta$ for the rates from {first} on, {most}-fold for {last}: "
    "exactly these first raise the train loss, up to {peak}-fold, before it falls.",
)
def start_beyond_the_edge(found: Results) -> Evidence:
    start = tables.relative_sharpness(found.rows).iloc[0]
    peak = tables.learning_rate_numbers(found.rows).set_index("learning_rate")["peak"]
    beyond = start.index[start > 1]
    return Evidence(
        bool(len(beyond) and ((peak > 1.001) == (start > 1)).all()),
        {
            "first": f"{beyond.min():g}",
            "most": number(start.max(), 0),
            "last": f"{start.idxmax():g}",
            "peak": number(peak.max(), 0),
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "After {epochs} epochs, the sharpness relative to $2/\\eta$ is {least} to {most} for the rates from {from_rate} "
    "to {to_rate}, and {small} for {small_rate}: large rates train at the edge of stability, small ones below it.",
)
def edge_of_stability(found: Results) -> Evidence:
    relative = tables.relative_sharpness(found.rows)
    last = relative.tail(5).median()  # the sharpness swings about the edge
    large = last.loc[0.3:2]
    return Evidence(
        bool(large.between(0.7, 1.4).all() and last.iloc[0] < 0.1),
        {
            "epochs": f"{relative.index[-1]:,.0f}",
            "least": number(large.min(), 2),
            "most": number(large.max(), 2),
            "from_rate": f"{large.index[0]:g}",
            "to_rate": f"{large.index[-1]:g}",
            "small": number(last.iloc[0], 4),
            "small_rate": f"{last.index[0]:g}",
        },
    )
