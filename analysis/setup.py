"""A question's set-up in words, from its runs: what they have in common, and in what they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from analysis.campaign.keys import Job, Program
from analysis.engine.run import TRAIN_EXAMPLES, Run
from analysis.formatting import count_words, format_rate, label


@dataclasses.dataclass(frozen=True)
class Aspect:
    """One thing in which runs may differ.

    Attributes:
        name: What it is called where runs differ in it.
        of: What a run has of it, in words.
        alone: How the words stand where all runs have the same.
        silent: What goes without saying if all runs have it.
        number: By which values are sorted; None keeps the runs' order.
    """

    name: str
    of: Callable[[Run], str]
    alone: str = "{}"
    silent: str | None = None
    number: Callable[[Run], float] | None = None


ASPECTS = (
    Aspect("network", lambda run: "-".join(map(str, run.sizes))),
    Aspect("hidden units", lambda run: label(run.activation), "{} units"),
    Aspect(
        "skip connections", lambda run: "with" if run.skip else "without", "{} skip connections", "without"
    ),
    Aspect("initialization", lambda run: _initialization(run), "initialization {}", "uniform"),
    Aspect("loss and output", lambda run: f"{label(run.loss)} of {label(run.output)} outputs"),
    Aspect("targets", lambda run: label(run.target), "targets {}", label("one_hot")),
    Aspect("optimizer", lambda run: label(run.optimizer)),
    Aspect(
        "$\\eta$",
        lambda run: format_rate(run.learning_rate),
        "$\\eta$ = {}",
        number=lambda run: run.learning_rate,
    ),
    Aspect(
        "decay of $\\eta$", lambda run: f"{run.decay:g}", "decay of $\\eta$ {}", "0", lambda run: run.decay
    ),
    Aspect(
        "batch size",
        lambda run: f"{run.batch_size:,}" if run.batch_size else "all examples",
        "batches of {}",
        number=lambda run: run.batch_size or TRAIN_EXAMPLES,
    ),
    Aspect("order of the examples", lambda run: label(run.order), "examples {}", "shuffled"),
    Aspect(
        "training examples",
        lambda run: f"{_train_examples(run):,}",
        "{} training examples",
        number=lambda run: _train_examples(run),
    ),
    Aspect("validation examples", lambda run: f"{run.validation_examples:,}", "{} for validation", "0"),
    Aspect("epochs", lambda run: f"{run.epochs:,}", "{} epochs", number=lambda run: run.epochs),
)


LISTED = 6  # at most so many values of a program's argument are listed


def describe_setup(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """Return what to say of a question's runs and programs: pairs of a heading and a text."""
    runs = [job for job in jobs if isinstance(job, Run)]
    lines = []
    if runs:
        alike, different = [], []
        for aspect in ASPECTS:
            ordered = sorted(runs, key=aspect.number) if aspect.number else runs
            words = list(dict.fromkeys(map(aspect.of, ordered)))
            if len(words) > 1:
                different.append(f"{aspect.name} {', '.join(words)}")
            elif words[0] != aspect.silent:
                phrase = aspect.alone.format(words[0])
                alike.append(phrase.removesuffix("s") if words[0] == "1" else phrase)
        if (permutations := len({run.labels for run in runs})) > 1:
            different.append(count_words(permutations, "label permutation"))
        lines.append(("All runs", ", ".join(alike)))
        if different:
            lines.append(("Varied", "; ".join(different)))
        seeds = len({run.seed for run in runs})
        lines.append(("Size", f"{count_words(len(runs), 'run')}, {count_words(seeds, 'seed')}"))
    programs: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        if isinstance(job, Program):
            programs.setdefault(job.name, []).append(dict(job.arguments))
    if programs:
        lines.append(("Programs", "; ".join(_program(name, calls) for name, calls in programs.items())))
    return lines


def _initialization(run: Run) -> str:
    if run.init == "uniform_fan_in":
        return "uniform"
    return f"{label(run.init)} {run.init_scale:g}"


def _train_examples(run: Run) -> int:
    return run.train_examples or TRAIN_EXAMPLES - run.validation_examples


def _program(name: str, calls: Sequence[dict[str, Any]]) -> str:
    """A program with the values that its arguments take."""
    arguments = []
    for argument in calls[0]:
        values = dict.fromkeys(_argument(call[argument]) for call in calls)
        listed = ", ".join(values) if len(values) <= LISTED else f"{len(values)} values"
        arguments.append(f"{label(argument)} {listed}")
    return f"`{name}`{' (' + '; '.join(arguments) + ')' if arguments else ''}"


def _argument(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
