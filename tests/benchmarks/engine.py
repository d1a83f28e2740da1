"""The engine against plain PyTorch and JAX: `python -m tests.benchmarks.engine [--json FILE]`.

A model-step is one update of one network; a stack of R runs makes R of them at once.
The first peer is what one would write: nn.Sequential, torch.optim and autograd, one network at a time, minibatches from
DataLoader(TensorDataset(...)). The second, `jax_peer`, trains the whole stack as the engine does; it is left out where
JAX is missing.
Peers and engine take turns in the same process; figures are medians over the turns.
Warm-up (loading, compiling, the first epoch) is not timed on any side.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded, as in `run_all.load_torch`
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from analysis import data as mnist
from analysis.data import Data
from analysis.engine.network import reference_model
from analysis.engine.optimizers import update_rule
from analysis.engine.run import Measure, Run
from analysis.engine.training import backend_name, train

CPU = torch.device("cpu")
TURNS = 3
AT_THE_ENDS = (Measure(metrics=("test_loss",), every=10**9),)
EACH_EPOCH = (Measure(metrics=("train_loss", "test_loss"), every=1),)
RATES = (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0, 5.0, 8.0)


@dataclass(frozen=True)
class Work:
    """A piece of work on which engine and peer are compared.

    Attributes:
        name: For the table.
        run: One of the stack's runs; its epochs are those of one turn, the first of them untimed.
        runs: Number of runs in the stack.
        peer_steps: Updates of the peer in one turn.
    """

    name: str
    run: Run
    runs: int
    peer_steps: int

    @property
    def stack(self) -> list[Run]:
        """The runs, each with its own learning rate and seed."""
        rates = RATES if self.run.batch_size is None else (self.run.learning_rate,)
        return [replace(self.run, learning_rate=rates[i % len(rates)], seed=i) for i in range(self.runs)]


FULL = Run(learning_rate=0.1, epochs=3, measures=EACH_EPOCH)
MINI = Run(learning_rate=0.1, epochs=3, measures=AT_THE_ENDS, batch_size=128, train_examples=12_800)

WORKS = (
    Work("full batch, 784-300-10, test loss each epoch, 10 runs", FULL, 10, 2),
    Work("full batch, 784-10-10-10, 10 runs", replace(FULL, hidden=(10, 10), epochs=6), 10, 5),
    Work("full batch, 784-20-20-10, 10 runs", replace(FULL, hidden=(20, 20), epochs=6), 10, 5),
    Work(
        "minibatch 16, SGD, 784-300-10, 18 runs", replace(MINI, batch_size=16, train_examples=1_600), 18, 200
    ),
    Work("minibatch 128, SGD, 784-300-10, 18 runs", replace(MINI, train_examples=6_400), 18, 60),
    Work(
        "minibatch 1024, SGD, 784-300-10, 18 runs",
        replace(MINI, batch_size=1024, train_examples=10_240),
        18,
        12,
    ),
    Work(
        "minibatch 128, Adam, 784-300-10, 18 runs",
        replace(MINI, optimizer="adam", learning_rate=0.001, train_examples=6_400),
        18,
        60,
    ),
    Work("minibatch 128, SGD, 784-16-10, 9 runs", replace(MINI, hidden=(16,)), 9, 60),
    Work("online, 784-300-10, 8 runs", replace(MINI, batch_size=1, train_examples=1_000), 8, 300),
)


def engine_step(work: Work, data: Data) -> float:
    """Return seconds per model-step of a stack, its measurements included."""
    times: list[tuple[int, float]] = []
    train(work.stack, data, CPU, progress=lambda done, _: times.append((done, time.perf_counter())))
    (first, begin), (last, end) = times[0], times[-1]
    return (end - begin) / (last - first) / work.runs


def plain_step(work: Work, data: Data) -> float:
    """Return seconds per step of one network in plain PyTorch, with the same measurements."""
    run = work.run
    net = reference_model(run)
    optimizer = update_rule(run.optimizer).reference(net.parameters(), run)
    begin = 0.0
    for step, (images, labels) in zip(range(work.peer_steps + 1), batches(run, data), strict=False):
        if step == 1:
            begin = time.perf_counter()
        optimizer.zero_grad()
        loss = cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        if run.batch_size is None:
            with torch.no_grad():
                cross_entropy(net(data.test_images), data.test_labels)
    return (time.perf_counter() - begin) / work.peer_steps


def batches(run: Run, data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches without end, as one would write them."""
    if run.batch_size is None:
        while True:
            yield data.train_images, data.train_labels
    loader = DataLoader(TensorDataset(data.train_images, data.train_labels), run.batch_size, shuffle=True)
    while True:
        yield from loader


def operations(work: Work, data: Data) -> float:
    """Return the engine's floating-point operations for one model-step: it skips pixels that are zero."""
    run = work.run
    full = run.batch_size is None
    inputs = int(data.train_images[:1000].count_nonzero()) / 1000
    upper = sum((below + 1) * units for below, units in zip(run.sizes[1:], run.sizes[2:], strict=False))
    train = 2 * (inputs + 1) * run.hidden[0] + 3 * upper
    test = (inputs + 1) * run.hidden[0] + upper
    return 2 * (
        len(data.train_labels) * train + len(data.test_labels) * test if full else run.batch_size * train
    )


def sgemm() -> float:
    """Return this machine's floating-point operations per second in a large product of float32 matrices."""
    a, b = torch.rand(2, 2048, 2048)
    a @ b
    return 2 * 2048**3 / statistics.median(timed(lambda: a @ b) for _ in range(5))


