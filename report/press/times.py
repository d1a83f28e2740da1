"""How long the stages of a render take, told on request."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Tell how long the block took; waiting counts."""
    start = time.perf_counter()
    yield
    log.info("%5.1f s  %s", time.perf_counter() - start, stage)


@contextmanager
def times_told(told: bool) -> Iterator[None]:
    """Print times on standard error during the block, if asked to."""
    handler = logging.StreamHandler() if told else logging.NullHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
