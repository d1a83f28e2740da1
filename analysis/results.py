"""Cached results as tidy tables: the way from the store to the report.

`load("learning_rate")` gives an experiment's results as DataFrames;
`python -m analysis.results learning_rate` prints them as CSV.
No torch here.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.campaign import store
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import CacheMiss, Provenance, Result, Store
from analysis.data import MNIST_DIGEST
from analysis.engine.run import Run
from analysis.errors import AnalysisError, ResultsError, ignore_broken_pipe
from analysis.question import PRESETS, Jobs, Preset

_ALWAYS = ("hidden", "learning_rate", "seed")  # columns even where all runs agree


class SingleSeedError(Exception):
    """Without the seed, a setting would have no run left."""


@dataclass(frozen=True)
class Results:
    """An experiment's results.

    Attributes:
        name: The experiment's.
        preset: Which preset's results these are.
        rows: Of all runs: the descriptions' fields in which the runs differ (always hidden, learning_rate and
            seed), then epoch, update, seconds, metric, index, value, and the run's key. Hidden sizes read
            "300" or "10-10". Empty if the experiment has no runs.
        programs: Tables of the experiment's programs by the name of their function, with the arguments in
            which several calls of one function differ.
        provenance: How each result came about, in the order of the experiment's jobs.
    """

    name: str
    preset: Preset
    rows: pd.DataFrame
    programs: dict[str, pd.DataFrame]
    provenance: tuple[Provenance, ...]

    def summary(self) -> str:
        """One line on where the results come from: number, dates, commits, devices, duration."""
        dates = sorted({provenance.date[:10] for provenance in self.provenance})
        commits = Counter(
            f"{provenance.commit[:7]}{'+' if provenance.dirty else ''}" if provenance.commit else "no commit"
            for provenance in self.provenance
        )
        devices = Counter(provenance.device_name for provenance in self.provenance)
        results = len(self.provenance)
        return ", ".join(
            (
                f"{results} result{'s' if results != 1 else ''}",
                " to ".join(dict.fromkeys((dates[0], dates[-1]))),
                f"commit{'s' if len(commits) > 1 else ''} {' '.join(commits)}",
                *devices,
                f"{self.seconds / 60:.1f} min of computing",
            )
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted(self.rows["seed"].unique())) if len(self.rows) else ()

    def without_seed(self, seed: int) -> Results:
        if not len(self.rows):
            return self
        setting = [c for c in self.rows.columns[: list(self.rows.columns).index("epoch")] if c != "seed"]
        left = self.rows[self.rows["seed"] != seed]
        if len(left[setting].drop_duplicates()) < len(self.rows[setting].drop_duplicates()):
            raise SingleSeedError
        return dataclasses.replace(self, rows=left)

    @property
    def seconds(self) -> float:
        """How long all of it took to compute."""
        return sum(provenance.seconds for provenance in self.provenance)


def load(
    name: str,
    folder: Path = store.FOLDER,
    *,
    experiments: Mapping[str, Jobs] | None = None,
    data_digest: str = MNIST_DIGEST,
) -> Results:
    """An experiment's cached results: of the full preset if all of them are there, else of the quick one.

    Args:
        name: The experiment's.
        folder: The cache.
        experiments: Where to look the name up; all of the project's by default.
        data_digest: Of the data set that the results are computed from.

    Raises:
        ResultsError: There is no such experiment, or neither preset is complete.
    """
    known = _all() if experiments is None else experiments
    if name not in known:
        error = ResultsError(f"no experiment is called {name!r}: choose from {', '.join(known)}")
        error.exit_code = 2
        raise error
    cache = Store(folder)
    reasons: dict[Preset, Counter[str]] = {}
    for preset in PRESETS:
        jobs = known[name](preset)
        results = []
        reasons[preset] = Counter()
        for job in jobs:
            try:
                results.append(cache.read(job, data_digest))
            except CacheMiss as reason:
                reasons[preset][str(reason)] += 1
        if not reasons[preset]:
            return _tidy(name, preset, jobs, results, data_digest)
    raise ResultsError(
        f"the results of {name} are not complete:\n"
        + "".join(
            f"  {preset}: {count} of {len(known[name](preset))} {reason}\n"
            for preset in PRESETS
            for reason, count in reasons[preset].items()
        )
        + f"compute them: python -m analysis.run_all --only {name}"
    )


@functools.cache
def cached(name: str) -> Results:
    """Return an experiment's cached results, read once: a page of the report asks for them many times."""
    return load(name)


