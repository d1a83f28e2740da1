"""Exercise 1 of assignment 1: a multi-layer perceptron on MNIST, in plain PyTorch, step by step."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import nn, optim
from torchvision.datasets import MNIST

from analysis.data import Data


# 1. MNIST as torchvision gives it: bytes 0 … 255 and labels; inputs are scaled to [0, 1] and flattened.
def from_torchvision(folder: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    mnist = MNIST(folder, train=train)
    return mnist.data.flatten(1).float() / 255, mnist.targets


# 2. The same from the raw IDX files: a header (two zeros, type code, number of dimensions, the dimensions
#    as big-endian integers), then the bytes. Cast and scaled alike, they must agree exactly.
def from_idx(path: Path) -> torch.Tensor:
    raw = path.read_bytes()
    shape = struct.unpack_from(f">{raw[3]}I", raw, offset=4)
    return torch.frombuffer(bytearray(raw[4 + 4 * raw[3] :]), dtype=torch.uint8).reshape(shape)


def reconcile(folder: Path, prefix: str, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    raw = folder / "MNIST" / "raw"
    images = from_idx(raw / f"{prefix}-images-idx3-ubyte")
    assert torch.equal(images.flatten(1).float() / 255, inputs)
    assert torch.equal(from_idx(raw / f"{prefix}-labels-idx1-ubyte").long(), labels)


# 3. Some digits with their labels: one row per pixel, drawn in the report.
def digits(data: Data, device: torch.device, count: int = 20) -> pd.DataFrame:
    inputs, labels = from_torchvision(data.folder, train=True)
    frame = pd.DataFrame((inputs[:count] * 255).byte().numpy())
    return frame.assign(example=range(count), label=labels[:count].numpy()).melt(
        ["example", "label"], var_name="pixel"
    )


# 4. The network 784-300-10 with one-hot targets.
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(784, 300), nn.Sigmoid(), nn.Linear(300, 10))


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.one_hot(labels, num_classes=10).float()


# 5. Gradient descent: the loss is over all training examples, so every step follows its full gradient.
def gradient_descent(
    model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float, epochs: int
) -> Iterator[float]:
    optimizer = optim.SGD(model.parameters(), lr=learning_rate)
    cross_entropy = nn.CrossEntropyLoss()
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        yield loss.item()


# 6. The final accuracy, on the test set.
@torch.no_grad()
def accuracy(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    return float((model(inputs).argmax(dim=1) == labels).double().mean())


def program(data: Data, device: torch.device, epochs: int, learning_rate: float, seed: int) -> pd.DataFrame:
    inputs, labels = from_torchvision(data.folder, train=True)
    test_inputs, test_labels = from_torchvision(data.folder, train=False)
    reconcile(data.folder, "train", inputs, labels)
    reconcile(data.folder, "t10k", test_inputs, test_labels)

    torch.manual_seed(seed)
    model = network().to(device)
    targets = one_hot(labels).to(device)
    losses = list(gradient_descent(model, inputs.to(device), targets, learning_rate, epochs))

    rows = [(epoch, "train_loss", loss) for epoch, loss in enumerate(losses)]
    rows.append((epochs, "test_accuracy", accuracy(model, test_inputs.to(device), test_labels.to(device))))
    return pd.DataFrame(rows, columns=["epoch", "metric", "value"])
