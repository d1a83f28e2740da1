"""Assignment 1, exercise 1: the completed program, run as it stands in `analysis/exercise1.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Program
from analysis.question import Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

# The rate and the epochs of the source report.
LEARNING_RATE = 0.1
EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 10}
DIGITS = 20


def digits(data: Data, device: torch.device) -> pd.DataFrame:
    """Return the first training digits: one row per pixel, with columns example, label, pixel, value (0 … 255)."""
    from analysis import exercise1

    inputs, labels = exercise1.from_torchvision(data.folder, train=True)
    exercise1.reconcile(data.folder, "train", inputs, labels)
    pixels = (255 * inputs[:DIGITS]).round().byte()
    frame = pd.DataFrame(pixels.numpy()).assign(example=range(DIGITS), label=labels[:DIGITS].numpy())
    return frame.melt(["example", "label"], var_name="pixel")


def program(data: Data, device: torch.device, epochs: int, learning_rate: float, seed: int) -> pd.DataFrame:
    """Return the program's losses and final accuracy: columns epoch, metric, value."""
    from analysis import exercise1

    _, losses, accuracy = exercise1.main(data.folder, device, learning_rate, epochs, seed)
    rows = [(epoch, "train_loss", loss) for epoch, loss in enumerate(losses)]
    rows.append((epochs, "test_accuracy", accuracy))
    return pd.DataFrame(rows, columns=["epoch", "metric", "value"])


def jobs(preset: Preset) -> tuple[Program, ...]:
    """Return the digits to look at, then the program itself."""
    return (
        Program(name="exercise1.digits", function=digits),
        Program(
            name="exercise1.program",
            function=program,
            arguments=(("epochs", EPOCHS[preset]), ("learning_rate", LEARNING_RATE), ("seed", 0)),
        ),
    )
