"""Fill the cache: compute what is missing or stale, and say why it is.

It can be stopped at any moment and goes on where it was when the command is given again: every result is
written the moment it is there, and long runs keep checkpoints.
Several of these may work on one cache at once.
Exit codes: 0 all results are there; 1 some run failed; 2 wrong usage, no such device, no data or a cache that
cannot be written; 130 stopped.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from analysis import data, store
from analysis.errors import AnalysisError, DeviceError
from analysis.experiments import PRESETS, Experiment, Preset
from analysis.runs import Job, key
from analysis.store import Missing, Provenance, Store

if TYPE_CHECKING:
    import torch

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
    experiments: Mapping[str, Experiment] | None = None,
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
        from analysis.experiments.registry import EXPERIMENTS

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


def status(experiment: Experiment, preset: Preset, cache: Store, data_digest: str, force: bool) -> Status:
    """What the cache holds of an experiment."""
    jobs = {key(job, data_digest): job for job in experiment.jobs(preset)}
    present, missing = {}, {}
    for name, job in jobs.items():
        try:
            present[name] = cache.provenance(job, data_digest)
            if force:
                missing[name] = "computed again (--force)"
        except Missing as reason:
            missing[name] = str(reason)
    return Status(jobs, present, missing)


def _parser(experiments: Mapping[str, Experiment]) -> argparse.ArgumentParser:
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
    experiments: Mapping[str, Experiment],
    load: Callable[[Path], data.Data],
    data_digest: str,
) -> int:
    """What `main` does once the command line is understood."""
    cache = Store(arguments.cache)
    found = {
        name: status(experiments[name], arguments.preset, cache, data_digest, arguments.force)
        for name in dict.fromkeys(arguments.only or experiments)
    }
    for name, each in found.items():
        print(f"{name}: {len(each.present)} of {len(each.jobs)} results are there")
        for reason, count in Counter(each.missing.values()).items():
            print(f"  {count} {reason}")
    if arguments.list:
        return 0
    device = _device(arguments.device) if arguments.device != "auto" else None
    jobs = {name: each.jobs[name] for each in found.values() for name in each.missing}
    if not jobs:
        return 0

    device = device or _device("auto")
    cache.prepare()
    from analysis.campaign import Campaign, describe, expected_rates, this_machine
    from analysis.progress import Progress, duration

    loaded = load(arguments.data)
    machine = this_machine(device)
    campaign = Campaign(
        cache,
        loaded,
        device,
        machine,
        expected_rates(
            machine,
            device,
            [(each.jobs[name], made) for each in found.values() for name, made in each.present.items()],
        ),
        {
            key(job, data_digest): job
            for experiment in experiments.values()
            for preset in PRESETS
            for job in experiment.jobs(preset)
        },
        arguments.force,
    )
    tasks = campaign.plan(jobs)
    seconds = sum(task.seconds for task in tasks)
    print(
        f"{len(jobs)} results to compute in {len(tasks)} tasks on {machine.device_name} ({machine.device}), "
        f"about {duration(seconds)}",
        flush=True,
    )
    progress = Progress(seconds)
    try:
        campaign.compute(tasks, progress)
    finally:
        progress.close()
        print(f"{len(campaign.computed)} results computed")
    for name, reason in campaign.failed.items():
        owners = ", ".join(experiment for experiment, each in found.items() if name in each.jobs)
        print(f"run_all: failed: {owners}: {describe(campaign.known[name])}: {reason}", file=sys.stderr)
    return 1 if campaign.failed else 0


def _device(name: str) -> torch.device:
    """The device of that name; `auto` is the fastest that is there.

    Raises:
        DeviceError: It is not there, or torch is not.
    """
    try:
        import torch
    except ImportError as error:
        raise DeviceError("computing needs torch: pip install '.[train]'") from error
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there[name]:
        usable = ", ".join(device for device, available in there.items() if available)
        raise DeviceError(f"there is no {name} device here (torch {torch.__version__} finds {usable})")
    return torch.device(name)


def _stop(signal_number: int, frame: FrameType | None) -> None:
    """A request to end is handled as Ctrl-C is."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
