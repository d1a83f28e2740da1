"""Training by sparse products in numba: networks of one hidden layer on a CPU, one run per thread.

Four of five pixels are zero, so the first layer's products touch only what is not:
with X the images of a chunk of examples (n, p + 1), sparse by rows, its last column ones for the bias,
and W = W_1ᵀ (p + 1, h), V = W_2 (k, h), c the output's bias (k,),

    A = φ(X W)                          activations          (n, h)
    O = A Vᵀ + c                        logits               (n, k)
    Δ = ∂loss/∂O                        error at the logits  (n, k)
    ∂loss/∂V = Δᵀ A,  ∂loss/∂c = Σ Δ
    D = (Δ V) ∘ φ′                      error at the units   (n, h)
    ∂loss/∂W = Xᵀ D                     with Xᵀ sparse by rows as well: each chunk is transposed

Every product adds multiples of contiguous rows, `combine`, the one loop that takes nearly all the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np
import torch
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from analysis.engine.run import CLASSES
from analysis.engine.stack import Part, Stack, mean_and_confusion
from analysis.engine.torch_backend import TorchBackend

Array: TypeAlias = NDArray[Any]

_THREADS = numba.get_num_threads()  # at most
LINE = 64  # bytes of a cache line: rows that begin with one are read fastest
CHUNK = 512  # examples at a time: the more, the longer the sums that are added to a weight; their errors stay in cache

# Sums may be reordered and multiplications fused; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


class Rows(NamedTuple):
    """A sparse matrix by rows: row i has values[starts[i]:stops[i]] in columns[starts[i]:stops[i]]."""

    starts: Array
    stops: Array
    columns: Array
    values: Array


def rows(matrices: Sequence[Tensor]) -> Rows:
    """TorchBackend matrices, one below the other, as one sparse matrix."""
    entries = []
    for matrix in matrices:
        row, column = matrix.nonzero(as_tuple=True)
        entries.append(
            (torch.bincount(row, minlength=len(matrix)), column.to(torch.uint16), matrix[row, column])
        )
    counts, columns, values = (torch.cat(parts) for parts in zip(*entries, strict=True))
    stops = counts.cumsum(0)
    return Rows(*(part.numpy() for part in (stops - counts, stops, columns, values)))


@numba.njit(fastmath=_SUMS)
def combine(out: Array, values: Array, columns: Array, dense: Array) -> None:
    """out += Σ_i values[i] · dense[columns[i]]: eight rows at a time, so that out is loaded and stored seldom."""
    n, i = len(values), 0
    while i + 8 <= n:
        v0, v1, v2, v3 = values[i], values[i + 1], values[i + 2], values[i + 3]
        v4, v5, v6, v7 = values[i + 4], values[i + 5], values[i + 6], values[i + 7]
        r0, r1, r2, r3 = (
            dense[columns[i]],
            dense[columns[i + 1]],
            dense[columns[i + 2]],
            dense[columns[i + 3]],
        )
        r4, r5, r6, r7 = (
            dense[columns[i + 4]],
            dense[columns[i + 5]],
            dense[columns[i + 6]],
            dense[columns[i + 7]],
        )
        for j in range(len(out)):
            sum0 = v0 * r0[j] + v1 * r1[j] + v2 * r2[j] + v3 * r3[j]
            out[j] += sum0 + v4 * r4[j] + v5 * r5[j] + v6 * r6[j] + v7 * r7[j]
        i += 8
    while i < n:
        v, r = values[i], dense[columns[i]]
        for j in range(len(out)):
            out[j] += v * r[j]
        i += 1


def exp(x: float) -> float:
    """eˣ within some units in the last place of x's type, written so that loops over it become vector code.

    With n the integer nearest to x / ln 2, eˣ = 2ⁿ e^{x - n ln 2}, the latter by its Taylor polynomial.
    Adding 1.5 · 2⁵² (for float32 1.5 · 2²³) rounds to that integer and leaves it in the low bits, from where it is
    shifted into an exponent.
    """
    raise NotImplementedError("for compiled code only")


@overload(exp, jit_options={"fastmath": {"contract"}})
def _exp(x: Any) -> Any:
    def exp32(x: Any) -> Any:
        x = np.float32(-87.0) if x < np.float32(-87.0) else x
        x = np.float32(88.0) if x > np.float32(88.0) else x
        shifted = x * np.float32(1.4426950408889634) + np.float32(12582912.0)
        n = shifted - np.float32(12582912.0)
        r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        p = np.float32(1.0 / 5040.0)
        p = p * r + np.float32(1.0 / 720.0)
        p = p * r + np.float32(1.0 / 120.0)
        p = p * r + np.float32(1.0 / 24.0)
        p = p * r + np.float32(1.0 / 6.0)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1.0)
        p = p * r + np.float32(1.0)
        power = (np.float32(shifted).view(np.int32) + np.int32(127)) << np.int32(23)
        return p * np.int32(power).view(np.float32)

    def exp64(x: Any) -> Any:
        x = -700.0 if x < -700.0 else x
        x = 700.0 if x > 700.0 else x
        shifted = x * 1.4426950408889634 + 6755399441055744.0
        n = shifted - 6755399441055744.0
        r = x - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10
        p = 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        power = (np.float64(shifted).view(np.int64) + 1023) << 52
        return p * np.int64(power).view(np.float64)

    return exp32 if x == numba.types.float32 else exp64


@numba.njit(fastmath=_SUMS)
def add_product(out: Array, matrix: Rows, which: Array, dense: Array) -> None:
    """out += S dense, with S the rows `which` of a sparse matrix."""
    for i in range(len(which)):
        start, stop = matrix.starts[which[i]], matrix.stops[which[i]]
        combine(out[i], matrix.values[start:stop], matrix.columns[start:stop], dense)


@numba.njit(fastmath=_SUMS)
def add_outer(out: Array, matrix: Rows, which: Array, dense: Array) -> None:
    """out += Sᵀ dense like `add_product` of the transpose, one entry of S after the other."""
    for i in range(len(which)):
        for k in range(matrix.starts[which[i]], matrix.stops[which[i]]):
            value, row = matrix.values[k], out[matrix.columns[k]]
            for j in range(out.shape[1]):
                row[j] += value * dense[i, j]


@numba.njit(error_model="numpy")
def transpose(out: Rows, matrix: Rows, which: Array) -> None:
    """out = Sᵀ with S the rows `which` of a sparse matrix; every row of out has room for a value of each of them."""
    for column in range(len(out.starts)):
        out.starts[column] = out.stops[column] = column * len(which)
    for position in range(len(which)):
        i = which[position]
        for k in range(matrix.starts[i], matrix.stops[i]):
            end = out.stops[matrix.columns[k]]
            out.columns[end] = position
            out.values[end] = matrix.values[k]
            out.stops[matrix.columns[k]] = end + 1


@numba.njit(error_model="numpy")
def activate(z: Array, activation: int) -> None:
    """z becomes φ(z), in place."""
    if activation == 0:
        one = z.dtype.type(1)  # of z's type, so that everything is
        for j in range(len(z)):
            z[j] = one / (one + exp(-z[j]))
    elif activation == 1:  # in float64, as most digits of a small tanh cancel
        for j in range(len(z)):
            z[j] = 1.0 - 2.0 / (1.0 + exp(2.0 * z[j]))
    else:
        for j in range(len(z)):
            z[j] = 0.0 if z[j] < 0.0 else z[j]


@numba.njit(error_model="numpy")
def through_activation(d: Array, a: Array, activation: int) -> None:
    """d becomes d ∘ φ′, in place, with φ′ written in terms of a = φ(z)."""
    if activation == 0:
        for j in range(len(d)):
            d[j] *= a[j] - a[j] * a[j]
    elif activation == 1:
        for j in range(len(d)):
            d[j] -= d[j] * a[j] * a[j]
    else:
        for j in range(len(d)):
            d[j] = d[j] if a[j] > 0 else a[j] - a[j]


@numba.njit(error_model="numpy")
def answer(logits: Array, label: int, loss: int, output: int) -> tuple[float, int]:
    """Loss of one example, and the class that it is taken for; logits become ∂loss/∂logits.

    The loss is 0: cross entropy, 1: quadratic; the output is 0: softmax, 1: sigmoid.
    With a single logit the label's ninth is the target.
    """
    classes = len(logits)
    best = 0
    for j in range(1, classes):
        if logits[j] > logits[best]:
            best = j
    value = 0.0
    if output == 1:
        for j in range(classes):
            target = label / 9.0 if classes == 1 else (1.0 if j == label else 0.0)
            p = 1.0 / (1.0 + exp(-logits[j]))
            if classes == 1 and p == p:
                best = round(9.0 * p)
            value += 0.5 * (p - target) ** 2
            logits[j] = (p - target) * p * (1.0 - p)
        return value, best
    top, own, total, inner = logits[best], logits[label], 0.0, 0.0
    for j in range(classes):
        logits[j] = exp(logits[j] - top)
        total += logits[j]
    for j in range(classes):
        logits[j] /= total
    if loss == 0:
        value = math.log(total) + top - own
        logits[label] -= 1
        return value, best
    for j in range(classes):
        difference = logits[j] - (1.0 if j == label else 0.0)
        value += 0.5 * difference**2
        inner += logits[j] * difference
    for j in range(classes):
        logits[j] *= logits[j] - (1.0 if j == label else 0.0) - inner
    return value, best


class Layers(NamedTuple):
    """W = W_1ᵀ (…, p + 1, w), V (…, k, h) and c (…, k), or what is shaped like them; … may be a run axis.

    Rows of W fill whole cache lines: columns h … w - 1 belong to no unit, and as no error reaches them, they stay 0.
    """

    first: Array
    second: Array
    bias: Array


class Kind(NamedTuple):
    """The numbers of a network's activation, loss, output and optimizer, in the order of their names below."""

    activation: int
    loss: int
    output: int
    optimizer: int


