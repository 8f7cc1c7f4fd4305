"""A stream of one's own that gives something else than experiences of the data is one line before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.streams import Segment, Stream
from tamcl.training.build import plan
from tests.helpers import noise_data, noise_segments

DATA = noise_data(samples=100)
FLOATS = DATA.train_y.astype(np.float32)


class Own(Stream):
    """What the test at hand gives."""

    given: ClassVar[Any] = None

    def segments(self, *data: Any) -> list[Segment]:
        """Return it."""
        return self.given  # type: ignore[no-any-return]


class OwnNumbers(Own):
    """The same, of numbers."""

    target: ClassVar[Literal["class", "number"]] = "number"


def changed(**changes: Any) -> list[Segment]:
    first, last = noise_segments(DATA)
    return [first, replace(last, **changes)]


WRONG: list[tuple[type[Own], Callable[[], Any], str]] = [
    (Own, lambda: None, "gives no list of tamcl.streams.Segment"),
    (Own, lambda: [1, 2], "gives no list of tamcl.streams.Segment"),
    (Own, lambda: noise_segments(DATA, 3), "gives 3 of 2 experiences"),
    (Own, lambda: changed(test_index=DATA.test_y[:0]), "experience 1 has no test images"),
    (
        Own,
        lambda: changed(validation_index=np.arange(5), validation_labels=DATA.train_y[:5]),
        "holds out images, which a stream of one experience alone can do",
    ),
    (Own, lambda: changed(classes=(0, 10)), "experience 1 has classes (0, 10), the data set has 10"),
    (Own, lambda: changed(train_labels=FLOATS), "of int64, train_labels of float32; must be int64 and int64"),
    (
        Own,
        lambda: changed(test_index=np.arange(50.0)),
        "has test_index of float64, test_labels of int64; must be int64",
    ),
    (
        Own,
        lambda: changed(train_labels=DATA.train_y[1:]),
        "has train_index of shape (100,), train_labels of shape (99,)",
    ),
    (Own, lambda: changed(train_index=np.arange(100) - 1), "has train_index -1 to 98; must be 0 to 99"),
    (Own, lambda: changed(test_index=np.arange(50) + 1), "has test_index 1 to 50; must be 0 to 49"),
    (
        Own,
        lambda: changed(classes=tuple(range(9))),
        "has label 9 in train_labels, which is not among its classes (0, 1",
    ),
    (OwnNumbers, lambda: noise_segments(DATA), "experience 0 has train_index of int64, train_labels of int64; must be"),
    (
        OwnNumbers,
        lambda: changed(train_labels=FLOATS * np.nan, test_labels=FLOATS[:50])[1:] * 2,
        "experience 0 has train_labels that are not finite",
    ),
]


@pytest.mark.parametrize(("cls", "give", "message"), WRONG)
def test_what_is_wrong_is_named(
    cls: type[Own], give: Callable[[], Any], message: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cls, "given", give())
    name = f"{__name__}:{cls.__name__}"
    stream = f"{{name='{name}', dataset='digits', experiences=2}}"
    with pytest.raises(InputError) as caught:
        plan(load_scenario(str(tiny), [f"stream={stream}", "protocol.tune_by='online_loss'"]), DATA, seed=0)
    assert str(caught.value).startswith(f"stream.name = '{name}'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_ones_are_taken(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "given", noise_segments(DATA))
    settings = [f"stream={{name='{__name__}:Own', dataset='digits', experiences=2}}", "evaluation={}"]
    assert plan(load_scenario(str(tiny), settings), DATA, seed=0) == Own.given
