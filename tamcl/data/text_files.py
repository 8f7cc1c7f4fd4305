"""A user's own text files as characters, each file a domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tamcl.data.text import Domain, TextSource, read_text, tenths
from tamcl.errors import InputError

ENDINGS = (".txt", ".raw", ".tokens")
"""Of the files that are read; ``.raw`` and ``.tokens`` are those of WikiText."""


class TextFiles(TextSource):
    """Text files of one's own as characters, those in the folder "texts" of the data sets: each a domain.

    The domains are in the order of the files' names. The last tenth of ``NAME.txt`` is for validation. Text that comes
    with a split is one domain as well: ``NAME.train.txt`` with ``NAME.valid.txt``, as ``ptb.train.txt`` and
    ``ptb.valid.txt``, or ``wiki.train.raw`` and ``wiki.valid.raw``; ``NAME.test.txt`` is not read then.
    """

    name = "text_files"
    classes = 0  # as many as there are files

    def check(self, root: Path) -> None:
        """Raise an ``InputError`` if there are no files."""
        self._files(root)

    def domains(self, root: Path) -> Mapping[str, Domain]:
        """Return the characters of each file, or pair of files."""
        return dict(self._domains(self._files(root)))

    def _files(self, root: Path) -> dict[str, Path]:
        folder = root / "texts"
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        files = {path.name: path for path in found if path.suffix in ENDINGS and not path.name.startswith(".")}
        if not files:
            raise InputError(
                f"data set '{self.name}': no file '{folder / '*.txt'}'; put text files there, or name the folder that "
                "holds texts with --data-dir or $TAMCL_DATA_DIR"
            )
        return files

    def _domains(self, files: Mapping[str, Path]) -> Iterator[tuple[str, Domain]]:
        split = {stem for name in files for stem, part, _ in [_parted(name)] if part == "train"}
        for name, path in files.items():
            stem, part, ending = _parted(name)
            if part == "train":
                validation = files.get(f"{stem}.valid{ending}")
                if validation is None:
                    raise InputError(f"data set '{self.name}': '{path}' needs '{stem}.valid{ending}' beside it")
                yield stem, Domain(read_text(path), read_text(validation))
            elif not (part and stem in split):
                yield name, tenths(read_text(path))


def _parted(name: str) -> tuple[str, str, str]:
    """Split a file's name into its stem, "train", "valid" or "test" if it says so, and its ending.

    Examples
    --------
    >>> _parted("wiki.train.raw"), _parted("alice.txt")
    (('wiki', 'train', '.raw'), ('alice', '', '.txt'))
    """
    path = Path(name)
    stem, _, part = path.stem.rpartition(".")
    return (stem, part, path.suffix) if stem and part in ("train", "valid", "test") else (path.stem, "", path.suffix)
