"""Fill the cache: compute what is missing or stale, and say why it is.

It can be stopped at any moment and goes on where it was when the command is given again: every result is
written the moment it is there, and long runs keep checkpoints.
Several of these may work on one cache at once.
Exit codes: 0 all results are there; 1 some run failed; 2 wrong usage, no such device or cluster, no data or a cache
that cannot be written; 130 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
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
from analysis.campaign.keys import Job, key
from analysis.campaign.store import CacheMiss, Provenance, Store
from analysis.errors import AnalysisError, ClusterError, DeviceError, ignore_broken_pipe
from analysis.question import PRESETS, Jobs, Preset

if TYPE_CHECKING:
    import torch

    from analysis.campaign.scheduler import Executor

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Status:
    """What the cache holds of an experiment, by key.

    Attributes:
        jobs: All of them.
        present: How those came about whose results are there.
        missing: Why the others have to be computed.
    """

    jobs: dict[str, Job]
    present: dict[str, Provenance]
    missing: dict[str, str]


def main(
    argv: Sequence[str] | None = None,
    *,
    experiments: Mapping[str, Jobs] | None = None,
    load: Callable[[Path], data.Data] = data.load,
    data_digest: str = data.MNIST_DIGEST,
) -> int:
    """Fill the cache; gives the exit code.

    Args:
        argv: The command line.
        experiments: What there is to compute; all of the project's by default.
        load: Gives the data set from its folder.
        data_digest: The data set's digest, known without loading it.
    """
    if experiments is None:
        from analysis.questions import EXPERIMENTS

        experiments = EXPERIMENTS
    arguments = _parser(experiments).parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("analysis").setLevel(logging.INFO)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return _fill(arguments, experiments, load, data_digest)
    except AnalysisError as error:
        print(f"run_all: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nrun_all: stopped; give the same command again to go on from here", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def status(jobs_of: Jobs, preset: Preset, cache: Store, data_digest: str, force: bool) -> Status:
    """What the cache holds of an experiment."""
    jobs = {key(job, data_digest): job for job in jobs_of(preset)}
    present, missing = {}, {}
    for name, job in jobs.items():
        try:
            present[name] = cache.provenance(job, data_digest)
            if force:
                missing[name] = "computed again (--force)"
        except CacheMiss as reason:
            missing[name] = str(reason)
    return Status(jobs, present, missing)


def _parser(experiments: Mapping[str, Jobs]) -> argparse.ArgumentParser:
    """The command line."""

    def name(text: str) -> str:
        if text not in experiments:
            close = difflib.get_close_matches(text, experiments, n=1)
            raise argparse.ArgumentTypeError(
                f"no experiment is called {text!r}{f' (is {close[0]} meant?)' if close else ''}: "
                f"choose from {', '.join(experiments)}"
            )
        return text

    parser = argparse.ArgumentParser(prog="python -m analysis.run_all", description=__doc__)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="what computes (%(default)s)")
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="let the workers of this Dask cluster compute; see analysis/cluster.py",
    )
    parser.add_argument("--preset", choices=PRESETS, default=PRESETS[0], help="how much (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", type=name, metavar="NAME", help=f"these experiments: {', '.join(experiments)}"
    )
    parser.add_argument("--list", action="store_true", help="say what is missing or stale, compute nothing")
    parser.add_argument("--force", action="store_true", help="compute again what is there, from the start")
    parser.add_argument("--cache", type=Path, default=store.FOLDER, metavar="DIR", help="where results go")
    parser.add_argument("--data", type=Path, default=data.FOLDER, metavar="DIR", help="where MNIST is")
    return parser


def _fill(
    arguments: argparse.Namespace,
    experiments: Mapping[str, Jobs],
    load: Callable[[Path], data.Data],
    data_digest: str,
) -> int:
    """What `main` does once the command line is understood."""
    cache = Store(arguments.cache)
    found = {
        name: status(experiments[name], arguments.preset, cache, data_digest, arguments.force)
        for name in dict.fromkeys(arguments.only or experiments)
    }
    with ignore_broken_pipe():
        for name, each in found.items():
            print(f"{name}: {len(each.present)} of {len(each.jobs)} results are there")
            for reason, count in Counter(each.missing.values()).items():
                print(f"  {count} {reason}")
    if arguments.list:
        return 0
    if arguments.device != "auto" and arguments.dask is None:
        _device(arguments.device)
    jobs = {name: each.jobs[name] for each in found.values() for name in each.missing}
    if not jobs:
        return 0

    cache.prepare()
    with _executor(arguments, load) as executor:
        from analysis.campaign.progress import Progress, duration
        from analysis.campaign.scheduler import Campaign, describe, expected_rates

        cached = ((each.jobs[name], made) for each in found.values() for name, made in each.present.items())
        known = {
            key(job, data_digest): job
            for jobs_of in experiments.values()
            for preset in PRESETS
            for job in jobs_of(preset)
        }
        rates = expected_rates(executor, cached)
        campaign = Campaign(cache, data_digest, executor, rates, known, arguments.force)
        tasks = campaign.plan(jobs)
        seconds = sum(task.seconds for task in tasks)
        with ignore_broken_pipe():
            print(
                f"{len(jobs)} results to compute in {len(tasks)} tasks on {executor}, "
                f"about {duration(seconds / executor.size)}"
            )
        progress = Progress(seconds)
        try:
            campaign.compute(tasks, progress)
        finally:
            progress.close()
            with ignore_broken_pipe():
                print(f"{len(campaign.computed)} results computed")
    for name, reason in campaign.failed.items():
        owners = ", ".join(experiment for experiment, each in found.items() if name in each.jobs)
        print(f"run_all: failed: {owners}: {describe(campaign.known[name])}: {reason}", file=sys.stderr)
    return 1 if campaign.failed else 0


@contextlib.contextmanager
def _executor(arguments: argparse.Namespace, load: Callable[[Path], data.Data]) -> Iterator[Executor]:
    """Who computes.

    Raises:
        AnalysisError: The device, the data or the cluster are not there.
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
    _check_torch()
    try:
        from analysis.campaign import dask_executor
    except ImportError as error:
        raise ClusterError("--dask needs Dask: pip install '.[train,cluster]'") from error
    folder = arguments.data if arguments.data != data.FOLDER else None  # else workers have their own
    with dask_executor.connect(
        arguments.dask, dask_executor.WorkerConfig(arguments.device, load, folder)
    ) as workers:
        yield workers


def _device(name: str) -> torch.device:
    """The device of that name. Raises DeviceError."""
    _check_torch()
    from analysis.campaign.worker import find_device

    return find_device(name)


def _check_torch() -> None:
    """Raise a DeviceError if there is no torch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise DeviceError("computing needs torch: pip install '.[train]'") from error


def _stop(signal_number: int, frame: FrameType | None) -> None:
    """A request to end is handled as Ctrl-C is."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
