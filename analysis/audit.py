"""Recompute randomly drawn results of the cache and compare them with the cached values.

The digests in the cache show that a file is undamaged; an audit shows that its values were computed correctly.

Other machines, stacks and numbers of threads round differently, and training amplifies the differences: harmlessly
where it converges, without bound where it is chaotic.
The amplification is measured: each run is recomputed in single and in double precision. The largest difference of a
value up to some update is its spread there; a loss has at least the largest relative spread of all losses.
A cached value agrees if it deviates by at most `FACTOR` spreads plus a floor (see `floor`).
Where rounding alone moves a loss by more than a share `PREDICTABLE` of itself, the run cannot be predicted from that
update on, and nothing more is compared; the table shows the last epoch compared.
With a constant initialization all outputs are equal at first and rounding decides which is the largest, so counts are
not compared there.
Programs have a single precision: their numbers agree within a share `PROGRAM_SHARE`; all other columns must be equal.
Training times are never compared.

With --epochs only the first epochs are recomputed: what is measured in them does not depend on how many follow.
Exit codes: 0 all results agree; 1 some result differs or cannot be recomputed; 2 wrong usage, device or MNIST not
available, or nothing in the cache to audit; 130 interrupted.
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
from analysis.campaign.keys import Job, Program, describe, identity, key
from analysis.campaign.store import CacheMiss, Store
from analysis.engine.run import CLASSES, Run
from analysis.errors import AnalysisError, print_utf8
from analysis.question import PRESETS, Jobs
from analysis.questions import EXPERIMENTS
from analysis.run_all import DEVICES, device_name, load_torch

if TYPE_CHECKING:
    from analysis.campaign.worker import Worker

RUNS = 3
FACTOR = 10.0  # two machines in single precision differ by about as much as single and double precision do
PREDICTABLE = 0.01  # beyond this share of a value, FACTOR spreads would accept anything
ROUNDING = 1e-5  # the tests' tolerance for single precision over a few dozen updates
FLIPS = 5  # examples whose two largest outputs are equal up to rounding may be counted either way
PROGRAM_SHARE = 1e-3  # of the value: several of the examples that an accuracy counts
PROGRAM_FLOOR = 1e-9  # rounding errors that a program reports must only be as small
PROGRAM_SECONDS = 60.0  # with --epochs, programs that cannot be shortened are drawn only if they took less

_ROW_ID = ["update", "metric", "index"]  # identifies a row of a run
_TIMES = {"seconds"}


@dataclass(frozen=True)
class Comparison:
    """Outcome of comparing one metric of a run, or one column of a program's table.

    Attributes:
        quantity: The metric or column.
        compared, values: Number of values compared, and of all values recomputed.
        deviation, tolerance: Of the value with the largest deviation relative to its tolerance.
        epoch: Last epoch compared; None for a program.
        problem: How the results differ; empty if they agree.
    """

    quantity: str
    compared: int = 0
    values: int = 0
    deviation: float = 0.0
    tolerance: float = 0.0
    epoch: float | None = None
    problem: str = ""

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.problem:
            return f"DIFFERS: {self.problem}"
        return "agrees" if self.compared else "not compared"


@dataclass(frozen=True)
class Candidate:
    """A cached result that may be drawn: its job, and the experiments that use it."""

    job: Job
    experiments: tuple[str, ...]


def main(
    argv: Sequence[str] | None = None,
    *,
    experiments: Mapping[str, Jobs] = EXPERIMENTS,
    load: Callable[[Path], data.Data] = data.load,
    data_digest: str = data.MNIST_DIGEST,
) -> int:
    """Run the command line; return its exit code. The arguments are those of `run_all.main`."""
    print_utf8()
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    try:
        return _audit(arguments, experiments, load, data_digest)
    except AnalysisError as error:
        print(f"audit: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\naudit: interrupted", file=sys.stderr)
        return 130


def candidates(
    experiments: Mapping[str, Jobs], cache: Store, data_digest: str, cheap: bool
) -> list[Candidate]:
    """Return the cached results of all presets, ordered by key; if `cheap`, without costly programs without epochs."""
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
            continue  # run_all prints why
        has_epochs = isinstance(job, Run) or "epochs" in dict(job.arguments)
        if cheap and not has_epochs and seconds > PROGRAM_SECONDS:
            continue
        found.append(Candidate(job, tuple(dict.fromkeys(names[job]))))
    return found


def shortened(job: Job, epochs: int | None, cached: pd.DataFrame) -> Job:
    """Return the job with at most that many epochs; a program without epochs, or whose table has none, is unchanged."""
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
) -> list[Comparison]:
    """Compare a run's cached rows with those of its first epochs, recomputed in both precisions.

    Args:
        run: The cached run.
        cached: Its rows.
        single, double: Rows of the run, or of the same run with fewer epochs, in single and double precision.
        examples: Number of examples by part of the data: train, validation, test.
    """
    last = int(single["update"].max())
    per_epoch = round(last / single["epoch"].max())
    due = [
        any(m.due(update, run.epochs * per_epoch) and metric in m.metrics for m in run.measures)
        for update, metric in zip(single["update"], single["metric"], strict=True)
    ]  # a shortened run also measures at its own end
    single, double = single[due].reset_index(drop=True), double[due].reset_index(drop=True)
    if list(cached.columns) != list(single.columns):
        return [_mismatch("rows", f"cached columns {', '.join(map(str, cached.columns))}")]
    numbers = ["epoch", "update", "index", "value"]
    if not all(pd.api.types.is_numeric_dtype(cached[column]) for column in numbers):
        return [_mismatch("rows", "some numeric columns hold no numbers")]
    cached = cached[cached["update"] <= last].reset_index(drop=True)
    if cached[_ROW_ID].to_numpy().tolist() != single[_ROW_ID].to_numpy().tolist():
        return [_mismatch("rows", f"the {len(cached)} cached values are not the {len(single)} that are due")]
    if not np.allclose(cached["epoch"], single["epoch"], rtol=1e-12):
        return [_mismatch("epoch", "the epochs do not match the updates")]

    table = single[["epoch", *_ROW_ID]].assign(cached=cached["value"], single=single["value"])
    table["deviation"] = (table["cached"] - table["single"]).abs()
    with np.errstate(invalid="ignore"):  # ∞ - ∞
        difference = (single["value"] - double["value"]).abs()
    spread = difference.fillna(0.0).groupby([table["metric"], table["index"]]).cummax()
    of_losses = table["metric"].str.endswith("_loss")
    # all losses depend on the same weights: where both precisions happen to agree in one, the others show the spread
    share = (difference / table["single"].abs()).where(of_losses).replace(np.inf, np.nan).fillna(0.0)
    moved = share.groupby(table["update"]).transform("max").cummax() * table["single"].abs()
    spread = spread.mask(of_losses & (moved > spread), moved)
    table["floor"] = floor(table, examples)
    table["tolerance"] = FACTOR * spread + table["floor"]
    unpredictable = spread > PREDICTABLE * table["single"].abs() + table["floor"]
    end = table.loc[unpredictable & of_losses, "update"].min()  # NaN if the losses stay predictable
    unpredictable = unpredictable.groupby([table["metric"], table["index"]]).cummax() | (
        table["update"] >= end
    )
    if run.init == "constant":  # all outputs are equal at first: rounding decides which is the largest
        counts = table["metric"].str.endswith("_accuracy") | (table["metric"] == "confusion")
        unpredictable |= counts & (table["update"] == 0)
    return [
        _evaluate(str(metric), part, ~unpredictable[part.index])
        for metric, part in table.groupby("metric", sort=False)
    ]


def floor(table: pd.DataFrame, examples: Mapping[str, int]) -> pd.Series[float]:
    """Return the differences to tolerate where rounding has not been amplified.

    Losses and norms: `ROUNDING`, relative to the value. Cosines, and distances of units, which are initially close:
    relative to the value or to 1, whichever is larger. Accuracies and counts: `FLIPS` examples. Sharpness: twice the
    relative residual at which its iteration stops, as each value may be off by one such residual.
    """
    from analysis.engine.sharpness import TOLERANCE

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
            limits[here] = 2 * TOLERANCE * size[here]
        elif metric in ("gradient_cosine", "unit_distance"):
            limits[here] = ROUNDING * size[here].clip(lower=1.0)
    return limits


def compare_program(cached: pd.DataFrame, fresh: pd.DataFrame, whole: bool) -> list[Comparison]:
    """Compare a program's cached table with the recomputed one.

    Args:
        cached, fresh: The tables.
        whole: Whether the program was not shortened; otherwise rows that only one table has are ignored.
    """
    if list(cached.columns) != list(fresh.columns):
        return [_mismatch("table", f"cached columns {', '.join(map(str, cached.columns))}")]
    floats = [name for name in fresh if pd.api.types.is_float_dtype(fresh[name]) and name != "epoch"]
    exact = [name for name in fresh if name not in floats]
    if not all(pd.api.types.is_numeric_dtype(cached[name]) for name in floats):
        return [_mismatch("table", "some numeric columns hold no numbers")]
    if not whole:
        shared = {*_row_tuples(cached[exact])} & {*_row_tuples(fresh[exact])}
        cached, fresh = (
            table[[row in shared for row in _row_tuples(table[exact])]] for table in (cached, fresh)
        )
    if _row_tuples(cached[exact]) != _row_tuples(fresh[exact]):
        return [_mismatch("table", f"the {len(cached)} cached rows are not the {len(fresh)} recomputed ones")]
    comparisons = [Comparison(", ".join(exact), len(fresh), len(fresh))] if exact else []
    for name in floats:
        table = pd.DataFrame({"cached": cached[name].to_numpy(), "single": fresh[name].to_numpy()})
        table["deviation"] = (table["cached"] - table["single"]).abs()
        table["tolerance"] = PROGRAM_SHARE * table["single"].abs().replace(np.inf, np.nan) + PROGRAM_FLOOR
        times = fresh["metric"].isin(_TIMES).to_numpy() if "metric" in fresh else name in _TIMES
        comparable = pd.Series(~np.broadcast_to(times, len(table)), table.index)
        comparisons.append(_evaluate(name, table, comparable))
    return comparisons


def _row_tuples(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return the rows as tuples, with None for missing values, which then compare equal."""
    values = table.astype(object)
    return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def _evaluate(quantity: str, table: pd.DataFrame, comparable: pd.Series[bool]) -> Comparison:
    """Compare the cached with the recomputed values (single), given their deviations and tolerances."""
    part = table[comparable]
    epoch = None if "epoch" not in part else float(part["epoch"].max()) if len(part) else 0.0
    comparison = Comparison(quantity, len(part), len(table), epoch=epoch)
    if part.empty:
        return comparison
    finite = np.isfinite(part["single"])
    both = np.isfinite(part["cached"]) == finite  # a diverged run may give either ∞ or NaN
    # 0 / 0 where a value is exactly zero on all sides, such as the slope of units that never fire
    share = (part["deviation"] / part["tolerance"]).fillna(0.0).where(finite & both, 0.0).where(both, np.inf)
    worst = part.loc[share.idxmax()]
    if share.max() > 1:
        where = ", ".join(f"{name} {worst[name]:g}" for name in ("update", "index") if name in worst)
        problem = f"cached {worst['cached']:.9g}, recomputed {worst['single']:.9g}{where and f' at {where}'}"
        comparison = replace(comparison, problem=problem)
    deviation = float(worst["deviation"]) if finite[worst.name] else 0.0
    return replace(comparison, deviation=deviation, tolerance=float(worst["tolerance"]))


