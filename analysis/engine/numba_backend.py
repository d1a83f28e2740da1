"""Training by the compiled functions of `numba_kernels`: networks of one hidden layer on a CPU, one run per thread."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from analysis.engine import numba_kernels as kernels
from analysis.engine.numba_kernels import CHUNK, LINE, Kind, Layers
from analysis.engine.run import CLASSES
from analysis.engine.sparse_inputs import SparseInputs, sparse_rows, use_threads_of_torch
from analysis.engine.stack import Split, Stack, mean_and_confusion
from analysis.engine.torch_backend import TorchBackend


class NumbaBackend:
    """The weights of a stack, trained by compiled functions; `as_torch` measures what these do not.

    Attributes:
        stack: The runs.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._torch = TorchBackend(stack, SparseInputs)
        run, rule = stack.run, stack.rule
        self._kind = Kind(
            kernels.ACTIVATIONS[run.activation],
            kernels.LOSSES[run.loss],
            kernels.OUTPUTS[run.output],
            rule.kernel,
            rule.linear,
        )
        # chunk by chunk, as indices take much memory before they are converted to a small type
        chunks = {
            split: torch.split(split.images, CHUNK) for split in (stack.train, stack.validation, stack.test)
        }
        self._images = {split: sparse_rows(images) for split, images in chunks.items()}
        one_batch = run.batch_size is None and stack.train.indices is None
        self._transposed = sparse_rows(
            [images.mT for images in chunks[stack.train]]
            if one_batch
            else [torch.empty(0, 0, dtype=stack.dtype)]
        )
        self._copy_from_torch()
        # compiles, so that no clock counts it, and nothing later fails to
        self._advance(0, 0)
        self._evaluate(stack.train, torch.empty(len(stack.runs), 0, dtype=torch.int64))

    def _copy_from_torch(self) -> None:
        weights = self._torch.weights
        states = [
            torch.stack(like, 1) if like else layer[:, None][:, :0]
            for layer, like in zip(weights, self._torch.optimizer_state, strict=True)
        ]
        self._layers, self._states = _to_layers(weights), _to_layers(states)

    def as_torch(self) -> TorchBackend:
        """Return the same weights and optimizer state for torch."""
        self._torch.weights = _from_layers(self._layers)
        self._torch.optimizer_state = [list(layer.unbind(1)) for layer in _from_layers(self._states)]
        return self._torch

    def state(self) -> dict[str, Any]:
        """Return weights and optimizer state, for `restore`."""
        return self.as_torch().state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._torch.restore(state)
        self._copy_from_torch()

    def advance(self, begin: int, end: int) -> tuple[Tensor, Tensor] | None:
        """Make the updates begin … end - 1, all of one epoch; see `TorchBackend.advance`."""
        losses, correct = self._advance(begin, end)
        if self.stack.run.batch_size is not None:
            return None
        loss, share = losses[:, 0] / self.stack.batch, correct[:, 0] / self.stack.batch
        return loss, share.where(~loss.isnan(), torch.nan)

    def _advance(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Make updates; return the batches' summed losses and correct predictions before them, (R, updates) each."""
        stack = self.stack
        totals = torch.zeros(len(stack.runs), end - begin, 2, dtype=torch.float64)
        indices, factors = stack.examples(begin, end), stack.factors(begin, end).permute(2, 1, 0)
        use_threads_of_torch()
        kernels.advance(
            self._layers, self._states, self._images[stack.train], self._transposed,
            indices.contiguous().numpy(), stack.train.labels.numpy(), stack.batch,
            factors.contiguous().numpy(), self._kind, totals.numpy(),
        )  # fmt: skip
        return totals[:, :, 0], totals[:, :, 1]

    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return mean loss (R,) and confusion (R, 100); see `TorchBackend.evaluate`."""
        runs = len(self.stack.runs)
        indices = torch.arange(len(split)).expand(runs, -1) if split.indices is None else split.indices
        losses, confusion = self._evaluate(split, indices)
        return mean_and_confusion(losses, confusion, len(split))

    def _evaluate(self, split: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the summed loss (R,) and confusion (R, 100) on the images `indices` (R, count) of a split."""
        losses = torch.zeros(len(indices), dtype=torch.float64)
        confusion = torch.zeros(len(indices), CLASSES**2, dtype=torch.float64)
        use_threads_of_torch()
        kernels.evaluate(
            self._layers, self._images[split], indices.contiguous().numpy(), split.labels.numpy(), self._kind,
            losses.numpy(), confusion.numpy(),
        )  # fmt: skip
        return losses, confusion


def _to_layers(weights: list[Tensor]) -> Layers:
    """Return matrices (…, h_l, h_{l-1} + 1) as the kernels' arrays."""
    first, second = weights
    padding = -first.shape[-2] % (LINE // first.itemsize)
    parts = pad(first.mT, (0, padding)), second[..., :-1], second[..., -1]
    return Layers(*(part.contiguous().numpy() for part in parts))


def _from_layers(layers: Layers) -> list[Tensor]:
    """Return the kernels' arrays as matrices (…, h_l, h_{l-1} + 1)."""
    first, second, bias = (torch.from_numpy(layer) for layer in layers)
    units = second.shape[-1]
    return [first[..., :units].mT.contiguous(), torch.cat([second, bias[..., None]], -1)]
