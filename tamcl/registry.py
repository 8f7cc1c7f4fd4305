"""Names for classes: a table maps a short name to ``package.module:Class``, and any such path works as a name.

Classes are read from source where only their signature or first sentence is wanted, so that listing them and checking
a scenario file imports nothing heavy.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, get_type_hints

from tamcl.errors import InputError, reason, shown, unknown_name
from tamcl.session_code import MAIN
from tamcl.user_code import find_module, module_of, remember


class Table(dict[str, str]):
    """Short names of one kind of object and where each is: ``Table("optimizer", {"tam": "tamcl.optim.tam:TAM"})``.

    Parameters
    ----------
    noun : str
        What the table holds, for error messages.
    entries : dict of str to str
        Name to ``package.module:Class``.
    kind : str
        ``package.module:Class`` that every class behind a name is a subclass of; anything is no kind.
    returns : sequence of str
        ``package.module:Class`` of each kind that a function behind a name may return instead, as its annotation has to
        say: ``def make() -> Class``. No function is taken if empty.
    """

    def __init__(self, noun: str, entries: dict[str, str], kind: str = "", returns: Sequence[str] = ()) -> None:
        super().__init__(entries)
        self.noun = noun
        self.kind = kind
        self.returns = returns

    def path(self, name: str) -> str:
        """Return the import path behind a name; a ``package.module:Class`` is its own path.

        Raises
        ------
        InputError
            If the name is neither in the table nor an import path.
        """
        if name in self:
            return self[name]
        if module_of(name) is not None:
            return name
        raise unknown_name(self.noun, name, self)

    def classes(self) -> list[str]:
        """Return the names of the classes of tamcl's own in the table: what its package exports."""
        return [path.partition(":")[2] for path in self.values() if path.startswith("tamcl.")]

    def exports(self, **others: str) -> Callable[[str], Any]:
        """Return a module ``__getattr__`` that imports a class of the table when it is first asked for.

        Parameters
        ----------
        **others : str
            ``package.module:Class`` of classes that are exported beside those of the table, by their names.
        """
        by_class = {path.partition(":")[2]: path for path in self.values()} | others

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
    types: dict[str, str]
    """Their annotations, as far as they have any."""
    sequences: frozenset[str] = frozenset()
    """Those of them whose value is a sequence, by default or by annotation."""


def lookup(table: Table, name: str) -> Any:
    """Return the class, or the function if the table has such, that a name or a ``package.module:Class`` stands for.

    Raises
    ------
    InputError
        If the name is unknown, its module or class does not exist, or it is no class of the table's kind. So nothing
        that a name stands for is called before it was found to be what it should be.

    Examples
    --------
    >>> from tamcl.optim import OPTIMIZERS
    >>> lookup(OPTIMIZERS, "tam").__name__
    'TAM'
    """
    found = load(table.path(name), noun=table.noun)
    if table.returns and inspect.isfunction(found):
        _check_function(found, table.returns, f"{table.noun} {shown(name)}")
    elif table.kind:
        _check_kind(found, load(table.kind), f"{table.noun} {shown(name)}", table.kind.replace(":", "."))
    return found


def _check_kind(found: Any, kind: type, what: str, needed: str) -> None:
    if not isinstance(found, type):
        hint = f"; wrap the function in a class that is a {needed}" if callable(found) else ""
        raise InputError(f"{what}: is no class but a {type(found).__name__}, and a class is needed, a {needed}{hint}")
    if not issubclass(found, kind):
        raise InputError(f"{what}: is no {needed}")


def _check_function(found: Callable[..., Any], returns: Sequence[str], what: str) -> None:
    """Check that a function says what it returns: nothing that may do anything else is called."""
    if found.__module__ == MAIN and find_module(MAIN) is None:
        raise InputError(f"{what}: no file holds the function, so that a change of it would not be seen; save a module")
    try:
        annotation = get_type_hints(found).get("return")
    except Exception as error:  # of names that are there for type checkers alone
        raise InputError(f"{what}: the annotations of the function cannot be read: {reason(error)}") from error
    if not (isinstance(annotation, type) and any(issubclass(annotation, load(each)) for each in returns)):
        needed = returns[0].replace(":", ".").replace("tamcl.avalanche", "avalanche.benchmarks")
        cure = f"write def {found.__name__}(...) -> {needed}"
        raise InputError(f"{what}: is a function that does not say that it returns a {needed}; {cure}")


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
    if not path.startswith("tamcl."):
        remember(path)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise unknown_name(f"{noun} in {module_name}", attribute, _own_names(module)) from None
    except Exception as error:  # of a module that makes its names when they are asked for
        raise InputError(f"{noun} '{path}': {reason(error)}") from error


def _own_names(module: ModuleType) -> list[str]:
    """Return the public names of a module, without what it imports from other packages."""

    def is_own(value: Any) -> bool:
        of = value.__module__ if isinstance(value, type | FunctionType) else module.__name__
        return not isinstance(value, ModuleType) and of.partition(".")[0] == module.__name__.partition(".")[0]

    return [name for name, value in vars(module).items() if not name.startswith("_") and is_own(value)]


def signature(path: str) -> Signature:
    """Read a class's first sentence and keyword arguments from its source, without importing it.

    A class without an ``__init__`` of its own, or whose source is not found, may take anything: it is then checked
    when it is built.
    """
    source = source_file(path)
    return _signature(source.read_bytes() if source else b"", path.partition(":")[2])


@lru_cache(maxsize=256)
def _signature(source: bytes, name: str) -> Signature:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # importing it will say more
        return Signature("", None, {})
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        return Signature("", None, {})
    init = next((node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    summary = (ast.get_docstring(found) or "").split("\n")[0].replace("``", "")
    if init is None or _takes_any(init.args):
        return Signature(summary, None, {})
    arguments = (*init.args.args, *init.args.kwonlyargs)
    types = {each.arg: ast.unparse(each.annotation) for each in arguments if each.annotation}
    return Signature(summary, _keywords(init.args), types, frozenset(_sequences(init.args, types)))


_SEQUENCES = {"tuple", "Tuple", "list", "List", "Sequence", "Iterable", "Collection"}


def _sequences(arguments: ast.arguments, types: Mapping[str, str]) -> Iterator[str]:
    """Yield the arguments that are told a tuple or a list."""
    positional = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    defaults = zip((*positional, *arguments.kwonlyargs), (*arguments.defaults, *arguments.kw_defaults), strict=True)
    yield from (argument.arg for argument, default in defaults if isinstance(default, ast.Tuple | ast.List))
    yield from (name for name, annotation in types.items() if _SEQUENCES & {*re.findall(r"\w+", annotation)})


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
    """Find the file of ``package.module:Class``, or None, without importing anything."""
    spec = find_module(path.partition(":")[0])
    origin = None if spec is None else spec.origin
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None
