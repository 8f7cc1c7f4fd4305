"""Three books that come with tamcl: text without a download, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tamcl.data.text import Domain, TextSource, read_text, tenths

BOOKS = ("alice", "as_you_like_it", "paradise_lost")
"""The domains: a tale, a play and a poem."""


class Books(TextSource):
    """A tale, a play and a poem in English, 387,387 characters for training: three domains of text.

    They are "Alice's Adventures in Wonderland" by L. Carroll, "As You Like It" by W. Shakespeare and the first four
    books of "Paradise Lost" by J. Milton, in the public domain. The tokens are characters. The last tenth of each is
    for validation.

    Notes
    -----
    The files are those of the Canterbury corpus (alice29.txt, asyoulik.txt, plrabn12.txt), by which text compression
    is compared, without blanks at the ends of lines and without the preface of the third one.

    Examples
    --------
    >>> books = Books().load(Path())
    >>> books.counts, books.classes, len(books.vocabulary)
    ((387387, 43042), 3, 82)
    >>> "".join(books.vocabulary[token] for token in books.train_x[231:271])
    'Alice was beginning to get very tired of'

    References
    ----------
    R. Arnold, T. Bell, "A corpus for the evaluation of lossless compression algorithms", Data Compression Conference,
    1997, https://doi.org/10.1109/DCC.1997.582019
    """

    name = "books"
    classes = len(BOOKS)
    official = (387_387, 43_042)

    def domains(self, root: Path) -> Mapping[str, Domain]:
        """Return the characters of the three books."""
        folder = Path(__file__).with_name("texts")
        return {name: tenths(read_text(folder / f"{name}.txt")) for name in BOOKS}

    def fetch(self, root: Path) -> None:
        """Do nothing: the books are part of tamcl."""
