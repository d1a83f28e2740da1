"""Assignment 1, Q6: why large learning rates fail, by the sharpness of the loss along training."""

from __future__ import annotations

from analysis.experiments import Experiment, Preset
from analysis.experiments.learning_rate import LEARNING_RATES
from analysis.runs import Measure, Run

EPOCHS: dict[Preset, int] = {"full": 500, "quick": 4}


def jobs(preset: Preset) -> tuple[Run, ...]:
    """The runs of `learning_rate`, cut short: the sharpness costs several times what an epoch does."""
    measures = (
        Measure(metrics=("train_loss",), every=1),
        Measure(metrics=("sharpness",), every=20, dense_until=10),
    )
    return tuple(
        Run(hidden=(300,), learning_rate=rate, epochs=EPOCHS[preset], measures=measures)
        for rate in LEARNING_RATES
    )


EXPERIMENT = Experiment("sharpness", "Assignment 1, exercise 2, Q6: the edge of stability", jobs)
