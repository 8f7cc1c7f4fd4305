"""Digests that files carry in themselves, so that one that was damaged is not read as if it were whole.

A digest is of all bytes of its file, with zeros in its own place. A file without one, as older versions of tamcl and
other programs write them, is taken as it is. One file holds both, so that they are copied, renamed and lost together.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b, file_digest
from typing import IO, Any

_SIZE = 16
ZEROS = b"0" * (2 * _SIZE)
"""What stands in the place of a digest while it is computed."""

OTHER = "its digest is not that of what it holds"

_JSON_END = re.compile(rb'"digest": "([0-9a-f]{32})"\n}\n\Z')


def dump_json(values: dict[str, Any]) -> bytes:
    """Return the text of a JSON file, with a digest at its end."""
    content = (json.dumps(values | {"digest": ZEROS.decode()}, indent=2) + "\n").encode()
    return filled(content, content.rindex(ZEROS))


def load_json(content: bytes) -> Any:
    """Return what a JSON file holds, without its digest.

    A program that writes the file anew in another layout leaves no digest at its end, and is believed.

    Raises
    ------
    ValueError
        If the text is no JSON or was damaged.
    """
    found = _JSON_END.search(content)
    if found and digest_of(content, found.start(1)) != found[1]:
        raise ValueError(f"{OTHER} (where it was edited on purpose, remove the digest from its end)")
    try:
        values = json.loads(content.decode("utf-8-sig"))
        json.dumps(values, ensure_ascii=False).encode()  # half a character can be read, and not written again
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error
    if isinstance(values, dict):
        values.pop("digest", None)
    return values


def write_after_digest(file: IO[bytes]) -> None:
    """Leave room for a digest at the start of a file that is written next."""
    file.write(bytes(_SIZE))


def write_digest(file: IO[bytes]) -> None:
    """Put the digest of what was written to a file at its start."""
    file.seek(_SIZE)
    digest = _of_rest(file)
    file.seek(0)
    file.write(digest)


def after_digest(content: bytes) -> bytes:
    """Return what a file is to hold that starts with the digest of the rest."""
    return blake2b(content, digest_size=_SIZE).digest() + content


def is_whole(file: IO[bytes]) -> bool:
    """Tell whether a file starts with the digest of the rest, and go to where that begins."""
    matches = file.read(_SIZE) == _of_rest(file)
    file.seek(_SIZE)
    return matches


def _of_rest(file: IO[bytes]) -> bytes:
    return file_digest(file, lambda: blake2b(digest_size=_SIZE)).digest()  # type: ignore[arg-type]


def filled(content: bytes, at: int) -> bytes:
    """Return the content of a file with its digest at a place that holds zeros."""
    return content[:at] + digest_of(content, at) + content[at + len(ZEROS) :]


def digest_of(content: bytes, at: int) -> bytes:
    """Return the digest, as it stands in the file, of one that has it at a place."""
    view, digest = memoryview(content), blake2b(digest_size=_SIZE)
    for part in (view[:at], ZEROS, view[at + len(ZEROS) :]):
        digest.update(part)
    return digest.hexdigest().encode()


_BLOCK = 1 << 20


def digest_in(file: IO[bytes], at: int) -> bytes:
    """Return what ``digest_of`` does of an open file, little of which is in memory at a time."""
    digest = blake2b(digest_size=_SIZE)
    file.seek(0)
    while part := file.read(min(_BLOCK, at - file.tell())):
        digest.update(part)
    digest.update(ZEROS)
    file.seek(at + len(ZEROS))
    while part := file.read(_BLOCK):
        digest.update(part)
    return digest.hexdigest().encode()
