"""Penn Treebank and WikiText as words, from the files in which they were published for language models."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tamcl.data.text import Domain, TextSource, read_text, words
from tamcl.errors import InputError

MOST_COUNTED = 2**25
"""Bytes of files whose words are counted where no more than that is wanted."""


class WordSource(TextSource, ABC):
    """One text of words in two files, whose rare words have been replaced by ``<unk>`` when it was published."""

    classes = 1
    places: ClassVar[tuple[str, ...]]
    """Folders below the root to look in; the root itself is the last of them."""
    files: ClassVar[tuple[str, str]]
    """The names of the training and the validation text."""

    def check(self, root: Path) -> None:
        """Raise an ``InputError`` naming the first file that is missing."""
        self._find(root)

    def count(self, root: Path) -> tuple[int, int]:
        """Return the numbers of words; 0 of files that take seconds to read."""
        paths = self._find(root)
        if sum(path.stat().st_size for path in paths) > MOST_COUNTED:
            return 0, 0
        training, validation = (sum(1 for _ in words(read_text(path))) for path in paths)
        return training, validation

    def domains(self, root: Path) -> Mapping[str, Domain]:
        """Return the words, each line with its end."""
        training, validation = (words(read_text(path)) for path in self._find(root))
        return {self.name: Domain(training, validation)}

    def _find(self, root: Path) -> tuple[Path, ...]:
        found = [tuple(root / place / name for name in self.files) for place in self.places]
        for paths in found:
            if all(path.is_file() for path in paths):
                return paths
        first = next((paths for paths in found if any(path.is_file() for path in paths)), found[0])
        missing = next(path for path in first if not path.is_file())
        raise InputError(
            f"data set '{self.name}': no file '{missing}'; name the folder that holds {self.places[0]} with --data-dir "
            f"or $TAMCL_DATA_DIR: it is not downloaded"
        )


class PTB(WordSource):
    """Penn Treebank as words, 10,000 of them: newspaper articles, 929,589 tokens for training.

    The files are Mikolov's, ``ptb.train.txt`` and ``ptb.valid.txt``, in ``ptb``, ``simple-examples/data`` or the folder
    of the data sets itself.

    References
    ----------
    T. Mikolov et al., "Recurrent neural network based language model", Interspeech, 2010,
    https://doi.org/10.21437/Interspeech.2010-343. M. P. Marcus, M. A. Marcinkiewicz, B. Santorini, "Building a Large
    Annotated Corpus of English: The Penn Treebank", 1993, https://aclanthology.org/J93-2004
    """

    name = "ptb"
    official = (929_589, 73_760)
    places = ("ptb", "penn", "simple-examples/data", "")
    files = ("ptb.train.txt", "ptb.valid.txt")


class WikiText2(WordSource):
    """WikiText-2 as words, 33,278 of them: Wikipedia articles, 2,088,628 tokens for training.

    The files are ``wiki.train.tokens`` and ``wiki.valid.tokens`` in ``wikitext-2``.

    References
    ----------
    S. Merity et al., "Pointer Sentinel Mixture Models", 2016, https://arxiv.org/abs/1609.07843
    """

    name = "wikitext2"
    official = (2_088_628, 217_646)
    places = ("wikitext-2", "wikitext-2-v1", "")
    files = ("wiki.train.tokens", "wiki.valid.tokens")


class WikiText103(WordSource):
    """WikiText-103 as words, 267,735 of them: Wikipedia articles, 103,227,021 tokens for training.

    The files are ``wiki.train.tokens`` and ``wiki.valid.tokens`` in ``wikitext-103``. Every process reads them for
    itself, which takes a minute and 2 GB.

    References
    ----------
    S. Merity et al., "Pointer Sentinel Mixture Models", 2016, https://arxiv.org/abs/1609.07843
    """

    name = "wikitext103"
    official = (103_227_021, 217_646)
    places = ("wikitext-103", "wikitext-103-v1")
    files = ("wiki.train.tokens", "wiki.valid.tokens")
