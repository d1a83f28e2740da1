"""Assignment 1, Q3: train and test error over width, depth and number of examples; bias² and variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import CLASSES, INPUTS, Measure, Run, num_parameters
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

HIDDEN = (
    *((width,) for width in (2, 4, 8, 16, 32, 64, 96, 128, 192, 300, 512, 1024, 2048)),
    *((width,) * depth for depth in (2, 3) for width in (64, 300)),
)
COUNTED = (*HIDDEN, (10, 10), (20, 20))  # for β
# Adam, so that the deeper networks leave their first plateau; each network is shown at its best rate.
PLANNED_RATES = (0.0003, 0.001, 0.005, 0.02)
LARGER_RATES = (0.05,)  # added as the largest of those was best for most networks with few examples
LEARNING_RATES = PLANNED_RATES + LARGER_RATES
LARGEST_RATES = {1_000: (0.1,)}  # by the number of examples with which 0.05 was then best for some
BATCH_SIZE = 128
BUDGETS = {"full": Budget((0, 1, 2), 15), "quick": Budget((0,), 1, 1_000)}
# Networks of one hidden layer, compared after training on all examples, each at its best rate, with ten seeds that
# nothing was looked at before. An earlier rule, written down before these runs, took the smallest whose mean validation
# accuracy lies at most EARLIER_MARGIN below the highest, with all of the paired difference's 95 % interval.
CANDIDATES = ((64,), (96,), (128,), (192,), (300,), (512,), (1024,))
# Whether more layers would gain accuracy, with the same rates and seeds.
DEEPER_NETWORKS = ((300, 300), (300, 300, 300))
CHOICE_RATES, EARLIER_MARGIN = (0.001, 0.002, 0.003, 0.005), 0.005
CHOICE_SEEDS: dict[Preset, tuple[int, ...]] = {"full": tuple(range(10, 20)), "quick": (10, 11)}
# The variance's two parts, of the start and of the training set, by several starts on each of the smallest sets: widths
# from a narrow layer to the widest, each at the rate that is best for it there; and with either number of examples all
# at one rate, that of the widest.
SPLIT_RATES = {(4,): 0.05, (64,): 0.05, (300,): 0.02, (2048,): 0.005}
SPLIT_RATE = 0.005
# The same of two and three layers.
DEEPER_SPLIT_RATES = {(300, 300): 0.02, (300, 300, 300): 0.005}
SPLIT_STARTS: dict[Preset, int] = {"full": 4, "quick": 2}
# Training sets that do not share an example: number, examples in each, epochs.
SUBSETS: dict[Preset, dict[int, tuple[int, int]]] = {
    "full": {1_000: (12, 150), 5_000: (10, 40)},
    "quick": {1_000: (3, 2)},
}
# What chose the network is applied once more, to sets of the smallest size that had no part in it, at the rates that
# were the best on the first sets: the number of the first of these sets, and how many there are.
FRESH_RATES = {
    (64,): 0.05,
    (96,): 0.05,
    (128,): 0.05,
    (192,): 0.02,
    (300,): 0.02,
    (512,): 0.02,
    (1024,): 0.02,
    (2048,): 0.005,
    (300, 300): 0.02,
    (300, 300, 300): 0.005,
    (64, 64, 64): 0.02,
}
FRESH_SETS: dict[Preset, tuple[int, int]] = {"full": (12, 24), "quick": (3, 3)}

METRICS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
)


def rates_of_sets(examples: int) -> tuple[float, ...]:
    """Return the learning rates of the small training sets of so many examples."""
    return LEARNING_RATES + LARGEST_RATES.get(examples, ())


def run(
    hidden: tuple[int, ...],
    rate: float,
    examples: int,
    subset: int,
    epochs: int,
    seed: int,
) -> Run:
    """Return a network's run, measured every tenth of its epochs."""
    updates = Budget((), epochs, examples).updates(BATCH_SIZE)
    return Run(
        hidden=hidden,
        optimizer="adam",
        learning_rate=rate,
        batch_size=BATCH_SIZE,
        train_examples=examples,
        train_subset=subset,
        validation_examples=VALIDATION_EXAMPLES,
        epochs=epochs,
        measures=(Measure(metrics=METRICS, every=updates * max(1, epochs // 10)),),
        seed=seed,
    )


def decomposition(
    data: Data,
    device: torch.device,
    hidden: tuple[int, ...],
    examples: int,
    subsets: int,
    epochs: int,
    rates: tuple[float, ...] = PLANNED_RATES,
    first: int = 0,
) -> pd.DataFrame:
    """Estimate bias² and variance of a network over disjoint training sets (Neal et al. 2018, squared error).

    With p_i(x) the probabilities of the model trained on set i of k, p̄(x) their mean, and y the one-hot label, all
    averaged over the test examples,

        variance = 1/(k-1) Σ_i ‖p_i - p̄‖²,   squared error = 1/k Σ_i ‖p_i - y‖²,   bias² = squared error - variance,

    which estimate E‖p - E p‖² and ‖E p - y‖² without bias; the labels' noise counts as bias².
    The sets are those from number `first` on; set i also has its own initialization (seed i).

    Returns:
        One row per learning rate and value: learning_rate, metric, subset, value. The metrics are those of METRICS at
        the end, per subset; squared_error, bias2 and variance with subset -1; and the same three estimated without
        set i, with subset i, for jackknife intervals.
    """
    import torch

    from analysis.engine.training import form_stacks, train

    runs = [
        run(tuple(hidden), rate, examples, i, epochs, i)
        for rate in rates
        for i in range(first, first + subsets)
    ]
    rows: list[tuple[float, str, int, float]] = []
    probabilities: dict[float, list[torch.Tensor]] = {rate: [] for rate in rates}
    truth = torch.nn.functional.one_hot(data.test_labels.cpu(), 10)
    for stack in form_stacks(runs, data, device):
        for trained_run, trained in zip(stack, train(stack, data, device), strict=True):
            rate = trained_run.learning_rate
            last = trained.rows[trained.rows["update"] == trained.rows["update"].max()]
            rows += [
                (rate, metric, trained_run.train_subset, value)
                for metric, value in zip(last["metric"], last["value"], strict=True)
            ]
            probabilities[rate].append(_probabilities(trained.weights, data.test_images.cpu()))
    for rate, found in probabilities.items():
        p = torch.stack(found)
        for left_out in range(-1, subsets):
            kept = p[torch.arange(subsets) != left_out]
            error = float((kept - truth).square().sum(2).mean())
            variance = float(kept.var(0).sum(1).mean())
            rows += [
                (rate, "squared_error", left_out, error),
                (rate, "bias2", left_out, error - variance),
                (rate, "variance", left_out, variance),
            ]
    return pd.DataFrame(rows, columns=["learning_rate", "metric", "subset", "value"])


def _probabilities(weights: Sequence[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return what a network with these weights, biases last, gives to the classes of images, in double precision."""
    from analysis.engine.network import logits_of

    return logits_of(weights, images).double().softmax(1)


def split(
    data: Data,
    device: torch.device,
    hidden: tuple[int, ...],
    rate: float,
    examples: int,
    subsets: int,
    starts: int,
    epochs: int,
) -> pd.DataFrame:
    """Split a network's variance into that over starts and that over training sets (law of total variance).

    With p_ij the probabilities of the model trained on set i of k from start j of m (which also orders the examples),
    all averaged over the test examples,

        start = 1/k Σ_i 1/(m-1) Σ_j ‖p_ij - p̄_i‖²,   set = 1/(k-1) Σ_i ‖p̄_i - p̄‖² - start / m,

    which estimate E Var(p | set) and Var E(p | set) without bias.

    Returns:
        One row per part and set left out, for jackknife intervals (-1: none): metric (variance_start, variance_set),
        subset, value.
    """
    import torch

    from analysis.engine.training import form_stacks, train

    runs = [
        run(tuple(hidden), rate, examples, i, epochs, i + subsets * j)
        for i in range(subsets)
        for j in range(starts)
    ]
    found: dict[int, list[torch.Tensor]] = {i: [] for i in range(subsets)}
    for stack in form_stacks(runs, data, device):
        for trained_run, trained in zip(stack, train(stack, data, device), strict=True):
            found[trained_run.train_subset].append(_probabilities(trained.weights, data.test_images.cpu()))
    within = torch.stack([torch.stack(of_set).var(0).sum(1).mean() for of_set in found.values()])
    means = torch.stack([torch.stack(of_set).mean(0) for of_set in found.values()])
    rows: list[tuple[str, int, float]] = []
    for left_out in range(-1, subsets):
        kept = torch.arange(subsets) != left_out
        start = float(within[kept].mean())
        of_sets = float(means[kept].var(0).sum(1).mean()) - start / starts
        rows += [("variance_start", left_out, start), ("variance_set", left_out, of_sets)]
    return pd.DataFrame(rows, columns=["metric", "subset", "value"])


def parameters(data: Data, device: torch.device) -> pd.DataFrame:
    """Build every network and count its parameters.

    Returns:
        One row per network: hidden, beta (formula), counted (elements of the built network's tensors).
    """
    from analysis.engine.network import reference_model

    measures = (Measure(metrics=("train_loss",), every=1),)
    rows = []
    for hidden in COUNTED:
        built = reference_model(Run(hidden=hidden, learning_rate=1, epochs=1, measures=measures))
        counted = sum(tensor.numel() for tensor in built.parameters())
        beta = num_parameters((INPUTS, *hidden, CLASSES))
        rows.append({"hidden": "-".join(map(str, hidden)), "beta": beta, "counted": counted})
    return pd.DataFrame(rows)


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return runs on all examples that validation leaves, the program on disjoint small sets, and the count of β."""
    budget = BUDGETS[preset]
    runs = tuple(
        run(hidden, rate, budget.train_examples, 0, budget.epochs, seed)
        for hidden in HIDDEN
        for rate in LEARNING_RATES
        for seed in budget.seeds
    )
    choice = tuple(
        run(hidden, rate, budget.train_examples, 0, budget.epochs, seed)
        for hidden in CANDIDATES + DEEPER_NETWORKS
        for rate in CHOICE_RATES
        for seed in CHOICE_SEEDS[preset]
    )
    decompositions: list[tuple[int, tuple[int, ...], tuple[tuple[str, Any], ...]]] = [
        (examples, hidden, further)
        for examples in SUBSETS[preset]
        for hidden in HIDDEN
        for further in (
            (),
            *((("rates", rates),) for rates in (LARGER_RATES, LARGEST_RATES.get(examples)) if rates),
        )
    ]
    programs = tuple(
        Program(
            name="capacity.decomposition",
            function=decomposition,
            arguments=(
                ("epochs", SUBSETS[preset][examples][1]),
                ("examples", examples),
                ("hidden", hidden),
                *further,
                ("subsets", SUBSETS[preset][examples][0]),
            ),
            version=2,
        )
        for examples, hidden, further in decompositions
    )
    few = min(SUBSETS[preset])
    split_settings: dict[tuple[int, tuple[int, ...], float], None] = {
        **{(few, hidden, rate): None for hidden, rate in (SPLIT_RATES | DEEPER_SPLIT_RATES).items()},
        **{(examples, hidden, SPLIT_RATE): None for examples in SUBSETS[preset] for hidden in SPLIT_RATES},
        **{
            (examples, hidden, SPLIT_RATE): None
            for examples in SUBSETS[preset]
            for hidden in DEEPER_SPLIT_RATES
        },
    }
    first, number = FRESH_SETS[preset]
    fresh = tuple(
        Program(
            name="capacity.fresh_sets",
            function=decomposition,
            arguments=(
                ("epochs", SUBSETS[preset][few][1]),
                ("examples", few),
                ("first", first),
                ("hidden", hidden),
                ("rates", (rate,)),
                ("subsets", number),
            ),
        )
        for hidden, rate in FRESH_RATES.items()
    )
    splits = tuple(
        Program(
            name="capacity.split",
            function=split,
            arguments=(
                ("epochs", SUBSETS[preset][examples][1]),
                ("examples", examples),
                ("hidden", hidden),
                ("rate", rate),
                ("starts", SPLIT_STARTS[preset]),
                ("subsets", SUBSETS[preset][examples][0]),
            ),
        )
        for examples, hidden, rate in split_settings
    )
    return (
        *runs,
        *choice,
        *programs,
        *splits,
        *fresh,
        Program(name="capacity.parameters", function=parameters, version=4),
    )