def _mismatch(quantity: str, problem: str) -> Comparison:
    """Return the outcome for results that cannot be compared value by value."""
    return Comparison(quantity, problem=problem)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""

    def count(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
        return int(text)

    parser = argparse.ArgumentParser(
        prog="python -m analysis.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs",
        type=count,
        default=RUNS,
        metavar="N",
        help="number of results to draw (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="seed of the draw (default: random, and printed)"
    )
    parser.add_argument("--epochs", type=count, metavar="E", help="recompute at most E epochs")
    parser.add_argument(
        "--cache",
        type=Path,
        default=store.FOLDER,
        metavar="DIR",
        help="folder of the cache (default: cache/)",
    )
    parser.add_argument(
        "--data", type=Path, default=data.FOLDER, metavar="DIR", help="folder of MNIST (default: data/)"
    )
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="DEVICE",
        help=f"device to compute on: {DEVICES} (default: %(default)s)",
    )
    return parser


def _audit(
    arguments: argparse.Namespace,
    experiments: Mapping[str, Jobs],
    load: Callable[[Path], data.Data],
    data_digest: str,
) -> int:
    """Do what `main` does after parsing the command line."""
    cache = Store(arguments.cache)
    cached = candidates(experiments, cache, data_digest, arguments.epochs is not None)
    if not cached:
        raise AnalysisError(
            f"{arguments.cache} holds no results to audit; compute them with: python -m analysis.run_all"
        )
    load_torch()
    from analysis.campaign.worker import Worker, current_environment, find_device

    device = find_device(arguments.device)
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    drawn = random.Random(seed).sample(cached, min(arguments.runs, len(cached)))
    worker = Worker(load(arguments.data), device, current_environment(device))
    print(f"{len(drawn)} of {len(cached)} cached results, drawn with --seed {seed}", flush=True)
    rows: list[dict[str, str]] = []
    differing = 0
    for number, candidate in enumerate(drawn, start=1):
        print(f"[{number}/{len(drawn)}] {describe(candidate.job)}", file=sys.stderr, flush=True)
        comparisons = _compare(candidate.job, cache, worker, data_digest, arguments.epochs)
        differing += any(comparison.problem for comparison in comparisons)
        shown = identity(candidate.job), ", ".join(candidate.experiments)
        rows += [
            dict(zip(_COLUMNS, (*shown, *_cells(comparison)), strict=True)) for comparison in comparisons
        ]
    print(pd.DataFrame(rows).to_string(index=False, max_colwidth=100))
    print(f"{len(drawn) - differing} of {len(drawn)} results agree with the recomputed ones")
    return 1 if differing else 0


