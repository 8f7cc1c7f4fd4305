"""An experience that nothing could be learnt in or measured of is refused before training, by its classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.streams import LabelFlip, Segment
from tamcl.training.build import plan
from tests.helpers import noise_data, refusal
from tests.streams.helpers import stream

LABELS = np.arange(200) % 10
SPLITS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("task_shift", {"setting": setting, "oracle": oracle})
        for setting in ("task_incremental", "class_incremental", "domain_incremental")
        for oracle in ("none", "no_shift", "restart")
    ),
    ("task_shift", {"setting": "class_incremental", "normalization": "task"}),
    *(("blurred", {"oracle": oracle}) for oracle in ("none", "no_shift", "restart")),
]


@pytest.mark.parametrize(("name", "settings"), SPLITS)
@pytest.mark.parametrize("part", ["training", "test"])
def test_classes_of_an_empty_experience_are_named(name: str, settings: dict[str, Any], part: str) -> None:
    split = stream(name, experiences=5, class_order=[9, 4, 0, 1, 8, 2, 3, 7, 6, 5], **settings)
    few = LABELS[(LABELS != 0) & (LABELS != 1) & (LABELS != 3) & (LABELS != 7) & (LABELS != 5)]
    labels = (few, LABELS) if part == "training" else (LABELS, few)
    with pytest.raises(InputError) as caught:
        split.segments(*labels, classes=10, seed=0)
    assert str(caught.value) == (
        f"stream.experiences = 5: there are no {part} images of classes 0 and 1 (experience 1), classes 3 and 7 "
        "(experience 3); each experience needs some"
    )


def test_many_classes_and_experiences_stay_one_line() -> None:
    labels = np.array([0])
    with pytest.raises(InputError) as caught:
        stream("task_shift", experiences=40, setting="class_incremental").segments(labels, labels, 1000, seed=0)
    assert len(str(caught.value)) < 1500
    assert "of 29 experiences more; each experience needs some" in str(caught.value)
    assert " and 15 more (experience 0)" in str(caught.value)


@pytest.mark.parametrize(("part", "changes"), [("training", "train"), ("test", "test")])
def test_no_stream_may_give_an_empty_experience(
    part: str, changes: str, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    none = np.array([], dtype=np.int64)
    whole = LabelFlip.segments

    def segments(self: LabelFlip, *data: Any) -> list[Segment]:
        first, last = whole(self, *data)
        return [first, replace(last, **{f"{changes}_index": none, f"{changes}_labels": none})]

    monkeypatch.setattr(LabelFlip, "segments", segments)
    with pytest.raises(InputError) as caught:
        plan(load_scenario(str(tiny)), noise_data(samples=100), seed=3)
    assert str(caught.value) == (
        f"stream.name = 'label_flip', stream.dataset = 'digits': experience 1 has no {part} images"
    )


def test_too_few_images_are_named_and_not_called_divergence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five images a letter: a tenth of them, five in all, are for the test."""
    rng = np.random.default_rng(0)
    for letter in "ABCDEFGHIJ":
        folder = tmp_path / "notMNIST_small" / letter
        folder.mkdir(parents=True)
        for image in range(5):
            Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8)).save(folder / f"{image}.png")
    (tmp_path / "tasks.toml").write_text("""
title = "Too few"
stream = { name = "task_shift", setting = "class_incremental", dataset = "notmnist", experiences = 5 }
model = { name = "mlp", hidden = [8] }
protocol = { seeds = 2, pairs = [["tam", "sgd"]] }
arms = { sgd = { optimizer = "sgd", lr = [0.1] }, tam = { optimizer = "tam", lr = [0.1] } }
""")
    command = ["compare", str(tmp_path / "tasks.toml"), "--data-dir", str(tmp_path), "--allow-subset"]
    said = refusal([*command, "--out", str(tmp_path / "study")], capsys)
    assert said.startswith("tamcl: stream.experiences = 5: there are no test images of classes ")
    assert not (tmp_path / "study").exists()


def test_a_data_set_without_test_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notMNIST_small" / "A").mkdir(parents=True)
    for image in range(9):
        Image.fromarray(np.full((28, 28), image, np.uint8)).save(tmp_path / "notMNIST_small" / "A" / f"{image}.png")
    command = ["data", "verify", "notmnist", "--data-dir", str(tmp_path), "--allow-subset"]
    assert refusal(command, capsys) == "tamcl: data set 'notmnist': its files have no test images\n"
