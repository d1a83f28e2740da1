"""Errors that tell a user what to do: the command lines print their message and no traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


class AnalysisError(Exception):
    """What went wrong and what to do about it; `exit_code` is what a command line ends with."""

    exit_code = 2


class DataError(AnalysisError):
    """MNIST could not be had from any source."""


class StoreError(AnalysisError):
    """The cache cannot be written."""


class ResultsError(AnalysisError):
    """Results are asked for that the cache does not hold."""

    exit_code = 1


class DeviceError(AnalysisError):
    """What should compute is not there."""


class ClusterError(AnalysisError):
    """The cluster cannot be reached, or its workers cannot compute."""


@contextlib.contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """What is printed in here may find no reader any more, such as `head`, which has seen enough: no error.

    All that would be printed from then on is dropped.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's own flush is silent
