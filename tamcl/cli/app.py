"""The command line's application, and the arguments that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tamcl import __version__
from tamcl.cli.data import PATH

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tamcl {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Ask whether one optimizer beats another when the data distribution shifts."""


ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A scenario's name or a .toml file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as stream.samples=500.")
]


LoggerName = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Log each run to OUT/logs by Avalanche: tensorboard, wandb (offline) or csv."),
]


FOLDER = PATH | {"metavar": "DIR"}
StudyFolder = Annotated[Path, typer.Argument(**FOLDER, help="A finished study's folder.")]
Jobs = Annotated[
    int | None, typer.Option(help="Worker processes, 1 if absent; results do not depend on it.", show_default=False)
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="Train elsewhere: dask:ADDRESS, dask:file=SCHEDULER.json, dask, submitit or my.module:make_executor.",
    ),
]
ExecutorOptions = Annotated[
    Path | None, typer.Option(**PATH, help="TOML file; its table \\[executor] has the executor's options.")
]
Device = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="What computes: cpu, cuda (all GPUs, dealt out to workers), one as cuda:1, or auto."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Give up a run that makes no step for so long; it has failed."),
]


def command_line(context: typer.Context) -> str:
    """Return what was typed, for the report."""
    return shlex.join(["tamcl", *context.find_root().obj])
