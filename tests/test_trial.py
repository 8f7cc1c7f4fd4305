"""What a trial is in the tables, in records and in the names of folders."""

from __future__ import annotations

import json
import math

import pytest

from tamcl.trial import Trial, text_of, values_of

VALUES = [
    *(0, 1, -3, 0.0, 1.0, 1e-05, 1e300, 0.1 + 0.2, math.inf, True, False, None),
    *("keep", "1", "true", "null", "1e-3", "a b", "a,b", 'say "x"', "x=1", "", "[1]", "Infinity", "ä", "NaN"),
    *([0.9, 0.999], [], [[1, 2], ["a, b", "c"]], {"name": "x, y", "of": [1, 2]}, ["a=b, c=d"]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_reads_back_as_the_same_of_the_same_type(value: object) -> None:
    trial = Trial.of(0.1, {"other": 0.5, "option": value, "zero": "z"})
    found = trial.arguments
    assert list(found) == ["option", "other", "zero"]
    expected = tuple(value) if isinstance(value, list) else value
    assert found == {"option": expected, "other": 0.5, "zero": "z"}
    assert type(found["option"]) is type(expected)


def test_no_two_values_have_the_same_text() -> None:
    texts = [text_of(value) for value in VALUES]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("text", ["momentum", "=1", "a=1,b=2", "a=1, ", "a=[1", "a=", "a=" + "[" * 100_000, "a=1 b=2"])
def test_what_is_no_text_of_a_trial_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of JSON's messages there are many
        values_of(text)


def test_a_record_notes_a_rate_alone_as_it_always_did() -> None:
    assert Trial(0.1).plain == 0.1
    tuned = Trial(0.1, "momentum=0.9")
    assert [Trial.read(json.loads(json.dumps(each.plain))) for each in (Trial(0.1), tuned)] == [Trial(0.1), tuned]


def test_names_of_folders_are_plain_and_apart() -> None:
    trials = [Trial(0.1, f"betas=[0.9, {end}]") for end in (0.99, 0.999)]
    trials += [Trial(0.1, f"name={'x' * 200}{end}") for end in "ab"]
    names = [trial.folder for trial in trials]
    assert len(set(names)) == 4
    for name in names:
        assert len(name) < 90
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789.=,_-")
    assert Trial(0.1).folder == "lr0.1"
    assert Trial(0.1, "momentum=0.9, nesterov=true").folder == "lr0.1-momentum=0.9,nesterov=true"
