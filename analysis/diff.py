"""Compare two states of the results: which findings changed, and which runs came and went.

OLD and NEW are folders (a cache, or a checkout with one) or git revisions of this checkout; both are evaluated by the
code of this checkout.
A number in a finding's sentence has changed if it differs by more than its interval: that which the sentence states
(±), else the 95 % interval of the jackknife over seeds, else (of a single seed) by anything.
Exit codes, as of diff: 0 nothing changed; 1 something did; 2 OLD or NEW is no state of the results.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from scipy import stats

from analysis.campaign.keys import Job, describe, key
from analysis.campaign.store import CacheMiss, Store
from analysis.data import MNIST_DIGEST
from analysis.errors import AnalysisError, ResultsError, ignore_broken_pipe
from analysis.files import write_atomically
from analysis.findings import Finding, Load, Statement, Verdict, evaluate, of_kind, without_each_seed
from analysis.formatting import format_count, join_english
from analysis.question import PRESETS, Question
from analysis.questions import QUESTIONS
from analysis.results import Results, load
from analysis.statistics import LEVEL

ROOT = Path(__file__).resolve().parents[1]
LISTED = 5  # runs an experiment and kind of change
# A number, its power of ten, and its half width; not the digits of names such as 784-300-10 or @fig-rate-2.
_NUMBER = re.compile(
    r"(?<![\w@.-])(−?\d[\d,]*(?:\.\d+)?)(?! ?\\cdot|[\w-])(?: ± (\d[\d,]*(?:\.\d+)?))?"
    r"|\$(−?[\d.]+) \\cdot 10\^\{(-?\d+)\}\$"
)


class StateError(AnalysisError):
    """What was given is no state of the results."""


@dataclass(frozen=True)
class Number:
    """A number in a sentence, with its half width if the sentence states one, and its place."""

    value: float
    half_width: float | None
    span: tuple[int, int]


@dataclass(frozen=True)
class ResultsChange:
    """What happened to an experiment's results: its jobs in words.

    Attributes:
        experiment: Its name; None for results of no experiment of this checkout.
        added, gone, recomputed: Jobs whose results are new, missing, or have other values.
    """

    experiment: str | None
    added: tuple[str, ...]
    gone: tuple[str, ...]
    recomputed: tuple[str, ...]


@dataclass(frozen=True)
class ClaimChange:
    """A finding, or a statement of others, that changed.

    Attributes:
        question: Whose answer has it.
        name: Its name.
        old, new: Its verdicts.
        reasons: What changed, in words.
        places: Of the changed numbers in the new sentence.
    """

    question: Question
    name: str
    old: Verdict
    new: Verdict
    reasons: tuple[str, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Comparison:
    """All that differs.

    Attributes:
        claims: Findings and statements that changed, in the order of the report.
        incomplete: Why others could not be compared, in words.
        results: Changes of the results.
    """

    claims: tuple[ClaimChange, ...]
    incomplete: tuple[str, ...]
    results: tuple[ResultsChange, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.diff",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("old", "new"):
        parser.add_argument(name, metavar=name.upper(), help="a folder, or a git revision such as HEAD~3")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page as well")
    arguments = parser.parse_args(argv)
    try:
        with opened(arguments.old) as old, opened(arguments.new) as new:
            found = compare(old, new)
    except AnalysisError as error:
        print(f"diff: {error}", file=sys.stderr)
        return error.exit_code
    with ignore_broken_pipe():
        print(as_text(found), end="")
    if arguments.html:
        write_atomically(arguments.html, as_html(arguments.old, arguments.new, found).encode())
    return 1 if any((found.claims, found.incomplete, found.results)) else 0


@contextlib.contextmanager
def opened(state: str) -> Iterator[Path]:
    """Give the folder of a state's results, for the duration of the block.

    Raises:
        StateError: It is neither a folder with results nor a revision with some.
    """
    for folder in (Path(state), Path(state) / "cache"):
        if (folder / "runs").is_dir():
            yield folder
            return
    if Path(state).is_dir():
        raise StateError(f"{state} is a folder without results: it has neither runs/ nor cache/runs/")
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", state, "cache/runs"]
    packed = subprocess.run(git, capture_output=True, check=False)
    if packed.returncode:
        reason = packed.stderr.decode(errors="replace").strip()
        raise StateError(f"{state} is neither a folder nor a git revision with results ({reason})")
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(place, filter="data")
        yield Path(place) / "cache"


def compare(old: Path, new: Path) -> Comparison:
    """Compare two folders with results."""
    before, after = loader(old), loader(new)
    claims: list[ClaimChange] = []
    incomplete: list[str] = []
    for question in QUESTIONS:
        changes, reasons = compare_claims(question, before, after)
        claims += changes
        for reason, count in reasons.items():
            incomplete.append(
                f"{format_count(count, 'finding or statement', 'findings and statements')}: {reason}"
            )
    return Comparison(tuple(claims), tuple(incomplete), tuple(compare_results(old, new)))


def loader(folder: Path) -> Load:
    """Return what loads each experiment of a folder once, and raises as often as asked where results are missing."""

    @functools.cache
    def attempt(name: str) -> Results | ResultsError:
        try:
            return load(name, folder)
        except ResultsError as error:
            return error

    def loaded(name: str) -> Results:
        found = attempt(name)
        if isinstance(found, ResultsError):
            raise found
        return found

    return loaded


# Results


def compare_results(old: Path, new: Path) -> list[ResultsChange]:
    """Return the experiments whose results are not the same."""
    before, after = _files(old), _files(new)
    remaining = before.keys() | after.keys()
    changes = []
    for question in QUESTIONS:
        jobs = {key(job, MNIST_DIGEST): job for preset in PRESETS for job in question.jobs(preset)}
        added = [describe(jobs[name]) for name in jobs if name in after and name not in before]
        gone = [describe(jobs[name]) for name in jobs if name in before and name not in after]
        recomputed = [
            describe(job)
            for name, job in jobs.items()
            if name in before and name in after and before[name].read_bytes() != after[name].read_bytes()
            if not _same_values(job, old, new)
        ]
        changes.append(ResultsChange(question.name, tuple(added), tuple(gone), tuple(recomputed)))
        remaining -= jobs.keys()
    orphans = sorted(remaining)
    changes.append(
        ResultsChange(
            None,
            tuple(name for name in orphans if name not in before),
            tuple(name for name in orphans if name not in after),
            (),
        )
    )
    return [each for each in changes if each.added or each.gone or each.recomputed]


def _files(folder: Path) -> dict[str, Path]:
    """Return a cache's files by key."""
    return {path.stem: path for path in sorted(folder.glob("runs/*/*.parquet"))}


