"""Worker processes import the script that was started, so a script must not train when it is imported."""

from __future__ import annotations

import ast
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tamcl.errors import InputError

ADVICE = (
    "worker processes import the script that was started, and this one trains when it is imported: "
    'put the call below `if __name__ == "__main__":`'
)


def check_main_guard() -> None:
    """Refuse to train where worker processes would come to the same call again, without end.

    A worker that has come to it leaves at once.

    Raises
    ------
    InputError
        If the call stands in the script itself, under no condition that a worker may see otherwise.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing's own check does
        sys.exit(f"tamcl: {ADVICE}")
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is not None and any(_runs_in_workers(frame, script) for frame in _stack()):
        raise InputError(f"'{script}': {ADVICE}")


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _runs_in_workers(frame: FrameType, script: str) -> bool:
    """Tell whether the statement of a script that a frame is at has no condition around it or before it."""
    if frame.f_code.co_name != "<module>" or frame.f_code.co_filename != script:
        return False
    try:
        statements = ast.parse(Path(script).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # no source that could be looked at
        return False
    before = [statement for statement in statements if statement.lineno <= frame.f_lineno]
    conditions = [ast.unparse(_condition(node)) for each in before for node in ast.walk(each)]
    asks = any("__name__" in condition or "process" in condition for condition in conditions)
    return not (asks or isinstance(before[-1], ast.If))


def _condition(node: ast.AST) -> ast.AST:
    """Return what a node asks before it goes on; nothing if it does not."""
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        return node.test
    return node if isinstance(node, ast.BoolOp) else ast.Pass()
