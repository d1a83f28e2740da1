"""Training by batched matrix products in torch: any network, any device, the backward pass written out.

With φ the activation and ∘ the product of elements, for every run and a chunk of n examples:

    z_1 = W_1 a_0,   a_l = φ(z_l) (+ a_{l-1} where layers are skipped),   z_{l+1} = W_{l+1} [a_l; 1]
    δ_L = ∂loss/∂z_L
    ∂loss/∂W_l = δ_l [a_{l-1}; 1]ᵀ
    δ_{l-1} = (W_lᵀ δ_l) ∘ φ′(z_{l-1})

Everything is feature-major: activations a_l are (R, h_l, n), the inputs a_0 are (p + 1, n) when all runs see the same
images and (R, p + 1, n) otherwise; the latter's last row is ones.
Sums over examples may take them in any order: on a CPU, where all runs see all images, chunks are of images that are
alike, and leave out the pixels that are zero in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from analysis.engine.run import CLASSES
from analysis.engine.stack import Part, Stack, mean_and_confusion

# Numbers per activation that a chunk of examples makes: what stays in a CPU's cache, what fits a GPU's memory.
CACHED, IN_MEMORY = 2**20, 2**28


class Chunk(NamedTuple):
    """Examples that pass through the networks at once.

    Attributes:
        inputs: a_0, (p + 1, n) or (R, p + 1, n).
        labels: (R, n).
        pixels: Which of the stack's inputs a_0 has, in that order; None for all.
    """

    inputs: Tensor
    labels: Tensor
    pixels: Tensor | None = None


def crops(device: torch.device) -> bool:
    """Whether chunks are cropped: that pays where they are so small that many pixels are zero in all their images."""
    return device.type == "cpu"


class TorchBackend:
    """The weights of a stack, trained by torch.

    Attributes:
        stack: The runs.
        weights: W_1 … W_L, (R, h_l, h_{l-1} + 1) each.
        moments: Adam's running means of the gradient and of its square, like the weights; none for SGD.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.weights = stack.start()
        copies = 2 if stack.run.optimizer == "adam" else 0
        self.moments = [[torch.zeros_like(layer) for layer in self.weights] for _ in range(copies)]
        beta1, beta2, epsilon = (stack.each(name) for name in ("beta1", "beta2", "epsilon"))
        self._adam = [self._per_run(number) for number in (1 - beta1, 1 - beta2, epsilon)]
        units = len(stack.runs) * sum(stack.run.hidden)
        self._chunk = max(256, (CACHED if stack.device.type == "cpu" else IN_MEMORY) // units)
        self._sums = torch.float32 if stack.device.type == "mps" else torch.float64
        self._cropped: WeakKeyDictionary[Part, list[Chunk]] = WeakKeyDictionary()

    def dense(self) -> TorchBackend:
        """Itself: what measures has one way to ask either back end."""
        return self

    def state(self) -> dict[str, Any]:
        """What `restore` continues from."""
        return {
            "weights": [layer.cpu().clone() for layer in self.weights],
            "moments": [[layer.cpu().clone() for layer in moment] for moment in self.moments],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up weights and moments."""
        self.weights = [layer.to(self.stack.device, copy=True) for layer in state["weights"]]
        self.moments = [
            [layer.to(self.stack.device, copy=True) for layer in moment] for moment in state["moments"]
        ]

    def advance(self, begin: int, end: int) -> tuple[Tensor, Tensor] | None:
        """Makes the updates begin … end - 1, all of one epoch.

        Returns:
            For the full batch, train loss and accuracy before the update, (R,) each.
        """
        stack = self.stack
        rates = stack.rates(begin, end)
        times = torch.arange(begin + 1, end + 1, dtype=torch.float64)[:, None]
        roots = 1 / (1 - stack.each("beta2") ** times).sqrt()
        if stack.run.optimizer == "adam":
            rates /= 1 - stack.each("beta1") ** times
        rates, roots = self._per_run(rates), self._per_run(roots)
        if stack.run.batch_size is None:
            gradient, loss, correct = self._gradient(stack.train)
            self._step(gradient, rates[0], roots[0])
            return loss, correct
        batches = torch.split(stack.examples(begin, end), stack.batch, 1)
        for rate, root, rows in zip(rates, roots, batches, strict=True):
            batch = replace(stack.train, rows=rows)
            if stack.run.optimizer == "sgd" and stack.batch <= self._chunk:
                self._descend(batch, rate)
            else:
                self._step(self.gradient(batch), rate, root)
        return None

    def gradient(self, part: Part) -> list[Tensor]:
        """Gradients of the mean loss of a part, like the weights."""
        return self._gradient(part)[0]

    def evaluate(self, part: Part) -> tuple[Tensor, Tensor]:
        """Mean loss (R,) and confusion (R, 100): how many examples of class i are answered by j, at 10 i + j."""
        runs = len(self.stack.runs)
        loss = torch.zeros(runs, dtype=self._sums, device=self.stack.device)
        confusion = torch.zeros(runs, CLASSES**2, dtype=self._sums, device=self.stack.device)
        for chunk in self.chunks(part):
            logits, _ = self.forward(self.weights, chunk)
            loss += self.losses(logits, chunk.labels).sum(1)
            pairs = chunk.labels * CLASSES + self._answers(logits)
            confusion.scatter_add_(1, pairs, confusion.new_ones(1, 1).expand_as(pairs))
        return mean_and_confusion(loss, confusion, len(part))

    def _per_run(self, numbers: Tensor) -> Tensor:
        """Numbers (…, R), on the device as (…, R, 1, 1): a factor of every run's matrices."""
        return numbers.to(self.stack.dtype).to(self.stack.device)[..., None, None]

    def chunks(self, part: Part) -> Iterable[Chunk]:
        """A part, chunk by chunk."""
        if part.rows is not None:
            per_run = torch.split(part.rows, self._chunk, 1)
            return (Chunk(part.images[rows].mT, part.labels.gather(1, rows)) for rows in per_run)
        if not crops(self.stack.device):
            images, labels = torch.split(part.images, self._chunk), torch.split(part.labels, self._chunk, 1)
            return (Chunk(each.mT, own) for each, own in zip(images, labels, strict=True))
        if part not in self._cropped:
            self._cropped[part] = list(self._crop(part))
        return self._cropped[part]

    def _crop(self, part: Part) -> Iterator[Chunk]:
        """Chunks of images that are alike, without the pixels that are zero in all of them.

        Images follow each other in the order of their rarest pixel: those of a chunk then have no rarer ones.
        """
        used = part.images != 0
        frequency = used.sum(0, dtype=torch.int32)
        rarest = torch.where(used, frequency, len(part) + 1).amin(1)
        for rows in torch.split(rarest.argsort(stable=True), self._chunk):
            pixels = used[rows].any(0).nonzero()[:, 0]
            yield Chunk(part.images[rows[:, None], pixels].T.contiguous(), part.labels[:, rows], pixels)

    def _gradient(self, part: Part) -> tuple[list[Tensor], Tensor, Tensor]:
        """Gradient of the mean loss of a part, the mean loss and the accuracy, in one pass."""
        gradient = [torch.zeros_like(layer) for layer in self.weights]
        loss, correct = torch.zeros(2, len(self.stack.runs), dtype=self._sums, device=self.stack.device)
        for chunk in self.chunks(part):
            logits, hidden = self.forward(self.weights, chunk)
            correct += (self._answers(logits) == chunk.labels).sum(1)
            losses, error = self._losses_and_error(logits, chunk.labels)
            loss += losses.sum(1)
            self._backward(error, chunk, hidden, gradient)
        for layer in gradient:
            layer /= len(part)
        return gradient, loss / len(part), (correct / len(part)).where(~loss.isnan(), torch.nan)

    def _descend(self, part: Part, rate: Tensor) -> None:
        """One step of gradient descent on a part that is a single chunk."""
        (chunk,) = self.chunks(part)
        logits, hidden = self.forward(self.weights, chunk)
        _, error = self._losses_and_error(logits, chunk.labels)
        # with δ_L scaled by -η / n, what is added to the weights as a gradient is the update itself
        self._backward(error * (rate / -len(part)), chunk, hidden, self.weights)

    def _step(self, gradient: list[Tensor], rate: Tensor, root: Tensor) -> None:
        """One update by gradients of the mean loss: gradient descent, or Adam as in Kingma & Ba (2015).

        Args:
            gradient: Like the weights.
            rate: η, (R, 1, 1); for Adam η / (1 - β₁ᵗ).
            root: 1 / √(1 - β₂ᵗ), (R, 1, 1).
        """
        if self.stack.run.optimizer == "sgd":
            for layer, slope in zip(self.weights, gradient, strict=True):
                layer -= rate * slope
            return
        rest1, rest2, epsilon = self._adam
        for layer, slope, mean, square in zip(self.weights, gradient, *self.moments, strict=True):
            mean += rest1 * (slope - mean)
            square += rest2 * (slope * slope - square)
            layer -= rate * mean / (square.sqrt() * root + epsilon)

    def forward(self, weights: list[Tensor], chunk: Chunk) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits z_L and, of every hidden layer, φ(z_l) and a_l (which differ by a skip)."""
        activate = {"sigmoid": torch.sigmoid_, "tanh": torch.tanh_, "relu": torch.relu_}[
            self.stack.run.activation
        ]
        first = weights[0] if chunk.pixels is None else weights[0].index_select(2, chunk.pixels)
        z = first @ chunk.inputs
        hidden: list[tuple[Tensor, Tensor]] = []
        for layer in weights[1:]:
            phi = activate(z)
            a = phi + hidden[-1][1] if self.stack.run.skip and hidden else phi
            hidden.append((phi, a))
            z = torch.baddbmm(layer[:, :, -1:], layer[:, :, :-1], a)
        return z, hidden

    def _backward(
        self, error: Tensor, chunk: Chunk, hidden: list[tuple[Tensor, Tensor]], into: list[Tensor]
    ) -> None:
        """Adds ∂loss/∂W_l to `into`, which may be the weights themselves.

        Args:
            error: δ_L, scaled as the result shall be.
            chunk: What went forward.
            hidden: From `forward`.
            into: Like the weights.
        """
        skipped = None
        for layer, total, (phi, a) in zip(self.weights[:0:-1], into[:0:-1], hidden[::-1], strict=True):
            below = layer[:, :, :-1].mT @ error  # ∂loss/∂a_{l-1}
            if skipped is not None:
                below += skipped
            total[:, :, :-1].baddbmm_(error, a.mT)
            total[:, :, -1] += error.sum(2)
            skipped = below if self.stack.run.skip else None
            error = below * self._slope(phi)
        inputs, first = chunk.inputs, into[0].view(-1, into[0].shape[2])
        if chunk.pixels is not None:
            first.index_add_(1, chunk.pixels, error.flatten(0, 1) @ inputs.T)
        elif inputs.ndim == 2:
            first.addmm_(error.flatten(0, 1), inputs.T)
        else:
            into[0].baddbmm_(error, inputs.mT)

    def _slope(self, phi: Tensor) -> Tensor:
        """φ′(z) in terms of φ(z)."""
        match self.stack.run.activation:
            case "sigmoid":
                return phi - phi * phi
            case "tanh":
                return 1 - phi * phi
            case "relu":
                return (phi > 0).to(phi.dtype)

    def _outputs(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and targets, (R, h_L, n) each."""
        if self.stack.run.target == "one_hot":
            targets = torch.zeros_like(logits).scatter_(1, labels[:, None], 1)
        else:
            targets = labels[:, None].to(logits.dtype) / (CLASSES - 1)
        return (logits.softmax(1) if self.stack.run.output == "softmax" else logits.sigmoid()), targets

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of every example, (R, n)."""
        if self.stack.run.loss == "cross_entropy":
            return -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        outputs, targets = self._outputs(logits, labels)
        return (outputs - targets).square().sum(1) / 2

    def _losses_and_error(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (R, n) and δ_L = ∂loss/∂z_L (R, h_L, n) of every example."""
        if self.stack.run.loss == "cross_entropy":
            logarithms = logits.log_softmax(1)
            losses = -logarithms.gather(1, labels[:, None])[:, 0]
            minus_one = logits.new_full((1, 1, 1), -1).expand(len(labels), 1, labels.shape[1])
            return losses, logarithms.exp_().scatter_add_(1, labels[:, None], minus_one)
        outputs, targets = self._outputs(logits, labels)
        difference = outputs - targets
        losses = difference.square().sum(1) / 2
        if self.stack.run.output == "softmax":
            return losses, outputs * (difference - (outputs * difference).sum(1, keepdim=True))
        return losses, difference * outputs * (1 - outputs)

    def _answers(self, logits: Tensor) -> Tensor:
        """The class that every example is taken for, (R, n): of equal logits the first, as argmax has it."""
        if self.stack.run.target == "scaled_label":
            return ((CLASSES - 1) * logits[:, 0].sigmoid()).round().nan_to_num().long()
        # several times faster than torch.argmax along this axis
        places = torch.arange(CLASSES, 0, -1, dtype=logits.dtype, device=logits.device)[:, None]
        largest = logits == logits.amax(1, keepdim=True)
        return CLASSES - places.where(largest, 1).amax(1).long()
