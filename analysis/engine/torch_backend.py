"""Training by batched matrix products in torch: any network, any device, the backward pass written out.

With φ the activation and ∘ the product of elements, for every run and a chunk of n examples:

    z_1 = W_1 a_0,   a_l = φ(z_l) (+ a_{l-1} where layers are skipped),   z_{l+1} = W_{l+1} [a_l; 1]
    δ_L = ∂loss/∂z_L
    ∂loss/∂W_l = δ_l [a_{l-1}; 1]ᵀ
    δ_{l-1} = (W_lᵀ δ_l) ∘ φ′(z_{l-1})

Everything is feature-major: activations a_l are (R, h_l, n), the inputs a_0 are (p + 1, n) when all runs see the same
images and (R, p + 1, n) otherwise; the latter's last row is ones.
Where all runs see the same images on a CPU, products with a_0 may be left to code that knows of pixels that are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import softplus

from analysis.engine.run import CLASSES
from analysis.engine.stack import Split, Stack, mean_and_confusion

# Numbers per hidden layer's activations of a chunk: as many as stay in a CPU's cache, or fit a GPU's memory.
CACHED, IN_MEMORY = 2**20, 2**28


class Inputs(Protocol):
    """The same images for all runs, a_0 in another form than a matrix; not for automatic differentiation."""

    def product(self, weights: Tensor) -> Tensor:
        """Return W_1 a_0, (R, h, n), with W_1 (R, h, p + 1)."""

    def add_outer(self, error: Tensor, into: Tensor) -> None:
        """Add δ_1 a_0ᵀ to `into`, (R, h, p + 1), with δ_1 (R, h, n)."""


class Chunk(NamedTuple):
    """Examples that pass through the networks together.

    Attributes:
        inputs: a_0, (p + 1, n) or (R, p + 1, n).
        labels: (R, n).
    """

    inputs: Tensor | Inputs
    labels: Tensor


class Activation(NamedTuple):
    """An activation φ: in place, and φ′(z) as a function of φ(z)."""

    apply: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


ACTIVATIONS = {
    "sigmoid": Activation(torch.sigmoid_, lambda phi: torch.addcmul(phi, phi, phi, value=-1)),
    "tanh": Activation(torch.tanh_, lambda phi: 1 - phi * phi),
    "relu": Activation(torch.relu_, lambda phi: (phi > 0).to(phi.dtype)),
}

OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: z.softmax(1),
    "sigmoid": torch.sigmoid,
    "identity": lambda z: z,
}


class TorchBackend:
    """The weights of a stack, trained by torch.

    Attributes:
        stack: The runs.
        weights: W_1 … W_L, (R, h_l, h_{l-1} + 1) each.
        optimizer_state: Of every layer, the optimizer's state tensors, like its weights.
    """

    def __init__(self, stack: Stack, as_inputs: Callable[[Tensor], Inputs] | None = None) -> None:
        self.stack = stack
        self.weights = stack.initial_weights()
        self.optimizer_state = [
            [torch.zeros_like(layer) for _ in range(stack.rule.states)] for layer in self.weights
        ]
        self._activation = ACTIVATIONS[stack.run.activation]
        units = len(stack.runs) * sum(stack.run.hidden)
        self._chunk = max(256, (CACHED if stack.device.type == "cpu" else IN_MEMORY) // units)
        self._sums = torch.float32 if stack.device.type == "mps" else torch.float64
        self._as_inputs = as_inputs
        self._shared: WeakKeyDictionary[Split, list[Chunk]] = WeakKeyDictionary()

    def as_torch(self) -> TorchBackend:
        """Return itself: the evaluator asks either back end for the weights in torch."""
        return self

    def state(self) -> dict[str, Any]:
        """Return weights and optimizer state on the CPU, for `restore`."""
        return {
            "weights": [layer.cpu().clone() for layer in self.weights],
            "optimizer_state": [[like.cpu().clone() for like in layer] for layer in self.optimizer_state],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        device = self.stack.device
        self.weights = [layer.to(device, copy=True) for layer in state["weights"]]
        self.optimizer_state = [
            [like.to(device, copy=True) for like in layer] for layer in state["optimizer_state"]
        ]

    def advance(self, begin: int, end: int) -> tuple[Tensor, Tensor] | None:
        """Make the updates begin … end - 1, all of one epoch.

        Returns:
            For the full batch, training loss and accuracy before the update, (R,) each.
        """
        stack = self.stack
        # a factor multiplies matrices (R, h_l, h_{l-1} + 1)
        factors = stack.factors(begin, end).to(stack.dtype).to(stack.device)[..., None, None].unbind(1)
        if stack.run.batch_size is None:
            gradient, loss, correct = self._gradient(stack.train)
            self._update(gradient, factors[0])
            return loss, correct
        batches = torch.split(stack.examples(begin, end), stack.batch, 1)
        for now, indices in zip(factors, batches, strict=True):
            batch = replace(stack.train, indices=indices)
            if stack.rule.linear and stack.batch <= self._chunk:
                self._descend(batch, now[0])
            else:
                self._update(self.gradient(batch), now)
        return None

    def gradient(self, split: Split) -> list[Tensor]:
        """Return the gradient of the mean loss on a split, like the weights."""
        return self._gradient(split)[0]

    def error_norms(self, split: Split) -> Tensor:
        """Return the root mean square of ‖δ_l‖ over the examples of a split, (R, L)."""
        squares = torch.zeros(
            len(self.stack.runs), len(self.weights), dtype=self._sums, device=self.stack.device
        )
        for chunk in self.chunks(split):
            logits, hidden = self.forward(self.weights, chunk)
            _, error = self._losses_and_error(logits, chunk.labels)
            for layer, (_, each) in enumerate(self._errors(error, hidden)):
                squares[:, -1 - layer] += each.square().sum((1, 2))
        return (squares / len(split)).sqrt()

    def mean_slopes(self, split: Split) -> Tensor:
        """Return the mean of φ′(z_l) over units and the examples of a split, (R, L - 1)."""
        hidden_layers = len(self.weights) - 1
        sums = torch.zeros(len(self.stack.runs), hidden_layers, dtype=self._sums, device=self.stack.device)
        for chunk in self.chunks(split):
            _, hidden = self.forward(self.weights, chunk)
            sums += torch.stack([self._activation.slope(phi).mean(1).sum(1) for phi, _ in hidden], 1)
        return sums / len(split)

    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return mean loss (R,) and confusion (R, 100): at 10 i + j, the examples of class i predicted as j."""
        runs = len(self.stack.runs)
        loss = torch.zeros(runs, dtype=self._sums, device=self.stack.device)
        confusion = torch.zeros(runs, CLASSES**2, dtype=self._sums, device=self.stack.device)
        for chunk in self.chunks(split):
            logits, _ = self.forward(self.weights, chunk)
            loss += self.losses(logits, chunk.labels).sum(1)
            pairs = chunk.labels * CLASSES + self._predictions(logits)
            confusion.scatter_add_(1, pairs, confusion.new_ones(1, 1).expand_as(pairs))
        return mean_and_confusion(loss, confusion, len(split))

    def misread_loss(self, split: Split) -> Tensor:
        """Return the mean loss of a split's wrongly classified examples, (R,): NaN where there are none."""
        sums = torch.zeros(2, len(self.stack.runs), dtype=self._sums, device=self.stack.device)
        for chunk in self.chunks(split):
            logits, _ = self.forward(self.weights, chunk)
            wrong = self._predictions(logits) != chunk.labels
            sums += torch.stack([self.losses(logits, chunk.labels).where(wrong, 0).sum(1), wrong.sum(1)])
        return sums[0] / sums[1]

    def chunks(self, split: Split, differentiable: bool = False) -> Iterable[Chunk]:
        """Return a split in chunks, of matrices if torch is to differentiate through them."""
        if split.indices is not None:
            per_run = torch.split(split.indices, self._chunk, 1)
            return (Chunk(split.images[indices].mT, split.labels.gather(1, indices)) for indices in per_run)
        images, labels = torch.split(split.images, self._chunk), torch.split(split.labels, self._chunk, 1)
        if self._as_inputs is None or differentiable:
            return (Chunk(each.mT, own) for each, own in zip(images, labels, strict=True))
        if split not in self._shared:
            inputs = map(self._as_inputs, images)
            self._shared[split] = [Chunk(each, own) for each, own in zip(inputs, labels, strict=True)]
        return self._shared[split]

    def _gradient(self, split: Split) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the gradient of the mean loss on a split, the mean loss and the accuracy, from one forward pass."""
        gradient = [torch.zeros_like(layer) for layer in self.weights]
        loss, correct = torch.zeros(2, len(self.stack.runs), dtype=self._sums, device=self.stack.device)
        for chunk in self.chunks(split):
            logits, hidden = self.forward(self.weights, chunk)
            correct += (self._predictions(logits) == chunk.labels).sum(1)
            losses, error = self._losses_and_error(logits, chunk.labels)
            loss += losses.sum(1)
            self._backward(error, chunk, hidden, gradient)
        for layer in gradient:
            layer /= len(split)
        return gradient, loss / len(split), (correct / len(split)).where(~loss.isnan(), torch.nan)

    def _descend(self, split: Split, rate: Tensor) -> None:
        """Make an update -η · gradient on a batch that is a single chunk."""
        (chunk,) = self.chunks(split)
        logits, hidden = self.forward(self.weights, chunk)
        _, error = self._losses_and_error(logits, chunk.labels)
        # with δ_L scaled by -η / n, what is added to the weights as a gradient is the update itself
        self._backward(error * (rate / -len(split)), chunk, hidden, self.weights)

    def _update(self, gradient: list[Tensor], factors: Tensor) -> None:
        """Make the optimizer's update by a gradient like the weights, with factors (F, R, 1, 1)."""
        for layer, slope, states in zip(self.weights, gradient, self.optimizer_state, strict=True):
            self.stack.rule.update(layer, slope, states, factors.unbind())

    def forward(self, weights: list[Tensor], chunk: Chunk) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the logits z_L and, of every hidden layer, φ(z_l) and a_l (which differ by a skip connection)."""
        first, inputs = weights[0], chunk.inputs
        z = first @ inputs if isinstance(inputs, Tensor) else inputs.product(first)
        hidden: list[tuple[Tensor, Tensor]] = []
        for layer in weights[1:]:
            phi = self._activation.apply(z)
            a = phi + hidden[-1][1] if self.stack.run.skip and hidden else phi
            hidden.append((phi, a))
            z = torch.baddbmm(layer[:, :, -1:], layer[:, :, :-1], a)
        return z, hidden

    def _backward(
        self, error: Tensor, chunk: Chunk, hidden: list[tuple[Tensor, Tensor]], into: list[Tensor]
    ) -> None:
        """Add ∂loss/∂W_l to `into`, which may be the weights themselves.

        Args:
            error: δ_L, scaled like the result.
            chunk: The examples of the forward pass.
            hidden: As returned by `forward`.
            into: Like the weights.
        """
        # layer by layer, as `into` may be the weights, which the errors below need unchanged
        for total, (a, own) in zip(into[::-1], self._errors(error, hidden), strict=True):
            if a is not None:
                total[:, :, :-1] += own @ a.mT  # several times faster than baddbmm_ into a part of each row
                total[:, :, -1] += own.sum(2)
        inputs = chunk.inputs
        if not isinstance(inputs, Tensor):
            inputs.add_outer(own, into[0])
        elif inputs.ndim == 2:
            into[0].view(-1, into[0].shape[2]).addmm_(own.flatten(0, 1), inputs.T)
        else:
            into[0].baddbmm_(own, inputs.mT)

    def _errors(
        self, error: Tensor, hidden: list[tuple[Tensor, Tensor]]
    ) -> Iterator[tuple[Tensor | None, Tensor]]:
        """Yield a_{l-1} (None for the inputs) and δ_l, (R, h_l, n), from δ_L down to δ_1."""
        skipped = None
        for layer, (phi, a) in zip(self.weights[:0:-1], hidden[::-1], strict=True):
            below = layer[:, :, :-1].mT @ error  # ∂loss/∂a_{l-1}
            if skipped is not None:
                below += skipped
            yield a, error
            slope = self._activation.slope(phi)
            skipped, error = (below, below * slope) if self.stack.run.skip else (None, below.mul_(slope))
        yield None, error

    def _outputs(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and targets, (R, h_L, n) each."""
        if self.stack.run.target == "one_hot":
            targets = torch.zeros_like(logits).scatter_(1, labels[:, None], 1)
        else:
            targets = labels[:, None].to(logits.dtype) / (CLASSES - 1)
        return OUTPUTS[self.stack.run.output](logits), targets

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every example, (R, n)."""
        match self.stack.run.loss, self.stack.run.output:
            case "cross_entropy", "softmax":
                return -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
            case "cross_entropy", _:
                _, targets = self._outputs(logits, labels)
                return (softplus(logits) - targets * logits).sum(1)
            case _:
                outputs, targets = self._outputs(logits, labels)
                return (outputs - targets).square().sum(1) / 2

    def _losses_and_error(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss (R, n) and δ_L = ∂loss/∂z_L (R, h_L, n) of every example."""
        run = self.stack.run
        if (run.loss, run.output) == ("cross_entropy", "softmax"):
            logarithms = logits.log_softmax(1)
            losses = -logarithms.gather(1, labels[:, None])[:, 0]
            minus_one = logits.new_full((1, 1, 1), -1).expand(len(labels), 1, labels.shape[1])
            return losses, logarithms.exp_().scatter_add_(1, labels[:, None], minus_one)
        outputs, targets = self._outputs(logits, labels)
        difference, losses = outputs - targets, self.losses(logits, labels)
        if run.loss == "cross_entropy" or run.output == "identity":
            return losses, difference
        if run.output == "softmax":
            return losses, outputs * (difference - (outputs * difference).sum(1, keepdim=True))
        return losses, difference * outputs * (1 - outputs)

    def _predictions(self, logits: Tensor) -> Tensor:
        """Return the predicted class of every example, (R, n): of equal logits the first, like argmax."""
        if self.stack.run.target == "scaled_label":
            outputs = OUTPUTS[self.stack.run.output](logits[:, 0])
            return ((CLASSES - 1) * outputs).round().clamp(0, CLASSES - 1).nan_to_num().long()
        # several times faster than torch.argmax along this axis
        places = torch.arange(CLASSES, 0, -1, dtype=torch.uint8, device=logits.device)[:, None]
        largest = (logits == logits.amax(1, keepdim=True)).view(torch.uint8)
        return CLASSES - (largest * places).amax(1).clamp(min=1).long()
