"""Training one-hidden-layer networks on sparse images: the CPU's back end, one run per thread.

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
from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

CHUNK = 128  # examples whose activations stay in a core's cache

# Sums may be reordered and multiplications fused; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


class Rows(NamedTuple):
    """A sparse matrix by rows: row i has values[starts[i]:starts[i+1]] in columns[starts[i]:starts[i+1]]."""

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def rows(images: Tensor) -> Rows:
    """A dense matrix as a sparse one."""
    row, column = images.nonzero(as_tuple=True)
    starts = torch.cat([row.new_zeros(1), torch.bincount(row, minlength=len(images)).cumsum(0)])
    return Rows(starts.numpy(), column.to(torch.uint16).numpy(), images[row, column].numpy())


@numba.njit(fastmath=_SUMS)
def combine(out, values, columns, dense):
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
            out[j] += (v0 * r0[j] + v1 * r1[j] + v2 * r2[j] + v3 * r3[j]) + (
                v4 * r4[j] + v5 * r5[j] + v6 * r6[j] + v7 * r7[j]
            )
        i += 8
    while i < n:
        v, r = values[i], dense[columns[i]]
        for j in range(len(out)):
            out[j] += v * r[j]
        i += 1


@numba.njit(fastmath={"contract"})
def exp(x):
    """eˣ in float64 to about one unit in the last place, written so that loops over it become vector code.

    With n the integer nearest to x / ln 2, eˣ = 2ⁿ e^{x - n ln 2}.
    Adding 1.5 · 2⁵² rounds to that integer and leaves it in the low bits, from where it is shifted into an exponent.
    """
    x = -700.0 if x < -700.0 else x
    x = 700.0 if x > 700.0 else x
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = x - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
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


@numba.njit(fastmath=_SUMS)
def add_product(out, scale, matrix, which, dense):
    """out += scale · S dense, with S the rows `which` of a sparse matrix."""
    scaled = np.empty(dense.shape[0] + 1, matrix.values.dtype)
    for i in range(len(which)):
        start, stop = matrix.starts[which[i]], matrix.starts[which[i] + 1]
        n = stop - start
        for k in range(n):
            scaled[k] = scale * matrix.values[start + k]
        combine(out[i], scaled[:n], matrix.columns[start:stop], dense)


@numba.njit
def transpose(out, matrix, which):
    """out = Sᵀ with S the rows `which` of a sparse matrix; columns of out count positions in `which`."""
    starts = out.starts
    starts[:] = 0
    for i in which:
        for k in range(matrix.starts[i], matrix.starts[i + 1]):
            starts[matrix.columns[k] + 2] += 1
    for column in range(2, len(starts)):
        starts[column] += starts[column - 1]
    for position in range(len(which)):
        i = which[position]
        for k in range(matrix.starts[i], matrix.starts[i + 1]):
            end = starts[matrix.columns[k] + 1]
            out.columns[end] = position
            out.values[end] = matrix.values[k]
            starts[matrix.columns[k] + 1] = end + 1


@numba.njit(error_model="numpy")
def activate(z, activation):
    """z becomes φ(z), in place."""
    if activation == 0:
        for j in range(len(z)):
            z[j] = 1.0 / (1.0 + exp(-z[j]))
    elif activation == 1:
        for j in range(len(z)):
            z[j] = 1.0 - 2.0 / (1.0 + exp(2.0 * z[j]))
    else:
        for j in range(len(z)):
            z[j] = 0.0 if z[j] < 0.0 else z[j]


@numba.njit(error_model="numpy")
def through_activation(d, a, activation):
    """d becomes d ∘ φ′, in place, with φ′ written in terms of a = φ(z)."""
    if activation == 0:
        for j in range(len(d)):
            d[j] *= a[j] * (1 - a[j])
    elif activation == 1:
        for j in range(len(d)):
            d[j] *= 1 - a[j] * a[j]
    else:
        for j in range(len(d)):
            d[j] = d[j] if a[j] > 0 else a[j] - a[j]


@numba.njit(error_model="numpy")
def loss_and_error(logits, label, loss):
    """Loss of one example, whether it is classified correctly (NaN without a number); logits become ∂loss/∂logits.

    The loss is 0: cross entropy, 1: quadratic of the softmax, 2: quadratic of sigmoids; one logit means that
    the label's ninth is its target.
    """
    k = len(logits)
    best, top = 0, logits[0]
    for j in range(1, k):
        if logits[j] > top:
            best, top = j, logits[j]
    value, inner = 0.0, 0.0
    if loss == 2:
        for j in range(k):
            p = 1.0 / (1.0 + exp(-logits[j]))
            target = label / 9.0 if k == 1 else (1.0 if j == label else 0.0)
            if k == 1:
                best = int(9.0 * p + 0.5) if p == p else -1
            value += 0.5 * (p - target) ** 2
            logits[j] = (p - target) * p * (1.0 - p)
    else:
        total, own = 0.0, logits[label]
        for j in range(k):
            logits[j] = exp(logits[j] - top)
            total += logits[j]
        for j in range(k):
            logits[j] /= total
        if loss == 0:
            value = math.log(total) + top - own
            logits[label] -= 1
        else:
            for j in range(k):
                q = logits[j] - (1.0 if j == label else 0.0)
                value += 0.5 * q * q
                inner += logits[j] * q
            for j in range(k):
                q = logits[j] - (1.0 if j == label else 0.0)
                logits[j] *= q - inner
    return value, (1.0 if best == label else 0.0)


@numba.njit(fastmath=_SUMS)
def forward(a, o, first, second, bias, images, which, activation):
    """Activations A and logits O of the images `which`, into the first rows of a and o."""
    n = len(which)
    a[:n] = 0
    add_product(a, 1, images, which, first)
    for i in range(n):
        activate(a[i], activation)
        for k in range(len(bias)):
            total = bias[k]
            for j in range(a.shape[1]):
                total += a[i, j] * second[k, j]
            o[i, k] = total


@numba.njit(error_model="numpy")
def _descend(first, second, bias, images, which, labels, batch, rates, activation, loss, losses, hits):
    """Consecutive updates of one run: update u takes examples which[u · batch:(u + 1) · batch], at rate rates[u]."""
    dtype = first.dtype
    p, h = first.shape
    k = len(bias)
    chunk = min(batch, CHUNK)
    a, o, d = np.empty((chunk, h), dtype), np.empty((chunk, k), dtype), np.empty((chunk, h), dtype)
    transposed = Rows(
        np.empty(p + 2, np.int64), np.empty(chunk * p, images.columns.dtype), np.empty(chunk * p, dtype)
    )
    everything = np.arange(max(p, k, chunk))
    whole = (
        batch > chunk
    )  # gradients are summed over chunks before the update, else added to the weights at once
    first_sum = np.zeros((p if whole else 0, h), dtype)
    second_step, bias_step = np.zeros((k, h), dtype), np.zeros(k, dtype)
    error = np.empty(chunk, dtype)
    for update in range(len(rates)):
        begin, end = update * batch, min((update + 1) * batch, len(which))
        step = dtype.type(-rates[update] / (end - begin))
        second_step[:], bias_step[:] = 0, 0
        first_sum[:] = 0
        for start in range(begin, end, chunk):
            part = which[start : min(start + chunk, end)]
            n = len(part)
            forward(a, o, first, second, bias, images, part, activation)
            for i in range(n):
                value, hit = loss_and_error(o[i], labels[part[i]], loss)
                losses[update] += value
                hits[update] += hit
                d[i] = 0
                combine(d[i], o[i], everything[:k], second)
                through_activation(d[i], a[i], activation)
            for j in range(k):
                for i in range(n):
                    error[i] = step * o[i, j]
                    bias_step[j] += error[i]
                combine(second_step[j], error[:n], everything[:n], a)
            transpose(transposed, images, part)
            if whole:
                add_product(first_sum, 1, transposed, everything[:p], d)
            else:
                add_product(first, step, transposed, everything[:p], d)
        if whole:
            for i in range(p):
                for j in range(h):
                    first[i, j] += step * first_sum[i, j]
        second += second_step
        bias += bias_step


@numba.njit(parallel=True, cache=True)
def descend(first, second, bias, images, which, labels, batch, rates, activation, loss, losses, hits):
    """Gradient descent of a stack: `_descend` with a leading run axis on all but images, batch, activation, loss."""
    for r in numba.prange(len(first)):
        _descend(
            first[r], second[r], bias[r], images, which[r], labels[r],
            batch, rates[r], activation, loss, losses[r], hits[r],
        )  # fmt: skip


@numba.njit
def _evaluate(first, second, bias, images, which, labels, activation, loss):
    """Summed loss and number of correct answers of one run on the images `which`."""
    a = np.empty((CHUNK, first.shape[1]), first.dtype)
    o = np.empty((CHUNK, len(bias)), first.dtype)
    losses, hits = 0.0, 0.0
    for start in range(0, len(which), CHUNK):
        part = which[start : start + CHUNK]
        forward(a, o, first, second, bias, images, part, activation)
        for i in range(len(part)):
            value, hit = loss_and_error(o[i], labels[part[i]], loss)
            losses += value
            hits += hit
    return losses, hits


@numba.njit(parallel=True, cache=True)
def evaluate(first, second, bias, images, which, labels, activation, loss, losses, hits):
    """Summed loss and number of correct answers of every run of a stack."""
    for r in numba.prange(len(first)):
        losses[r], hits[r] = _evaluate(
            first[r], second[r], bias[r], images, which[r], labels[r], activation, loss
        )
