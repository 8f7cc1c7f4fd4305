"""Whatever a scenario, a command line or a file holds: an answer, or one line, and never a traceback.

``TAMCL_FUZZ=5000 python -m pytest tests/test_fuzz.py`` tries as many of each.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamcl.cli.main import main
from tamcl.data.cifar import unpickle
from tamcl.data.mnist import parse_idx
from tamcl.data.svhn import SVHN
from tamcl.data.tree import open_tree
from tamcl.errors import InputError
from tamcl.files.digests import dump_json
from tamcl.files.parquet import dump_parquet, load_parquet
from tamcl.files.records import read_claims, read_study
from tamcl.scenario.load import load_scenario, parse
from tamcl.training.checkpoint import Checkpoint, write_after_digest, write_digest
from tamcl.training.state_file import write_state
from tests.files.test_damage import CLAIMS, STUDY, small

TRIED = int(os.environ.get("TAMCL_FUZZ", "40"))

fuzzed = settings(
    max_examples=TRIED,
    derandomize=TRIED == 40,  # the suite finds the same today and tomorrow; who tries more, tries others
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

ODD = ["", "tam", "sgd", "mlp", "os:system", "a.b:C", "nan", "inf", "-1", "1e400", "[", "\\", "\0", "naive"]
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(ODD))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.integers(-(10**30), 10**30)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def refusal(call: Callable[[], object], kind: type[Exception] = InputError) -> list[str]:
    """The lines that a call is refused with; none if it is answered."""
    try:
        call()
    except kind as error:
        return str(error).split("\n")
    return []


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested tables and lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inside for place in places(each, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


WHOLE = json.loads(json.dumps(load_scenario("label_flip_digits").dump()))


@fuzzed
@given(st.sampled_from(places(WHOLE)), PLAIN, TEXTS)
def test_a_scenario_of_any_values_is_one_or_refused(path: tuple[Any, ...], value: Any, key: str) -> None:
    for values in (put(WHOLE, path, value), put(WHOLE, path, {key: value})):
        said = refusal(lambda values=values: parse(values))
        assert all(line.startswith("scenario ") for line in said)


@fuzzed
@given(st.sampled_from(sorted({".".join(map(str, place)) for place in places(WHOLE) if place})), TEXTS, TEXTS)
def test_a_setting_of_any_text_is_one_or_refused(key: str, end: str, value: str) -> None:
    for setting in (f"{key}={value}", f"{key}{end}={value}", f"{end}={value}", value):
        refusal(lambda setting=setting: load_scenario("label_flip_digits", [setting]))


COMMANDS = "compare plan confirm regret run watch report ranks list check toys doctor data verify import"
OPTIONS = "--arm --set --seeds --jobs --out --once --help --oracles --metric --data-dir --log --timeout"
VALUES = "label_flip_digits tam,lr=0.1 7 study stream.samples=50 mnist restart"
WORDS = st.one_of(TEXTS, *(st.sampled_from(words.split()) for words in (COMMANDS, OPTIONS, VALUES)))


@fuzzed
@given(st.lists(WORDS, max_size=5))
def test_a_command_line_of_any_words_is_answered(words: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for stub in ("study.compare", "study.run", "study.estimate", "data.download.fetch"):
            patch.setattr(f"tamcl.{stub}", refuse)
        for stub in ("check", "toys", "doctor"):  # what is called by them has tests of its own, and takes a while
            words = [word for word in words if word != stub]
        errors, output = io.StringIO(), io.StringIO()
        patch.setattr("sys.stderr", errors)
        patch.setattr("sys.stdout", output)
        status = main(words)
    assert status in (0, 2)
    assert status == 0 or errors.getvalue().startswith("tamcl: ") or "Usage" in output.getvalue()
    assert "Traceback" not in errors.getvalue()


def refuse(*arguments: Any, **options: Any) -> None:
    raise InputError("nothing is trained here")


CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=6)), min_size=1, max_size=4)


def changed(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """The content with some bytes written over, put between, left out or repeated at some places."""
    for share, kind, new in changes:
        at = int(share * len(content))
        if kind == 0:
            content = content[:at] + new + content[at + len(new) :]
        elif kind == 1:
            content = content[:at] + new + content[at:]
        elif kind == 2:
            content = content[:at] + content[at + 1 + len(new) ** 2 :]
        else:
            content = content[: at + len(new)] + content[at:]
    return content


def checkpoint() -> bytes:
    file = io.BytesIO()
    state = {"weights": torch.arange(6.0).reshape(2, 3), "rows": [("a", 1, 2.5)], "counts": {1, 2}, "n": np.arange(3)}
    write_state(file, json.dumps({}))
    write_state(file, state)
    return file.getvalue()


def read_checkpoint(path: Path) -> None:
    """With a digest that is right whatever it is of, as who wants to do harm would write it."""
    content = path.read_bytes()
    with path.open("w+b") as file:
        write_after_digest(file)
        file.write(content)
        write_digest(file)
    Checkpoint(path, {}).load()  # says why it is not used, and raises nothing


def table() -> bytes:
    file = io.BytesIO()
    small("online").to_parquet(file)
    return file.getvalue()


def idx() -> bytes:
    return bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 28, 28)) + bytes(2 * 28 * 28)


def mat() -> bytes:
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, {"X": np.zeros((4, 4, 3, 2), np.uint8), "y": np.ones((2, 1))}, do_compression=True)
    return file.getvalue()


def archive() -> bytes:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("top/one.txt", "one")
        packed.writestr("top/two.txt", "two" * 100)
    return file.getvalue()


def read_all(path: Path) -> None:
    with open_tree(path) as tree:
        for name in tree.names:
            tree.read(name)


FILES: dict[str, tuple[Callable[[], bytes], Callable[[Path], object]]] = {
    "checkpoint": (checkpoint, read_checkpoint),
    "table": (lambda: dump_parquet(small("runs")), lambda path: load_parquet(io.BytesIO(path.read_bytes()))),
    "table without a digest": (table, lambda path: load_parquet(io.BytesIO(path.read_bytes()))),
    "study": (lambda: dump_json(STUDY), read_study),
    "claims": (lambda: dump_json(CLAIMS), read_claims),
    "batch of CIFAR": (
        lambda: pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}, protocol=2),
        lambda path: unpickle(str(path), path.read_bytes()),
    ),
    "idx": (idx, lambda path: parse_idx(str(path), path.read_bytes())),
    "mat": (mat, lambda path: SVHN().tally_files((path, path))),
    "zip": (archive, read_all),
}


@pytest.mark.parametrize("kind", FILES)
@fuzzed
@given(changes=CHANGES)
def test_a_file_of_any_bytes_is_read_or_refused(
    kind: str, changes: list[tuple[float, int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    make, read = FILES[kind]
    path = tmp_path_factory.getbasetemp() / f"fuzzed {kind}"
    path.write_bytes(changed(make(), changes))
    refusal(lambda: read(path), ValueError)


@pytest.mark.parametrize("kind", ["study", "claims"])
@fuzzed
@given(data=st.data())
def test_a_record_of_any_values_is_read_or_refused(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, read = {"study": (STUDY, read_study), "claims": (CLAIMS, read_claims)}[kind]
    values = put(whole, data.draw(st.sampled_from(places(whole))), data.draw(PLAIN))
    path = tmp_path_factory.getbasetemp() / f"fuzzed {kind}.json"
    path.write_text(json.dumps(values))
    assert len(refusal(lambda: read(path))) <= 1
