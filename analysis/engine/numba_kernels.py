"""Compiled functions that train networks of one hidden layer on sparse inputs, one run per thread.

Four of five pixels are zero, so the first layer's products use only the others:
with X the images of a chunk of examples (n, p + 1), sparse by rows, its last column ones for the bias,
and W = W_1ᵀ (p + 1, h), V = W_2 (k, h), c the output's bias (k,),

    A = φ(X W)                          activations                  (n, h)
    O = A Vᵀ + c                        logits                       (n, k)
    Δ = ∂loss/∂O                        error at the logits          (n, k)
    ∂loss/∂V = Δᵀ A,  ∂loss/∂c = Σ Δ
    D = (Δ V) ∘ φ′                      error at the hidden units    (n, h)
    ∂loss/∂W = Xᵀ D                     with Xᵀ sparse by rows as well: each chunk is transposed

Every product adds multiples of contiguous rows: `accumulate_rows`, the loop that takes nearly all the time.

All compiled code is in this file: numba's cache on disk is valid as long as the file is unchanged.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from analysis.engine.run import CLASSES

Array: TypeAlias = NDArray[Any]

LINE = 64  # bytes of a cache line: rows aligned to it are read fastest
CHUNK = (
    512  # examples at a time: more make longer sums to add to a weight, as long as their errors stay in cache
)

BLOCK = 64  # examples at a time whose products are transposed in cache

# Sums may be reordered and multiplications fused; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


# The numbers by which compiled code knows the names in a Run.
SIGMOID, TANH, RELU = range(3)
ACTIVATIONS = {"sigmoid": SIGMOID, "tanh": TANH, "relu": RELU}
CROSS_ENTROPY, QUADRATIC = range(2)
LOSSES = {"cross_entropy": CROSS_ENTROPY, "quadratic": QUADRATIC}
SOFTMAX, LOGISTIC, IDENTITY = range(3)
OUTPUTS = {"softmax": SOFTMAX, "sigmoid": LOGISTIC, "identity": IDENTITY}
SGD, MOMENTUM, ADAM = range(3)  # UpdateRule.kernel


# Threads have floating-point environments of their own: that of the caller, who may flush denormals, goes to all.
_get_environment: Any = types.ExternalFunction("fegetenv", types.intc(types.voidptr))
_set_environment: Any = types.ExternalFunction("fesetenv", types.intc(types.voidptr))
_ENVIRONMENT_BYTES = 64  # at least the size of C's fenv_t


class SparseRows(NamedTuple):
    """A sparse matrix by rows: row i has values[starts[i]:stops[i]] in columns[starts[i]:stops[i]]."""

    starts: Array
    stops: Array
    columns: Array
    values: Array


@numba.njit(fastmath=_SUMS)
def accumulate_rows(out: Array, values: Array, columns: Array, dense: Array) -> None:
    """Add Σ_i values[i] · dense[columns[i]] to out, eight rows at a time so that out is loaded and stored seldom."""
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
    """Return eˣ within some units in the last place of x's type, written so that loops over it are vectorized.

    With n the integer nearest to x / ln 2, eˣ = 2ⁿ e^{x - n ln 2}, the latter by its Taylor polynomial.
    Adding 1.5 · 2⁵² (for float32 1.5 · 2²³) rounds to that integer and leaves it in the low bits, from where it is
    shifted into an exponent.
    """
    raise NotImplementedError("for compiled code only")  # numba asks for a function to overload


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
def add_product(out: Array, matrix: SparseRows, indices: Array, dense: Array) -> None:
    """Add S · dense to out, with S the rows `indices` of a sparse matrix."""
    for i in range(len(indices)):
        start, stop = matrix.starts[indices[i]], matrix.stops[indices[i]]
        accumulate_rows(out[i], matrix.values[start:stop], matrix.columns[start:stop], dense)


@numba.njit(fastmath=_SUMS)
def add_outer(out: Array, matrix: SparseRows, indices: Array, dense: Array) -> None:
    """Add Sᵀ · dense to out like `add_product` of the transpose, one entry of S after the other."""
    for i in range(len(indices)):
        for k in range(matrix.starts[indices[i]], matrix.stops[indices[i]]):
            value, row = matrix.values[k], out[matrix.columns[k]]
            for j in range(out.shape[1]):
                row[j] += value * dense[i, j]


@numba.njit(error_model="numpy")
def transpose(out: SparseRows, matrix: SparseRows, indices: Array) -> None:
    """Set out to Sᵀ, with S the rows `indices` of a sparse matrix; rows of out have space for as many values."""
    for column in range(len(out.starts)):
        out.starts[column] = out.stops[column] = column * len(indices)
    for position in range(len(indices)):
        i = indices[position]
        for k in range(matrix.starts[i], matrix.stops[i]):
            end = out.stops[matrix.columns[k]]
            out.columns[end] = position
            out.values[end] = matrix.values[k]
            out.stops[matrix.columns[k]] = end + 1


@numba.njit(error_model="numpy")
def activate(z: Array, activation: int) -> None:
    """Replace z by φ(z)."""
    if activation == SIGMOID:
        one = z.dtype.type(1)  # of z's type, so that everything is
        for j in range(len(z)):
            z[j] = one / (one + exp(-z[j]))
    elif activation == TANH:  # in float64, as most digits of a small tanh cancel
        for j in range(len(z)):
            z[j] = 1.0 - 2.0 / (1.0 + exp(2.0 * z[j]))
    elif activation == RELU:
        for j in range(len(z)):
            z[j] = 0.0 if z[j] < 0.0 else z[j]


@numba.njit(error_model="numpy")
def backpropagate_activation(d: Array, a: Array, activation: int) -> None:
    """Replace d by d ∘ φ′, with φ′ as a function of a = φ(z)."""
    if activation == SIGMOID:
        for j in range(len(d)):
            d[j] *= a[j] - a[j] * a[j]
    elif activation == TANH:
        for j in range(len(d)):
            d[j] -= d[j] * a[j] * a[j]
    elif activation == RELU:
        for j in range(len(d)):
            d[j] = d[j] if a[j] > 0 else a[j] - a[j]


@numba.njit(error_model="numpy")
def predict_and_loss(logits: Array, label: int, loss: int, output: int) -> tuple[int, float]:
    """Return one example's predicted class and loss, and replace its logits by ∂loss/∂logits.

    With a single logit the target is label / 9.
    """
    classes = len(logits)
    best = 0
    for j in range(1, classes):
        if logits[j] > logits[best]:
            best = j
    value = 0.0
    if output != SOFTMAX:
        for j in range(classes):
            target = label / 9.0 if classes == 1 else (1.0 if j == label else 0.0)
            z = logits[j]
            p = 1.0 / (1.0 + exp(-z)) if output == LOGISTIC else z
            if classes == 1 and p == p:
                best = round(9.0 * min(max(p, 0.0), 1.0))
            if loss == CROSS_ENTROPY:  # log(1 + eᶻ) - target · z
                value += max(z, 0.0) + math.log1p(math.exp(-abs(z))) - target * z
                logits[j] = p - target
            else:
                value += 0.5 * (p - target) ** 2
                logits[j] = (p - target) * (p * (1.0 - p) if output == LOGISTIC else 1.0)
        return best, value
    top, own, total, inner = logits[best], logits[label], 0.0, 0.0
    for j in range(classes):
        logits[j] = exp(logits[j] - top)
        total += logits[j]
    for j in range(classes):
        logits[j] /= total
    if loss == CROSS_ENTROPY:
        value = math.log(total) + top - own
        logits[label] -= 1
        return best, value
    for j in range(classes):
        difference = logits[j] - (1.0 if j == label else 0.0)
        value += 0.5 * difference**2
        inner += logits[j] * difference
    for j in range(classes):
        logits[j] *= logits[j] - (1.0 if j == label else 0.0) - inner
    return best, value


class Layers(NamedTuple):
    """W = W_1ᵀ (…, p + 1, w), V (…, k, h) and c (…, k), or arrays like them; … may be axes of runs and states.

    Rows of W fill whole cache lines: columns h … w - 1 belong to no unit; no error reaches them, so they stay 0.
    """

    first: Array
    second: Array
    bias: Array


class Kind(NamedTuple):
    """What the runs have in common: numbers as above, and whether the optimizer's update is linear."""

    activation: int
    loss: int
    output: int
    optimizer: int
    linear: bool


