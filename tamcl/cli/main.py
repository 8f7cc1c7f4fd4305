"""The command line: every command is one library call. Heavy imports stand inside the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import cast

import typer

from tamcl.cli import objects, studies
from tamcl.cli.app import app
from tamcl.cli.data import data_app
from tamcl.errors import AllFailed, InputError, reason, shortened, shown
from tamcl.scenario.plain import unprintable

WRONG_CALL = cast(type[typer.BadParameter], typer.BadParameter.__base__)
"""The class of all wrong calls, which is click's, and typer's own where it has click inside."""

COMMANDS: list[Callable[..., int]] = [
    studies.compare,
    studies.sweep,
    studies.plan,
    studies.confirm,
    studies.regret,
    studies.run,
]
COMMANDS += [studies.watch, studies.report, studies.table, studies.merge, studies.verify, studies.ranks]
COMMANDS += [studies.landscape]
COMMANDS += [objects.check, objects.toys, objects.doctor]
for command in COMMANDS:
    app.command()(command)
app.command(name="list")(objects.list_)
app.add_typer(data_app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 well, 2 wrong call or file, 3 failed cells, 130 Ctrl-C."""
    if arguments is None:  # from a shell: pictures go to files, and a backend that is not there would stop matplotlib
        os.environ["MPLBACKEND"] = "agg"
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal may not have every character, such as an arrow
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        for argument in arguments:
            if why := unprintable(argument):
                raise InputError(f"argument {shown(argument)}: {why}")
        status = int(app(arguments, prog_name="tamcl", standalone_mode=False, obj=arguments) or 0)
    except InputError as error:
        print(f"tamcl: {error}", file=sys.stderr)
        return 2
    except AllFailed as error:
        print(f"tamcl: {error}", file=sys.stderr)
        return 3
    except MemoryError as error:
        print(f"tamcl: there is not enough memory: {reason(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # no right to write there, or no room: what was finished is there, and goes on from there
        print(f"tamcl: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except WRONG_CALL as error:
        message = shortened(error.format_message())
        print(f"tamcl: {message}" if message else "", end="\n" if message else "", file=sys.stderr)
        return 2
    except SystemExit as error:  # tamcl returns its status, so this is somebody's code that was imported or called
        if isinstance(error.__context__, BrokenPipeError):  # or typer's answer where nobody reads on, as of head
            return 1
        print(f"tamcl: somebody's code called sys.exit({error.code!r})", file=sys.stderr)
        return 2
    if status == 130 and arguments[:1] != ["watch"]:  # typer's answer to Ctrl-C
        is_kept = arguments[:1] != ["verify"]  # which trains in a folder that is gone
        goes_on = "a study goes on where it stopped when the same command is given" if is_kept else "nothing is kept"
        print(f"tamcl: interrupted; {goes_on}", file=sys.stderr)
    return status
