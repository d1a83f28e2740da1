"""Images of which only the pixels that are not zero take part in products with the first layers of all runs.

For torch's back end on a CPU; `numba_backend` keeps its images in the same form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import torch
from torch import Tensor
from torch.nn.functional import pad

from analysis.engine import numba_kernels as kernels
from analysis.engine.numba_kernels import CHUNK, LINE, SparseRows

TILE = 320  # columns at a time: so many of the first layers' units stay in cache


class SparseInputs:
    """Consecutive images a_0, (n, p + 1), that all runs see.

    Attributes:
        rows: The images.
        transposed: Of every CHUNK of them, the transpose, one below the other.
    """

    def __init__(self, images: Tensor) -> None:
        self.count = len(images)
        # chunk by chunk, as indices take much memory before they are converted to a small type
        chunks = torch.split(images, CHUNK)
        self.rows, self.transposed = sparse_rows(chunks), sparse_rows([chunk.mT for chunk in chunks])

    @classmethod
    def compile(cls, dtype: torch.dtype) -> None:
        """Compile what the products need, so that no clock counts it, and nothing later fails to."""
        image, units = cls(torch.ones(1, 1, dtype=dtype)), torch.ones(1, 1, 1, dtype=dtype)
        image.add_outer(image.product(units), units)

    def product(self, weights: Tensor) -> Tensor:
        """Return W_1 a_0, (R, h, n), with W_1 (R, h, p + 1)."""
        rows = weights.flatten(0, 1)
        tiles, size = _tiles(rows)
        padded = pad(rows, (0, 0, 0, tiles * size - len(rows))).view(tiles, size, -1)
        out = weights.new_empty(len(rows), self.count)
        use_threads_of_torch()
        kernels.multiply(out.numpy(), self.rows, padded.mT.contiguous().numpy())
        return out.view(*weights.shape[:2], -1)

    def add_outer(self, error: Tensor, into: Tensor) -> None:
        """Add δ_1 a_0ᵀ to `into`, (R, h, p + 1), with δ_1 (R, h, n)."""
        rows = error.flatten(0, 1).contiguous()
        tiles, size = _tiles(rows)
        threads = use_threads_of_torch()
        one_sum = tiles >= threads
        sums = into.view(1, len(rows), -1) if one_sum else into.new_zeros(threads, len(rows), into.shape[2])
        kernels.multiply_transposed(sums.numpy(), self.transposed, rows.numpy(), size)
        if not one_sum:
            into += sums.sum(0).view_as(into)


def _tiles(rows: Tensor) -> tuple[int, int]:
    """Return into how many parts to divide rows, and the size of each, which fills cache lines."""
    tiles, line = -(-len(rows) // TILE), LINE // rows.itemsize
    return tiles, -(-len(rows) // (tiles * line)) * line


def sparse_rows(matrices: Sequence[Tensor]) -> SparseRows:
    """Return dense matrices, one below the other, as one sparse matrix."""
    entries = []
    for matrix in matrices:
        row, column = matrix.nonzero(as_tuple=True)
        entries.append(
            (torch.bincount(row, minlength=len(matrix)), column.to(torch.uint16), matrix[row, column])
        )
    counts, columns, values = (torch.cat(parts) for parts in zip(*entries, strict=True))
    stops = counts.cumsum(0)
    return SparseRows(*(part.numpy() for part in (stops - counts, stops, columns, values)))


def use_threads_of_torch() -> int:
    """Let numba use as many threads as torch, so that one setting counts for both; return their number."""
    threads = torch.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba reads it from the environment
    numba.set_num_threads(min(threads, most))
    # the first call starts numba's threads, which resets OpenMP's number
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return min(threads, most)
