"""Text as data: one row of tokens, characters or words, in which one domain follows the other."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from tamcl.data.base import DataSet, Source, Tokens
from tamcl.errors import InputError
from tamcl.files.paths import read_bounded

UNKNOWN = "<unk>"
"""The token that stands for those of the validation text that no training text has."""

END = "<eos>"
"""The token after each line of a text of words."""

MOST_BYTES = 2**30
"""Of a file: the training text of WikiText-103 has 0.54 GB."""


class Domain(NamedTuple):
    """A text of one kind: what is trained on, and what is tested on, its validation text."""

    training: Iterable[str]
    validation: Iterable[str]


class TextSource(Source):
    """A data set of text; a subclass says where it is and what its tokens are.

    Text has no official test part here: the test of ``DataSet`` is the validation text, which published studies report
    and choose learning rates by.
    """

    name: ClassVar[str]
    official: ClassVar[tuple[int, int]] = (0, 0)
    """Published numbers of tokens for training and validation; 0 where none are known."""

    @abstractmethod
    def domains(self, root: Path) -> Mapping[str, Domain]:
        """Return the tokens of each domain, by its name, in the order in which the domains are numbered.

        Raises
        ------
        InputError
            If a file is missing, empty, or not UTF-8.
        """

    def check(self, root: Path) -> None:
        """Raise an ``InputError`` naming the first file that is missing, if any is needed."""

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Read the texts."""
        data = as_data_set(self.name, self.domains(root), self.official)
        if data.differences and not allow_subset:
            raise InputError(
                f"data set '{self.name}' in '{root}': {data.differences[0]}; --allow-subset takes it as it is"
            )
        return data

    def fetch(self, root: Path) -> None:
        """Say where the text is to be put: nothing is downloaded."""
        self.check(root)

    def import_from(self, path: Path, root: Path, allow_subset: bool = False) -> DataSet:
        """Refuse to copy: text is read where it is."""
        raise InputError(f"--from '{path}': text is not copied; --data-dir names the folder that it is in")


def as_data_set(name: str, domains: Mapping[str, Domain], official: tuple[int, int] = (0, 0)) -> DataSet:
    """Number the tokens of some texts in the order of their first occurrence in training, domain after domain.

    Parameters
    ----------
    name : str
    domains : dict of str to Domain
    official : tuple of int
        Published numbers of tokens; those that there are if 0.

    Examples
    --------
    >>> data = as_data_set("two", {"one": Domain("abab", "ba"), "other": Domain("cab", "xc")})
    >>> data.vocabulary, data.train_x, data.train_y, data.test_x
    (('a', 'b', 'c', '<unk>'), array([0, 1, 0, 1, 2, 0, 1], dtype=int32), array([0, 0, 0, 0, 1, 1, 1]),
     array([1, 0, 3, 2], dtype=int32))
    """
    numbers: dict[str, int] = {}
    training = [_numbered(domain.training, numbers) for domain in domains.values()]
    known = dict(numbers)
    if UNKNOWN not in known:
        numbers = known | {UNKNOWN: len(known)}
    validation = [_known(domain.validation, numbers) for domain in domains.values()]
    if not any((part == len(known)).any() for part in validation):  # or the model would have an output for nothing
        numbers = known
    train_x, test_x = np.concatenate(training), np.concatenate(validation)
    counts = len(train_x), len(test_x)
    return DataSet(
        name,
        train_x,
        _domain_of_each(training),
        test_x,
        _domain_of_each(validation),
        classes=len(domains),
        official=official if any(official) else counts,
        differences=tuple(_differences(counts, official)),
        vocabulary=tuple(numbers),
    )


def _numbered(tokens: Iterable[str], numbers: dict[str, int]) -> Tokens:
    return np.frombuffer(array("i", (numbers.setdefault(token, len(numbers)) for token in tokens)), np.int32)


def _known(tokens: Iterable[str], numbers: Mapping[str, int]) -> Tokens:
    unknown = numbers[UNKNOWN]
    return np.frombuffer(array("i", (numbers.get(token, unknown) for token in tokens)), np.int32)


def _domain_of_each(parts: list[Tokens]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _differences(counts: tuple[int, int], official: tuple[int, int]) -> Iterator[str]:
    if any(official) and counts != official:
        there, all_ = (f"{train} training and {test} validation tokens" for train, test in (counts, official))
        yield f"there are {there}, published are {all_}"


def words(text: str) -> Iterator[str]:
    """Yield the words of a text, and the end of each of its lines.

    Examples
    --------
    >>> list(words("no it was\\n\\nn't black\\n"))
    ['no', 'it', 'was', '<eos>', '<eos>', "n't", 'black', '<eos>']
    """
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split()
        yield END


def read_text(path: Path) -> str:
    """Read a text file, with the ends of lines of any system.

    Raises
    ------
    InputError
        If it cannot be read, is too long or not UTF-8, or has no characters but blanks.
    """
    try:
        content = read_bounded(path, MOST_BYTES)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"'{path}' is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); save it as UTF-8"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"no file '{path}'") from error
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"'{path}' is refused: {error}") from error
    if not text.strip():
        raise InputError(f"'{path}' is empty: there is no text to learn")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def tenths(text: str) -> Domain:
    """Return the characters of a text that comes in one piece: its last tenth is for validation.

    Examples
    --------
    >>> tenths("abcdefghijklmnopqrst")
    Domain(training='abcdefghijklmnopqr', validation='st')
    """
    start = len(text) - len(text) // 10
    return Domain(text[:start], text[start:])
