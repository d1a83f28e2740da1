"""Trains a stack: runs of one shape as one batched network with a leading run axis.

Learning rates, seeds, starts, orders of examples and training sets differ along that axis; everything else is
equal. Two back ends compute the same numbers up to rounding: `_Dense` (torch: any network, any device) and
`_Sparse` (numba: one hidden layer on a CPU, where most of an image being zero pays).
Which one works is decided here by shape and device.

Shapes: R runs; layer l = 1 … L of h_l units; n examples of a chunk.

    weights W_l            (R, h_l, h_{l-1} + 1), bias last
    activations a_l        (R, h_l, n): feature-major, so that every product is one batched matrix product
    inputs a_0             (p + 1, n) if all runs see the same images, else (R, p + 1, n); a last row of ones
    labels                 (R, n): permuted labels are a run's own

Only the p pixels that are ever non-zero take part: the weights of the others keep their start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from analysis.network import initial, order, parameters, training_rows, validation_rows
from analysis.runs import CLASSES, METRICS, TRAIN_EXAMPLES, Run

if TYPE_CHECKING:
    from analysis.data import Data

try:
    from analysis import sparse
except ImportError:  # numba is optional: torch does all the work without it
    sparse = None  # type: ignore[assignment]

State: TypeAlias = dict[str, Any]

SAVE_SECONDS = 60  # at most one checkpoint in that time
STACK_SECONDS = (
    20 * 60
)  # a stack on a CPU should not take longer, so that little is lost when it is interrupted


@dataclass(frozen=True)
class Trained:
    """What a run leaves behind.

    Attributes:
        rows: One row per measured value: epoch, update, seconds, metric, index, value.
            `seconds` is the training time so far, evaluation left out: the stack's time over the number of its runs.
        weights: W_1 … W_L at the end, each (h_l, h_{l-1} + 1) with the bias as last column, all 784 inputs.
    """

    rows: pd.DataFrame
    weights: list[Tensor]


def train(
    runs: Sequence[Run],
    data: Data,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    state: State | None = None,
    save: Callable[[State], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trained]:
    """Trains the runs of one stack.

    Args:
        runs: As one of the lists that `stacks` returns.
        data: Images and labels.
        device: Where to compute.
        dtype: Of weights and activations.
        state: From `save`, to continue from; bitwise the same result on the same machine.
        save: Called with the state at most every `SAVE_SECONDS`.
        progress: Called with the updates done and their total.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    flushes = torch.set_flush_denormal(True)  # dying units would otherwise be ten times slower
    try:
        return _train(runs, data, device, dtype, state, save, progress)
    finally:
        if flushes:
            torch.set_flush_denormal(False)


@torch.no_grad()
def _train(
    runs: Sequence[Run],
    data: Data,
    device: torch.device,
    dtype: torch.dtype,
    state: State | None,
    save: Callable[[State], None] | None,
    progress: Callable[[int, int], None] | None,
) -> list[Trained]:
    stack = _Stack.of(runs, data, device, dtype)
    engine: _Dense | _Sparse = (_Sparse if _is_sparse(runs[0], device) else _Dense)(stack)
    log = _Log()
    update, seconds = 0, 0.0
    if state is not None:
        update, seconds = state["update"], state["seconds"]
        engine.restore(state)
        log.restore(state)
    run = runs[0]
    last = run.epochs * stack.updates
    saved = time.monotonic()
    while True:
        due = {name for measure in run.measures if measure.due(update, last) for name in measure.metrics}
        from_step = _LOSSES & due if run.batch_size is None and update < last else set()
        for metric, values in measure(engine, due - from_step).items():
            log.add(metric, update, seconds, values)
        if update == last:
            break
        stop = next(
            u
            for u in range(update + 1, last + 1)
            if u % stack.updates == 0 or any(measure.due(u, last) for measure in run.measures)
        )
        began = time.perf_counter()
        before = engine.advance(update, stop)
        stack.synchronize()
        step_seconds = (time.perf_counter() - began) / len(runs)
        for metric in from_step:
            log.add(metric, update, seconds, before[metric])
        update, seconds = stop, seconds + step_seconds
        if progress is not None:
            progress(update, last)
        if save is not None and time.monotonic() - saved > SAVE_SECONDS:
            save({"update": update, "seconds": seconds, **engine.state(), **log.state()})
            saved = time.monotonic()
    weights = stack.uncropped(engine.weights)
    return [
        Trained(log.frame(number, stack.updates), [layer[number].cpu() for layer in weights])
        for number in range(len(runs))
    ]


