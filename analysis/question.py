"""What the questions of the assignments are made of: their place in the report, their presets and budgets.

A question's package `analysis/questions/<name>/` has two modules: `runs` says what is computed, `answer` what the
results say.
No torch here, and no files.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias, get_args

from analysis.campaign.keys import Job
from analysis.engine.run import TRAIN_EXAMPLES, Measure, Run

Preset: TypeAlias = Literal["full", "quick"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

Jobs: TypeAlias = Callable[[Preset], tuple[Job, ...]]

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

    def grid(
        self, batch_size: int | None, metrics: tuple[str, ...], **fields: Sequence[Any]
    ) -> tuple[Run, ...]:
        """Return a run for every combination of the fields' values and every seed, measured after every epoch."""
        measures = (Measure(metrics=metrics, every=self.updates(batch_size)),)
        return tuple(
            Run(
                **dict(zip(fields, values, strict=True)),
                batch_size=batch_size,
                train_examples=self.train_examples,
                validation_examples=VALIDATION_EXAMPLES,
                epochs=self.epochs,
                measures=measures,
                seed=seed,
            )
            for *values, seed in itertools.product(*fields.values(), self.seeds)
        )


@dataclass(frozen=True)
class Question:
    """A question of the assignments.

    Attributes:
        name: The stem of its package, page and tests; its experiment's name, as given to `--only` and `results.load`.
        section: Label of its page.
        title: A few words, for the first page.
        asked: Where it is asked, and about what, for the list of experiments.
        assignment: 1 or 2; None for a comparison that no assignment asks for.
    """

    name: str
    section: str
    title: str
    asked: str
    assignment: int | None

    @property
    def page(self) -> str:
        """Its page's source, relative to the project."""
        return f"report/{self.name.replace('_', '-')}.qmd"

    @property
    def jobs(self) -> Jobs:
        """The runs and programs of a preset: `full` is what the report shows, `quick` the same cut down to seconds."""
        jobs: Jobs = importlib.import_module(f"analysis.questions.{self.name}.runs").jobs
        return jobs

    @property
    def answer(self) -> ModuleType:
        """The module with its findings and exhibits."""
        return importlib.import_module(f"analysis.questions.{self.name}.answer")
