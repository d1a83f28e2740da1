"""Train a stack: runs with one batch key, as one batched network with a leading run axis.

Along that axis the runs differ in their per-run fields (see `run.PER_RUN`): learning rate, seed, initialization,
label permutation, sample order, training set and the optimizer's constants.
Two back ends compute the same numbers up to rounding: torch (any network, any device) and numba (one hidden layer on a
CPU, where it pays that most of an image is zero); shape and device determine which. On a CPU numba also multiplies
torch's first layers with images that all runs see.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from analysis.engine.evaluation import Evaluator
from analysis.engine.history import History
from analysis.engine.optimizers import update_rule
from analysis.engine.run import TRAIN_EXAMPLES, Run, batch_key, num_parameters
from analysis.engine.stack import Stack
from analysis.engine.torch_backend import IN_MEMORY, TorchBackend

if TYPE_CHECKING:
    from analysis.data import Data

log = logging.getLogger(__name__)


def _do_without_numba(error: Exception) -> None:
    """Have torch do all the work from now on; say why, unless numba is not installed."""
    global NumbaBackend
    NumbaBackend = None  # type: ignore[assignment, misc]  # a class that may come to be missing has no type
    if not (isinstance(error, ModuleNotFoundError) and error.name == "numba"):
        reason = str(error).partition("\n")[0]
        log.warning("numba cannot be used (%s: %s): training by torch alone", type(error).__name__, reason)


try:
    from analysis.engine.numba_backend import NumbaBackend
    from analysis.engine.sparse_inputs import SparseInputs
except Exception as error:  # it is not installed, or finds no folder for its cache
    _do_without_numba(error)

State: TypeAlias = dict[str, Any]

SAVE_SECONDS = 60.0  # at most one checkpoint in that time
STACK_SECONDS = 20 * 60.0  # a stack on a CPU should not take longer: little is lost when it is interrupted
# operations per second of a CPU's thread, as `estimate_flops` counts them
NUMBA_SPEED, TORCH_SPEED = 2e11, 7e10

_FORWARD_METRICS = ("train_loss", "train_accuracy")  # the full batch's forward pass also gives these


@dataclass(frozen=True)
class TrainingResult:
    """The result of a run.

    Attributes:
        rows: One row per measured value: epoch, update, seconds, metric, index, value.
            `seconds` is the training time so far, without measurements: the stack's over the number of its runs.
        weights: The final W_1 … W_L, on the CPU, (h_l, h_{l-1} + 1) each with the bias as last column.
    """

    rows: pd.DataFrame
    weights: list[Tensor]


@contextlib.contextmanager
def _arithmetic() -> Iterator[None]:
    """Flush denormals to zero, which saturated units produce and a hundredfold time, and compute in full float32."""
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.backends.cuda.matmul.allow_tf32 = tf32


@_arithmetic()
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
    """Train the runs of one stack.

    Args:
        runs: One of the lists that `form_stacks` returns.
        data: Images and labels.
        device: Where to compute.
        dtype: Of weights and activations.
        state: What `save` was called with, to continue from there; the result is bitwise the same on the same machine.
        save: Called at most every `SAVE_SECONDS` with tensors and plain numbers that torch.save writes.
        progress: Called with the numbers of updates done and to be done.

    Raises:
        ValueError: The runs cannot form one stack.
    """
    stack = Stack(runs, data, device, dtype)
    backend = _backend(stack)
    evaluator, history = Evaluator(stack), History(device)
    stateful = {"backend": backend, "evaluator": evaluator, "history": history}
    update, seconds = 0, 0.0
    if state is not None:
        update, seconds = state["update"], state["seconds"]
        for name, each in stateful.items():
            each.restore(state[name])
    last = stack.run.epochs * stack.updates
    saved = time.monotonic()
    while True:
        now, in_forward_pass = _due(stack.run, update, last)
        if now:
            history.add(update, seconds, evaluator.evaluate(now, update, backend))
        if update == last:
            break
        stop = _next_stop(stack, update, last)
        stack.synchronize()
        began = time.perf_counter()
        forward = backend.advance(update, stop)
        stack.synchronize()
        if forward is not None:
            values = dict(zip(_FORWARD_METRICS, forward, strict=True))
            history.add(update, seconds, {name: values[name] for name in in_forward_pass})
        update, seconds = stop, seconds + (time.perf_counter() - began) / len(runs)
        if progress is not None:
            progress(update, last)
        if save is not None and time.monotonic() - saved >= SAVE_SECONDS:
            states = {name: each.state() for name, each in stateful.items()}
            save({"update": update, "seconds": seconds, **states})
            saved = time.monotonic()
    weights = stack.with_all_inputs(backend.as_torch().weights)
    frames = history.frames(len(runs), stack.updates)
    return [TrainingResult(frame, [layer[r] for layer in weights]) for r, frame in enumerate(frames)]


def _backend(stack: Stack) -> TorchBackend | NumbaBackend:
    """Return the stack's back end, compiled."""
    if NumbaBackend is not None and stack.device.type == "cpu":
        try:
            if uses_numba(stack.run, stack.device):
                return NumbaBackend(stack)
            SparseInputs.compile(stack.dtype)
            return TorchBackend(stack, SparseInputs)
        except MemoryError:  # a smaller stack may fit
            raise
        except Exception as error:  # numba may fail to compile, to find threads, or to write its cache
            _do_without_numba(error)
    return TorchBackend(stack)


