"""Compute randomly drawn results of the cache again, from nothing, and compare.

The digests in the cache tell that nobody touched a result; this tells that it was right.

How near must a cached value be to the one computed again? Other machines, stacks and numbers of threads round
otherwise, and training amplifies that: harmlessly where it converges, without bound where it is chaotic.
How far rounding takes a run is measured: the run is computed in single and in double precision, and the largest
difference of a value so far is its spread; a loss spreads at least by the largest share that any loss does.
A cached value agrees within `FACTOR` spreads and a floor (`floor`).
At a constant start all outputs are equal, and which is the largest is rounding's, so no count is compared there.
From the update on where rounding alone moves a loss by more than a share `PREDICTABLE` of itself, no computation
predicts the run, and nothing is compared; the table says up to which epoch it was.
Programs have one precision only: their numbers agree within a share `PROGRAM_SHARE`, all else in their tables
exactly.
Training times are never compared.

With --epochs only the first epochs are computed again: what is measured there does not depend on how many follow.
Exit codes: 0 all agree; 1 some result does not, or cannot be computed; 2 wrong usage, no such device, no data, or
nothing in the cache to audit.
"""

from __future__ import annotations

import argparse
import logging
import random
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import data
from analysis.campaign import store
from analysis.campaign.keys import Job, Program, identity, key
from analysis.campaign.store import CacheMiss, Store
from analysis.engine.run import CLASSES, Run
from analysis.errors import AnalysisError, DeviceError
from analysis.question import PRESETS, Jobs
from analysis.run_all import DEVICES

if TYPE_CHECKING:
    from analysis.campaign.worker import Worker

RUNS = 3
FACTOR = 10.0  # two machines in single precision differ by about as much as single from double precision
PREDICTABLE = 0.01  # beyond that share of a value, FACTOR spreads would let anything pass
ROUNDING = 1e-5  # what the tests grant single precision over a few dozen updates
FLIPS = 5  # examples whose two best answers are equal to rounding may be counted either way
PROGRAM_SHARE = 1e-3  # of the value: several of the examples that an accuracy counts
PROGRAM_FLOOR = 1e-9  # where a program reports rounding errors, only that they are as small is compared
PROGRAM_SECONDS = 60.0  # with --epochs, a program that cannot be shortened is drawn if it took less than that

_PLACE = ["update", "metric", "index"]  # says which value of a run a row holds
_TIMES = {"seconds"}


@dataclass(frozen=True)
class Finding:
    """What comparing one metric of a result, or one column of a program's table, came to.

    Attributes:
        what: The metric or column.
        compared, values: Number of values compared, and of all that were computed again.
        deviation, tolerance: Of the value that deviates most, relative to its tolerance.
        epoch: Up to which epoch values were compared; None for a program.
        problem: What does not agree; empty where all does.
    """

    what: str
    compared: int = 0
    values: int = 0
    deviation: float = 0.0
    tolerance: float = 0.0
    epoch: float | None = None
    problem: str = ""

    @property
    def verdict(self) -> str:
        """The finding in words."""
        if self.problem:
            return f"DIFFERS: {self.problem}"
        return "agrees" if self.compared else "not compared"


@dataclass(frozen=True)
class Candidate:
    """A cached result that may be drawn: its job, and the experiments that show it."""

    job: Job
    experiments: tuple[str, ...]


def main(
    argv: Sequence[str] | None = None,
    *,
    experiments: Mapping[str, Jobs] | None = None,
    load: Callable[[Path], data.Data] = data.load,
    data_digest: str = data.MNIST_DIGEST,
) -> int:
    """Audit the cache; gives the exit code. Arguments as for `run_all.main`."""
    if experiments is None:
        from analysis.questions import EXPERIMENTS

        experiments = EXPERIMENTS
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    try:
        return _audit(arguments, experiments, load, data_digest)
    except AnalysisError as error:
        print(f"audit: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\naudit: stopped", file=sys.stderr)
        return 130


