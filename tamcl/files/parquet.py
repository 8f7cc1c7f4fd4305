"""Tables as Parquet files that notice when they were damaged: a digest of the whole file, and checksums of pages."""

from __future__ import annotations

import io
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tamcl.files.digests import OTHER, ZEROS, digest_of, filled

_START = b"tamcl digest "
_DIGEST = re.compile(_START + rb"([0-9a-f]{32}) of \[([^\]]*)\]")


def dump_parquet(table: pd.DataFrame, of: str = "") -> bytes:
    """Return a table as a Parquet file, with a digest and with what the table is a part of."""
    content, arrow = io.BytesIO(), pa.Table.from_pandas(table, preserve_index=False)
    with pq.ParquetWriter(content, arrow.schema, write_page_checksum=True) as writer:
        writer.write_table(arrow)
        writer.add_key_value_metadata({"tamcl": f"{_START.decode()}{ZEROS.decode()} of [{of}]"})
    written = content.getvalue()
    return filled(written, written.rindex(_START) + len(_START))  # that of the footer, which is the last


def load_parquet(content: bytes) -> tuple[pd.DataFrame, str]:
    """Return a table and what it is a part of, which is empty if the file does not say.

    Raises
    ------
    ValueError
        If the content is no table or was damaged.
    """
    found = _DIGEST.match(content, max(0, content.rfind(_START)))
    if found and digest_of(content, found.start(1)) != found[1]:
        raise ValueError(OTHER)
    try:
        table = pd.read_parquet(io.BytesIO(content), page_checksum_verification=True)
    except Exception as error:  # a damaged file without a digest may raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"no table can be read from it ({why})") from error
    return table, found[2].decode(errors="replace") if found else ""