def _due(run: Run, update: int, last: int) -> tuple[set[str], set[str]]:
    """Return the metrics due after `update`: those to measure now, and those that come with the next forward pass."""
    due = {name for measure in run.measures if measure.due(update, last) for name in measure.metrics}
    free = due.intersection(_FORWARD_METRICS) if run.batch_size is None and update < last else set()
    return due - free, free


def _next_stop(stack: Stack, update: int, last: int) -> int:
    """Return the next update after which something is measured or an epoch ends."""
    end = (update // stack.updates + 1) * stack.updates
    stops = range(update + 1, end)
    return next((stop for stop in stops if any(m.due(stop, last) for m in stack.run.measures)), end)


def uses_numba(run: Run, device: torch.device) -> bool:
    """Return whether numba trains the run; full batches of narrow networks and deeper networks suit torch better."""
    if NumbaBackend is None or device.type != "cpu" or len(run.hidden) > 1:
        return False
    return run.batch_size is not None or run.hidden[0] >= 32


def backend_name(runs: Sequence[Run], device: torch.device) -> str:
    """Return the name of a stack's back end and device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{'numba' if uses_numba(runs[0], device) else 'torch'} on {name}"


def estimate_flops(run: Run) -> float:
    """Return an estimate of a run's floating-point operations: two per weight and example for each of three passes."""
    examples = run.train_examples or TRAIN_EXAMPLES - run.validation_examples
    return 2.0 * run.epochs * examples * (2 * num_parameters(run.sizes) + num_parameters(run.sizes[1:]))


def form_stacks(runs: Sequence[Run], data: Data, device: torch.device) -> list[list[Run]]:
    """Group runs by batch key, into stacks that fit into the device's memory and do not take too long."""
    groups: dict[Run, list[Run]] = {}
    for run in runs:
        groups.setdefault(batch_key(run), []).append(run)
    stacks = []
    for key, group in groups.items():
        size = _stack_size(key, data, device)
        stacks += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return stacks


def _stack_size(run: Run, data: Data, device: torch.device) -> int:
    """Return the number of runs of one batch key that form a stack."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        if uses_numba(run, device):  # one run per thread
            return threads * max(1, int(STACK_SECONDS * NUMBA_SPEED / estimate_flops(run)))
        return max(4, int(STACK_SECONDS * TORCH_SPEED * threads / estimate_flops(run)))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2**32
    images = 2 * (data.train_images.nbytes + data.test_images.nbytes)
    labels_and_order = 24 * (len(data.train_labels) + len(data.test_labels))
    weights = 4 * num_parameters(run.sizes) * (6 + update_rule(run.optimizer).states)
    batch = 4 * (run.batch_size or 0) * 4 * sum(run.sizes)
    each, left = labels_and_order + weights + batch, 0.8 * free - images
    # of a chunk, which holds IN_MEMORY activations or, where these are fewer, those of all examples
    activations = 12 * 4 * IN_MEMORY
    all_activations = 12 * 4 * len(data.train_labels) * sum(run.hidden)
    return max(1, int((left - activations) / each), int(left / (each + all_activations)))