class Numbers(NamedTuple):
    """What an update t needs: η, η / (1 - β₁ᵗ), 1 / √(1 - β₂ᵗ), 1 - β₁, 1 - β₂, ε, all of the weights' type."""

    rate: float
    step: float
    root: float
    rest1: float
    rest2: float
    epsilon: float


_NAMES = {
    "activation": ("sigmoid", "tanh", "relu"),
    "loss": ("cross_entropy", "quadratic"),
    "output": ("softmax", "sigmoid"),
    "optimizer": ("sgd", "adam"),
}


@numba.njit(fastmath=_SUMS)
def forward(a: Array, o: Array, layers: Layers, images: Rows, which: Array, activation: int) -> None:
    """Activations A and logits O of the images `which`, into the first rows of a and o."""
    n = len(which)
    a[:n] = 0
    add_product(a, images, which, layers.first)
    for i in range(n):
        activate(a[i], activation)
        for k in range(len(layers.bias)):
            total = layers.bias[k]
            for j in range(layers.second.shape[1]):
                total += a[i, j] * layers.second[k, j]
            o[i, k] = total


@numba.njit(error_model="numpy")
def _like(dense: Array, n: int) -> Array:
    """Room for n rows of that length and type, in whole cache lines."""
    columns = dense.shape[1]
    room = np.empty(n * columns + LINE // dense.itemsize, dense.dtype)
    begin = -room.ctypes.data % LINE // dense.itemsize
    return room[begin : begin + n * columns].reshape(n, columns)


@numba.njit(error_model="numpy")
def _run(layers: Layers, r: int) -> Layers:
    return Layers(layers.first[r], layers.second[r], layers.bias[r])


@numba.njit(error_model="numpy")
def step(weights: Array, gradient: Array, mean: Array, square: Array, kind: Kind, numbers: Numbers) -> None:
    """One update of flat arrays by gradient descent or Adam; the gradient becomes 0, ready for the next sum."""
    if kind.optimizer == 0:
        for i in range(len(weights)):
            weights[i] -= numbers.rate * gradient[i]
            gradient[i] = 0
        return
    for i in range(len(weights)):
        g = gradient[i]
        mean[i] += numbers.rest1 * (g - mean[i])
        square[i] += numbers.rest2 * (g * g - square[i])
        weights[i] -= numbers.step * mean[i] / (math.sqrt(square[i]) * numbers.root + numbers.epsilon)
        gradient[i] = 0


@numba.njit(error_model="numpy")
def _descend(
    layers: Layers, mean: Layers, square: Layers, images: Rows, flipped: Rows, which: Array, labels: Array, batch: int,
    begin: int, rates: Array, constants: Array, kind: Kind, losses: Array, correct: Array,
) -> None:  # fmt: skip
    """Consecutive updates of one run; see `descend`."""
    number = layers.first.dtype.type
    p, (k, h) = len(layers.first), layers.second.shape
    chunk = min(batch, CHUNK)
    a, d = _like(layers.first, chunk), _like(layers.first, chunk)
    o, error = np.empty((chunk, k), layers.first.dtype), np.empty(chunk, layers.first.dtype)
    everything = np.arange(max(p, k, chunk))
    # Transposing a chunk lets `combine` gather rows of W_1, which pays where there are many and they are long.
    is_flipped = len(flipped.starts) > 0
    transposing = not is_flipped and chunk > 4 and h > 128
    room = chunk * p if transposing else 0
    scratch = Rows(
        np.empty(p, np.int64), np.empty(p, np.int64),
        np.empty(room, images.columns.dtype), np.empty(room, images.values.dtype),
    )  # fmt: skip
    # Where one chunk makes a step of plain descent, it goes to the weights at once, so that only those rows of W_1 are
    # touched whose pixels the chunk uses. Otherwise gradients are summed up first.
    at_once = kind.optimizer == 0 and batch <= chunk
    sums = Layers(
        np.zeros_like(layers.first[: 0 if at_once else p]),
        np.zeros_like(layers.second),
        np.zeros_like(layers.bias),
    )
    into = layers if at_once else sums
    for update in range(len(rates)):
        start, stop = update * batch, min((update + 1) * batch, len(which))
        share = 1 / (stop - start)
        scale = number(-rates[update] * share) if at_once else number(share)
        for chunk_start in range(start, stop, chunk):
            part = which[chunk_start : min(chunk_start + chunk, stop)]
            n = len(part)
            forward(a, o, layers, images, part, kind.activation)
            for i in range(n):
                loss, best = answer(o[i], labels[part[i]], kind.loss, kind.output)
                losses[update] += loss
                correct[update] += best == labels[part[i]]
                for j in range(k):
                    o[i, j] *= scale
                d[i] = 0
                combine(d[i, :h], o[i], everything[:k], layers.second)
                through_activation(d[i], a[i], kind.activation)
            for j in range(k):
                for i in range(n):
                    error[i] = o[i, j]
                    into.bias[j] += error[i]
                combine(into.second[j], error[:n], everything[:n], a)
            if is_flipped:
                add_product(into.first, flipped, chunk_start // chunk * p + everything[:p], d)
            elif transposing:
                transpose(scratch, images, part)
                add_product(into.first, scratch, everything[:p], d)
            else:
                add_outer(into.first, images, part, d)
        if not at_once:
            beta1, beta2, epsilon = constants
            past1, past2 = 1 - beta1 ** (begin + update + 1), 1 - beta2 ** (begin + update + 1)
            numbers = Numbers(
                number(rates[update]), number(rates[update] / past1), number(1 / math.sqrt(past2)),
                number(1 - beta1), number(1 - beta2), number(epsilon),
            )  # fmt: skip
            step(
                layers.first.ravel(),
                sums.first.ravel(),
                mean.first.ravel(),
                square.first.ravel(),
                kind,
                numbers,
            )
            step(
                layers.second.ravel(),
                sums.second.ravel(),
                mean.second.ravel(),
                square.second.ravel(),
                kind,
                numbers,
            )
            step(layers.bias, sums.bias, mean.bias, square.bias, kind, numbers)


@numba.njit(parallel=True, cache=True)
def descend(
    layers: Layers, mean: Layers, square: Layers, images: Rows, flipped: Rows, which: Array, labels: Array, batch: int,
    begin: int, rates: Array, constants: Array, kind: Kind, losses: Array, correct: Array,
) -> None:  # fmt: skip
    """Makes consecutive updates of a stack, one run per thread.

    Args:
        layers, mean, square: Weights and Adam's moments of all runs; changed in place.
        images: NumbaBackend (N, p + 1).
        flipped: If all images make one batch, the transposes of its chunks, one below the other; empty otherwise.
        which: Images in the order in which the updates take them, `batch` each, (R, count).
        labels: (R, N).
        batch: Examples per update.
        begin: Number of the first update.
        rates: η of every update, (R, updates).
        constants: β₁, β₂, ε of Adam, (R, 3).
        kind: What the runs have in common.
        losses, correct: (R, updates); the summed losses and numbers of correct answers of every batch before its
            update are added to them.
    """
    for r in numba.prange(len(rates)):
        _descend(
            _run(layers, r), _run(mean, r), _run(square, r), images, flipped, which[r], labels[r],
            batch, begin, rates[r], constants[r], kind, losses[r], correct[r],
        )  # fmt: skip


@numba.njit(error_model="numpy")
def _evaluate(
    layers: Layers, images: Rows, which: Array, labels: Array, kind: Kind, confusion: Array
) -> float:
    a = _like(layers.first, CHUNK)
    o = np.empty((CHUNK, len(layers.bias)), layers.first.dtype)
    total = 0.0
    for start in range(0, len(which), CHUNK):
        part = which[start : start + CHUNK]
        forward(a, o, layers, images, part, kind.activation)
        for i in range(len(part)):
            label = labels[part[i]]
            loss, best = answer(o[i], label, kind.loss, kind.output)
            total += loss
            confusion[label * CLASSES + best] += 1
    return total


@numba.njit(parallel=True, cache=True)
def evaluate(
    layers: Layers, images: Rows, which: Array, labels: Array, kind: Kind, losses: Array, confusion: Array
) -> None:
    """Adds the summed losses (R,) and confusion (R, 100) of every run on the images `which` (R, count)."""
    for r in numba.prange(len(losses)):
        losses[r] += _evaluate(_run(layers, r), images, which[r], labels[r], kind, confusion[r])


class NumbaBackend:
    """The weights of a stack, trained by the functions above; what they do not do is left to `dense`."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._dense = TorchBackend(stack)
        self._kind = Kind(*(names.index(getattr(stack.run, field)) for field, names in _NAMES.items()))
        self._constants = torch.stack([stack.each(name) for name in ("beta1", "beta2", "epsilon")], 1).numpy()
        # chunk by chunk, as indices take much memory before they are made small
        chunks = {
            part: torch.split(part.images, CHUNK) for part in (stack.train, stack.validation, stack.test)
        }
        self._images = {part: rows(images) for part, images in chunks.items()}
        one_batch = stack.run.batch_size is None and stack.train.rows is None
        self._flipped = rows(
            [images.mT for images in chunks[stack.train]] if one_batch else [torch.empty(0, 0)]
        )
        self._take_up()
        self._descend(0, 0)  # compiles, so that no clock counts it

    def _take_up(self) -> None:
        self._layers = _split(self._dense.weights)
        unused = [layer[:, :0] for layer in self._dense.weights]
        self._mean, self._square = (_split(moment) for moment in self._dense.moments or (unused, unused))

    def dense(self) -> TorchBackend:
        """The same weights and moments for torch."""
        self._dense.weights = _joined(self._layers)
        self._dense.moments = (
            [_joined(moment) for moment in (self._mean, self._square)] if self._dense.moments else []
        )
        return self._dense

    def state(self) -> dict[str, Any]:
        """What `restore` continues from."""
        return self.dense().state()

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up weights and moments."""
        self._dense.restore(state)
        self._take_up()

    def advance(self, begin: int, end: int) -> tuple[Tensor, Tensor] | None:
        """Makes the updates begin … end - 1, all of one epoch; see `TorchBackend.advance`."""
        losses, correct = self._descend(begin, end)
        if self.stack.run.batch_size is not None:
            return None
        loss, share = losses[:, 0] / self.stack.batch, correct[:, 0] / self.stack.batch
        return loss, share.where(~loss.isnan(), torch.nan)

    def _descend(self, begin: int, end: int) -> Tensor:
        """Makes updates; summed losses and numbers of correct answers before them, (2, R, end - begin)."""
        stack = self.stack
        sums = torch.zeros(2, len(stack.runs), end - begin, dtype=torch.float64)
        _use_threads()
        descend(
            self._layers, self._mean, self._square, self._images[stack.train], self._flipped,
            stack.examples(begin, end).contiguous().numpy(), stack.train.labels.numpy(), stack.batch, begin,
            stack.rates(begin, end).mT.contiguous().numpy(), self._constants, self._kind, *sums.numpy(),
        )  # fmt: skip
        return sums

    def evaluate(self, part: Part) -> tuple[Tensor, Tensor]:
        """Mean loss (R,) and confusion (R, 100); see `TorchBackend.evaluate`."""
        runs = len(self.stack.runs)
        _use_threads()
        losses = torch.zeros(runs, dtype=torch.float64)
        confusion = torch.zeros(runs, CLASSES**2, dtype=torch.float64)
        which = torch.arange(len(part)).expand(runs, -1) if part.rows is None else part.rows
        evaluate(
            self._layers, self._images[part], which.contiguous().numpy(), part.labels.numpy(), self._kind,
            losses.numpy(), confusion.numpy(),
        )  # fmt: skip
        return mean_and_confusion(losses, confusion, len(part))


def _use_threads() -> None:
    """As many as torch uses, so that one setting counts for both."""
    numba.set_num_threads(min(torch.get_num_threads(), _THREADS))


def _split(weights: list[Tensor]) -> Layers:
    first, second = weights
    padding = -first.shape[1] % (LINE // first.itemsize)
    parts = pad(first.mT, (0, padding)), second[:, :, :-1], second[:, :, -1]
    return Layers(*(part.contiguous().numpy() for part in parts))


def _joined(layers: Layers) -> list[Tensor]:
    first, second, bias = (torch.from_numpy(layer) for layer in layers)
    units = second.shape[2]
    return [first[:, :, :units].mT.contiguous(), torch.cat([second, bias[:, :, None]], 2)]
