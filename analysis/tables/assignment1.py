"""The tables of assignment 1."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
from IPython.display import Markdown

from analysis import statistics
from analysis.engine.run import CLASSES, INPUTS
from analysis.question import capacity, encoding
from analysis.results import Results
from analysis.tables import curve, interval, markdown, mean_epoch, number, percent, power

UNSTABLE_SHARE = 0.01  # a rate is unstable if its train loss rises in more of the last half of the epochs
MARGIN = 0.003  # Q3's rule: the least network whose validation accuracy lies so near to the best
ACCURACIES = (0.90, 0.95)  # thresholds of test accuracy
LOSSES = {  # Q4 and Q5, by loss and output
    ("cross_entropy", "softmax"): "cross entropy",
    ("quadratic", "softmax"): "quadratic, softmax",
    ("quadratic", "sigmoid"): "quadratic, sigmoid",
}

ACTIVATIONS: dict[str, str] = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}  # Q7
ENCODINGS = {  # Q5, by target and loss
    ("one_hot", "cross_entropy"): "one-hot, cross entropy",
    ("one_hot", "quadratic"): "one-hot, quadratic",
    ("scaled_label", "quadratic"): "single output, quadratic",
}


def gradient_descent(checks: pd.DataFrame) -> Markdown:
    """Q1: the relative deviation of each check."""
    names = {
        "optimizer_step": "step of `optim.SGD` against $-\\eta \\nabla R(w)$",
        "weighted_batches": "size-weighted mean of the batches' gradients against $\\nabla R(w)$",
        "shuffled": "gradient of the shuffled examples against $\\nabla R(w)$",
        "one_batch": "for comparison: gradient of the first batch alone against $\\nabla R(w)$",
    }
    frame = checks.assign(check=checks["check"].map(names), deviation=checks["deviation"].map(power))
    return markdown(frame[["check", "deviation"]].set_axis(["Check", "Relative deviation"], axis="columns"))


def parameters(count: pd.DataFrame) -> Markdown:
    """Q3: β by formula and counted."""
    return markdown(
        pd.DataFrame(
            {
                "Network": "784-" + count["hidden"] + "-10",
                "β by @eq-beta": count["beta"].map("{:,}".format),
                "Counted": count["counted"].map("{:,}".format),
            }
        )
    )


def networks(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Q2: the rows of the networks trained on all examples, by hidden sizes."""
    everything = rows[rows["train_examples"].isna()]
    return {name: everything[everything["hidden"] == name] for name in ("300", "10-10", "20-20")}


def few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Q2: the rows of the network trained on few examples."""
    return rows[rows["train_examples"].notna()]


def overfitting_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Q2: one row per run of a network.

    Returns:
        Index key; epochs, train_loss, test_loss and gap at the last epoch, train_accuracy, test_accuracy there,
        best_epoch of least test loss, best_loss and best_train_loss there, and rise: how far the last test loss
        lies above it, relative to it.
    """
    train, test = curve(rows, "train_loss"), curve(rows, "test_loss")
    best = test.min()
    return pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train.iloc[-1],
            "test_loss": test.iloc[-1],
            "gap": test.iloc[-1] - train.iloc[-1],
            "train_accuracy": curve(rows, "train_accuracy").iloc[-1],
            "test_accuracy": curve(rows, "test_accuracy").iloc[-1],
            "best_epoch": test.idxmin(),
            "best_loss": best,
            "best_train_loss": [train.loc[epoch, run] for run, epoch in test.idxmin().items()],
            "rise": test.iloc[-1] / best - 1,
        }
    )


def overfitting(networks: dict[str, pd.DataFrame]) -> Markdown:
    """Q2: the numbers of `overfitting_numbers`, means over seeds."""
    lines = []
    for name, rows in networks.items():
        mean = overfitting_numbers(rows).mean()
        lines.append(
            {
                "Network": name,
                "Epochs": f"{mean['epochs']:,.0f}",
                "Train loss": number(mean["train_loss"], 4),
                "Test loss": number(mean["test_loss"], 4),
                "Gap": number(mean["gap"], 4),
                "Train acc.": percent(mean["train_accuracy"], 2),
                "Test acc.": percent(mean["test_accuracy"], 2),
                "Epoch of least test loss": f"{mean['best_epoch']:,.0f}",
                "Rise since": percent(mean["rise"], 1),
            }
        )
    return markdown(pd.DataFrame(lines))


