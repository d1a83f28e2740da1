"""One bar, or lines now and then, over a whole campaign."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.campaign.scheduler import Task

LINE_SECONDS = 30.0  # between lines where standard error is not a terminal


class Progress:
    """Shows how much of the estimated work is done, and when the rest will be.

    The estimates only weigh the tasks against each other: the time left follows from the time taken so far.
    Several tasks may be at work at once.

    Args:
        seconds: Estimated for all tasks together.
    """

    def __init__(self, seconds: float) -> None:
        from tqdm import tqdm

        self._seconds = max(seconds, 1e-9)
        self._done: dict[Task, float] = {}  # estimated seconds of what is done of each task
        self._sum = 0.0  # of all of them
        self._started = self._shown = time.monotonic()
        self._bar = tqdm(
            total=1.0,
            bar_format="{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}",
            smoothing=0,  # the average rate of the whole campaign
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def update(self, task: Task, done: int, total: int) -> None:
        """So much of a task is done."""
        before = self._done.get(task, 0.0)
        self._done[task] = task.seconds * done / total
        self._sum += self._done[task] - before
        share = min(self._sum / self._seconds, 1.0)
        self._bar.set_postfix_str(task.label, refresh=False)
        self._bar.update(share - self._bar.n)
        now = time.monotonic()
        if self._bar.disable and now - self._shown > LINE_SECONDS:
            self._shown = now
            elapsed = now - self._started
            left = duration(elapsed / share - elapsed) if share else "unknown time"
            print(f"{share:4.0%} after {duration(elapsed)}, about {left} left", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.close()


def duration(seconds: float) -> str:
    """A length of time for people: "40 s", "12 min", "3.1 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