class Workspace(NamedTuple):
    """One thread's memory for a chunk: A and D (n, w), O, then Δ (n, k), a column of Δ (n,), 0, 1, 2 … and Xᵀ."""

    a: Array
    d: Array
    o: Array
    column: Array
    positions: Array
    transposed: SparseRows


@numba.njit(fastmath=_SUMS)
def forward(a: Array, o: Array, layers: Layers, images: SparseRows, indices: Array, activation: int) -> None:
    """Write activations A and logits O of the images `indices` into the first rows of a and o."""
    n = len(indices)
    a[:n] = 0
    add_product(a, images, indices, layers.first)
    for i in range(n):
        activate(a[i], activation)
        for k in range(len(layers.bias)):
            total = layers.bias[k]
            for j in range(layers.second.shape[1]):
                total += a[i, j] * layers.second[k, j]
            o[i, k] = total


@numba.njit(error_model="numpy")
def backpropagate(
    into: Layers, layers: Layers, space: Workspace, labels: Array, scale: float, kind: Kind, totals: Array
) -> None:
    """Add `scale` · ∂loss/∂V and ∂loss/∂c of a chunk to `into`, given A and O in the workspace; leave D there.

    The chunk's loss and number of correct predictions are added to `totals` (2,).
    """
    n, (k, h) = len(labels), layers.second.shape
    a, d, o, column = space.a, space.d, space.o, space.column
    for i in range(n):
        best, loss = predict_and_loss(o[i], labels[i], kind.loss, kind.output)
        totals[0] += loss
        totals[1] += best == labels[i]
        for j in range(k):
            o[i, j] *= scale
        d[i] = 0
        accumulate_rows(d[i, :h], o[i], space.positions[:k], layers.second)
        backpropagate_activation(d[i], a[i], kind.activation)
    for j in range(k):
        for i in range(n):
            column[i] = o[i, j]
            into.bias[j] += column[i]
        accumulate_rows(into.second[j], column[:n], space.positions[:n], a)