_LOSSES = {"train_loss", "train_accuracy"}


@dataclass(frozen=True)
class _Part:
    """Images, labels and which of them the runs see.

    Attributes:
        images: (N, p + 1), the last column ones.
        labels: (R, N).
        rows: (R, n), or (n,) if all runs see the same images.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor

    @property
    def shared(self) -> bool:
        return self.rows.ndim == 1

    def __len__(self) -> int:
        return self.rows.shape[-1]


@dataclass(frozen=True)
class _Stack:
    """The runs, their data on the device, and their start."""

    runs: Sequence[Run]
    device: torch.device
    dtype: torch.dtype
    kept: Tensor
    digits: Tensor
    train: _Part
    validation: _Part
    test: _Part

    @classmethod
    def of(cls, runs: Sequence[Run], data: Data, device: torch.device, dtype: torch.dtype) -> _Stack:
        if {_shape(run) for run in runs} != {_shape(runs[0])}:
            raise ValueError("these runs do not have one shape: see stacks()")
        kept = data.train_images.any(0) | data.test_images.any(0)

        def with_ones(images: Tensor) -> Tensor:
            cropped = images[:, kept].to(device, dtype)
            return torch.cat([cropped, cropped.new_ones(len(cropped), 1)], 1)

        classes = torch.tensor([run.labels for run in runs], device=device)
        digits, test_digits = data.train_labels.to(device), data.test_labels.to(device)
        train_images, test_images = with_ones(data.train_images), with_ones(data.test_images)
        rows = [training_rows(run, len(digits)).to(device) for run in runs]
        same = all(run.train_subset == runs[0].train_subset for run in runs)
        train = _Part(train_images, classes[:, digits], rows[0] if same else torch.stack(rows))
        held_out = validation_rows(runs[0], len(digits)).to(device)
        return cls(
            runs=runs,
            device=device,
            dtype=dtype,
            kept=kept,
            digits=digits,
            train=train,
            validation=replace(train, rows=held_out),
            test=_Part(test_images, classes[:, test_digits], torch.arange(len(test_digits), device=device)),
        )

    @property
    def batch(self) -> int:
        """Examples per update."""
        return min(self.runs[0].batch_size or len(self.train), len(self.train))

    @property
    def updates(self) -> int:
        """Updates per epoch."""
        return -(-len(self.train) // self.batch)

    def start(self) -> list[Tensor]:
        """W_1 … W_L of all runs at the start, cropped."""
        layers = [
            torch.stack(layer) for layer in zip(*(initial(run, self.dtype) for run in self.runs), strict=True)
        ]
        bias = torch.ones(1, dtype=torch.bool)
        layers[0] = layers[0][:, :, torch.cat([self.kept, bias])]
        return [layer.to(self.device) for layer in layers]

    def uncropped(self, weights: list[Tensor]) -> list[Tensor]:
        """Weights for all inputs: those that were cropped away have kept their start."""
        first = torch.stack([initial(run, self.dtype)[0] for run in self.runs]).to(self.device)
        first[:, :, torch.cat([self.kept, torch.ones(1, dtype=torch.bool)]).to(self.device)] = weights[0]
        return [first, *weights[1:]]

    def rates(self, begin: int, end: int) -> Tensor:
        """η of every run at the updates begin … end - 1: (end - begin, R), in float64 on the CPU."""
        rate, decay = (
            torch.tensor([getattr(run, name) for run in self.runs], dtype=torch.float64)
            for name in ("learning_rate", "decay")
        )
        epochs = torch.arange(begin, end, dtype=torch.float64) / self.updates
        return rate / (1 + epochs[:, None] * decay)

    def order(self, epoch: int) -> Tensor:
        """Rows of the training images in the order of an epoch: (R, n)."""
        rows = self.train.rows.expand(len(self.runs), -1)
        return torch.stack(
            [
                own[order(run, epoch, self.digits[own]).to(self.device)]
                for run, own in zip(self.runs, rows, strict=True)
            ]
        )

    def synchronize(self) -> None:
        """Waits until the device has done its work, so that clocks tell the truth."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()