def bandwidth() -> float:
    """Return the bytes per second that this machine reads and writes when it copies memory."""
    source = torch.rand(2**26)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / statistics.median(timed(lambda: target.copy_(source)) for _ in range(5))


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def sides() -> dict[str, Callable[[Work, Data], float]]:
    """Return the functions that are compared, by name; JAX is left out where it cannot be imported."""
    found = {"plain": plain_step, "engine": engine_step}
    try:
        importlib.import_module("jax")
    except Exception:  # it is missing, or does not get on with this machine
        return found
    from tests.benchmarks.jax_peer import jax_step

    return found | {"jax": jax_step}


def peak_memory(side: str, index: int) -> float:
    """Return the peak memory, in MB, of a process that does one piece of work on one side."""
    work, data = WORKS[index], mnist.load()
    sides()[side](work, data)
    kilo = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo / 1e6


def in_own_process(side: str, index: int) -> float:
    """Return `peak_memory`, measured in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak_memory, side, index).result()


def compare() -> list[dict[str, object]]:
    """Return one row per piece of work."""
    compared = sides()
    if "jax" not in compared:
        print("JAX cannot be imported and is left out: pip install '.[bench]'\n")
    # first, while this process is small: a child's peak begins with its parent's
    memory = [{side: in_own_process(side, index) for side in compared} for index in range(len(WORKS))]
    data = mnist.load()
    for work in WORKS:  # compiles, fills caches
        engine_step(replace(work, run=replace(work.run, epochs=2, train_examples=1_000), runs=2), data)
    seconds: dict[tuple[str, str], list[float]] = {}
    ceilings = []
    for _ in range(TURNS):
        ceilings.append((sgemm(), bandwidth()))
        for work in WORKS:
            for side, step in compared.items():
                seconds.setdefault((work.name, side), []).append(step(work, data))
    flops, bytes_per_second = (statistics.median(column) for column in zip(*ceilings, strict=True))
    print(
        f"{torch.get_num_threads()} threads, sgemm {flops / 1e9:.0f} GFLOP/s, copy {bytes_per_second / 1e9:.1f} GB/s\n"
    )
    rows: list[dict[str, object]] = []
    for work, peaks in zip(WORKS, memory, strict=True):
        medians = {side: statistics.median(seconds[work.name, side]) for side in compared}
        ours = medians["engine"]
        rows.append(
            {
                "work": work.name,
                "backend": backend_name(work.stack, CPU),
                **{f"{side}_ms": 1e3 * each for side, each in medians.items()},
                "ratio": medians["plain"] / ours,
                **({"jax_ratio": medians["jax"] / ours} if "jax" in medians else {}),
                "of_sgemm": operations(work, data) / ours / flops,
                **{f"{side}_mb": each for side, each in peaks.items()},
            }
        )
    return rows


def growth() -> list[dict[str, object]]:
    """Return the time of a stack's update against its size, number of examples and width, with the exponents."""
    data = mnist.load()
    full = replace(FULL, measures=AT_THE_ENDS, epochs=4)
    axes: dict[str, list[tuple[int, Work]]] = {
        "runs in a stack (minibatch 128, 784-300-10)": [
            (n, Work("", replace(MINI, train_examples=2_560), n, 0)) for n in (1, 2, 4, 8, 16, 32, 64)
        ],
        "runs in a stack (full batch, 784-10-10-10, 6,000 examples)": [
            (n, Work("", replace(full, hidden=(10, 10), train_examples=6_000), n, 0))
            for n in (1, 2, 4, 8, 16, 32, 64)
        ],
        "examples (full batch, 784-300-10, 2 runs)": [
            (n, Work("", replace(full, train_examples=n), 2, 0))
            for n in (3_750, 7_500, 15_000, 30_000, 60_000)
        ],
        "hidden units (full batch of 6,000, 2 runs)": [
            (n, Work("", replace(full, hidden=(n,), train_examples=6_000), 2, 0))
            for n in (32, 64, 128, 256, 512, 1024)
        ],
    }
    rows: list[dict[str, object]] = []
    for name, points in axes.items():
        sizes = [size for size, _ in points]
        turns = [[work.runs * engine_step(work, data) for _, work in points] for _ in range(3)]
        milliseconds = [1e3 * statistics.median(column) for column in zip(*turns, strict=True)]
        slope = float(np.polyfit(np.log(sizes), np.log(milliseconds), 1)[0])
        rows.append({"growth": name, "sizes": sizes, "ms_per_update": milliseconds, "slope": slope})
    return rows


def main() -> None:
    """Print both tables, and write the comparison as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison as a JSON list")
    file = parser.parse_args().json
    compared = compare()
    if file is not None:
        file.write_text(json.dumps(compared, indent=1) + "\n")
    table = pd.DataFrame(compared).set_index("work").rename(columns=lambda name: name.replace("_", " "))
    print(table.to_string(float_format="{:.3g}".format))
    print(
        "\nms per model-step; ratio: of a peer to the engine; mb: peak memory of a process that does only this"
    )
    print("\ntime of one update of the whole stack grows as (size) to the power of the slope")
    for row in growth():
        print(f"\n{row['growth']}: slope {row['slope']:.2f}")
        for size, milliseconds in zip(row["sizes"], row["ms_per_update"], strict=True):
            print(f"{size:8,d} {milliseconds:10.2f} ms")


if __name__ == "__main__":
    main()
