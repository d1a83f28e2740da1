"""The program of exercise 1: what the report prints is what is tested here."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import pytest
import torch

from analysis import exercise1
from analysis.data import Data
from analysis.engine.run import Measure, Run
from analysis.engine.training import train
from analysis.questions.exercise1 import runs as experiment
from analysis.questions.gradient_descent import runs as gradient_descent

CPU = torch.device("cpu")


def write_idx(path: Path, content: torch.Tensor) -> None:
    header = struct.pack(f">BBBB{content.dim()}I", 0, 0, 8, content.dim(), *content.shape)
    path.write_bytes(header + content.to(torch.uint8).numpy().tobytes())


def written(data: Data, folder: Path) -> Data:
    """The data with its files where torchvision keeps them."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("t10k", data.test_images, data.test_labels),
    ):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", (images * 255).round().reshape(-1, 28, 28))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
    return dataclasses.replace(data, folder=folder)


@pytest.fixture(scope="module")
def on_disk(small: Data, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The small data set on disk."""
    return written(small, tmp_path_factory.mktemp("data"))


def test_the_raw_files_and_torchvision_give_the_same_data(on_disk: Data) -> None:
    inputs, labels = exercise1.from_torchvision(on_disk.folder, train=True)
    assert torch.equal(labels, on_disk.train_labels)
    assert torch.equal(inputs, on_disk.train_images)
    exercise1.reconcile(on_disk.folder, "train", inputs, labels)


def test_a_normalisation_that_differs_is_noticed(on_disk: Data) -> None:
    inputs, labels = exercise1.from_torchvision(on_disk.folder, train=True)
    with pytest.raises(ValueError, match="differ from torchvision's"):
        exercise1.reconcile(on_disk.folder, "train", inputs * 2 - 1, labels)
    with pytest.raises(ValueError, match="differ from torchvision's"):
        exercise1.reconcile(on_disk.folder, "train", inputs, labels.flip(0))


def test_gradient_descent_learns_the_digits(on_disk: Data) -> None:
    rows = experiment.program(on_disk, CPU, epochs=100, learning_rate=0.1, seed=0)
    losses = rows.loc[rows["metric"] == "train_loss", "value"]
    assert losses.is_monotonic_decreasing
    assert rows["metric"].iloc[-1] == "test_accuracy"
    assert rows["value"].iloc[-1] > 0.5


def test_the_accuracy_is_that_on_the_test_set(small: Data, tmp_path: Path) -> None:
    """Where every test label is another digit's, what was learnt from the training set is wrong."""
    mislabelled = written(dataclasses.replace(small, test_labels=(small.test_labels + 1) % 10), tmp_path)
    *_, accuracy = exercise1.main(mislabelled.folder, CPU, learning_rate=0.5, epochs=40, seed=0)
    assert accuracy < 0.05


def test_digits_that_an_old_torchvision_left_are_not_shown(small: Data, tmp_path: Path) -> None:
    folder = written(small, tmp_path).folder
    (folder / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        blank = torch.zeros(1_000, 28, 28, dtype=torch.uint8), torch.zeros(1_000, dtype=torch.long)
        torch.save(blank, folder / "MNIST" / "processed" / name)
    with pytest.raises(ValueError, match="differ from torchvision's"):
        exercise1.main(folder, CPU, learning_rate=0.1, epochs=1, seed=0)


def test_digits_are_shown_with_their_labels(on_disk: Data) -> None:
    inputs, labels = exercise1.from_torchvision(on_disk.folder, train=True)
    figure = exercise1.show(inputs[:20], labels[:20], rows=2)
    assert [axes.get_title() for axes in figure.axes] == [
        str(int(each)) for each in on_disk.train_labels[:20]
    ]
    drawn = [axes.images[0].get_array().reshape(-1).tolist() for axes in figure.axes]
    assert drawn == on_disk.train_images[:20].tolist()


def test_the_digits_are_those_of_the_files(on_disk: Data) -> None:
    rows = experiment.digits(on_disk, CPU)
    third = rows[rows["example"] == 2].sort_values("pixel")
    assert third["label"].unique().tolist() == [int(on_disk.train_labels[2])]
    assert third["value"].tolist() == (on_disk.train_images[2] * 255).round().int().tolist()


def test_the_engine_follows_the_program(on_disk: Data) -> None:
    """The engine's losses are those of exercise 1's own loop, from the engine's initialization."""
    from analysis.engine.network import reference_model

    epochs = 30
    measures = (Measure(metrics=("train_loss",), every=1),)
    run = Run(learning_rate=0.5, epochs=epochs, measures=measures)
    targets = exercise1.one_hot(on_disk.train_labels)
    expected = list(
        exercise1.gradient_descent(reference_model(run), on_disk.train_images, targets, 0.5, epochs)
    )
    (trained,) = train([run], on_disk, CPU)
    losses = trained.rows.sort_values("update")["value"].tolist()
    assert losses[:epochs] == pytest.approx(expected, rel=1e-5)


def test_full_batch_sgd_is_gradient_descent(on_disk: Data) -> None:
    deviation = gradient_descent.checks(on_disk, CPU).set_index("check")["deviation"]
    assert (deviation.drop("one_batch") < 1e-12).all()
    assert (deviation["one_batch"] > 0.01).all()
