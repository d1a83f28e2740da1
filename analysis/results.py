"""Load an experiment's cached results as tidy tables, or print them as CSV.

`load("learning_rate")` returns them as DataFrames; `python -m analysis.results learning_rate` prints them.
No torch here.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pandas as pd
from pandas.api.types import is_string_dtype

from analysis.campaign import store
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import CacheMiss, Provenance, Store
from analysis.data import MNIST_DIGEST
from analysis.engine.run import Run
from analysis.errors import (
    AnalysisError,
    ResultsError,
    UnknownExperimentError,
    ignore_broken_pipe,
    print_utf8,
)
from analysis.question import PRESETS, Jobs, Preset
from analysis.questions import EXPERIMENTS

if TYPE_CHECKING:
    import pyarrow as pa

_ALWAYS_COLUMNS = ("hidden", "learning_rate", "seed")  # even if all runs agree


class SingleSeedError(Exception):
    """Leaving this seed out would leave some setting without any run."""


Source = TypeVar("Source")
Made = TypeVar("Made")
Group = TypeVar("Group")
_REMEMBERED = 128  # tables: more than the seeds of an experiment times the groups that its rows are cut into


def remembered(function: Callable[[Source], Made]) -> Callable[[Source], Made]:
    """Let a function remember what it made of the last tables: the findings and figures of a page ask for the same.

    Neither the tables nor what is made of them may be modified.
    """
    made: dict[int, tuple[Source, Made]] = {}  # the table is kept, so that no other one gets its id

    @functools.wraps(function)
    def make(table: Source) -> Made:
        if id(table) not in made:
            while len(made) >= _REMEMBERED:
                del made[next(iter(made))]
            made[id(table)] = table, function(table)
        return made[id(table)][1]

    return make


def of_seedless(function: Callable[[Results], Made]) -> Callable[[Results], Made]:
    """Let a function that reads `Results.seedless` alone remember what it made, whichever seeds are left out."""
    make = remembered(function)
    return functools.wraps(function)(lambda found: make(found.seedless))


def of_groups(
    function: Callable[[Results], dict[Group, pd.DataFrame]],
) -> Callable[[Results], dict[Group, pd.DataFrame]]:
    """Let a function that cuts rows into groups, by what their seeds do not change, remember them.

    Of results without a seed, groups that never had it are the same tables: what was made of them is remembered, too.
    """

    def cut(found: Results) -> dict[Group, pd.DataFrame]:
        if "without" not in vars(found):
            return function(found)
        whole, seed = vars(found)["without"]
        has = {name: rows["seed"] == seed for name, rows in make(whole).items()}
        return {name: rows[~has[name]] if has[name].any() else rows for name, rows in make(whole).items()}

    make = remembered(cut)
    return functools.wraps(function)(make)


@dataclass(frozen=True, eq=False)
class Results:
    """An experiment's results; equal to no others, so that what is made of them can be remembered.

    Attributes:
        name: Name of the experiment.
        preset: Preset that the results belong to.
        rows: Rows of all runs: the fields in which the runs differ (always hidden, learning_rate and seed), then
            epoch, update, seconds, metric, index, value, and the run's key. Hidden sizes read "300" or "10-10".
            Empty if the experiment has no runs.
        programs: Tables of the experiment's programs by the last part of their names; the arguments in which several
            programs of one name differ are columns.
        provenance: Provenance of each result, in the order of the experiment's jobs.
    """

    name: str
    preset: Preset
    rows: pd.DataFrame
    programs: dict[str, pd.DataFrame]
    provenance: tuple[Provenance, ...]

    def summary(self) -> str:
        """Return one line with number, dates, commits, devices and duration of the results."""
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
    def seconds(self) -> float:
        """Total computing time."""
        return sum(provenance.seconds for provenance in self.provenance)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, in ascending order."""
        return tuple(sorted(map(int, self.rows["seed"].unique()))) if len(self.rows) else ()

    @functools.cached_property
    def _runs(self) -> pd.DataFrame:
        """The first row of each run."""
        return self.rows.drop_duplicates("key")

    @functools.cached_property
    def seedless(self) -> Results:
        """What no seed changes: the tables of programs without seeds. There are no rows: to read them raises."""
        if self.rows is None:
            return self
        programs = {name: table for name, table in self.programs.items() if "seed" not in table}
        return dataclasses.replace(self, rows=cast("pd.DataFrame", None), programs=programs)

    def without_seed(self, seed: int) -> Results:
        """Return the results without the runs and program rows of that seed; the provenance stays as it is.

        Raises:
            SingleSeedError: Some setting (what describes a run, except its seed) would be left without any run.
        """
        programs = {
            name: table[table["seed"] != seed] if "seed" in table else table
            for name, table in self.programs.items()
        }
        if self.rows.empty:
            return self._with_fewer_seeds(self.rows, programs, seed)
        rows = self.rows[self.rows["seed"] != seed]
        setting = [name for name in self.rows.columns[: self.rows.columns.get_loc("epoch")] if name != "seed"]
        runs = self._runs
        before, after = (len(each[setting].drop_duplicates()) for each in (runs, runs[runs["seed"] != seed]))
        if after < before:
            raise SingleSeedError(
                f"{self.name}: {before - after} of {before} settings have no seed other than {seed}"
            )
        return self._with_fewer_seeds(rows, programs, seed)

    def _with_fewer_seeds(self, rows: pd.DataFrame, programs: dict[str, pd.DataFrame], seed: int) -> Results:
        """Return the results without a seed; what is made of the part that no seed changes is made once.

        What they are without is no field, so that results altered otherwise are not taken for these.
        """
        fewer = dataclasses.replace(self, rows=rows, programs=programs)
        vars(fewer).update(seedless=self.seedless, without=(self, seed))
        return fewer