_COLUMNS = ("result", "experiment", "quantity", "compared", "deviation", "tolerance", "to epoch", "verdict")


def _cells(comparison: Comparison) -> tuple[str, ...]:
    """Return the cells of a comparison, all columns but the first two."""
    return (
        comparison.quantity,
        f"{comparison.compared} of {comparison.values}",
        f"{comparison.deviation:.1e}",
        f"{comparison.tolerance:.1e}",
        "" if comparison.epoch is None else f"{comparison.epoch:g}",
        comparison.verdict,
    )


def _compare(
    job: Job, cache: Store, worker: Worker, data_digest: str, epochs: int | None
) -> list[Comparison]:
    """Recompute a result, with at most that many epochs, and compare it with the cached one."""
    import torch

    from analysis.engine.training import train

    try:
        cached = cache.read(job, data_digest).rows
    except CacheMiss as reason:  # damaged or deleted since the draw
        return [_mismatch("result", str(reason))]
    short = shortened(job, epochs, cached)
    ((_, single),) = worker.compute({key(short, data_digest): short}, lambda done, total: None)
    if isinstance(single, str):
        return [_mismatch("result", f"cannot be recomputed: {single}")]
    if isinstance(job, Program) or isinstance(short, Program):
        return compare_program(cached, single.rows, short == job)
    precise = worker.device if worker.device.type != "mps" else torch.device("cpu")  # mps has no float64
    (double,) = train([short], worker.data, precise, dtype=torch.float64)
    examples = {
        "train": job.train_examples or len(worker.data.train_labels) - job.validation_examples,
        "validation": job.validation_examples,
        "test": len(worker.data.test_labels),
    }
    return compare_run(job, cached, single.rows, double.rows, examples)


if __name__ == "__main__":
    sys.exit(main())