def candidates(
    experiments: Mapping[str, Jobs], cache: Store, data_digest: str, cheap: bool
) -> list[Candidate]:
    """What the cache holds of all presets, by key; if it has to be cheap, without costly programs of no epochs."""
    names: dict[Job, list[str]] = {}
    for preset in PRESETS:
        for name, jobs in experiments.items():
            for job in jobs(preset):
                names.setdefault(job, []).append(name)
    found = []
    for job in sorted(names, key=lambda job: key(job, data_digest)):
        try:
            seconds = cache.provenance(job, data_digest).seconds
        except CacheMiss:
            continue  # run_all says why
        fixed = isinstance(job, Program) and "epochs" not in dict(job.arguments)
        if cheap and fixed and seconds > PROGRAM_SECONDS:
            continue
        found.append(Candidate(job, tuple(dict.fromkeys(names[job]))))
    return found


def shortened(job: Job, epochs: int | None, cached: pd.DataFrame) -> Job:
    """The job with at most so many epochs; a program that has none, or no table of epochs, as it is."""
    if epochs is None:
        return job
    if isinstance(job, Run):
        return replace(job, epochs=min(job.epochs, epochs))
    if "epoch" not in cached:
        return job
    arguments = tuple((n, min(v, epochs)) if n == "epochs" else (n, v) for n, v in job.arguments)
    return replace(job, arguments=arguments)


def compare_run(
    run: Run, cached: pd.DataFrame, single: pd.DataFrame, double: pd.DataFrame, examples: Mapping[str, int]
) -> list[Finding]:
    """Compare a run's cached rows with its beginning, computed again in both precisions.

    Args:
        run: As it was cached.
        cached: Its rows.
        single, double: Rows of the run, or of one with fewer epochs, in single and double precision.
        examples: Number of examples by part of the data: train, validation, test.
    """
    last = int(single["update"].max())
    per_epoch = round(last / single["epoch"].max())
    due = [
        any(m.due(update, run.epochs * per_epoch) and metric in m.metrics for m in run.measures)
        for update, metric in zip(single["update"], single["metric"], strict=True)
    ]  # a shortened run measures at its own end as well
    single, double = single[due].reset_index(drop=True), double[due].reset_index(drop=True)
    if list(cached.columns) != list(single.columns):
        return [_failure("rows", f"columns {', '.join(map(str, cached.columns))}")]
    numbers = ["epoch", "update", "index", "value"]
    if not all(pd.api.types.is_numeric_dtype(cached[column]) for column in numbers):
        return [_failure("rows", "not all numbers are numbers")]
    cached = cached[cached["update"] <= last].reset_index(drop=True)
    if cached[_PLACE].to_numpy().tolist() != single[_PLACE].to_numpy().tolist():
        return [_failure("rows", f"{len(cached)} other values than the {len(single)} that are due")]
    if not np.allclose(cached["epoch"], single["epoch"], rtol=1e-12):
        return [_failure("epoch", "the epochs are not those of the updates")]

    table = single[["epoch", *_PLACE]].assign(cached=cached["value"], single=single["value"])
    table["deviation"] = (table["cached"] - table["single"]).abs()
    with np.errstate(invalid="ignore"):  # ∞ - ∞
        difference = (single["value"] - double["value"]).abs()
    spread = difference.fillna(0.0).groupby([table["metric"], table["index"]]).cummax()
    of_losses = table["metric"].str.endswith("_loss")
    # the same weights make all losses: if two precisions happen to meet in one of them, the others tell
    share = (difference / table["single"].abs()).where(of_losses).replace(np.inf, np.nan).fillna(0.0)
    moved = share.groupby(table["update"]).transform("max").cummax() * table["single"].abs()
    spread = spread.mask(of_losses & (moved > spread), moved)
    table["floor"] = floor(table, examples)
    table["tolerance"] = FACTOR * spread + table["floor"]
    lost = spread > PREDICTABLE * table["single"].abs() + table["floor"]
    end = table.loc[lost & of_losses, "update"].min()  # NaN if the losses stay predictable
    lost = lost.groupby([table["metric"], table["index"]]).cummax() | (table["update"] >= end)
    if run.init == "constant":  # all outputs are equal at first: rounding says which one is the largest
        counts = table["metric"].str.endswith("_accuracy") | (table["metric"] == "confusion")
        lost |= counts & (table["update"] == 0)
    return [
        _judge(str(metric), part, ~lost[part.index]) for metric, part in table.groupby("metric", sort=False)
    ]


