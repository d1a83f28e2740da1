"""One progress bar over several tasks; where standard error is not a terminal, a line every now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable

LINE_SECONDS = 30.0  # between lines where standard error is not a terminal


class Progress:
    """Shows how much of the work is done, and the time left.

    Weights only relate tasks to each other: the time left is extrapolated from the time taken so far.
    Several tasks may be in progress at once.

    Args:
        total_weight: Sum of the weights of all tasks.
    """

    def __init__(self, total_weight: float) -> None:
        from tqdm import tqdm

        self._total = max(total_weight, 1e-9)
        self._done: dict[Hashable, float] = {}  # weight done of each task
        self._sum = 0.0  # of these
        self._started = self._shown = time.monotonic()
        self._bar = tqdm(
            total=1.0,
            bar_format="{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}",
            smoothing=0,  # the average rate since the start
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def update(self, key: Hashable, label: str, weight: float, done: int, total: int) -> None:
        """Report that `done` of `total` steps of the task identified by `key` are done."""
        before = self._done.get(key, 0.0)
        self._done[key] = weight * done / total
        self._sum += self._done[key] - before
        share = min(self._sum / self._total, 1.0)
        self._bar.set_postfix_str(label, refresh=False)
        self._bar.update(share - self._bar.n)
        now = time.monotonic()
        if self._bar.disable and now - self._shown > LINE_SECONDS:
            self._shown = now
            elapsed = now - self._started
            left = f"about {duration(elapsed / share - elapsed)} left" if share else "time left unknown"
            print(f"{share:4.0%} after {duration(elapsed)}, {left}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Restore the terminal."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Return a duration in readable units: "40 s", "12 min", "3.1 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