def _same_values(job: Job, old: Path, new: Path) -> bool:
    """Return whether two files of a result differ in their provenance and times only."""
    try:
        before, after = (Store(folder).read(job, MNIST_DIGEST).rows for folder in (old, new))
    except CacheMiss:  # of another file format, say
        return False
    same: bool = before.drop(columns="seconds", errors="ignore").equals(
        after.drop(columns="seconds", errors="ignore")
    )
    return same


# Findings


def compare_claims(question: Question, before: Load, after: Load) -> tuple[list[ClaimChange], Counter[str]]:
    """Return a question's findings and statements that changed, and how many were not compared, by the reason."""
    claims: dict[str, Finding | Statement] = {**of_kind(question, Finding), **of_kind(question, Statement)}
    changes = []
    incomplete: Counter[str] = Counter()
    for name, claim in claims.items():
        old, new = _evaluate(claim, before), _evaluate(claim, after)
        if old and new:
            reasons, places = _changes(claim, old, new, before, after)
            if reasons:
                changes.append(ClaimChange(question, name, old, new, reasons, places))
        elif old or new:
            incomplete[
                f"the {'new' if old else 'old'} results of {join_english(claim.results)} are incomplete"
            ] += 1
    return changes, incomplete


def _evaluate(claim: Finding | Statement, results: Load) -> Verdict | None:
    try:
        return evaluate(claim, results)
    except ResultsError:
        return None


