"""The small subset of MNIST that the tests use; see make_digits.py."""

from pathlib import Path

import numpy as np

from analysis.data import Data

FILE = Path(__file__).with_name("digits.npz")
DIGEST = "5" * 64


def load(folder: Path | None = None) -> Data:
    """Return 1,000 training and 300 test examples of real digits, balanced."""
    import torch

    with np.load(FILE, allow_pickle=False) as arrays:
        parts = {name: torch.from_numpy(arrays[name]) for name in arrays}
    return Data(
        parts["train_images"].float() / 255,
        parts["train_labels"].long(),
        parts["test_images"].float() / 255,
        parts["test_labels"].long(),
        DIGEST,
    )
