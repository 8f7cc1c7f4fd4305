"""Tables of numbers and texts from anybody's Parquet files: some kilobytes of one may stand for terabytes of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

AT_ONCE = 2**16
"""Rows that are read before it is looked how much memory they take."""

_MOST_COLUMNS = 100
_NUMBER = 8


def memory_bytes() -> int:
    """Return the memory of this machine; 16 GiB where it cannot be asked."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**34


def read_plain(file: IO[bytes], columns: Sequence[str] | None = None, *, most: int | None = None) -> pa.Table:
    """Return the table in an open Parquet file, or those of some columns that it has, if it fits into memory.

    Parameters
    ----------
    file : file
    columns : sequence of str, optional
        Those that are read; all if absent.
    most : int, optional
        Bytes that the rows may take; half of the memory if absent.

    Raises
    ------
    ValueError
        Saying what is no number and no text, or how much it would take.
    Exception
        Of any kind, if the file is damaged.
    """
    most = memory_bytes() // 2 if most is None else most
    # a text that stands in many rows is in memory once until it is known how long all rows are
    parquet = pq.ParquetFile(file, read_dictionary=[*range(_MOST_COLUMNS)], page_checksum_verification=True)
    schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    for field in schema:
        if not _is_plain(field.type):
            raise ValueError(f"column {field.name!r} holds {field.type}, not numbers or texts")
    if len(schema) > _MOST_COLUMNS or (size := _NUMBER * len(schema) * rows) > most:
        raise ValueError(f"{len(schema)} columns of {rows} rows take {size / 1e9:.3g} GB, more than this machine has")
    chosen = None if columns is None else [name for name in columns if name in schema.names]
    found = pa.Table.from_batches(_batches(parquet, chosen, most), _chosen(schema, chosen))
    plain = pa.schema([field.with_type(_plain(field.type)) for field in found.schema])
    both = zip(found.columns, plain, strict=True)
    arrays = [column if column.type == field.type else column.cast(field.type) for column, field in both]
    return pa.Table.from_arrays(arrays, schema=plain)


def _batches(parquet: pq.ParquetFile, columns: Sequence[str] | None, most: int) -> Iterator[pa.RecordBatch]:
    size = 0
    for batch in parquet.iter_batches(AT_ONCE, columns=columns, use_threads=False):
        size += sum(_bytes(column) for column in batch.columns if pa.types.is_dictionary(column.type))
        size += _NUMBER * batch.num_columns * batch.num_rows
        if size > most:
            raise ValueError(f"its rows take more than {most / 1e9:.3g} GB, which this machine has not")
        yield batch


def _chosen(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    fields = schema if columns is None else [field for field in schema if field.name in columns]
    return pa.schema(list(fields))


def _bytes(column: pa.Array) -> int:
    """Return what texts take once each row has its own."""
    lengths = pc.binary_length(column.dictionary.cast(pa.large_string()))
    if len(lengths) == 1:
        return int(lengths[0].as_py() or 0) * len(column)
    return int(pc.sum(pc.take(lengths, column.indices)).as_py() or 0)


def _plain(kind: pa.DataType) -> pa.DataType:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if pa.types.is_string(kind) else kind


def _is_plain(kind: pa.DataType) -> bool:
    kind = _plain(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(is_number or pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))