def floor(table: pd.DataFrame, examples: Mapping[str, int]) -> pd.Series[float]:
    """By how much values may differ wherever rounding has not been amplified.

    Losses and norms: `ROUNDING`, relatively. Cosines, and distances of units, which start near each other: the same,
    at least of 1. Accuracies and counts: `FLIPS` examples. Sharpness: twice the residual at which its iteration
    stops, relatively, as either value may be off by one.
    """
    from analysis.engine.evaluation import SHARPNESS_TOLERANCE

    size = table["single"].abs().replace(np.inf, np.nan).fillna(0.0)
    limits = ROUNDING * size
    for metric in table["metric"].unique():
        here = table["metric"] == metric
        part, _, kind = str(metric).partition("_")
        if kind == "accuracy":
            count = examples["test"] / CLASSES if part == "class" else examples[part]
            limits[here] = FLIPS / count
        elif metric == "confusion":
            limits[here] = FLIPS
        elif metric == "sharpness":
            limits[here] = 2 * SHARPNESS_TOLERANCE * size[here]
        elif metric in ("gradient_cosine", "unit_distance"):
            limits[here] = ROUNDING * size[here].clip(lower=1.0)
    return limits


def compare_program(cached: pd.DataFrame, fresh: pd.DataFrame, whole: bool) -> list[Finding]:
    """Compare a program's cached table with the one computed again.

    Args:
        cached, fresh: The tables.
        whole: Whether the program was run as it was cached; else rows that only one of them has are passed over.
    """
    if list(cached.columns) != list(fresh.columns):
        return [_failure("table", f"columns {', '.join(map(str, cached.columns))}")]
    floats = [name for name in fresh if pd.api.types.is_float_dtype(fresh[name]) and name != "epoch"]
    places = [name for name in fresh if name not in floats]
    if not all(pd.api.types.is_numeric_dtype(cached[name]) for name in floats):
        return [_failure("table", "not all numbers are numbers")]
    if not whole:
        shared = {*_lines(cached[places])} & {*_lines(fresh[places])}
        cached, fresh = (
            table[[line in shared for line in _lines(table[places])]] for table in (cached, fresh)
        )
    if _lines(cached[places]) != _lines(fresh[places]):
        return [_failure("table", f"its {len(cached)} rows are not the {len(fresh)} computed again")]
    findings = [Finding(", ".join(places), len(fresh), len(fresh))] if places else []
    for name in floats:
        table = pd.DataFrame({"cached": cached[name].to_numpy(), "single": fresh[name].to_numpy()})
        table["deviation"] = (table["cached"] - table["single"]).abs()
        table["tolerance"] = PROGRAM_SHARE * table["single"].abs().replace(np.inf, np.nan) + PROGRAM_FLOOR
        times = fresh["metric"].isin(_TIMES).to_numpy() if "metric" in fresh else name in _TIMES
        findings.append(_judge(name, table, pd.Series(~np.broadcast_to(times, len(table)), table.index)))
    return findings


