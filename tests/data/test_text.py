"""Text: its tokens, its domains and their split, from files as they are published; what is no text is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tamcl.data import PTB, Books, DataSet, TextFiles, WikiText2
from tamcl.data.checked import faults
from tamcl.data.text import Domain, as_data_set
from tamcl.errors import InputError
from tests.data.layouts import write_ptb, write_texts, write_wikitext2


def texts(data: DataSet, joint: str = "") -> list[tuple[str, str]]:
    """The training and the validation text of each domain, read back."""
    found = []
    for domain in range(data.classes):
        parts = (data.train_x[data.train_y == domain], data.test_x[data.test_y == domain])
        found.append(tuple(joint.join(data.vocabulary[token] for token in part) for part in parts))
    return found


def test_words_are_those_of_the_files_and_each_line_has_an_end(tmp_path: Path) -> None:
    write_ptb(tmp_path)
    data = PTB().load(tmp_path, allow_subset=True)
    assert texts(data, " ") == [("the cat sat on the mat <eos> <eos> the <unk> sat <eos>", "the <unk> sat <eos>")]
    assert len(data.vocabulary) == 7
    assert data.describe()["vocabulary"] == 7
    assert data.differences == (
        "there are 12 training and 4 validation tokens, published are 929589 training and 73760 validation tokens",
    )


def test_files_with_the_ends_of_lines_of_another_system_are_the_same_text(tmp_path: Path) -> None:
    write_wikitext2(tmp_path)
    data = WikiText2().load(tmp_path, allow_subset=True)
    for path in (tmp_path / "wikitext-2").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert WikiText2().load(tmp_path, allow_subset=True).checksum == data.checksum


def test_text_files_are_domains_by_name_with_a_split_of_their_own_or_a_tenth(tmp_path: Path) -> None:
    write_texts(tmp_path)
    data = TextFiles().load(tmp_path)
    alice, wiki = texts(data)
    assert alice == ("Alice was beginning to get very ti", "re<unk>")  # no training text has the last letter
    assert wiki == (" the cat sat on the mat \n\n the <unk> sat \n", " the <unk>og sat \n")
    assert as_data_set("known", {"one": Domain("abab", "ba")}).vocabulary == ("a", "b")


def test_the_books_are_the_same_everywhere() -> None:
    data = Books().load(Path())
    assert data.checksum == "008ca0a853fae869a6e2ce2a1ef0f015"
    assert Counter(data.train_y.tolist()) == {0: 133629, 1: 112656, 2: 141102}
    both = ["".join(parts) for parts in texts(data)]
    assert [sha256(text.encode()).hexdigest()[:8] for text in both] == ["cc660e04", "fb7d18b6", "0918e309"]


def test_the_vocabulary_counts_in_the_checksum() -> None:
    data = as_data_set("two", {"one": Domain("abab", "ba")})
    assert replace(data, vocabulary=("b", "a")).checksum != data.checksum


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9", r"ptb.train.txt' is not UTF-8 \(byte 0xe9 at 3\); save it as UTF-8"),
        (b" \n\n", r"ptb.train.txt' is empty: there is no text to learn"),
        (None, r"data set 'ptb': no file '.*ptb.train.txt'; name the folder that holds ptb with --data-dir"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    write_ptb(tmp_path)
    path = tmp_path / "simple-examples" / "data" / "ptb.train.txt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        PTB().load(tmp_path, allow_subset=True)
    assert "\n" not in str(caught.value)


def test_a_split_without_its_other_half_is_refused(tmp_path: Path) -> None:
    write_texts(tmp_path)
    (tmp_path / "texts" / "wiki.valid.raw").unlink()
    with pytest.raises(InputError, match=r"'.*wiki.train.raw' needs 'wiki.valid.raw' beside it"):
        TextFiles().load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_x": np.zeros(5, np.int64)}, "train_x is int64; must be int32"),
        ({"train_x": np.zeros((5, 1), np.int32)}, r"train_x has shape \(5, 1\); must be \(n,\)"),
        ({"test_x": np.array([0, 3], np.int32)}, "test_x has tokens 0 to 3; the vocabulary has 0 to 2"),
        ({"train_y": np.array([0, 1, 0, 1, 1])}, "train_y falls; the domains of a text must come one after the other"),
        ({"vocabulary": ("a", "a", "b")}, "vocabulary must be a tuple of texts, no two of them the same"),
        ({"test_y": np.array([0, 2])}, "test_y has labels 0 to 2"),
    ],
)
def test_what_is_wrong_with_somebodys_text_is_said(change: dict[str, object], message: str) -> None:
    data = as_data_set("mine", {"one": Domain("abc", "a"), "other": Domain("ab", "c")})
    assert next(faults(data), None) is None
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(next(faults(replace(data, **change))))  # type: ignore[arg-type]
