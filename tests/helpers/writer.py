"""Kill processes that write results, again and again: python -m tests.helpers.writer CACHE KILLS SEED

After each kill, every file under a result's name must be complete. Prints the number of results seen.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pandas as pd
from pyarrow import parquet  # noqa: F401 (imported once here instead of in every writer)

from analysis.campaign.keys import key
from analysis.campaign.store import Provenance, Store
from analysis.engine.run import Measure, Run

DATA = "5" * 64
RUNS = [
    Run(learning_rate=rate, epochs=9, measures=(Measure(metrics=("train_loss",), every=1),))
    for rate in (0.1, 0.2, 0.3)
]
PROVENANCE = Provenance(
    date="2026-01-31T12:00:00+00:00",
    commit=None,
    dirty=False,
    torch="2.9.0",
    numba=None,
    device="cpu",
    device_name="some processor",
    threads=1,
    backend="torch on cpu",
    stack=1,
    seconds=1.0,
)


def write(folder: Path, pipe: int) -> None:
    """Write results until killed; send a byte before each."""
    store = Store(folder)
    while True:
        for run in RUNS:
            values = [random.random() for _ in range(2_000)]
            os.write(pipe, b".")
            store.write(run, DATA, pd.DataFrame({"update": range(2_000), "value": values}), PROVENANCE)


def main(folder: Path, kills: int, seed: int) -> None:
    """Start and kill writers, each at a random moment of one of its first writes."""
    generator = random.Random(seed)
    store = Store(folder)
    seen = 0
    for _ in range(kills):
        begun, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            write(folder, pipe)
        for _ in range(generator.randint(1, 4)):
            os.read(begun, 1)
        time.sleep(generator.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(begun)
        os.close(pipe)
        for run in RUNS:
            if store.path(key(run, DATA)).exists():
                assert len(store.read(run, DATA).rows) == 2_000  # raises CacheMiss if it is incomplete
                seen += 1
    print(seen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
