"""A stack: runs that are trained together, with their data on a device.

Shapes: R runs; layer l = 1 … L of h_l units; N images, of which a run sees n.

    weights W_l     (R, h_l, h_{l-1} + 1), bias last
    images          (N, p + 1), a last column of ones for the bias
    labels          (R, N): each run has a label permutation of its own

Only the p pixels that are ever non-zero take part: the weights of the others keep their initialization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analysis.engine.network import initial_weights, sample_order, training_indices, validation_indices
from analysis.engine.optimizers import update_rule
from analysis.engine.run import CLASSES, Run, batch_key

if TYPE_CHECKING:
    from analysis.data import Data


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of training, validation or test examples.

    Attributes:
        images: (N, p + 1).
        labels: (R, N).
        indices: None if all runs see all images, in their order; else the images that each run sees, (R, n).
    """

    images: Tensor
    labels: Tensor
    indices: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images) if self.indices is None else self.indices.shape[1]

    def select(self, indices: Tensor) -> Split:
        """Return the images at `indices` (n,), which all runs see."""
        return Split(self.images[indices], self.labels[:, indices])


class Stack:
    """Runs with one batch key, their data on the device and their initialization.

    Attributes:
        runs: The runs; `run` stands for what they have in common.
        device, dtype: Of images and weights.
        train, validation, test: The splits.
        batch: Examples per update.
        updates: Updates per epoch.
        rule: The optimizer's update.

    Raises:
        ValueError: The runs differ in a field that a stack shares.
    """

    def __init__(self, runs: Sequence[Run], data: Data, device: torch.device, dtype: torch.dtype) -> None:
        if {batch_key(run) for run in runs} != {batch_key(runs[0])}:
            raise ValueError("these runs cannot form one stack: see form_stacks()")
        self.runs, self.run, self.device, self.dtype = list(runs), runs[0], device, dtype
        self.rule = update_rule(self.run.optimizer)
        ever = data.train_images.any(0) | data.test_images.any(0)
        self._kept = torch.cat([ever, ever.new_ones(1)])
        classes = torch.tensor([run.labels for run in runs])
        everything, self.test = (
            Split(self._with_ones(images), classes[:, labels].to(device))
            for images, labels in (
                (data.train_images, data.train_labels),
                (data.test_images, data.test_labels),
            )
        )
        examples = len(data.train_labels)
        indices = torch.stack([training_indices(run, examples) for run in runs])
        self._digits = data.train_labels[indices]
        if (indices == indices[0]).all():
            whole = indices.shape[1] == examples
            self.train = everything if whole else everything.select(indices[0].to(device))
            indices = torch.arange(indices.shape[1]).expand_as(indices)
        else:
            self.train = replace(everything, indices=indices.to(device))
        self.validation = everything.select(validation_indices(self.run, examples).to(device))
        self.batch = min(self.run.batch_size or len(self.train), len(self.train))
        self.updates = -(-len(self.train) // self.batch)
        self._indices = indices
        self._epoch, self._order = -1, indices

    def _with_ones(self, images: Tensor) -> Tensor:
        ones = torch.cat([images, images.new_ones(len(images), 1)], 1)
        return ones[:, self._kept].to(self.device, self.dtype)

    def initial_weights(self) -> list[Tensor]:
        """Return the initial W_1 … W_L of all runs, without the weights of pixels that are always zero."""
        first, *others = (
            torch.stack(layer)
            for layer in zip(*(initial_weights(run, self.dtype) for run in self.runs), strict=True)
        )
        return [layer.to(self.device) for layer in (first[:, :, self._kept], *others)]

    def with_all_inputs(self, weights: list[Tensor]) -> list[Tensor]:
        """Return the weights, on the CPU, with those of the pixels that are always zero."""
        first = torch.stack([initial_weights(run, self.dtype)[0] for run in self.runs])
        first[:, :, self._kept] = weights[0].cpu()
        return [first, *(layer.cpu() for layer in weights[1:])]

    def each(self, name: str) -> Tensor:
        """Return a field of every run, (R,), in float64 on the CPU."""
        return torch.tensor([getattr(run, name) for run in self.runs], dtype=torch.float64)

    def rates(self, begin: int, end: int) -> Tensor:
        """Return η of every run at the updates begin … end - 1: (end - begin, R), in float64 on the CPU."""
        epochs = torch.arange(begin, end, dtype=torch.float64) / self.updates
        return self.each("learning_rate") / (1 + epochs[:, None] * self.each("decay"))

    def factors(self, begin: int, end: int) -> Tensor:
        """Return the F factors of the updates begin … end - 1: (F, end - begin, R), in float64 on the CPU."""
        rates = self.rates(begin, end)
        times = torch.arange(begin + 1, end + 1, dtype=torch.float64)[:, None]
        factors = self.rule.factors(rates, times, **{name: self.each(name) for name in self.rule.constants})
        return torch.stack([factor.expand_as(rates) for factor in factors])

    def examples(self, begin: int, end: int) -> Tensor:
        """Return the training images that the updates begin … end - 1, all of one epoch, use: indices (R, count)."""
        epoch, first = divmod(begin, self.updates)
        if epoch != self._epoch and (self.run.batch_size is not None or self._epoch < 0):
            orders = [
                sample_order(run, epoch, digits) for run, digits in zip(self.runs, self._digits, strict=True)
            ]
            self._order = self._indices.gather(1, torch.stack(orders)).to(self.device)
            self._epoch = epoch
        return self._order[:, first * self.batch : (first + end - begin) * self.batch]

    def synchronize(self) -> None:
        """Wait until the device has finished its work, so that clocks measure it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def mean_and_confusion(loss: Tensor, confusion: Tensor, examples: int) -> tuple[Tensor, Tensor]:
    """Return mean loss (R,) and confusion (R, 100) from sums: a network whose loss is NaN predicts nothing."""
    return loss / examples, confusion.where(~loss.isnan()[:, None], torch.nan)


def accuracy(confusion: Tensor) -> Tensor:
    """Return the share of correct predictions, (R,), from counts (R, 100)."""
    return confusion[:, :: CLASSES + 1].sum(1) / confusion.sum(1)