@numba.njit(error_model="numpy")
def update_weights(weights: Array, gradient: Array, states: Array, optimizer: int, factors: Array) -> None:
    """Make one update of a flat array with states (S, size), as in `optimizers`; the gradient becomes 0 for reuse."""
    number = weights.dtype.type
    if optimizer == SGD:
        rate = number(factors[0])
        for i in range(len(weights)):
            weights[i] -= rate * gradient[i]
            gradient[i] = 0
    elif optimizer == MOMENTUM:
        total = states[0]
        rate, beta1 = number(factors[0]), number(factors[1])
        for i in range(len(weights)):
            total[i] = beta1 * total[i] + gradient[i]
            weights[i] -= rate * total[i]
            gradient[i] = 0
    elif optimizer == ADAM:
        mean, square = states[0], states[1]
        step, root = number(factors[0]), number(factors[1])
        rest1, rest2, epsilon = number(factors[2]), number(factors[3]), number(factors[4])
        for i in range(len(weights)):
            g = gradient[i]
            mean[i] += rest1 * (g - mean[i])
            square[i] += rest2 * (g * g - square[i])
            weights[i] -= step * mean[i] / (math.sqrt(square[i]) * root + epsilon)
            gradient[i] = 0


@numba.njit(error_model="numpy")
def update_layers(layers: Layers, gradient: Layers, states: Layers, optimizer: int, factors: Array) -> None:
    """Make one update of a run's weights, with states (S, …)."""
    count = len(states.bias)
    first, second = layers.first.ravel(), layers.second.ravel()
    first_states = states.first.reshape(count, first.size)
    second_states = states.second.reshape(count, second.size)
    update_weights(first, gradient.first.ravel(), first_states, optimizer, factors)
    update_weights(second, gradient.second.ravel(), second_states, optimizer, factors)
    update_weights(layers.bias, gradient.bias, states.bias, optimizer, factors)


