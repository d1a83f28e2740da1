"""Make digits.npz, the small subset of MNIST that the tests use: python -m tests.helpers.make_digits

It holds the first 100 training and 30 test examples of each digit, in the order of the data, as bytes.
"""

from pathlib import Path

import numpy as np
from torchvision.datasets import MNIST

from analysis.data import FOLDER, load

load(FOLDER)  # downloads and verifies the files if necessary
arrays = {}
for part, each in (("train", 100), ("test", 30)):
    mnist = MNIST(str(FOLDER), train=part == "train")
    labels = mnist.targets.numpy()
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == digit)[:each] for digit in range(10)]))
    arrays[f"{part}_images"] = mnist.data.numpy()[chosen].reshape(-1, 784)
    arrays[f"{part}_labels"] = labels[chosen].astype(np.uint8)
np.savez_compressed(Path(__file__).with_name("digits.npz"), **arrays)
