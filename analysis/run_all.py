"""Compute the results that are missing from the cache or stale, and print why they are.

The command can be interrupted at any time and resumes when it is run again: each result is stored as soon as it is
computed, and long runs keep checkpoints.
Several of these commands may share one cache.
Exit codes: 0 all results are cached; 1 some run failed; 2 wrong usage, device or cluster not available, MNIST not
available, or cache not writable; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import logging
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from analysis import data
from analysis.campaign import store
from analysis.campaign.keys import Job, describe, key
from analysis.campaign.store import CacheMiss, Provenance, Store
from analysis.errors import AnalysisError, ClusterError, DeviceError, ignore_broken_pipe, print_utf8
from analysis.question import PRESETS, Jobs, Preset
from analysis.questions import EXPERIMENTS

if TYPE_CHECKING:
    import torch

    from analysis.campaign.scheduler import Executor

DEVICES = "auto, cpu, cuda, cuda:N (one of several GPUs) or mps"


@dataclass(frozen=True)
class Status:
    """State of an experiment's results in the cache, by key.

    Attributes:
        jobs: All jobs of the experiment.
        cached: Provenance of the results that are cached and current.
        needed: Reasons why results have to be computed.
    """

    jobs: dict[str, Job]
    cached: dict[str, Provenance]
    needed: dict[str, str]


def main(
    argv: Sequence[str] | None = None,
    *,
    experiments: Mapping[str, Jobs] = EXPERIMENTS,
    load: Callable[[Path], data.Data] = data.load,
    data_digest: str = data.MNIST_DIGEST,
) -> int:
    """Run the command line; return its exit code.

    Args:
        argv: Arguments of the command line.
        experiments: All experiments by name.
        load: Loads the data set from a folder.
        data_digest: Digest of that data set, known without loading it.
    """
    print_utf8()
    arguments = _parser(experiments).parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("analysis").setLevel(logging.INFO)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(arguments, experiments, load, data_digest)
    except AnalysisError as error:
        print(f"run_all: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nrun_all: interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)


def status(jobs_of: Jobs, preset: Preset, cache: Store, data_digest: str, force: bool) -> Status:
    """Return the state of an experiment's results in the cache."""
    jobs = {key(job, data_digest): job for job in jobs_of(preset)}
    cached, needed = {}, {}
    for name, job in jobs.items():
        try:
            cached[name] = cache.provenance(job, data_digest)
            if force:
                needed[name] = "to recompute (--force)"
        except CacheMiss as reason:
            needed[name] = str(reason)
    return Status(jobs, cached, needed)


def _parser(experiments: Mapping[str, Jobs]) -> argparse.ArgumentParser:
    """Return the parser of the command line."""

    def name(text: str) -> str:
        if text not in experiments:
            close = difflib.get_close_matches(text, experiments, n=1)
            raise argparse.ArgumentTypeError(
                f"unknown experiment {text!r}{f' (did you mean {close[0]}?)' if close else ''}: "
                f"choose from {', '.join(experiments)}"
            )
        return text

    parser = argparse.ArgumentParser(prog="python -m analysis.run_all", description=__doc__)
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="DEVICE",
        help=f"device to compute on: {DEVICES} (default: %(default)s)",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="compute on the Dask cluster whose scheduler has this address; see analysis/campaign/dask_executor.py",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=PRESETS[0],
        help="full: as in the report; quick: a rehearsal with small budgets (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        type=name,
        metavar="NAME",
        help=f"restrict to these experiments: {', '.join(experiments)}",
    )
    parser.add_argument("--list", action="store_true", help="print what is missing or stale; compute nothing")
    parser.add_argument("--force", action="store_true", help="recompute existing results")
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
    return parser