@numba.njit(error_model="numpy")
def aligned_empty(like: Array, n: int) -> Array:
    """Return an uninitialized array of n rows of that length and type, aligned to cache lines."""
    columns = like.shape[1]
    memory = np.empty(n * columns + LINE // like.itemsize, like.dtype)
    begin = -memory.ctypes.data % LINE // like.itemsize
    return memory[begin : begin + n * columns].reshape(n, columns)


@numba.njit(error_model="numpy")
def _layers_of(layers: Layers, r: int) -> Layers:
    return Layers(layers.first[r], layers.second[r], layers.bias[r])


@numba.njit(error_model="numpy")
def _advance(
    layers: Layers, states: Layers, images: SparseRows, transposed: SparseRows, indices: Array, labels: Array,
    batch: int, factors: Array, kind: Kind, totals: Array,
) -> None:  # fmt: skip
    """Make consecutive updates of one run; see `advance`."""
    number = layers.first.dtype.type
    p, (k, h) = len(layers.first), layers.second.shape
    chunk = min(batch, CHUNK)
    # Transposing a chunk lets `accumulate_rows` gather rows of W, which pays where they are many and long.
    is_transposed = len(transposed.starts) > 0
    transposing = not is_transposed and chunk > 4 and h > 128
    size = chunk * p if transposing else 0
    space = Workspace(
        aligned_empty(layers.first, chunk), aligned_empty(layers.first, chunk),
        np.empty((chunk, k), layers.first.dtype), np.empty(chunk, layers.first.dtype),
        np.arange(max(p, k, chunk)),
        SparseRows(
            np.empty(p, np.int64), np.empty(p, np.int64),
            np.empty(size, images.columns.dtype), np.empty(size, images.values.dtype),
        ),
    )  # fmt: skip
    # A linear update by a single chunk is added to the weights directly, which touches only those rows of W whose
    # pixels the chunk uses. Otherwise gradients are summed first.
    direct = kind.linear and batch <= chunk
    sums = Layers(
        np.zeros_like(layers.first[: 0 if direct else p]),
        np.zeros_like(layers.second),
        np.zeros_like(layers.bias),
    )
    into = layers if direct else sums
    for update in range(len(factors)):
        start, stop = update * batch, min((update + 1) * batch, len(indices))
        share = 1 / (stop - start)
        scale = number(-factors[update, 0] * share) if direct else number(share)
        for chunk_start in range(start, stop, chunk):
            part = indices[chunk_start : min(chunk_start + chunk, stop)]
            forward(space.a, space.o, layers, images, part, kind.activation)
            backpropagate(into, layers, space, labels[part], scale, kind, totals[update])
            if is_transposed:
                add_product(into.first, transposed, chunk_start // chunk * p + space.positions[:p], space.d)
            elif transposing:
                transpose(space.transposed, images, part)
                add_product(into.first, space.transposed, space.positions[:p], space.d)
            else:
                add_outer(into.first, images, part, space.d)
        if not direct:
            update_layers(layers, sums, states, kind.optimizer, factors[update])


@numba.njit(parallel=True, cache=True)
def advance(
    layers: Layers, states: Layers, images: SparseRows, transposed: SparseRows, indices: Array, labels: Array,
    batch: int, factors: Array, kind: Kind, totals: Array,
) -> None:  # fmt: skip
    """Make consecutive updates of a stack, one run per thread.

    Args:
        layers: Weights of all runs; changed in place.
        states: The optimizer's S state tensors of all runs, (R, S, …); changed in place.
        images: (N, p + 1).
        transposed: If all images form one batch, the transposes of its chunks, one below the other; empty otherwise.
        indices: Images in the order in which the updates use them, `batch` each, (R, count).
        labels: (R, N).
        batch: Examples per update.
        factors: The F factors of every update, as in `optimizers`, (R, updates, F).
        kind: What the runs have in common.
        totals: (R, updates, 2); the summed loss and number of correct predictions of every batch before its update are
            added to them.
    """
    environment = np.empty(_ENVIRONMENT_BYTES, np.uint8)
    _get_environment(environment.ctypes)
    for r in numba.prange(len(factors)):
        _set_environment(environment.ctypes)
        _advance(
            _layers_of(layers, r), _layers_of(states, r), images, transposed, indices[r], labels[r],
            batch, factors[r], kind, totals[r],
        )  # fmt: skip


@numba.njit(error_model="numpy")
def _evaluate(
    layers: Layers, images: SparseRows, indices: Array, labels: Array, kind: Kind, confusion: Array
) -> float:
    """Return the summed loss of one run and count its predictions; see `evaluate`."""
    a = aligned_empty(layers.first, CHUNK)
    o = np.empty((CHUNK, len(layers.bias)), layers.first.dtype)
    total = 0.0
    for start in range(0, len(indices), CHUNK):
        part = indices[start : start + CHUNK]
        forward(a, o, layers, images, part, kind.activation)
        for i in range(len(part)):
            label = labels[part[i]]
            best, loss = predict_and_loss(o[i], label, kind.loss, kind.output)
            total += loss
            confusion[label * CLASSES + best] += 1
    return total


@numba.njit(parallel=True, cache=True)
def evaluate(
    layers: Layers,
    images: SparseRows,
    indices: Array,
    labels: Array,
    kind: Kind,
    losses: Array,
    confusion: Array,
) -> None:
    """Add the summed losses (R,) and confusion (R, 100) of every run on the images `indices` (R, count)."""
    environment = np.empty(_ENVIRONMENT_BYTES, np.uint8)
    _get_environment(environment.ctypes)
    for r in numba.prange(len(losses)):
        _set_environment(environment.ctypes)
        losses[r] += _evaluate(_layers_of(layers, r), images, indices[r], labels[r], kind, confusion[r])


@numba.njit(parallel=True, cache=True)
def multiply(out: Array, images: SparseRows, dense: Array) -> None:
    """Set out (m, n) to the transposed product of n images and the m columns of the tiles of dense, (t, p + 1, w)."""
    environment = np.empty(_ENVIRONMENT_BYTES, np.uint8)
    _get_environment(environment.ctypes)
    (m, n), (tiles, _, width) = out.shape, dense.shape
    blocks = -(-n // BLOCK)
    for place in numba.prange(tiles * blocks):
        _set_environment(environment.ctypes)
        tile, start = place // blocks, place % blocks * BLOCK
        first, stop = tile * width, min(start + BLOCK, n)
        z = aligned_empty(dense[tile], BLOCK)
        z[:] = 0
        add_product(z, images, np.arange(start, stop), dense[tile])
        for j in range(first, min(first + width, m)):
            for i in range(start, stop):
                out[j, i] = z[i - start, j - first]


@numba.njit(parallel=True, cache=True)
def multiply_transposed(out: Array, transposed: SparseRows, dense: Array, width: int) -> None:
    """Add products of dense (m, n) and n images, of which the chunks' transposes are given, to out (s, m, p + 1).

    They are computed for `width` rows of dense at a time. Each of the s sums is over every s-th chunk, so that threads
    write to numbers of their own.
    """
    environment = np.empty(_ENVIRONMENT_BYTES, np.uint8)
    _get_environment(environment.ctypes)
    (sums, _, p), (m, n) = out.shape, dense.shape
    for place in numba.prange(-(-m // width) * sums):
        _set_environment(environment.ctypes)
        first, part = place // sums * width, place % sums
        last = min(first + width, m)
        tile = np.empty((1, width), out.dtype)
        d, total = aligned_empty(tile, CHUNK), aligned_empty(tile, p)
        d[:] = 0
        total[:] = 0
        for chunk in range(part, -(-n // CHUNK), sums):
            start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, n)
            for j in range(first, last):
                for i in range(start, stop):
                    d[i - start, j - first] = dense[j, i]
            add_product(total, transposed, np.arange(chunk * p, (chunk + 1) * p), d)
        for j in range(first, last):
            for k in range(p):
                out[part, j, k] += total[k, j - first]
