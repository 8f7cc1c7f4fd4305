"""Tables as Parquet files that notice when they were damaged: a digest of the whole file, and checksums of pages."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tamcl.files.bounds import read_plain
from tamcl.files.digests import OTHER, ZEROS, digest_in

_START = b"tamcl digest "
_DIGEST = re.compile(_START + rb"([0-9a-f]{32}) of \[([^\]]*)\]")
_INDEX = re.compile(r"__index_level_\d+__")
"""Columns that pandas makes of an index."""

_END = 1 << 16
"""Bytes at the end of a file that its digest is in: of what describes the file little follows it."""


class ParquetWriter:
    """Writes a table to an open file, a part at a time, with a digest and with what the table is a part of."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file, self._writer = file, pq.ParquetWriter(file, schema, write_page_checksum=True)

    def write(self, part: pa.Table) -> None:
        """Write some rows more."""
        self._writer.write_table(part)

    def finish(self, of: str = "") -> None:
        """Write the end of the file, which says what the table is a part of."""
        self._writer.add_key_value_metadata({"tamcl": f"{_START.decode()}{ZEROS.decode()} of [{of}]"})
        self._writer.close()
        end, start = _end_of(self._file)
        at = start + end.rindex(_START) + len(_START)
        digest = digest_in(self._file, at)
        self._file.seek(at)
        self._file.write(digest)

    def abandon(self) -> None:
        """Close the file as it is, unless that was done; what may be wrong with it was said."""
        for close in (self._writer.close, self._file.close):
            with suppress(OSError, ValueError):
                close()
        self._writer.is_open = False  # or it tries again when it is collected


def dump_parquet(table: pd.DataFrame, of: str = "") -> bytes:
    """Return a table as a Parquet file, with a digest and with what the table is a part of."""
    content, arrow = io.BytesIO(), pa.Table.from_pandas(table, preserve_index=False)
    writer = ParquetWriter(content, arrow.schema)
    writer.write(arrow)
    writer.finish(of)
    return content.getvalue()


def whole_of(file: IO[bytes]) -> str | None:
    """Return what the table in an open file is a part of, which may be nothing; None if the file has no digest.

    Raises
    ------
    ValueError
        If the file was damaged.
    """
    end, start = _end_of(file)
    found = _DIGEST.match(end, max(0, end.rfind(_START)))
    if found is None:
        return None
    if digest_in(file, start + found.start(1)) != found[1]:
        raise ValueError(OTHER)
    return found[2].decode(errors="replace")


def load_parquet(file: IO[bytes], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table in an open file, or those of some columns that it has; its digest is not looked at.

    Raises
    ------
    ValueError
        If the content is no table.
    """
    file.seek(0)
    try:
        table = read_plain(file, columns).replace_schema_metadata(None)  # what pandas notes there is not needed
        table = table.drop_columns([name for name in table.column_names if _INDEX.fullmatch(name)])
        table.validate(full=True)
    except Exception as error:  # a damaged file without a digest may raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"no table can be read from it ({why})") from error
    return table


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table of any columns as one of pandas.

    Raises
    ------
    ValueError
        If pandas has no such columns.
    """
    try:
        frame: pd.DataFrame = table.to_pandas()
    except Exception as error:  # what is in a file that tamcl did not write may be anything
        raise ValueError(f"no table can be made of it ({' '.join(str(error).split())})") from error
    return frame


def _end_of(file: IO[bytes]) -> tuple[bytes, int]:
    """Return the last bytes of a file, and where they begin."""
    start = max(0, file.seek(0, io.SEEK_END) - _END)
    file.seek(start)
    return file.read(), start