def gradient_norms(rows: pd.DataFrame) -> pd.DataFrame:
    """Q7: the rows of the gradient norms, each network at its better rate, with its depth; index: the layer."""
    return _with_depth(rows, "gradient_norm")


def first_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Q7: norm of the first layer's gradient at the start, mean over seeds.

    Returns:
        Index activation and skip, a column per depth.
    """
    norms = gradient_norms(rows)
    start = norms[(norms["update"] == 0) & (norms["index"] == 1)]
    return start.groupby(["activation", "skip", "depth"])["value"].mean().unstack()


def depth_factors(rows: pd.DataFrame) -> pd.Series[float]:
    """Q7: by what every further hidden layer multiplies the first layer's gradient, without skip connections.

    Geometric means from the least depth to the largest; index: the activation.
    """
    plain = first_layer(rows).xs(False, level="skip")
    shallow, deep = plain.columns[0], plain.columns[-1]
    return (plain[deep] / plain[shallow]) ** (1 / (deep - shallow))


def deep_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Q7: final test accuracy at the better rate, mean over seeds; index and columns as of `first_layer`."""
    accuracy = _with_depth(rows, "test_accuracy")
    last = accuracy[accuracy["update"] == accuracy["update"].max()]
    return last.groupby(["activation", "skip", "depth"])["value"].mean().unstack()


def vanishing_gradient(rows: pd.DataFrame) -> Markdown:
    """Q7: what the networks learn, over depth."""
    accuracies = deep_accuracies(rows)
    lines = [
        {
            "Activation": ACTIVATIONS[activation],
            "Skip": "yes" if skip else "no",
            **{str(depth): "–" if math.isnan(value) else percent(value) for depth, value in line.items()},
        }
        for (activation, skip), line in accuracies.loc[list(ACTIVATIONS)].iterrows()
    ]
    return markdown(pd.DataFrame(lines))


