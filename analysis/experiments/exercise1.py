"""Assignment 1, exercise 1: the completed program, run as it stands in `analysis/exercise1.py`."""

from __future__ import annotations

from analysis.experiments import Experiment, Preset
from analysis.runs import Program

LEARNING_RATE = 0.1
EPOCHS: dict[Preset, int] = {"full": 500, "quick": 10}


def jobs(preset: Preset) -> tuple[Program, ...]:
    """Digits to look at, then the program itself."""
    return (
        Program(function="analysis.exercise1:digits"),
        Program(
            function="analysis.exercise1:program",
            arguments=(("epochs", EPOCHS[preset]), ("learning_rate", LEARNING_RATE), ("seed", 0)),
        ),
    )


EXPERIMENT = Experiment("exercise1", "Assignment 1, exercise 1: complete the program", jobs)