def main(argv: Sequence[str] | None = None, *, experiments: Mapping[str, Jobs] | None = None) -> int:
    """Print an experiment's results as CSV; gives the exit code."""
    known = _all() if experiments is None else experiments
    parser = argparse.ArgumentParser(prog="python -m analysis.results", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", help=", ".join(known))
    parser.add_argument(
        "--cache", type=Path, default=store.FOLDER, metavar="DIR", help="where the results are"
    )
    arguments = parser.parse_args(argv)
    try:
        results = load(arguments.name, arguments.cache, experiments=known)
    except AnalysisError as error:
        print(f"results: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{results.name}, preset {results.preset}: {results.summary()}", file=sys.stderr)
    tables = [results.rows] if len(results.rows) else []
    for name, table in results.programs.items():
        tables.append(table.assign(program=name))
    with ignore_broken_pipe():
        pd.concat(tables).to_csv(sys.stdout, index=False)
    return 0


def _all() -> Mapping[str, Jobs]:
    """The project's experiments; imported late, because their modules may read results."""
    from analysis.questions import EXPERIMENTS

    return EXPERIMENTS


def _tidy(
    name: str, preset: Preset, jobs: Sequence[Job], results: Sequence[Result], data_digest: str
) -> Results:
    """The results of all of an experiment's jobs, as tables."""
    provenance = tuple(result.provenance for result in results)
    runs = [(job, result) for job, result in zip(jobs, results, strict=True) if isinstance(job, Run)]
    fields = [
        field.name
        for field in dataclasses.fields(Run)
        if field.name != "measures"
        and (field.name in _ALWAYS or len({getattr(run, field.name) for run, _ in runs}) > 1)
    ]
    rows = _stack(
        [
            ({field: _readable(getattr(run, field)) for field in fields}, result.rows, key(run, data_digest))
            for run, result in runs
        ]
    )
    programs: dict[str, list[tuple[Program, Result]]] = {}
    for job, result in zip(jobs, results, strict=True):
        if isinstance(job, Program):
            programs.setdefault(job.name.rpartition(".")[2], []).append((job, result))
    tables = {}
    for function, calls in programs.items():
        arguments = [dict(program.arguments) for program, _ in calls]
        names = sorted(set().union(*arguments))
        differing = [n for n in names if len({repr(each.get(n)) for each in arguments}) > 1]
        tables[function] = _stack(
            [
                ({n: _readable(each.get(n)) for n in differing}, result.rows, key(program, data_digest))
                for each, (program, result) in zip(arguments, calls, strict=True)
            ]
        )
    return Results(name, preset, rows, tables, provenance)


def _stack(parts: Sequence[tuple[dict[str, Any], pd.DataFrame, str]]) -> pd.DataFrame:
    """One table of many: constant columns for each, before its rows, and its key behind them."""
    if not parts:
        return pd.DataFrame()
    rows = pd.concat([part for _, part, _ in parts], ignore_index=True)
    lengths = [len(part) for _, part, _ in parts]
    constants = pd.DataFrame([constant for constant, _, _ in parts])
    for position, column in enumerate(constants):
        rows.insert(position, column, constants[column].repeat(lengths).to_numpy())
    return rows.assign(key=pd.Series([name for *_, name in parts]).repeat(lengths).to_numpy())


def _readable(value: Any) -> Any:
    """A description's value as it stands in a table: (10, 10) is "10-10"."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


if __name__ == "__main__":
    sys.exit(main())
