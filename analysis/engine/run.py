"""What to train: a run is a frozen, hashable description of everything that determines its result.

This module needs no torch: the report looks up cached results by the keys of these descriptions.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

ENGINE_VERSION = 1  # increase when a change of the engine alters results by more than rounding

INPUTS = 784
CLASSES = 10
TRAIN_EXAMPLES = 60_000
SHARPNESS_EXAMPLES = 10_000  # of a run's training examples, at most, a fixed random choice

Activation: TypeAlias = Literal["sigmoid", "tanh", "relu"]
Init: TypeAlias = Literal["uniform_fan_in", "normal", "constant", "saturated_output"]
Loss: TypeAlias = Literal["cross_entropy", "quadratic"]
Output: TypeAlias = Literal["softmax", "sigmoid", "identity"]
Target: TypeAlias = Literal["one_hot", "scaled_label"]
Optimizer: TypeAlias = Literal["sgd", "momentum", "adam"]
Order: TypeAlias = Literal["shuffled", "shuffled_once", "label_sorted"]

METRICS = {
    "train_loss": "mean loss over the run's training examples",
    "train_accuracy": "share of the run's training examples classified correctly",
    "validation_loss": "mean loss over the run's validation examples",
    "validation_accuracy": "share of the run's validation examples classified correctly",
    "test_loss": "mean loss over the 10,000 test examples",
    "test_accuracy": "share of the test examples classified correctly",
    "misread_loss": "mean loss over the test examples classified wrongly",
    "class_accuracy": "test accuracy of one class; index: the class",
    "confusion": "number of test examples; index: 10 · true class + predicted class",
    "gradient_norm": "Euclidean norm of the training loss's gradient, one layer; index: layer 1 … L",
    "weight_norm": "Euclidean norm of the weights and biases, one layer; index: layer 1 … L",
    "error_norm": "root mean square, over training examples, of ‖∂loss/∂z_l‖ of one example; index: layer 1 … L",
    "mean_slope": "mean of φ′(z_l) over training examples and units; index: hidden layer 1 … L-1",
    "unit_distance": "largest distance between two units' rows (bias, weights); index: hidden layer 1 … L-1",
    "gradient_cosine": "cosine between the next update's batch gradient and the full training gradient",
    "sharpness": "largest eigenvalue of the Hessian of the loss on a fixed sample of the training examples",
}
# Their index is a layer and counts from 1; all others' counts from 0.
PER_LAYER = ("gradient_norm", "weight_norm", "error_norm", "mean_slope", "unit_distance")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Which metrics are measured, and when, counted in updates.

    They are measured at update 0, at every update up to `dense_until`, at every multiple of `every`, and at the last
    update.

    Raises:
        ValueError: A metric is unknown or a number out of range.
    """

    metrics: tuple[str, ...]
    every: int
    dense_until: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise ValueError(f"unknown metrics {unknown}: choose from {', '.join(METRICS)}")
        if self.every < 1 or self.dense_until < 0:
            raise ValueError(f"{self}: every must be at least 1 update, dense_until at least 0")

    def due(self, update: int, last: int) -> bool:
        """Return whether the metrics are measured after `update` of `last` updates."""
        return update <= self.dense_until or update % self.every == 0 or update == last


