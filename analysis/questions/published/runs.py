"""Networks as published by others, trained again: their test errors beside the printed ones."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.engine.run import TRAIN_EXAMPLES, Loss, Measure, Run
from analysis.question import Budget, Preset

# Nielsen (2015, chapter 1) holds out 10,000 examples, as we do, and draws initial weights and biases from N(0, 1).
NIELSEN_HIDDEN = (30, 100)
NIELSEN = {"full": Budget(tuple(range(20)), 30), "quick": Budget((0,), 1, 500)}
NIELSEN_BATCH_SIZE, NIELSEN_LEARNING_RATE = 10, 3.0
# LeCun et al. (1998) and Simard et al. (2003) state the network and the loss; the rest is ours.
OTHERS = {"full": Budget((0, 1, 2), 30, TRAIN_EXAMPLES), "quick": Budget((0,), 1, 500)}
OTHERS_BATCH_SIZE = 16


@dataclass(frozen=True)
class Printed:
    """A test error as it was printed.

    Attributes:
        source: Key of the reference.
        hidden: Hidden units, as the results' rows name them.
        loss: The loss that was trained.
        error: Share of the test examples.
        best_epoch: Whether it is the error of the epoch of least test error, rather than of the last.
    """

    source: str
    hidden: str
    loss: Loss
    error: float
    best_epoch: bool = False


PRINTED = (
    Printed("nielsen2015", "30", "quadratic", 1 - 0.9542, best_epoch=True),
    Printed("nielsen2015", "100", "quadratic", 1 - 0.9659, best_epoch=True),
    Printed("lecun1998", "300", "quadratic", 0.047),
    Printed("simard2003", "800", "cross_entropy", 0.016),
)

METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Nielsen's two networks with square error; LeCun's with square error, and cross entropy too; Simard's."""
    nielsen, others = NIELSEN[preset], OTHERS[preset]
    theirs = tuple(
        Run(
            hidden=(hidden,),
            loss="quadratic",
            output="sigmoid",
            init="normal",
            learning_rate=NIELSEN_LEARNING_RATE,
            batch_size=NIELSEN_BATCH_SIZE,
            train_examples=nielsen.train_examples,
            validation_examples=10_000,
            epochs=nielsen.epochs,
            measures=(
                Measure(metrics=METRICS, every=nielsen.updates(NIELSEN_BATCH_SIZE)),
                Measure(
                    metrics=("class_accuracy",), every=nielsen.updates(NIELSEN_BATCH_SIZE) * nielsen.epochs
                ),
            ),
            seed=seed,
        )
        for hidden in NIELSEN_HIDDEN
        for seed in nielsen.seeds
    )
    measures = (Measure(metrics=METRICS, every=others.updates(OTHERS_BATCH_SIZE)),)
    ours = [
        run
        for seed in others.seeds
        for run in (
            Run(
                hidden=(300,),
                loss="quadratic",
                output="sigmoid",
                learning_rate=1.0,
                batch_size=OTHERS_BATCH_SIZE,
                train_examples=others.train_examples,
                epochs=others.epochs,
                measures=measures,
                seed=seed,
            ),
            *(
                Run(
                    hidden=hidden,
                    learning_rate=0.3,
                    batch_size=OTHERS_BATCH_SIZE,
                    train_examples=others.train_examples,
                    epochs=others.epochs,
                    measures=measures,
                    seed=seed,
                )
                for hidden in ((300,), (800,))
            ),
        )
    ]
    return theirs + tuple(ours)