def _changes(
    claim: Finding | Statement, old: Verdict, new: Verdict, before: Load, after: Load
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return what changed between two verdicts, and where in the new sentence."""
    reasons, places = [], []
    if old.failed != new.failed:
        reasons.append(f"verdict: {verdict_words(old)} → {verdict_words(new)}")
    if old.sentence != new.sentence:
        first, second = numbers(old.sentence), numbers(new.sentence)
        if _words(old.sentence) != _words(new.sentence):
            reasons.append("its words changed")
        else:
            halves = half_widths(claim, before, first), half_widths(claim, after, second)
            for one, other, *both in zip(first, second, *halves, strict=True):
                if abs(other.value - one.value) > max(both) + 1e-12:
                    reasons.append(f"{old.sentence[slice(*one.span)]} → {new.sentence[slice(*other.span)]}")
                    places.append(other.span)
    return tuple(reasons), tuple(places)


def verdict_words(verdict: Verdict) -> str:
    """Return a verdict in words."""
    if verdict.failed is None:
        return "undecided"
    return "supported" if verdict.supported else f"not supported ({join_english(verdict.failed)})"


def numbers(sentence: str) -> list[Number]:
    """Return the numbers of a sentence."""
    found = []
    for match in _NUMBER.finditer(sentence):
        plain, half, mantissa, exponent = match.groups()
        value = _float(plain) if plain else _float(mantissa) * 10.0 ** int(exponent)
        found.append(Number(value, _float(half) if half else None, match.span()))
    return found


def _float(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _words(sentence: str) -> str:
    return _NUMBER.sub("#", sentence)


def half_widths(claim: Finding | Statement, results: Load, stated: list[Number]) -> list[float]:
    """Return the half width of each number's interval: as stated, or of the jackknife over seeds; 0 without either."""
    spreads = _jackknife(claim, results, len(stated))
    return [
        spread if number.half_width is None else number.half_width
        for number, spread in zip(stated, spreads, strict=True)
    ]


def _jackknife(claim: Finding | Statement, results: Load, count: int) -> list[float]:
    """Return half widths of the numbers in a claim's sentence, from the sentences with each seed left out."""
    verdicts = without_each_seed(claim, results).values()
    values = [[number.value for number in numbers(verdict.sentence)] for verdict in verdicts]
    n = len(values)
    if not n or any(len(each) != count for each in values):  # a sentence of other words
        return [0.0] * count
    errors = np.std(values, axis=0) * np.sqrt(n - 1)
    return [float(error) for error in errors * stats.t.ppf((1 + LEVEL) / 2, n - 1)]


# What is told


def as_text(found: Comparison) -> str:
    """Return all changes as text."""
    lines = []
    for change in found.claims:
        lines.append(f"{change.question.name}: {change.name}")
        lines += [f"  {reason}" for reason in change.reasons]
        if change.old.sentence != change.new.sentence:
            lines.append(f"  - {change.old.sentence}")
        lines.append(f"  + {change.new.sentence}")
    lines += [f"not compared: {reason}" for reason in found.incomplete]
    for each in found.results:
        lines.append(f"{each.experiment or 'results of no experiment here'}: {summary(each)}")
        lines += [f"  {sign} {job}" for sign, job in listed(each)]
    return "".join(f"{line}\n" for line in lines or ["nothing changed"])


def summary(change: ResultsChange) -> str:
    """Return how many results were added, are gone, or have other values."""
    counts = {"added": change.added, "gone": change.gone, "with other values": change.recomputed}
    return ", ".join(f"{format_count(len(jobs), 'result')} {how}" for how, jobs in counts.items() if jobs)


def listed(change: ResultsChange) -> Iterator[tuple[str, str]]:
    """Give the first jobs of each kind of change, with a sign."""
    for sign, jobs in (("+", change.added), ("-", change.gone), ("~", change.recomputed)):
        for job in jobs[:LISTED]:
            yield sign, job
        if len(jobs) > LISTED:
            yield sign, f"and {len(jobs) - LISTED} more"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ old }} → {{ new }}</title>
<style>
:root { color-scheme: light dark; }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.55 system-ui, sans-serif; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin-bottom: 0; }
p { margin: 0.3rem 0; }
.old { opacity: 0.75; }
ul { padding-left: 1.2rem; }
code { overflow-wrap: anywhere; }
mark { background: light-dark(#fbecb4, #5c4d12); color: inherit; }
</style>
</head>
<body>
<h1>What changed</h1>
<p>From <code>{{ old }}</code> to <code>{{ new }}</code>, both evaluated by the code of this checkout.</p>
<h2>Findings and statements</h2>
{% for change in found.claims %}
<h3>{{ change.question.title }}: {{ change.name.replace("_", " ") }}</h3>
<ul>{% for reason in change.reasons %}<li>{{ reason }}</li>{% endfor %}</ul>
{% if change.old.sentence != change.new.sentence %}
<p class="old"><del>{{ change.old.sentence }}</del></p>
{% endif %}
<p>
{%- for text, changed in pieces(change) %}{% if changed %}<mark>{{ text }}</mark>{% else %}{{ text }}{% endif %}
{%- endfor %}</p>
{% else %}
<p>None changed.</p>
{% endfor %}
{% for reason in found.incomplete %}
<p>Not compared: {{ reason }}.</p>
{% endfor %}
<h2>Results</h2>
{% for change in found.results %}
<h3>{{ change.experiment or "of no experiment here" }}</h3>
<p>{{ summary(change) }}</p>
<ul>{% for sign, job in listed(change) %}<li>{{ sign }} {{ job }}</li>{% endfor %}</ul>
{% else %}
<p>None changed.</p>
{% endfor %}
</body>
</html>
"""


def as_html(old: str, new: str, found: Comparison) -> str:
    """Return all changes as a page that stands alone."""
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return template.render(old=old, new=new, found=found, summary=summary, listed=listed, pieces=_pieces)


def _pieces(change: ClaimChange) -> Iterator[tuple[str, bool]]:
    """Give the new sentence in pieces, and whether each is a number that changed."""
    at = 0
    for start, end in change.places:
        yield change.new.sentence[at:start], False
        yield change.new.sentence[start:end], True
        at = end
    yield change.new.sentence[at:], False


if __name__ == "__main__":
    sys.exit(main())
