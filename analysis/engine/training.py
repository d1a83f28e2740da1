"""Trains a stack: runs of one shape as one batched network with a leading run axis.

Learning rates, seeds, starts, orders of examples, training sets and Adam's constants differ along that axis;
everything else is equal.
Two back ends compute the same numbers up to rounding: `dense` (torch: any network, any device) and `sparse` (numba:
one hidden layer on a CPU, where it pays that most of an image is zero).
Which one works is decided here, by shape and device.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from analysis.engine.evaluation import Evaluator
from analysis.engine.network import num_parameters
from analysis.engine.run import METRICS, TRAIN_EXAMPLES, Run
from analysis.engine.stack import Stack, shape
from analysis.engine.torch_backend import TorchBackend

try:
    from analysis.engine.numba_backend import NumbaBackend
except ModuleNotFoundError:  # numba is optional: torch does all the work without it
    NumbaBackend = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from analysis.data import Data

State: TypeAlias = dict[str, Any]

SAVE_SECONDS = 60.0  # at most one checkpoint in that time
STACK_SECONDS = 20 * 60.0  # a stack on a CPU should not take longer: little is lost when it is interrupted
SPARSE_SPEED, DENSE_SPEED = 2e11, 7e10  # operations a second of a CPU's thread, as `work` counts them


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves behind.

    Attributes:
        rows: One row per measured value: epoch, update, seconds, metric, index, value.
            `seconds` is the training time so far, measurements left out: the stack's over the number of its runs.
        weights: W_1 … W_L at the end, on the CPU, (h_l, h_{l-1} + 1) each with the bias as last column.
    """

    rows: pd.DataFrame
    weights: list[Tensor]


@contextlib.contextmanager
def _flushing_denormals() -> Iterator[None]:
    """Tiny numbers count as zero: those of saturated units would take a hundred times longer."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_flushing_denormals()
@torch.no_grad()
def train(
    runs: Sequence[Run],
    data: Data,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    state: State | None = None,
    save: Callable[[State], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[TrainingResult]:
    """Trains the runs of one stack.

    Args:
        runs: One of the lists that `stacks` returns.
        data: Images and labels.
        device: Where to compute.
        dtype: Of weights and activations.
        state: What `save` was given, to continue from there; the result is bitwise the same on the same machine.
        save: Called at most every `SAVE_SECONDS` with tensors and plain numbers that torch.save writes.
        progress: Called with the numbers of updates done and to be done.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    stack = Stack(runs, data, device, dtype)
    engine = NumbaBackend(stack) if uses_numba(stack.run, device) else TorchBackend(stack)
    meter, log = Evaluator(stack), History(device)
    update, seconds = 0, 0.0
    if state is not None:
        update, seconds = state["update"], state["seconds"]
        for part in (engine, meter, log):
            part.restore(state)
    last = stack.run.epochs * stack.updates
    saved = time.monotonic()
    while True:
        due = {
            name for measure in stack.run.measures if measure.due(update, last) for name in measure.metrics
        }
        # the full batch's own forward pass gives these
        by_step = (
            due & {"train_loss", "train_accuracy"}
            if stack.run.batch_size is None and update < last
            else set()
        )
        if due - by_step:
            log.add(update, seconds, meter.take(due - by_step, update, engine))
        if update == last:
            break
        stop = _next_stop(stack, update, last)
        stack.synchronize()
        began = time.perf_counter()
        before = engine.advance(update, stop)
        stack.synchronize()
        if before is not None:
            by_name = dict(zip(("train_loss", "train_accuracy"), before, strict=True))
            log.add(update, seconds, {name: by_name[name] for name in by_step})
        update, seconds = stop, seconds + (time.perf_counter() - began) / len(runs)
        if progress is not None:
            progress(update, last)
        if save is not None and time.monotonic() - saved >= SAVE_SECONDS:
            save({"update": update, "seconds": seconds, **engine.state(), **meter.state(), **log.state()})
            saved = time.monotonic()
    weights = stack.with_all_inputs(engine.dense().weights)
    frames = log.frames(len(runs), stack.updates)
    return [
        TrainingResult(frame, [layer[number] for layer in weights]) for number, frame in enumerate(frames)
    ]


