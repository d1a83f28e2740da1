"""A question's set-up in words, from its runs: what they have in common, and the grids that they form besides."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

from analysis.campaign.keys import Job, Program
from analysis.engine.run import INPUTS, TRAIN_EXAMPLES, Run
from analysis.formatting import count_words, format_count, format_rate, label


@dataclasses.dataclass(frozen=True)
class Aspect:
    """One thing in which runs may differ.

    Attributes:
        of: What a run has of it, in words.
        phrase: How the words stand in a text.
        silent: What goes without saying.
        number: By which values are sorted; None keeps the runs' order.
        enumerate: Puts several values into words.
    """

    of: Callable[[Run], str]
    phrase: str = "{}"
    silent: str | None = None
    number: Callable[[Run], float] | None = None
    enumerate: Callable[[Sequence[str]], str] = lambda values: _listed(values)

    def words(self, runs: Sequence[Run]) -> list[str]:
        """Return what these runs have of it, each once."""
        ordered = sorted(runs, key=self.number) if self.number else runs
        return list(dict.fromkeys(map(self.of, ordered)))


ASPECTS = (
    Aspect(lambda run: _network(run), enumerate=lambda names: _networks(names)),
    Aspect(lambda run: label(run.activation), "{} units"),
    Aspect(lambda run: "with" if run.skip else "without", "{} skip connections", "without"),
    Aspect(
        lambda run: _initialization(run),
        "start {}",
        "usual",
        number=lambda run: -1 if run.init == "uniform_fan_in" else run.init_scale,
    ),
    Aspect(lambda run: f"{label(run.loss)} of {label(run.output)}", "{} outputs"),
    Aspect(lambda run: label(run.optimizer) if run.batch_size else "gradient descent"),
    Aspect(lambda run: f"{run.beta1:g}", "$\\rho_1$ = {}", "0.9", lambda run: -run.beta1),
    Aspect(lambda run: f"{run.decay:g}", "decay $d$ = {}", "0", lambda run: run.decay),
    Aspect(
        lambda run: f"{run.batch_size:,}" if run.batch_size else "all examples",
        "batches of {}",
        "all examples",
        number=lambda run: run.batch_size or TRAIN_EXAMPLES,
    ),
    Aspect(lambda run: label(run.order if run.batch_size else "shuffled"), "examples {}", "shuffled"),
    Aspect(
        lambda run: f"{_train_examples(run):,}",
        "{} training examples",
        number=lambda run: _train_examples(run),
    ),
    Aspect(lambda run: f"{run.validation_examples:,}", "{} for validation", "0"),
    Aspect(lambda run: f"{run.epochs:,}", "{} epochs", number=lambda run: run.epochs),
    Aspect(lambda run: format_rate(run.learning_rate), "$\\eta$ = {}", number=lambda run: run.learning_rate),
)


Grid: TypeAlias = dict[str, tuple[Hashable, ...]]  # all combinations of these values, by name

COMMON = "All runs"  # heads what they have in common
MANY = 8  # of more numbers, an outline gives the first and the last, a program's line how many they are


def describe_setup(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """Return what to say of a question's runs, and of programs that have arguments: pairs of a heading and a text."""
    runs = [job for job in jobs if isinstance(job, Run)]
    lines = []
    if runs:
        shared = [aspect for aspect in ASPECTS if len(aspect.words(runs)) == 1]
        varied = [aspect for aspect in ASPECTS if aspect not in shared]
        blocks = _blocks(varied, runs)
        seeds = [_seeds(members) for members in blocks]
        alike = len(set(seeds)) == 1
        common = ", ".join(_phrases(shared, runs) + seeds[:1] * alike)
        told = [
            "; ".join(_varied(varied, each) + [own] * (not alike))
            for each, own in zip(blocks, seeds, strict=True)
        ]
        counts = [format_count(len(each), "run") for each in blocks]
        if len(blocks) == 1:
            lines.append((counts[0], "; ".join(filter(None, (common, *told)))))
        else:
            lines += [(COMMON, common)] * bool(common)
            lines += zip(counts, told, strict=True)
    programs: dict[str, list[Program]] = {}
    for job in jobs:
        if isinstance(job, Program):
            programs.setdefault(job.name, []).append(job)
    programs = {name: calls for name, calls in programs.items() if any(call.arguments for call in calls)}
    if programs:
        calls = {name: _arguments(of_name) for name, of_name in programs.items()}
        lines.append(("Programs", "; ".join(itertools.starmap(_program, calls.items()))))
    return lines


def outline_setup(jobs: Sequence[Job], where: str) -> list[tuple[str, str]]:
    """Return what all runs have in common, what varies between them, and where their grids are listed."""
    runs = [job for job in jobs if isinstance(job, Run)]
    common = [line for line in describe_setup(jobs) if line[0] == COMMON]
    varied = [aspect for aspect in ASPECTS if len(aspect.words(runs)) > 1]
    blocks = _blocks(varied, runs)
    told = _varied(varied, runs, outline=True)
    if len(set(map(_seeds, blocks))) > 1:
        told.append(f"up to {_seeds(runs)}")
    count = format_count(sum(map(len, blocks)), "run")
    return [*common, (count, f"{'; '.join(told)}. {where} lists the combinations")]