def load(
    name: str,
    folder: Path = store.FOLDER,
    *,
    experiments: Mapping[str, Jobs] = EXPERIMENTS,
    data_digest: str = MNIST_DIGEST,
) -> Results:
    """Return an experiment's cached results: of the full preset if it is complete, else of the quick one.

    Args:
        name: Name of the experiment.
        folder: The cache.
        experiments: All experiments by name.
        data_digest: Digest of the data set that the results were computed from.

    Raises:
        UnknownExperimentError: There is no such experiment.
        ResultsError: Neither preset is complete.
    """
    if name not in experiments:
        raise UnknownExperimentError(f"unknown experiment {name!r}: choose from {', '.join(experiments)}")
    cache = Store(folder)
    reasons: dict[Preset, Counter[str]] = {}
    for preset in PRESETS:
        jobs = experiments[name](preset)
        results = []
        reasons[preset] = Counter()
        for job in jobs:
            try:
                results.append(cache.read_table(job, data_digest))
            except CacheMiss as reason:
                reasons[preset][str(reason)] += 1
        if not reasons[preset]:
            return _tidy(name, preset, jobs, results, data_digest)
    raise ResultsError(
        f"the results of {name} are incomplete:\n"
        + "".join(
            f"  {preset}: {count} of {len(experiments[name](preset))} {reason}\n"
            for preset in PRESETS
            for reason, count in reasons[preset].items()
        )
        + f"compute them with: python -m analysis.run_all --only {name}"
    )


@functools.cache
def cached(name: str) -> Results:
    """Return `load(name)`, loaded once per process. Do not modify its tables."""
    return load(name)


def main(argv: Sequence[str] | None = None, *, experiments: Mapping[str, Jobs] = EXPERIMENTS) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.results", description="Print an experiment's cached results as CSV."
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(experiments)}")
    parser.add_argument(
        "--cache",
        type=Path,
        default=store.FOLDER,
        metavar="DIR",
        help="folder of the cache (default: cache/)",
    )
    print_utf8()
    arguments = parser.parse_args(argv)
    try:
        results = load(arguments.name, arguments.cache, experiments=experiments)
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


def _tidy(
    name: str,
    preset: Preset,
    jobs: Sequence[Job],
    results: Sequence[tuple[pa.Table, Provenance]],
    data_digest: str,
) -> Results:
    """Return the results of all of an experiment's jobs as tables."""
    provenance = tuple(each for _, each in results)
    runs = [(job, table) for job, (table, _) in zip(jobs, results, strict=True) if isinstance(job, Run)]
    fields = [
        field.name
        for field in dataclasses.fields(Run)
        if field.name != "measures"
        and (field.name in _ALWAYS_COLUMNS or len({getattr(run, field.name) for run, _ in runs}) > 1)
    ]
    rows = _concatenate(
        [
            ({field: _readable(getattr(run, field)) for field in fields}, table, key(run, data_digest))
            for run, table in runs
        ]
    )
    if "metric" in rows:
        rows["metric"] = rows["metric"].astype("category")  # by which all that reads them selects
    programs: dict[str, list[tuple[Program, pa.Table]]] = {}
    for job, (table, _) in zip(jobs, results, strict=True):
        if isinstance(job, Program):
            programs.setdefault(job.name.rpartition(".")[2], []).append((job, table))
    tables = {}
    for short_name, group in programs.items():
        arguments = [dict(program.arguments) for program, _ in group]
        names = sorted(set().union(*arguments))
        differing = [n for n in names if len({repr(each.get(n)) for each in arguments}) > 1]
        tables[short_name] = _concatenate(
            [
                ({n: _readable(each.get(n)) for n in differing}, table, key(program, data_digest))
                for each, (program, table) in zip(arguments, group, strict=True)
            ]
        )
    return Results(name, preset, rows, tables, provenance)


def _concatenate(parts: Sequence[tuple[dict[str, Any], pa.Table, str]]) -> pd.DataFrame:
    """Return one table of many: each part's constants are columns before its own, its key is the last column.

    Constant texts are objects, which are selected and grouped faster than pandas' strings.
    """
    import pyarrow as pa

    if not parts:
        return pd.DataFrame()
    rows = pa.concat_tables([part for _, part, _ in parts], promote_options="permissive").to_pandas()
    constants = pd.DataFrame([constant | {"key": name} for constant, _, name in parts])
    texts = [name for name in constants if is_string_dtype(constants[name].dtype)]
    lengths = [len(part) for _, part, _ in parts]
    repeated = constants.astype(dict.fromkeys(texts, object)).loc[constants.index.repeat(lengths)]
    repeated.index = rows.index
    return pd.concat([repeated.drop(columns="key"), rows, repeated["key"]], axis="columns")


def _readable(value: Any) -> Any:
    """Return the value of a field as shown in a table: (10, 10) becomes "10-10"."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


if __name__ == "__main__":
    sys.exit(main())
