"""A stack: runs of one shape with the data that they see, on a device.

Shapes: R runs; layer l = 1 … L of h_l units; n examples.

    weights W_l     (R, h_l, h_{l-1} + 1), bias last
    images          (N, p + 1), a last column of ones for the bias
    labels          (R, N): what a digit counts as is a run's own

Only the p pixels that are ever non-zero take part: the weights of the others keep their start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analysis.engine.network import initial_weights, sample_order, training_indices, validation_indices
from analysis.engine.run import CLASSES, Run

if TYPE_CHECKING:
    from analysis.data import Data


def shape(run: Run) -> Run:
    """What runs must have in common to be one stack: the run with everything set aside that may differ."""
    return replace(
        run,
        learning_rate=1,
        decay=0,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        init="uniform_fan_in",
        init_scale=1,
        labels=tuple(range(CLASSES)),
        order="shuffled",
        train_subset=run.train_subset if run.batch_size is None else 0,  # full batches share their images
        seed=0,
    )


@dataclass(frozen=True, eq=False)
class Part:
    """Images and labels that the runs see.

    Attributes:
        images: (N, p + 1).
        labels: (R, N).
        rows: None if all runs see all images, in their order; else the images that each run sees, (R, n).
    """

    images: Tensor
    labels: Tensor
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else self.rows.shape[1]

    def take(self, rows: Tensor) -> Part:
        """The images at `rows`, which all runs see."""
        return Part(self.images[rows], self.labels[:, rows])


class Stack:
    """Runs of one shape, their data on the device and their start.

    Attributes:
        runs: The runs; `run` stands for what they have in common.
        device, dtype: Of images and weights.
        train, validation, test: What they are trained and measured on.
        batch: Examples per update.
        updates: Updates per epoch.
    """

    def __init__(self, runs: Sequence[Run], data: Data, device: torch.device, dtype: torch.dtype) -> None:
        if {shape(run) for run in runs} != {shape(runs[0])}:
            raise ValueError("these runs do not have one shape: see stacks()")
        self.runs, self.run, self.device, self.dtype = list(runs), runs[0], device, dtype
        ever = data.train_images.any(0) | data.test_images.any(0)
        self._kept = torch.cat([ever, ever.new_ones(1)])
        classes = torch.tensor([run.labels for run in runs])
        everything, self.test = (
            Part(self._with_ones(images), classes[:, labels].to(device))
            for images, labels in (
                (data.train_images, data.train_labels),
                (data.test_images, data.test_labels),
            )
        )
        examples = len(data.train_labels)
        rows = torch.stack([training_indices(run, examples) for run in runs])
        self._digits = data.train_labels[rows]
        if (rows == rows[0]).all():
            whole = rows.shape[1] == examples
            self.train = everything if whole else everything.take(rows[0].to(device))
            rows = torch.arange(rows.shape[1]).expand_as(rows)
        else:
            self.train = replace(everything, rows=rows.to(device))
        self.validation = everything.take(validation_indices(self.run, examples).to(device))
        self.batch = min(self.run.batch_size or len(self.train), len(self.train))
        self.updates = -(-len(self.train) // self.batch)
        self._rows = rows
        self._epoch, self._order = -1, rows

    def _with_ones(self, images: Tensor) -> Tensor:
        ones = torch.cat([images, images.new_ones(len(images), 1)], 1)
        return ones[:, self._kept].to(self.device, self.dtype)

    def start(self) -> list[Tensor]:
        """W_1 … W_L of all runs at their start, without the weights of pixels that are always zero."""
        first, *others = (
            torch.stack(layer)
            for layer in zip(*(initial_weights(run, self.dtype) for run in self.runs), strict=True)
        )
        return [layer.to(self.device) for layer in (first[:, :, self._kept], *others)]

    def with_all_inputs(self, weights: list[Tensor]) -> list[Tensor]:
        """The weights, on the CPU, with those of the pixels that are always zero."""
        first = torch.stack([initial_weights(run, self.dtype)[0] for run in self.runs])
        first[:, :, self._kept] = weights[0].cpu()
        return [first, *(layer.cpu() for layer in weights[1:])]

    def each(self, name: str) -> Tensor:
        """A number of every run, (R,), in float64 on the CPU."""
        return torch.tensor([getattr(run, name) for run in self.runs], dtype=torch.float64)

    def rates(self, begin: int, end: int) -> Tensor:
        """η of every run at the updates begin … end - 1: (end - begin, R), in float64 on the CPU."""
        epochs = torch.arange(begin, end, dtype=torch.float64) / self.updates
        return self.each("learning_rate") / (1 + epochs[:, None] * self.each("decay"))

    def examples(self, begin: int, end: int) -> Tensor:
        """Rows of the training images that the updates begin … end - 1, all of one epoch, see: (R, count)."""
        epoch, first = divmod(begin, self.updates)
        if epoch != self._epoch and (self.run.batch_size is not None or self._epoch < 0):
            orders = [
                sample_order(run, epoch, digits) for run, digits in zip(self.runs, self._digits, strict=True)
            ]
            self._order = self._rows.gather(1, torch.stack(orders)).to(self.device)
            self._epoch = epoch
        return self._order[:, first * self.batch : (first + end - begin) * self.batch]

    def synchronize(self) -> None:
        """Waits until the device has done its work, so that clocks tell the truth."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()


def mean_and_confusion(loss: Tensor, confusion: Tensor, examples: int) -> tuple[Tensor, Tensor]:
    """Mean loss (R,) and confusion (R, 100) from sums: a network whose loss is no number answers nothing."""
    return loss / examples, confusion.where(~loss.isnan()[:, None], torch.nan)


def accuracy(confusion: Tensor) -> Tensor:
    """Share of correct answers, (R,), from counts (R, 100)."""
    return confusion[:, :: CLASSES + 1].sum(1) / confusion.sum(1)
