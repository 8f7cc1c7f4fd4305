"""Names for classes: a table maps a short name to ``package.module:Class``, and any such path works as a name.

Classes are read from source where only their signature or first sentence is wanted, so that listing them and checking
a scenario file imports nothing heavy.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from tamcl.errors import InputError, unknown_name


class Table(dict[str, str]):
    """Short names of one kind of object and where each is: ``Table("optimizer", {"tam": "tamcl.optim.tam:TAM"})``.

    Parameters
    ----------
    noun : str
        What the table holds, for error messages.
    entries : dict of str to str
        Name to ``package.module:Class``.
    """

    def __init__(self, noun: str, entries: dict[str, str]) -> None:
        super().__init__(entries)
        self.noun = noun

    def path(self, name: str) -> str:
        """Return the import path behind a name; a ``package.module:Class`` is its own path.

        Raises
        ------
        InputError
            If the name is neither in the table nor an import path.
        """
        if name in self:
            return self[name]
        module, _, attribute = name.partition(":")
        if module and attribute.isidentifier() and all(part.isidentifier() for part in module.split(".")):
            return name
        raise unknown_name(self.noun, name, self)

    def exports(self) -> Callable[[str], Any]:
        """Return a module ``__getattr__`` that imports a class of the table when it is first asked for."""
        by_class = {path.partition(":")[2]: path for path in self.values()}

        def __getattr__(name: str) -> Any:
            if name not in by_class:
                raise AttributeError(name)
            return load(by_class[name])

        return __getattr__


class Signature(NamedTuple):
    """What a class says about itself without being imported."""

    summary: str
    parameters: dict[str, bool] | None
    """Keyword arguments of ``__init__`` and whether each is required, without those that it takes together as
    ``**common: Unpack[Common]``; None if any keyword may be given."""


def lookup(table: Table, name: str) -> Any:
    """Return the class that a name or a ``package.module:Class`` stands for.

    Raises
    ------
    InputError
        If the name is unknown, or its module or class does not exist.

    Examples
    --------
    >>> from tamcl.optim import OPTIMIZERS
    >>> lookup(OPTIMIZERS, "tam").__name__
    'TAM'
    """
    return load(table.path(name), noun=table.noun)


def load(path: str, noun: str = "object") -> Any:
    """Import ``package.module:Class``; the folder the command was called from counts as importable."""
    module_name, _, attribute = path.partition(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(f"{noun} '{path}': importing {module_name} failed: {error}") from error
        raise InputError(f"{noun} '{path}': there is no module '{error.name}'") from error
    except (Exception, SystemExit) as error:  # whatever somebody's module raises while it is imported
        raise InputError(f"{noun} '{path}': importing {module_name} failed: {error!r}") from error
    if not hasattr(module, attribute):
        raise unknown_name(f"{noun} in {module_name}", attribute, [n for n in dir(module) if not n.startswith("_")])
    return getattr(module, attribute)


@cache
def signature(path: str) -> Signature:
    """Read a class's first sentence and keyword arguments from its source, without importing it.

    A class without an ``__init__`` of its own, or whose source is not found, may take anything: it is then checked
    when it is built.
    """
    name = path.partition(":")[2]
    source = source_file(path)
    try:
        tree = ast.parse(source.read_bytes()) if source else ast.Module([], [])
    except (SyntaxError, ValueError):  # importing it will say more
        return Signature("", None)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        return Signature("", None)
    init = next((node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    summary = (ast.get_docstring(found) or "").split("\n")[0].replace("``", "")
    return Signature(summary, None if init is None or _takes_any(init.args) else _keywords(init.args))


def _takes_any(arguments: ast.arguments) -> bool:
    """Whether there is a ``**options``, other than a typed one, ``**common: Unpack[Common]``."""
    if arguments.kwarg is None:
        return False
    annotation = arguments.kwarg.annotation
    return annotation is None or not ast.unparse(annotation).startswith("Unpack[")


def _keywords(arguments: ast.arguments) -> dict[str, bool]:
    positional = arguments.args[1:]
    required = len(positional) - len(arguments.defaults)
    keywords = {argument.arg: index < required for index, argument in enumerate(positional)}
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return keywords | {argument.arg: default is None for argument, default in pairs}


def source_file(path: str) -> Path | None:
    """Find the file of ``package.module:Class``, or None, without importing anything.

    The packages' folders are walked, since ``importlib.util.find_spec`` would import the parents.
    """
    folders: list[str] | None = None
    origin: str | None = None
    for part in path.partition(":")[0].split("."):
        spec = PathFinder.find_spec(part, [*sys.path, ""] if folders is None else folders)
        if spec is None:
            return None
        folders, origin = list(spec.submodule_search_locations or []), spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None
