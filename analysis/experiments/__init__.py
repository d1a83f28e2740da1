"""The experiments, one module per question of the assignments.

A module says which runs or programs answer its question, for each preset, and turns their results into the
question's tables.
It imports no torch and touches no files: `run_all` computes the jobs, `results` hands the cached rows over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from analysis.runs import TRAIN_EXAMPLES, Job

Preset: TypeAlias = Literal["full", "quick"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

VALIDATION_EXAMPLES = 10_000  # held out of training wherever something is chosen, such as a learning rate


@dataclass(frozen=True)
class Budget:
    """What every run of a comparison gets alike.

    Attributes:
        seeds: One run each.
        epochs: Passes over the training set.
        train_examples: Size of the training set.
    """

    seeds: tuple[int, ...]
    epochs: int
    train_examples: int = TRAIN_EXAMPLES - VALIDATION_EXAMPLES

    def updates(self, batch_size: int | None) -> int:
        """Updates per epoch."""
        return math.ceil(self.train_examples / (batch_size or self.train_examples))


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        name: As given to `--only` and to `results.load`.
        question: Which question of the assignments it answers.
        jobs: The runs and programs of a preset: `full` is what the report shows, `quick` the same cut down
            to seconds.
    """

    name: str
    question: str
    jobs: Callable[[Preset], tuple[Job, ...]]
