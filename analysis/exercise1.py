"""Exercise 1 of assignment 1: an MLP on MNIST in plain PyTorch, step by step."""

import struct
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn, optim
from torchvision.datasets import MNIST


# 1. MNIST from torchvision: bytes 0 … 255, scaled to [0, 1] and flattened.
def from_torchvision(folder: Path, train: bool) -> tuple[Tensor, Tensor]:
    mnist = MNIST(folder, train=train, download=True)
    return mnist.data.flatten(1).float() / 255, mnist.targets


# 2. The same from the raw IDX files: a header (two zeros, a type code, the
#    number of dimensions, the dimensions as big-endian integers), then bytes.
def from_idx(path: Path) -> Tensor:
    raw = path.read_bytes()
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path} does not hold unsigned bytes in IDX format")
    shape = struct.unpack_from(f">{raw[3]}I", raw, offset=4)
    content = bytearray(raw[4 + 4 * raw[3] :])
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)


#    Cast and scaled alike, both must agree exactly.
def reconcile(folder: Path, prefix: str, inputs: Tensor, labels: Tensor) -> None:
    raw = folder / "MNIST" / "raw"
    images = from_idx(raw / f"{prefix}-images-idx3-ubyte")
    classes = from_idx(raw / f"{prefix}-labels-idx1-ubyte")
    if not torch.equal(images.flatten(1).float() / 255, inputs):
        raise ValueError(f"the images of {prefix} differ from torchvision's")
    if not torch.equal(classes.long(), labels):
        raise ValueError(f"the labels of {prefix} differ from torchvision's")


# 3. Some digits, 28 × 28 pixels each, with their labels.
def show(images: Tensor, labels: Tensor, rows: int = 1) -> Figure:
    figure, grid = plt.subplots(rows, len(images) // rows, squeeze=False)
    for axes, image, label in zip(grid.flat, images, labels, strict=True):
        axes.imshow(image.reshape(28, 28).numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(str(label.item()), loc="center")
        axes.set_axis_off()
    return figure


# 4. The network 784-300-10 and its one-hot targets.
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(784, 300), nn.Sigmoid(), nn.Linear(300, 10))


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels, num_classes=10).float()


# 5. Gradient descent: the loss is the mean over all training examples, so
#    that every step follows the full gradient.
def gradient_descent(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    learning_rate: float,
    epochs: int,
) -> Iterator[float]:
    optimizer = optim.SGD(model.parameters(), lr=learning_rate)
    cross_entropy = nn.CrossEntropyLoss()
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        yield loss.item()


# 6. The final accuracy on the test set.
@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    correct = model(inputs).argmax(dim=1) == labels
    return float(correct.double().mean())


# 7. The six steps, one after the other.
def main(
    folder: Path,
    device: torch.device,
    learning_rate: float,
    epochs: int,
    seed: int,
) -> tuple[Figure, list[float], float]:
    """Digits, the losses before each of the updates, and the final test accuracy."""
    inputs, labels = from_torchvision(folder, train=True)
    test_inputs, test_labels = from_torchvision(folder, train=False)
    reconcile(folder, "train", inputs, labels)
    reconcile(folder, "t10k", test_inputs, test_labels)
    digits = show(inputs[:20], labels[:20], rows=2)

    torch.manual_seed(seed)
    model = network().to(device)
    inputs, targets = inputs.to(device), one_hot(labels).to(device)
    losses = list(gradient_descent(model, inputs, targets, learning_rate, epochs))
    return digits, losses, accuracy(model, test_inputs.to(device), test_labels.to(device))


def curve(losses: list[float]) -> Figure:
    figure, axes = plt.subplots()
    axes.plot(losses)
    axes.set_xlabel("epoch")
    axes.set_ylabel("train loss")
    return figure


if __name__ == "__main__":
    cpu = torch.device("cpu")
    digits, losses, final = main(Path("data"), cpu, learning_rate=0.1, epochs=2_000, seed=0)
    digits.savefig("digits.png")
    curve(losses).savefig("loss.png")
    print(f"final test accuracy {final:.2%}")