def device_name(text: str) -> str:
    """Return the name of a device on the command line, available or not.

    Raises:
        ArgumentTypeError: It names none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?|mps", text):
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {DEVICES})")
    return text


def _run(
    arguments: argparse.Namespace,
    experiments: Mapping[str, Jobs],
    load: Callable[[Path], data.Data],
    data_digest: str,
) -> int:
    """Do what `main` does after parsing the command line."""
    cache = Store(arguments.cache)
    statuses = {
        name: status(experiments[name], arguments.preset, cache, data_digest, arguments.force)
        for name in dict.fromkeys(arguments.only or experiments)
    }
    with ignore_broken_pipe():
        for name, each in statuses.items():
            print(f"{name}: {len(each.cached)} of {len(each.jobs)} results cached")
            for reason, count in Counter(each.needed.values()).items():
                print(f"  {count} {reason}")
    if arguments.list:
        return 0
    if arguments.device != "auto" and arguments.dask is None:
        _device(arguments.device)
    jobs = {name: each.jobs[name] for each in statuses.values() for name in each.needed}
    if not jobs:
        return 0

    cache.check_writable()
    with _executor(arguments, load) as executor:
        from analysis.campaign.progress import Progress, duration
        from analysis.campaign.scheduler import Scheduler, expected_rates

        cached = ((each.jobs[name], how) for each in statuses.values() for name, how in each.cached.items())
        known = {
            key(job, data_digest): job
            for jobs_of in experiments.values()
            for preset in PRESETS
            for job in jobs_of(preset)
        }
        rates = expected_rates(executor, cached)
        scheduler = Scheduler(cache, data_digest, executor, rates, known, arguments.force)
        tasks = scheduler.plan(jobs)
        seconds = sum(task.seconds for task in tasks)
        with ignore_broken_pipe():
            print(
                f"{len(jobs)} results to compute in {len(tasks)} tasks on {executor}, "
                f"about {duration(seconds / executor.size)}"
            )
        progress = Progress(seconds)
        try:
            scheduler.compute(tasks, progress)
        finally:
            progress.close()
            with ignore_broken_pipe():
                print(f"{len(scheduler.computed)} results computed")
    for name, reason in scheduler.failed.items():
        owners = ", ".join(experiment for experiment, each in statuses.items() if name in each.jobs)
        print(f"run_all: failed: {owners}: {describe(scheduler.known[name])}: {reason}", file=sys.stderr)
    return 1 if scheduler.failed else 0


@contextlib.contextmanager
def _executor(arguments: argparse.Namespace, load: Callable[[Path], data.Data]) -> Iterator[Executor]:
    """Yield the executor that the command line asks for.

    Raises:
        AnalysisError: The device, the data or the cluster is not available.
    """
    if arguments.dask is None:
        device = _device(arguments.device)
        from analysis.campaign.scheduler import LocalExecutor
        from analysis.campaign.worker import Worker, current_environment

        yield LocalExecutor(
            Worker(
                load(arguments.data),
                device,
                current_environment(device),
                checkpoints=arguments.cache,
                resume=not arguments.force,
            )
        )
        return
    load_torch()
    try:
        from analysis.campaign import dask_executor
    except ImportError as error:
        raise ClusterError("--dask requires Dask: pip install '.[train,cluster]'") from error
    folder = arguments.data if arguments.data != data.FOLDER else None  # None: the default of the workers
    config = dask_executor.WorkerConfig(arguments.device, load, folder)
    with dask_executor.connect(arguments.dask, config) as executor:
        yield executor


def _device(name: str) -> torch.device:
    """Return the device of that name. Raise DeviceError if it is not available."""
    load_torch()
    from analysis.campaign.worker import find_device

    return find_device(name)


def load_torch() -> None:
    """Load torch so that its threads and numba's get on with each other.

    Raises:
        DeviceError: It is not installed.
    """
    # Each has a thread pool. By default threads that wait for work keep their core busy, so that two pools halve each
    # other's speed. If they slept at once, waking them would take longer than many a small operation: they wait some
    # microseconds. The libraries read this when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise DeviceError("computing requires torch: pip install '.[train]'") from error


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