PER_RUN = {"per_run": True}  # metadata of the fields in which the runs of one stack may differ


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run of a multi-layer perceptron on MNIST.

    Attributes:
        hidden: Numbers of hidden units h_1 … h_{L-1}; the network is 784-h_1-…-10 (or -1, see `target`).
        activation: Of the hidden units.
        skip: Each hidden layer after the first adds its input to its activation (needs equal widths).
        init: Initialization of weights and biases. `uniform_fan_in`: U(-s/√fan_in, s/√fan_in); `normal`: N(0, s²);
            `constant`: all equal s; `saturated_output`: `uniform_fan_in` with s = 1, then s is added to the
            output bias of class 0 and subtracted from all others, so that the network confidently sees a zero in every
            image, whether its outputs compete (softmax) or not (sigmoid).
        init_scale: The s of `init`.
        loss: `cross_entropy`: -log of the softmax probability of the label, or with sigmoid outputs q and targets t,
            the sum over the outputs of -t log q - (1 - t) log(1 - q); `quadratic`: ½‖output - target‖²; all averaged
            over examples.
        output: Function from logits to outputs.
        target: `one_hot`: ten outputs; `scaled_label`: one output, target label / 9, read as the nearest digit.
        labels: `labels[d]` is the class as which digit d is trained and tested (Q5 permutes them).
        optimizer: One of `analysis.engine.optimizers.OPTIMIZERS`: `sgd` (plain), `momentum` (SGD with momentum
            β₁, as torch.optim.SGD) or `adam` (Kingma & Ba 2015, with bias correction, as torch.optim.Adam).
        learning_rate: η at the first update.
        decay: η at update t (from 0) is learning_rate / (1 + decay · t / updates per epoch).
        beta1, beta2, epsilon: Adam's constants, the first that of momentum as well; without effect for others.
        batch_size: Examples per update; None is the whole training set (then an epoch is one update). The
            last batch of an epoch is smaller where the size does not divide the training set.
        order: `shuffled`: a new permutation every epoch; `shuffled_once`: that of the first epoch in every one;
            `label_sorted`: all zeros first, …, nines last, in the data's order within a label, the same every
            epoch. Without effect for the full batch.
        train_examples: Size of the training set, None for all that validation leaves.
        train_subset: Number of the training set among the disjoint ones of that size.
        validation_examples: Examples held out of training, the same for all runs.
        epochs: Passes over the training set.
        measures: Which metrics are measured, and when.
        seed: Determines initialization and sample order, nothing else.

    Raises:
        ValueError: A name is unknown, a number out of range, or fields do not go together.
    """

    hidden: tuple[int, ...] = (300,)
    activation: Activation = "sigmoid"
    skip: bool = False
    init: Init = field(default="uniform_fan_in", metadata=PER_RUN)
    init_scale: float = field(default=1.0, metadata=PER_RUN)
    loss: Loss = "cross_entropy"
    output: Output = "softmax"
    target: Target = "one_hot"
    labels: tuple[int, ...] = field(default=tuple(range(CLASSES)), metadata=PER_RUN)
    optimizer: Optimizer = "sgd"
    learning_rate: float = field(metadata=PER_RUN)
    decay: float = field(default=0.0, metadata=PER_RUN)
    beta1: float = field(default=0.9, metadata=PER_RUN)
    beta2: float = field(default=0.999, metadata=PER_RUN)
    epsilon: float = field(default=1e-8, metadata=PER_RUN)
    batch_size: int | None = None
    order: Order = field(default="shuffled", metadata=PER_RUN)
    train_examples: int | None = None
    train_subset: int = field(default=0, metadata=PER_RUN)  # not for full batches: see `per_run_fields`
    validation_examples: int = 0
    epochs: int
    measures: tuple[Measure, ...]
    seed: int = field(default=0, metadata=PER_RUN)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            if each.type == "float":  # 2 and 2.0 are the same rate and must have the same key
                object.__setattr__(self, each.name, float(getattr(self, each.name)))
        problems = [
            f"unknown {name} {getattr(self, name)!r}: choose from {', '.join(known)}"
            for name, known in choices().items()
            if getattr(self, name) not in known
        ]
        problems += [
            text
            for wrong, text in (
                (
                    not self.hidden or min(self.hidden) < 1,
                    "hidden needs at least one layer of at least one unit",
                ),
                (self.skip and len(set(self.hidden)) > 1, "skip connections need equal hidden widths"),
                (sorted(self.labels) != list(range(CLASSES)), "labels must be a permutation of 0 … 9"),
                (
                    self.loss == "cross_entropy" and self.output == "identity",
                    "cross entropy needs outputs between 0 and 1: softmax or sigmoid",
                ),
                (
                    self.target == "scaled_label" and self.output == "softmax",
                    "the softmax of a single output is always 1",
                ),
                (self.learning_rate <= 0, "the learning rate must be positive"),
                (self.decay < 0, "decay must not be negative"),
                (self.epochs < 1, "epochs must be at least 1"),
                (self.batch_size is not None and self.batch_size < 1, "batch_size must be at least 1"),
                (
                    not 0 <= self.validation_examples < TRAIN_EXAMPLES,
                    "validation leaves no training examples",
                ),
            )
            if wrong
        ]
        if problems:
            raise ValueError(f"{self}: {'; '.join(problems)}")

    @property
    def version(self) -> int:
        """Version of the engine, part of the keys of results."""
        return ENGINE_VERSION

    @property
    def outputs(self) -> int:
        """Number of output units."""
        return CLASSES if self.target == "one_hot" else 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Layer sizes h_0, h_1, …, h_L, inputs and outputs included."""
        return (INPUTS, *self.hidden, self.outputs)


@functools.cache
def choices() -> dict[str, tuple[str, ...]]:
    """Return the names that may be chosen, by field of Run."""
    hints = get_type_hints(Run)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


def per_run_fields(run: Run) -> tuple[str, ...]:
    """Return the names of the fields in which a run may differ from others of its stack."""
    names = (each.name for each in dataclasses.fields(run) if each.metadata.get("per_run"))
    # runs with full batches share their images, hence their training set
    return tuple(name for name in names if name != "train_subset" or run.batch_size is not None)


def batch_key(run: Run) -> Run:
    """Return what runs must have in common to form one stack: the run with a fixed value in all other fields."""
    fixed: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(run)}
    fixed["learning_rate"] = 1.0  # has no default
    return dataclasses.replace(run, **{name: fixed[name] for name in per_run_fields(run)})


def num_parameters(sizes: Sequence[int]) -> int:
    """Return β(h_0, …, h_L) = Σ_l h_l (h_{l-1} + 1), the number of weights and biases."""
    return sum(units * (inputs + 1) for inputs, units in itertools.pairwise(sizes))


def num_parameters_of(hidden: str) -> int:
    """Return β of the network with these hidden sizes, as results name them: "300-300"."""
    return num_parameters((INPUTS, *map(int, hidden.split("-")), CLASSES))
