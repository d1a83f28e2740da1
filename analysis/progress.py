"""One bar, or lines now and then, over a whole campaign."""

from __future__ import annotations

import sys
import time

LINE_SECONDS = 30.0  # between lines where standard error is not a terminal


class Progress:
    """Shows how much of the estimated work is done, and when the rest will be.

    The estimate only weighs the tasks against each other: the time left follows from the time taken so far.

    Args:
        seconds: Estimated for all tasks together.
    """

    def __init__(self, seconds: float) -> None:
        from tqdm import tqdm

        self._seconds = max(seconds, 1e-9)
        self._done = 0.0  # estimated seconds of the finished tasks
        self._task = 0.0  # of the present one
        self._started = self._shown = time.monotonic()
        self._bar = tqdm(
            total=1.0,
            bar_format="{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}",
            smoothing=0,  # the average rate of the whole campaign
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def begin(self, label: str, seconds: float) -> None:
        """A task begins."""
        self._task = seconds
        self._bar.set_postfix_str(label, refresh=False)
        self.update(0, 1)

    def update(self, done: int, total: int) -> None:
        """So much of the present task is done."""
        share = min((self._done + self._task * done / total) / self._seconds, 1.0)
        self._bar.update(share - self._bar.n)
        now = time.monotonic()
        if self._bar.disable and now - self._shown > LINE_SECONDS:
            self._shown = now
            elapsed = now - self._started
            left = duration(elapsed / share - elapsed) if share else "unknown time"
            print(f"{share:4.0%} after {duration(elapsed)}, about {left} left", file=sys.stderr, flush=True)

    def end(self) -> None:
        """The present task is over."""
        self.update(1, 1)
        self._done += self._task
        self._task = 0.0

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