def _lines(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The rows as tuples; what is missing is None, so that it equals itself."""
    values = table.astype(object)
    return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def _judge(what: str, table: pd.DataFrame, comparable: pd.Series[bool]) -> Finding:
    """The finding on values, cached and computed again (single), with their deviations and tolerances."""
    part = table[comparable]
    epoch = None if "epoch" not in part else float(part["epoch"].max()) if len(part) else 0.0
    finding = Finding(what, len(part), len(table), epoch=epoch)
    if part.empty:
        return finding
    finite = np.isfinite(part["single"])
    alike = (
        np.isfinite(part["cached"]) == finite
    )  # whether ∞ or NaN tells that a run has diverged is the same
    share = (part["deviation"] / part["tolerance"]).where(finite & alike, 0.0).where(alike, np.inf)
    worst = part.loc[share.idxmax()]
    if share.max() > 1:
        where = ", ".join(f"{name} {worst[name]:g}" for name in ("update", "index") if name in worst)
        problem = f"cached {worst['cached']:.9g}, computed {worst['single']:.9g}{where and f' at {where}'}"
        finding = replace(finding, problem=problem)
    deviation = float(worst["deviation"]) if finite[worst.name] else 0.0
    return replace(finding, deviation=deviation, tolerance=float(worst["tolerance"]))


def _failure(what: str, problem: str) -> Finding:
    return Finding(what, problem=problem)


def _parser() -> argparse.ArgumentParser:
    """The command line."""

    def count(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
        return int(text)

    parser = argparse.ArgumentParser(
        prog="python -m analysis.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs", type=count, default=RUNS, metavar="N", help="how many results are drawn (%(default)s)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="draws the same results again")
    parser.add_argument("--epochs", type=count, metavar="E", help="compute at most so many epochs again")
    parser.add_argument("--cache", type=Path, default=store.FOLDER, metavar="DIR", help="where results are")
    parser.add_argument("--data", type=Path, default=data.FOLDER, metavar="DIR", help="where MNIST is")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="what computes (%(default)s)")
    return parser


def _audit(
    arguments: argparse.Namespace,
    experiments: Mapping[str, Jobs],
    load: Callable[[Path], data.Data],
    data_digest: str,
) -> int:
    """What `main` does once the command line is understood."""
    cache = Store(arguments.cache)
    there = candidates(experiments, cache, data_digest, arguments.epochs is not None)
    if not there:
        raise AnalysisError(
            f"{arguments.cache} holds no result of the experiments: python -m analysis.run_all computes them"
        )
    try:
        from analysis.campaign.worker import Worker, current_environment, find_device
    except ImportError as error:
        raise DeviceError("an audit computes, which needs torch: pip install '.[train]'") from error
    from analysis.campaign.scheduler import describe

    device = find_device(arguments.device)
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    drawn = random.Random(seed).sample(there, min(arguments.runs, len(there)))
    computer = Worker(load(arguments.data), device, current_environment(device))
    print(f"{len(drawn)} of {len(there)} cached results, drawn with --seed {seed}", flush=True)
    rows: list[dict[str, str]] = []
    wrong = 0
    for number, candidate in enumerate(drawn, start=1):
        print(f"[{number}/{len(drawn)}] {describe(candidate.job)}", file=sys.stderr, flush=True)
        findings = _compare(candidate.job, cache, computer, data_digest, arguments.epochs)
        wrong += any(finding.problem for finding in findings)
        shown = identity(candidate.job), ", ".join(candidate.experiments)
        rows += [dict(zip(_COLUMNS, (*shown, *_cells(finding)), strict=True)) for finding in findings]
    print(pd.DataFrame(rows).to_string(index=False, max_colwidth=100))
    print(f"{len(drawn) - wrong} of {len(drawn)} results agree with what was computed again")
    return 1 if wrong else 0


_COLUMNS = ("result", "experiment", "what", "values", "deviation", "tolerance", "to epoch", "verdict")


def _cells(finding: Finding) -> tuple[str, ...]:
    """A finding in the table's last columns."""
    return (
        finding.what,
        f"{finding.compared} of {finding.values}",
        f"{finding.deviation:.1e}",
        f"{finding.tolerance:.1e}",
        "" if finding.epoch is None else f"{finding.epoch:g}",
        finding.verdict,
    )


def _compare(job: Job, cache: Store, computer: Worker, data_digest: str, epochs: int | None) -> list[Finding]:
    """Compute a result again, with at most so many epochs, and compare it with the cached one."""
    import torch

    from analysis.engine.training import train

    try:
        cached = cache.read(job, data_digest).rows
    except CacheMiss as reason:  # it was there a moment ago
        return [_failure("result", str(reason))]
    short = shortened(job, epochs, cached)
    ((_, single),) = computer.compute({key(short, data_digest): short}, lambda done, all_of_them: None)
    if isinstance(single, str):
        return [_failure("result", f"cannot be computed: {single}")]
    if isinstance(job, Program) or isinstance(short, Program):
        return compare_program(cached, single.rows, short == job)
    images = computer.data
    precise = computer.device if computer.device.type != "mps" else torch.device("cpu")  # which has float64
    (double,) = train([short], images, precise, dtype=torch.float64)
    examples = {
        "train": job.train_examples or len(images.train_labels) - job.validation_examples,
        "validation": job.validation_examples,
        "test": len(images.test_labels),
    }
    return compare_run(job, cached, single.rows, double.rows, examples)


if __name__ == "__main__":
    sys.exit(main())
