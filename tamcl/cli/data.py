"""The ``tamcl data`` commands. Heavy imports stand inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamcl.errors import InputError
from tamcl.files.paths import user_path

if TYPE_CHECKING:
    from tamcl.data import DataSet, Source

data_app = typer.Typer(no_args_is_help=True, help="Data sets: what there is, and getting it.")


def given_path(text: str | Path) -> Path:
    """Return what a path on the command line stands for, ``~`` expanded."""
    try:
        return user_path(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


PATH: dict[str, Any] = {"parser": given_path, "metavar": "PATH"}
"""Of options and arguments that are paths."""

DataDir = Annotated[
    Path | None, typer.Option(**PATH, help="Folder of the data sets; else $TAMCL_DATA_DIR, else the cache.")
]
Name = Annotated[str, typer.Argument(help="A data set.")]
AllowSubset = Annotated[bool, typer.Option("--allow-subset", help="Take fewer images or tokens than were published.")]


@data_app.command(name="list")
def list_data(data_dir: DataDir = None) -> int:
    """List the data sets: whether their files are there, how many of the published images, what to download."""
    from tamcl.data import DATASETS, data_root
    from tamcl.registry import lookup, signature

    root = data_root(data_dir)
    print(f"looked for in {root}")
    rows = []
    for name, path in DATASETS.items():
        source: Source = lookup(DATASETS, name)()
        state, why = _state(source, root)
        size = f"{source.size / 1e6:.0f} MB" if source.size else "-"
        rows.append((name, state, size, f"{signature(path).summary}{why and f' ({why})'}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, state, size, summary in rows:
        print(f"{name:{widths[0]}}  {state:{widths[1]}}  {size:>{widths[2]}}  {summary}")
    return 0


@data_app.command()
def fetch(name: Name, data_dir: DataDir = None) -> int:
    """Download a data set; a download that was broken off is resumed."""
    source, root = _find(name, data_dir)
    try:
        source.fetch(root)
    except OSError as error:
        raise InputError(f"data set '{name}': download to '{root}' failed: {error}") from error
    return _say(name, source.load(root, allow_subset=True), root)


@data_app.command(name="import")
def import_(
    name: Name,
    path: Annotated[Path, typer.Option("--from", **PATH, help="A file, a folder, or another root.")],
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
) -> int:
    """Copy local files of a data set to where they are looked for."""
    source, root = _find(name, data_dir)
    try:
        data = source.import_from(path, root, allow_subset)
    except OSError as error:
        raise InputError(f"data set '{name}': import to '{root}' failed: {error}") from error
    return _say(name, data, root)


@data_app.command()
def verify(name: Name, data_dir: DataDir = None, allow_subset: AllowSubset = False) -> int:
    """Read a data set's files again and check them: checksums, counts, and what is kept of them in the cache."""
    source, root = _find(name, data_dir)
    return _say(name, source.verify(root, allow_subset), root)


def _find(name: str, data_dir: Path | None) -> tuple[Source, Path]:
    from tamcl.data import data_root
    from tamcl.training.build import find_source

    return find_source(name), data_root(data_dir)


def _state(source: Source, root: Path) -> tuple[str, str]:
    """Return whether a data set's files are there and how many images they hold, and why they cannot be had."""
    from tamcl.data.decoded import DecodedSource

    published = _counts(source.official) if any(source.official) else ""
    try:
        source.check(root)
    except (InputError, OSError) as error:
        return ", ".join(filter(None, ["missing", published])), str(error).partition(": ")[2].partition("; ")[0]
    try:
        counts = source.count(root)
    except (InputError, OSError) as error:
        return ", ".join(filter(None, ["damaged", published])), str(error)
    if not any(counts):
        return f"found, not counted{published and ', of '}{published}", ""
    if counts != source.official:
        return f"found, {_counts(counts)} of {published}: needs --allow-subset", ""
    known = source.known(root) if isinstance(source, DecodedSource) else None
    is_other = known is not None and known.differences
    return f"found, {_counts(counts)}{', not as published: needs --allow-subset' if is_other else ''}", ""


def _counts(numbers: tuple[int, int]) -> str:
    """Return numbers of training and test images as they are read most easily."""
    return "{:,} + {:,}".format(*numbers)


def _say(name: str, data: DataSet, root: Path) -> int:
    train, test = data.counts
    skipped = f", {data.skipped} unreadable files left out" if data.skipped else ""
    what = "validation tokens" if data.is_text else "test images"
    print(f"{name}: {train} training and {test} {what}{skipped}, checksum {data.checksum}, in {root}")
    for difference in data.differences:
        print(f"  not as published: {difference}")
    return 0