def _with_depth(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric's rows, each network of Q7 at its better rate, with its number of hidden layers."""
    chosen = statistics.at_best_rates(rows, ["hidden", "activation", "skip"])
    found = chosen[chosen["metric"] == metric]
    return found.assign(depth=found["hidden"].str.count("-") + 1)


def encodings(rows: pd.DataFrame) -> pd.DataFrame:
    """Q5: the named rows, every encoding under every numbering of the digits at its best rate.

    Returns:
        The rows with columns `name` of the encoding and `numbering`, 0 for the digits as they are.
    """
    numberings = {"-".join(map(str, labels)): place for place, labels in enumerate(encoding.NUMBERINGS)}
    named = rows.assign(
        name=[ENCODINGS[pair] for pair in zip(rows["target"], rows["loss"], strict=True)],
        numbering=rows["labels"].map(numberings),
    )
    return statistics.at_best_rates(named, ["name", "numbering"])


def encoding_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Q5: final test accuracies; index seed, columns (name, numbering)."""
    found = statistics.last(encodings(rows), "test_accuracy", ["seed", "name", "numbering"])
    return found.unstack(["name", "numbering"]).sort_index(axis="columns")


def numbering_tests(rows: pd.DataFrame) -> dict[str, float]:
    """Q5: whether an encoding's accuracy depends on the numbering: p-values by its name, adjusted after Holm."""
    accuracy = encoding_accuracies(rows)
    p = [statistics.repeated_measures_p(accuracy[name]) for name in ENCODINGS.values()]
    return dict(zip(ENCODINGS.values(), statistics.holm(p), strict=True))


def confusions(rows: pd.DataFrame) -> pd.DataFrame:
    """Q5: number of test examples, all seeds together: name, numbering, true, predicted (as numbered), count."""
    found = encodings(rows)
    found = found[found["metric"] == "confusion"]
    found = found[found["update"] == found["update"].max()]
    named = found.assign(true=found["index"] // CLASSES, predicted=found["index"] % CLASSES)
    counts = named.groupby(["name", "numbering", "true", "predicted"])["value"].sum()
    return counts.rename("count").reset_index()


def neighbouring(rows: pd.DataFrame) -> pd.Series[float]:
    """Q5: which share of the errors falls on a class numbered next to the true one; index (name, numbering)."""
    counts = confusions(rows)
    errors = counts[counts["true"] != counts["predicted"]]
    near = errors["count"].where((errors["true"] - errors["predicted"]).abs() == 1, 0)
    by = [errors["name"], errors["numbering"]]
    return near.groupby(by).sum() / errors["count"].groupby(by).sum()


def long_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Q6: the rows of the runs from the common start, which are trained longest."""
    return rows[rows["seed"] == 0]


def early_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Q6: test accuracy at the last epoch that runs from all starts have: index learning_rate, a column per seed."""
    accuracy = rows[rows["metric"] == "test_accuracy"]
    last_epoch = accuracy.groupby("seed")["epoch"].max().min()
    return accuracy[accuracy["epoch"] == last_epoch].pivot(
        index="learning_rate", columns="seed", values="value"
    )


def first_steps(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Q6: how the runs from all starts begin.

    Returns:
        The sharpness at the start relative to 2/η, and the highest train loss relative to the first: index
        learning_rate, a column per seed.
    """
    by = ["learning_rate", "seed"]
    sharpness = rows[(rows["metric"] == "sharpness") & (rows["epoch"] == 0)].set_index(by)["value"].unstack()
    losses = rows[rows["metric"] == "train_loss"].sort_values("epoch").groupby(by)["value"]
    return sharpness.mul(sharpness.index / 2, axis="index"), (losses.max() / losses.first()).unstack()


def learning_rate_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Q6: one row per learning rate.

    Returns:
        Columns learning_rate, epochs, train_loss, test_loss, test_accuracy at the last epoch; rises, the share of
        the last half of the epochs in which the train loss rises; peak, the highest train loss relative to the
        first; epochs_90 and epochs_95, the first epoch with that test accuracy (not finite if never); verdict.
    """
    lines = []
    for rate, run in rows.groupby("learning_rate"):
        metrics = {name: part.set_index("epoch")["value"] for name, part in run.groupby("metric")}
        train, accuracy = metrics["train_loss"], metrics["test_accuracy"]
        line = {
            "learning_rate": rate,
            "epochs": int(train.index[-1]),
            **{name: metrics[name].iloc[-1] for name in ("train_loss", "test_loss", "test_accuracy")},
            "rises": float((train.diff().iloc[len(train) // 2 :] > 0).mean()),
            "peak": train.max() / train.iloc[0],
        }
        line |= _epochs_to(accuracy)
        line["verdict"] = _verdict(line)
        lines.append(line)
    return pd.DataFrame(lines)


def _epochs_to(accuracy: pd.Series[float]) -> dict[str, float]:
    """The first epoch with each of ACCURACIES, not finite if there is none, by name: epochs_90, epochs_95."""
    reached = {threshold: accuracy.index[accuracy >= threshold] for threshold in ACCURACIES}
    return {f"epochs_{100 * t:.0f}": epochs[0] if len(epochs) else np.inf for t, epochs in reached.items()}


def relative_sharpness(rows: pd.DataFrame) -> pd.DataFrame:
    """Q6: λ_max relative to 2/η, λ_max η / 2: index epoch, a column per learning rate."""
    sharpness = rows[rows["metric"] == "sharpness"]
    curves = sharpness.pivot(index="epoch", columns="learning_rate", values="value")
    return curves * curves.columns / 2


def _verdict(line: dict[str, float]) -> str:
    if not math.isfinite(line["train_loss"]):
        return "diverges"
    if line["rises"] > UNSTABLE_SHARE:
        return "unstable"
    return "slow" if math.isinf(line[f"epochs_{100 * ACCURACIES[0]:.0f}"]) else "converges"


def learning_rate_label(rate: float) -> str:
    """The label of a learning rate's figure in the appendix."""
    return f"fig-rate-{rate:g}".replace(".", "-")


def learning_rates(rows: pd.DataFrame) -> Markdown:
    """Q6: the numbers of `learning_rate_numbers`, with each rate's figure."""
    numbers = learning_rate_numbers(rows)
    frame = pd.DataFrame(
        {
            "$\\eta$": numbers["learning_rate"].map("{:g}".format),
            "Figure": numbers["learning_rate"].map(lambda rate: f"[-@{learning_rate_label(rate)}]"),
            "Train loss": [number(value, 4) for value in numbers["train_loss"]],
            "Test loss": [number(value, 4) for value in numbers["test_loss"]],
            "Test acc.": [percent(value, 2) for value in numbers["test_accuracy"]],
            "Rises": [percent(value, 1) for value in numbers["rises"]],
            "90 %": [_epoch(value) for value in numbers["epochs_90"]],
            "95 %": [_epoch(value) for value in numbers["epochs_95"]],
            "Verdict": numbers["verdict"],
        }
    )
    return markdown(frame)


def _epoch(epoch: float) -> str:
    return f"{epoch:,.0f}" if math.isfinite(epoch) else "–"


def beta(hidden: str) -> int:
    """Q3: β of the network with these hidden sizes, as in "300-300"."""
    sizes = (INPUTS, *map(int, hidden.split("-")), CLASSES)
    return sum(units * (inputs + 1) for inputs, units in itertools.pairwise(sizes))


def capacity_runs(found: Results) -> pd.DataFrame:
    """Q3: the end of every run, each network at the better of its rates for its number of training examples.

    Returns:
        Columns examples, hidden, depth, beta, learning_rate, replicate (seed, or disjoint training set),
        train_accuracy, validation_accuracy, test_accuracy. Order: as the experiment lists the networks.
    """
    ends = found.rows[found.rows["update"] == found.rows["update"].max()]
    all_examples = capacity.BUDGETS[found.preset].train_examples
    everything = ends.assign(examples=all_examples, replicate=ends["seed"])
    parts = _decompositions(found).rename(columns={"subset": "replicate"})
    parts = parts[(parts["replicate"] >= 0) & (parts["examples"] != all_examples)]
    columns = ["examples", "hidden", "learning_rate", "replicate", "metric"]
    together = pd.concat([parts[[*columns, "value"]], everything[[*columns, "value"]]])
    wide = together.set_index(columns)["value"].unstack("metric").reset_index()
    means = wide.groupby(["examples", "hidden", "learning_rate"])["validation_accuracy"].mean()
    best = means.groupby(["examples", "hidden"]).idxmax().map(lambda index: index[-1]).rename("learning_rate")
    chosen = wide.merge(best.reset_index(), on=["examples", "hidden", "learning_rate"])
    return _with_sizes(
        chosen[[*columns[:-1], "train_accuracy", "validation_accuracy", "test_accuracy"]]
    ).sort_values(["examples", "depth", "beta", "replicate"], ignore_index=True)


def decomposition(found: Results) -> pd.DataFrame:
    """Q3: bias² and variance, all networks of a number of training examples at one rate.

    That is the rate with the higher mean validation accuracy over these networks: another rate stops at another point
    of training, and would be read as an effect of the network.

    Returns:
        Columns examples, hidden, depth, beta, learning_rate, bias2, variance, squared_error.
    """
    rows = _decompositions(found)
    validation = rows[rows["metric"] == "validation_accuracy"]
    means = validation.groupby(["examples", "learning_rate"])["value"].mean()
    best = means.groupby("examples").idxmax().map(lambda index: index[-1]).rename("learning_rate")
    chosen = rows[rows["subset"] < 0].merge(best.reset_index(), on=["examples", "learning_rate"])
    wide = chosen.set_index(["examples", "hidden", "learning_rate", "metric"])["value"].unstack("metric")
    return _with_sizes(wide.reset_index()).sort_values(["examples", "depth", "beta"], ignore_index=True)


def _decompositions(found: Results) -> pd.DataFrame:
    """The programs' rows with their number of examples, which results leave out where there is but one."""
    sizes = tuple(capacity.SUBSETS[found.preset])
    rows = found.programs["decomposition"]
    return rows if "examples" in rows else rows.assign(examples=sizes[0])


def _with_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds depth (number of hidden layers) and β."""
    return frame.assign(depth=frame["hidden"].str.count("-") + 1, beta=frame["hidden"].map(beta))


def margin() -> Markdown:
    """Q3: the rule's margin, in words for the text."""
    return Markdown(f"{100 * MARGIN:g} percentage points")


def architectures(found: Results) -> pd.DataFrame:
    """Q3: index hidden, trained on all examples; beta and mean validation_accuracy, by increasing β."""
    runs = capacity_runs(found)
    everything = runs[runs["examples"] == runs["examples"].max()]
    return everything.groupby("hidden")[["beta", "validation_accuracy"]].mean().sort_values("beta")


def named_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Q4: the rows with a column `name` of loss and output, and `bias`, how far an output's bias was raised."""
    names = [LOSSES[pair] for pair in zip(rows["loss"], rows["output"], strict=True)]
    return rows.assign(name=names, bias=rows["init_scale"].where(rows["init"] == "biased_output", 0.0))


def trained_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Q4: the named rows of the trained runs, from each start every loss at its best rate."""
    trained = rows[rows["epochs"] == rows["epochs"].max()]
    return statistics.at_best_rates(named_losses(trained), ["name", "bias"])


def first_gradients(rows: pd.DataFrame) -> pd.DataFrame:
    """Q4: norm of the gradient at the start, all layers together: name, bias, seed, norm."""
    probed = named_losses(rows[(rows["metric"] == "gradient_norm") & (rows["update"] == 0)])
    squares = probed.assign(norm=probed["value"] ** 2)
    return squares.groupby(["name", "bias", "seed"])["norm"].sum().pow(0.5).reset_index()


def loss_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Q4: one row per run of the usual start, every loss at its best rate.

    Returns:
        Columns name, seed, learning_rate, test_accuracy at the end, epochs_90 and epochs_95 as in
        `learning_rate_numbers`.
    """
    trained = trained_losses(rows)
    chosen = trained[(trained["bias"] == 0) & (trained["metric"] == "test_accuracy")]
    lines = []
    for (name, seed, rate), run in chosen.groupby(["name", "seed", "learning_rate"]):
        accuracy = run.set_index("epoch")["value"].sort_index()
        lines.append(
            {
                "name": name,
                "seed": seed,
                "learning_rate": rate,
                "test_accuracy": accuracy.iloc[-1],
                **_epochs_to(accuracy),
            }
        )
    return pd.DataFrame(lines)


def behind_cross_entropy(numbers: pd.DataFrame) -> dict[str, statistics.Paired]:
    """Q4: by how much cross entropy's test accuracy exceeds each quadratic loss's; p-values adjusted after Holm."""
    accuracy = numbers.pivot(index="seed", columns="name", values="test_accuracy")
    reference, *others = LOSSES.values()
    return statistics.compared({name: (accuracy[reference], accuracy[name]) for name in others})


def losses(rows: pd.DataFrame) -> Markdown:
    """Q4: each loss at its best rate."""
    numbers = loss_numbers(rows)
    behind = behind_cross_entropy(numbers)
    wrong = trained_losses(rows).query("bias > 0")
    early = (
        wrong[(wrong["metric"] == "test_accuracy") & (wrong["epoch"] == 1)].groupby("name")["value"].mean()
    )
    late = statistics.last(wrong, "test_accuracy", ["name", "seed"]).groupby("name").mean()
    lines = []
    for name in LOSSES.values():
        runs = numbers[numbers["name"] == name]
        lines.append(
            {
                "Loss": name,
                "Best $\\eta$": f"{runs['learning_rate'].iloc[0]:g}",
                "Epochs to 90 %": mean_epoch(runs["epochs_90"]),
                "to 95 %": mean_epoch(runs["epochs_95"]),
                "Test acc.": interval(statistics.t_interval(runs["test_accuracy"])),
                "Behind": interval(behind[name].difference) if name in behind else "–",
                "Wrong start: after 1 epoch": percent(early[name]),
                f"after {wrong['epoch'].max():.0f}": percent(late[name]),
            }
        )
    return markdown(pd.DataFrame(lines))
