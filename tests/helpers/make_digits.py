"""Makes tests/digits.npz, the small subset of MNIST that the tests use: python tests/make_digits.py

The first 100 training and 30 test examples of each digit, in the data's order, as bytes.
"""

from pathlib import Path

import numpy as np
from torchvision.datasets import MNIST

from analysis.data import FOLDER, load

load(FOLDER)  # so that the files are there, and verified
arrays = {}
for part, each in (("train", 100), ("test", 30)):
    mnist = MNIST(str(FOLDER), train=part == "train")
    labels = mnist.targets.numpy()
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == digit)[:each] for digit in range(10)]))
    arrays[f"{part}_images"] = mnist.data.numpy()[chosen].reshape(-1, 784)
    arrays[f"{part}_labels"] = labels[chosen].astype(np.uint8)
np.savez_compressed(Path(__file__).with_name("digits.npz"), **arrays)