def _next_stop(stack: Stack, update: int, last: int) -> int:
    """The next update after which something is measured or an epoch ends."""
    end = (update // stack.updates + 1) * stack.updates
    due = (
        stop
        for stop in range(update + 1, end)
        if any(measure.due(stop, last) for measure in stack.run.measures)
    )
    return next(due, end)


class History:
    """Measured values: they stay on the device until they are fetched in bulk."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._updates: dict[str, list[int]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._values: dict[str, list[Tensor]] = {}

    def add(self, update: int, seconds: float, values: dict[str, Tensor]) -> None:
        """Takes note of values (R,) or (R, index) by metric."""
        for metric, value in values.items():
            self._updates.setdefault(metric, []).append(update)
            self._seconds.setdefault(metric, []).append(seconds)
            self._values.setdefault(metric, []).append(value.reshape(len(value), -1))

    def state(self) -> State:
        """What `restore` continues from."""
        return {
            "measured": {
                metric: (self._updates[metric], self._seconds[metric], torch.stack(values).cpu())
                for metric, values in self._values.items()
            }
        }

    def restore(self, state: State) -> None:
        """Takes up the values measured so far."""
        for metric, (updates, seconds, values) in state["measured"].items():
            self._updates[metric], self._seconds[metric] = list(updates), list(seconds)
            self._values[metric] = list(values.to(self._device))

    def frames(self, runs: int, updates_per_epoch: int) -> list[pd.DataFrame]:
        """The rows of every run, ordered by update and then as in METRICS."""
        metrics = [metric for metric in METRICS if metric in self._values]
        values = {metric: torch.stack(self._values[metric]).cpu().double().numpy() for metric in metrics}
        frames = []
        for run in range(runs):
            parts = []
            for metric in metrics:
                times, _, indices = values[metric].shape
                first = (
                    1 if metric in ("gradient_norm", "unit_distance") else 0
                )  # layers count from 1, classes from 0
                parts.append(
                    pd.DataFrame(
                        {
                            "update": pd.Series(self._updates[metric]).repeat(indices),
                            "seconds": pd.Series(self._seconds[metric]).repeat(indices),
                            "metric": metric,
                            "index": list(range(first, first + indices)) * times,
                            "value": values[metric][:, run].flatten(),
                        }
                    )
                )
            frame = pd.concat(parts).sort_values("update", kind="stable", ignore_index=True)
            frame.insert(0, "epoch", frame["update"] / updates_per_epoch)
            frames.append(frame)
        return frames


def uses_numba(run: Run, device: torch.device) -> bool:
    """Whether the sparse back end takes less time than torch; full batches of narrow networks suit torch better."""
    if NumbaBackend is None or device.type != "cpu" or len(run.hidden) > 1:
        return False
    return run.batch_size is not None or run.hidden[0] >= 32


def backend_name(runs: Sequence[Run], device: torch.device) -> str:
    """What computes a stack, and where."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{'numba' if uses_numba(runs[0], device) else 'torch'} on {name}"


def estimate_flops(run: Run) -> float:
    """Floating-point operations of a run, estimated: two per weight and example for each of three passes."""
    examples = run.train_examples or TRAIN_EXAMPLES - run.validation_examples
    return 2.0 * run.epochs * examples * (2 * num_parameters(run.sizes) + num_parameters(run.sizes[1:]))


def form_stacks(runs: Sequence[Run], data: Data, device: torch.device) -> list[list[Run]]:
    """Groups runs by shape, into stacks that the device's memory holds and that do not take too long."""
    groups: dict[Run, list[Run]] = {}
    for run in runs:
        groups.setdefault(shape(run), []).append(run)
    split = []
    for common, group in groups.items():
        size = _stack_size(common, data, device)
        split += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return split


def _stack_size(run: Run, data: Data, device: torch.device) -> int:
    """How many runs of one shape make a stack."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        if uses_numba(run, device):  # one run per thread
            return threads * max(1, int(STACK_SECONDS * SPARSE_SPEED / estimate_flops(run)))
        return max(4, int(STACK_SECONDS * DENSE_SPEED * threads / estimate_flops(run)))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2**32
    images = 2 * (data.train_images.nbytes + data.test_images.nbytes)
    labels_and_order = 24 * (len(data.train_labels) + len(data.test_labels))
    weights = 4 * num_parameters(run.sizes) * (8 if run.optimizer == "adam" else 6)
    batch = 4 * (run.batch_size or 0) * 4 * sum(run.sizes)
    activations = 12 * 4 * 2**28  # of a chunk; see dense.IN_MEMORY
    return max(1, int((0.8 * free - images - activations) / (labels_and_order + weights + batch)))