class _Log:
    """Measured values, one column of tensors per metric, fetched from the device in bulk."""

    def __init__(self) -> None:
        self._updates: dict[str, list[int]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._values: dict[str, list[Tensor]] = {}

    def add(self, metric: str, update: int, seconds: float, values: Tensor) -> None:
        """Takes note of values of shape (R,) or (R, index)."""
        self._updates.setdefault(metric, []).append(update)
        self._seconds.setdefault(metric, []).append(seconds)
        self._values.setdefault(metric, []).append(values.reshape(len(values), -1))

    def state(self) -> State:
        return {
            "measured": {
                metric: {
                    "updates": self._updates[metric],
                    "seconds": self._seconds[metric],
                    "values": torch.stack(values).cpu(),
                }
                for metric, values in self._values.items()
            }
        }

    def restore(self, state: State) -> None:
        for metric, columns in state["measured"].items():
            self._updates[metric] = list(columns["updates"])
            self._seconds[metric] = list(columns["seconds"])
            self._values[metric] = list(columns["values"])

    def frame(self, number: int, updates_per_epoch: int) -> pd.DataFrame:
        """The rows of one run, in the order of updates and of METRICS."""
        frames = []
        for metric in (name for name in METRICS if name in self._values):
            values = torch.stack([value[number].cpu() for value in self._values[metric]]).double()
            indices = values.shape[1]
            updates = torch.tensor(self._updates[metric]).repeat_interleave(indices)
            frames.append(
                pd.DataFrame(
                    {
                        "epoch": updates.double().numpy() / updates_per_epoch,
                        "update": updates.numpy(),
                        "seconds": torch.tensor(self._seconds[metric])
                        .double()
                        .repeat_interleave(indices)
                        .numpy(),
                        "metric": metric,
                        "index": torch.arange(
                            _FIRST_INDEX.get(metric, 0), indices + _FIRST_INDEX.get(metric, 0)
                        )
                        .repeat(len(values))
                        .numpy(),
                        "value": values.flatten().numpy(),
                    }
                )
            )
        return pd.concat(frames).sort_values("update", kind="stable", ignore_index=True)


_FIRST_INDEX = {"gradient_norm": 1, "unit_distance": 1}  # layers count from 1, classes from 0


def measure(engine: _Dense | _Sparse, metrics: set[str]) -> dict[str, Tensor]:
    """The metrics of the engine's present weights, each (R,) or (R, index)."""
    stack, measured = engine.stack, {}
    for name, part in (("train", stack.train), ("validation", stack.validation), ("test", stack.test)):
        wanted = {f"{name}_loss", f"{name}_accuracy"}
        if wanted & metrics:
            measured |= dict(zip((f"{name}_loss", f"{name}_accuracy"), engine.evaluate(part), strict=True))
    return {metric: measured[metric] for metric in metrics}


# ---------------------------------------------------------------------------------------------------- torch


class _Dense:
    """The stack as batched matrix products, with the backward pass written out."""

    def __init__(self, stack: _Stack) -> None:
        self.stack = stack
        self.weights = stack.start()
        self._epoch = -1
        self._order = torch.empty(0)
        units = len(stack.runs) * sum(stack.runs[0].sizes[1:])
        limit = (
            2**22 if stack.device.type == "cpu" else 2**28
        )  # activations that stay in cache, or fit memory
        self._chunk = max(256, limit // units)

    def state(self) -> State:
        return {"weights": [layer.cpu() for layer in self.weights]}

    def restore(self, state: State) -> None:
        self.weights = [layer.to(self.stack.device, copy=True) for layer in state["weights"]]

    def chunks(self, part: _Part) -> Iterator[tuple[Tensor, Tensor]]:
        """A part's inputs a_0 and labels, cut into chunks of examples."""
        for begin in range(0, len(part), self._chunk):
            yield self._examples(part, part.rows[..., begin : begin + self._chunk])

    def _examples(self, part: _Part, rows: Tensor) -> tuple[Tensor, Tensor]:
        if rows.ndim == 1:
            return part.images[rows].mT, part.labels[:, rows]
        return part.images[rows].mT, part.labels.gather(1, rows)

    def evaluate(self, part: _Part) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy, (R,) each."""
        sums = torch.zeros(2, len(self.stack.runs), dtype=self._sum_dtype, device=self.stack.device)
        for inputs, labels in self.chunks(part):
            sums += self._loss(self._forward(inputs)[0], labels)
        return _means(sums, len(part))

    @property
    def _sum_dtype(self) -> torch.dtype:
        return torch.float32 if self.stack.device.type == "mps" else torch.float64

    def advance(self, begin: int, end: int) -> dict[str, Tensor]:
        """Updates begin … end - 1, all of one epoch; full batches return train loss and accuracy before them."""
        stack = self.stack
        rates = stack.rates(begin, end).to(stack.device, stack.dtype)[:, :, None, None]
        if stack.runs[0].batch_size is None:
            (rate,) = rates
            sums = torch.zeros(2, len(stack.runs), dtype=self._sum_dtype, device=stack.device)
            gradient = [torch.zeros_like(layer) for layer in self.weights]
            for inputs, labels in self.chunks(stack.train):
                logits, activations = self._forward(inputs)
                sums += self._loss(logits, labels)
                self._backward(self._error(logits, labels), activations, gradient)
            for layer, slope in zip(self.weights, gradient, strict=True):
                layer -= rate / len(stack.train) * slope
            return dict(zip(("train_loss", "train_accuracy"), _means(sums, len(stack.train)), strict=True))
        epoch = begin // stack.updates
        if epoch != self._epoch:
            self._epoch, self._order = epoch, stack.order(epoch)
        for update, rate in zip(range(begin, end), rates, strict=True):
            first = update % stack.updates * stack.batch
            rows = self._order[:, first : first + stack.batch]
            inputs, labels = self._examples(stack.train, rows)
            logits, activations = self._forward(inputs)
            # the error times -η / n at the logits makes the gradients, added to the weights, the update itself
            error = self._error(logits, labels).mul_(rate / -rows.shape[1])
            self._backward(error, activations, self.weights)
        return {}

    def _forward(self, inputs: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits (R, h_L, n), and of every hidden layer φ(z_l) and a_l (which differ by a skip connection)."""
        run = self.stack.runs[0]
        z = torch.matmul(self.weights[0], inputs)
        a, hidden = inputs, [(inputs, inputs)]
        for layer in self.weights[1:]:
            match run.activation:
                case "sigmoid":
                    phi = z.sigmoid_()
                case "tanh":
                    phi = z.tanh_()
                case "relu":
                    phi = z.relu_()
            a = phi + a if run.skip and len(hidden) > 1 else phi
            hidden.append((phi, a))
            z = torch.baddbmm(layer[:, :, -1:], layer[:, :, :-1], a)
        return z, hidden

    def _backward(self, error: Tensor, hidden: list[tuple[Tensor, Tensor]], into: list[Tensor]) -> None:
        """Adds the gradients to `into`, which may be the weights themselves.

        Args:
            error: δ_L = ∂loss/∂z_L, (R, h_L, n).
            hidden: From `_forward`.
            into: Like the weights.
        """
        run = self.stack.runs[0]
        skipped = None
        for number in range(len(into) - 1, 0, -1):
            phi, a = hidden[number]
            below = self.weights[number][:, :, :-1].mT @ error  # ∂loss/∂a_{l-1}
            if skipped is not None:
                below += skipped
            into[number][:, :, :-1].baddbmm_(error, a.mT)
            into[number][:, :, -1] += error.sum(2)
            skipped = below.clone() if run.skip else None
            match run.activation:
                case "sigmoid":
                    error = below.mul_(phi).mul_(1 - phi)
                case "tanh":
                    error = below.mul_(1 - phi * phi)
                case "relu":
                    error = below.mul_(phi > 0)
        inputs = hidden[0][0]
        if inputs.ndim == 2:
            into[0].view(-1, len(inputs)).addmm_(error.flatten(0, 1), inputs.T)
        else:
            into[0].baddbmm_(error, inputs.mT)

    def _outputs(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the quadratic loss compares, (R, h_L, n) each: outputs and targets."""
        run = self.stack.runs[0]
        if run.target == "one_hot":
            targets = torch.zeros_like(logits).scatter_(1, labels[:, None], 1)
        else:
            targets = labels[:, None].to(logits.dtype) / (CLASSES - 1)
        return (logits.softmax(1) if run.output == "softmax" else logits.sigmoid()), targets

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Summed loss and number of correct answers of a chunk: (2, R)."""
        run = self.stack.runs[0]
        if run.target == "one_hot":
            answers = logits.argmax(1)
        else:
            answers = (logits.sigmoid()[:, 0] * (CLASSES - 1)).round().nan_to_num(-1).long()
        if run.loss == "cross_entropy":
            losses = logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]
        else:
            outputs, targets = self._outputs(logits, labels)
            losses = (outputs - targets).square().sum(1) / 2
        return torch.stack([losses.sum(1), (answers == labels).sum(1).to(losses.dtype)])

    def _error(self, logits: Tensor, labels: Tensor) -> Tensor:
        """δ_L = ∂loss/∂z_L of every example, (R, h_L, n)."""
        run = self.stack.runs[0]
        outputs, targets = self._outputs(logits, labels)
        if run.loss == "cross_entropy":
            return outputs - targets
        slope = outputs - targets
        if run.output == "softmax":
            return outputs * (slope - (outputs * slope).sum(1, keepdim=True))
        return slope * outputs * (1 - outputs)


def _means(sums: Tensor, examples: int) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy from their sums; a network whose loss is no number answers nothing, so has no accuracy."""
    loss, correct = sums / examples
    return loss, correct.where(~loss.isnan(), loss)


# ---------------------------------------------------------------------------------------------------- numba


class _Sparse:
    """The stack as sparse products, one run per thread. Its arrays are named as in `sparse`."""

    def __init__(self, stack: _Stack) -> None:
        self.stack = stack
        self._images: dict[int, Any] = {}
        self._epoch = -1
        self._order = torch.empty(0)
        self.restore({"weights": stack.start()})

    @property
    def weights(self) -> list[Tensor]:
        return [self._first.mT, torch.cat([self._second, self._bias[:, :, None]], 2)]

    def state(self) -> State:
        return {"weights": [layer.contiguous() for layer in self.weights]}

    def restore(self, state: State) -> None:
        first, second = state["weights"]
        self._first = first.mT.contiguous()
        self._second, self._bias = second[:, :, :-1].contiguous(), second[:, :, -1].contiguous()

    def _rows(self, images: Tensor) -> Any:
        if id(images) not in self._images:
            self._images[id(images)] = sparse.rows(images)
        return self._images[id(images)]

    @property
    def _network(self) -> tuple[Any, ...]:
        return self._first.numpy(), self._second.numpy(), self._bias.numpy()

    @property
    def _kind(self) -> tuple[int, int]:
        run = self.stack.runs[0]
        loss = ["cross_entropy", "softmax", "sigmoid"].index(
            "cross_entropy" if run.loss == "cross_entropy" else run.output
        )
        return ["sigmoid", "tanh", "relu"].index(run.activation), loss

    def evaluate(self, part: _Part) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy, (R,) each."""
        sums = torch.zeros(2, len(self.stack.runs), dtype=torch.float64)
        rows = part.rows.expand(len(self.stack.runs), -1)
        sparse.evaluate(
            *self._network,
            self._rows(part.images),
            rows.numpy(),
            part.labels.numpy(),
            *self._kind,
            *sums.numpy(),
        )
        return _means(sums, len(part))

    def advance(self, begin: int, end: int) -> dict[str, Tensor]:
        """Updates begin … end - 1, all of one epoch; full batches return train loss and accuracy before them."""
        stack = self.stack
        epoch = begin // stack.updates
        if epoch != self._epoch and not (stack.runs[0].batch_size is None and self._epoch >= 0):
            self._epoch, self._order = epoch, stack.order(epoch)
        first = begin % stack.updates * stack.batch
        examples = self._order[:, first : first + (end - begin) * stack.batch]
        sums = torch.zeros(2, len(stack.runs), end - begin, dtype=torch.float64)
        sparse.descend(
            *self._network,
            self._rows(stack.train.images),
            examples.numpy(),
            stack.train.labels.numpy(),
            stack.batch,
            stack.rates(begin, end).mT.contiguous().numpy(),
            *self._kind,
            *sums.numpy(),
        )
        if stack.runs[0].batch_size is not None:
            return {}
        return dict(
            zip(("train_loss", "train_accuracy"), _means(sums[:, :, 0], len(stack.train)), strict=True)
        )


# --------------------------------------------------------------------------------------------------- choices


def _is_sparse(run: Run, device: torch.device) -> bool:
    """Whether the sparse kernel takes less time than the torch stack."""
    return (
        sparse is not None
        and device.type == "cpu"
        and len(run.hidden) == 1
        and run.hidden[0] > 16
        and run.optimizer == "sgd"
    )


def _shape(run: Run) -> Run:
    """What runs must have in common to be one stack: the run with everything set aside that may differ."""
    return replace(
        run,
        learning_rate=1.0,
        decay=0.0,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        init="uniform_fan_in",
        init_scale=1.0,
        labels=tuple(range(CLASSES)),
        order="shuffled",
        train_subset=run.train_subset if run.batch_size is None else 0,  # full batches share their images
        seed=0,
    )


def work(run: Run) -> float:
    """Floating-point operations of a run, estimated: two per weight, example and pass."""
    examples = run.train_examples or TRAIN_EXAMPLES - run.validation_examples
    upper = parameters(run.sizes[1:])
    return 2.0 * run.epochs * examples * (2 * parameters(run.sizes) + upper)


def backend(runs: Sequence[Run], device: torch.device) -> str:
    """What computes a stack: torch or the sparse kernel, and on which device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{'numba' if _is_sparse(runs[0], device) else 'torch'} on {name}"


def stacks(runs: Sequence[Run], data: Data, device: torch.device) -> list[list[Run]]:
    """Groups runs of one shape into stacks that the device's memory holds."""
    groups: dict[Run, list[Run]] = {}
    for run in runs:
        groups.setdefault(_shape(run), []).append(run)
    result = []
    for shape, group in groups.items():
        size = _stack_size(shape, data, device)
        result += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return result


def _stack_size(run: Run, data: Data, device: torch.device) -> int:
    """How many runs of this shape make a stack."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        speed = 1.4e11 * threads if _is_sparse(run, device) else 5e10 * threads
        size = int(STACK_SECONDS * speed / work(run))
        return max(threads, size // threads * threads) if _is_sparse(run, device) else max(4, size)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = 2**32
    images = 4 * (data.train_images.numel() + data.test_images.numel())
    batch = run.batch_size or 0
    per_run = 4 * (6 * parameters(run.sizes) + len(data.train_labels) * 4 + batch * 4 * (sum(run.sizes)))
    return max(1, int((0.8 * free - 2 * images - 2**31) // per_run))