def grids(points: Sequence[dict[str, Hashable]]) -> list[Grid]:
    """Return grids that together hold each of these points once: few, not always fewest.

    Grids that differ in one name only are joined, name by name from the last, until no two do.
    """
    found: list[Grid] = [{name: (value,) for name, value in point.items()} for point in points]
    before = len(found) + 1
    while len(found) < before:
        before = len(found)
        for name in reversed(found[0]):
            joined: dict[Any, Grid] = {}
            for grid in found:
                rest = tuple((other, values) for other, values in grid.items() if other != name)
                like = joined.setdefault(rest, grid | {name: ()})
                like[name] += grid[name]
            found = list(joined.values())
    return found


def _blocks(varied: Sequence[Aspect], runs: Sequence[Run]) -> list[list[Run]]:
    """Divide runs into those that form a grid of the varied aspects, label permutations and seeds."""
    points = {(*(aspect.of(run) for aspect in varied), run.labels, run.seed): run for run in runs}
    names = [str(place) for place in range(len(varied) + 2)]
    return [
        [points[point] for point in itertools.product(*grid.values())]
        for grid in grids([dict(zip(names, point, strict=True)) for point in points])
    ]


def _seeds(runs: Sequence[Run]) -> str:
    return count_words(len({run.seed for run in runs}), "seed")


def _varied(varied: Sequence[Aspect], runs: Sequence[Run], outline: bool = False) -> list[str]:
    """Return what the runs of a grid have of what varies between grids."""
    phrases = _phrases(varied, runs, outline)
    if (numberings := len({run.labels for run in runs})) > 1:
        phrases.append(count_words(numberings, "numbering") + " of the digits")
    return phrases


def _phrases(aspects: Sequence[Aspect], runs: Sequence[Run], outline: bool = False) -> list[str]:
    """Return what the runs have of these aspects, but for what goes without saying."""
    words = [(aspect, aspect.words(runs)) for aspect in aspects]
    return [
        phrase.removesuffix("s") if values == ["1"] else phrase
        for aspect, values in words
        if values != [aspect.silent]
        for told in (_outlined(values) if outline else None,)
        for phrase in (aspect.phrase.format(told or aspect.enumerate(values)),)
    ]


def _listed(values: Sequence[str]) -> str:
    """Enumerate values; what precedes a number is said once: constant 0, 0.1, 1."""
    said, before = [], ""
    for value in values:
        prefix, _, number = value.rpartition(" ")
        said.append(number if prefix and prefix == before and number[0].isdigit() else value)
        before = prefix
    return ", ".join(said)


def _outlined(values: Sequence[str]) -> str | None:
    """Return the first and the last of many numbers; None for few, and for words."""
    if len(values) > MANY and not any(value[:1].isalpha() for value in values):
        return f"{len(values)} values from {values[0]} to {values[-1]}"
    return None


def _networks(names: Sequence[str]) -> str:
    """Enumerate networks; those of more than two widths are told by them: 784-$h$-10 with $h$ = 2, 4, 8."""
    widths: dict[str, list[str]] = {}
    for name in names:
        first, *hidden, last = name.split("-")
        # with hyphens that no typographer takes for a minus before a number
        form = "\u2011".join((first, *("$h$" for _ in hidden), last)) if len(set(hidden)) == 1 else name
        widths.setdefault(form, []).append(hidden[0])
    if any(len(values) > 2 for values in widths.values()) and not any("×" in name for name in names):
        return "; ".join(f"{form} with $h$ = {', '.join(values)}" for form, values in widths.items())
    return ", ".join(names)


def _network(run: Run) -> str:
    """Return the layers' sizes; many hidden layers of one size are counted: 784-300×8-10."""
    hidden = "-".join(map(str, run.hidden))
    if len(run.hidden) > 3 and len(set(run.hidden)) == 1:
        hidden = f"{run.hidden[0]}×{len(run.hidden)}"
    return f"{INPUTS}-{hidden}-{run.outputs}"


def _initialization(run: Run) -> str:
    if run.init == "uniform_fan_in":
        return "usual"
    names = {"saturated_output": "wrong with $s$ =", "normal": "normal with standard deviation"}
    return f"{names.get(run.init) or label(run.init)} {run.init_scale:g}"


def _train_examples(run: Run) -> int:
    return run.train_examples or TRAIN_EXAMPLES - run.validation_examples


def _arguments(calls: Sequence[Program]) -> list[dict[str, Any]]:
    """Return the arguments of a program's calls, by default or not, of which some call has its own."""
    given = [dict(call.arguments) for call in calls]
    own = sorted(set().union(*given))
    parameters = inspect.signature(calls[0].function).parameters
    return [
        {name: arguments[name] if name in arguments else parameters[name].default for name in own}
        for arguments in given
    ]


def _program(name: str, calls: Sequence[dict[str, Any]]) -> str:
    """A program with the grids of values that the arguments of all its calls form."""
    points: list[dict[str, Hashable]] = [
        {name: _argument(value, "-" if name == "hidden" else ", ") for name, value in call.items()}
        for call in calls
    ]
    distinct = [point for place, point in enumerate(points) if point not in points[:place]]
    told = (
        "; ".join(f"{label(argument)} {_few(values)}" for argument, values in grid.items())
        for grid in grids(distinct)
    )
    return f"`{name}` ({'), ('.join(told)})"


def _few(values: Sequence[Hashable]) -> str:
    return ", ".join(map(str, values)) if len(values) <= MANY else f"{len(values)} values"


def _argument(value: Any, between: str) -> str:
    """Put a value into words, several values with what stands between them."""
    if isinstance(value, tuple):
        return between.join(_argument(each, " ") for each in value)
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    )
