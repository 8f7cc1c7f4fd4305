"""Classes of a notebook or of an interactive session, which no file holds: what they are, told by their compiled code.

A class that stands in a file is known by the file's text. One that was typed has no file, so it is told by what Python
made of it: the code of its methods, their defaults, its attributes, its bases, and whatever else of the session these
name. Comments and the place in the notebook do not count, so a notebook that is run again finds its runs again.
"""

from __future__ import annotations

import ast
import dis
import sys
import types
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

from tamcl.errors import InputError

MAIN = "__main__"
"""The module that a notebook's cells and a session's lines are in, and a script that was started."""


class SessionCode(NamedTuple):
    """What decides how a class of the session behaves."""

    digest: str
    modules: frozenset[str]
    """Names of the modules that it uses, which their files tell."""


def session_class(path: str) -> type | None:
    """Return the class behind ``__main__:Class`` if it is the session's and stands in no file, else None."""
    module, _, name = path.partition(":")
    found = vars(sys.modules[MAIN]).get(name) if module == MAIN else None
    if not isinstance(found, type):
        return None
    file = getattr(sys.modules[MAIN], "__file__", None)
    if not (file and Path(file).is_file()):
        return found
    was_typed = found.__module__ == MAIN and any(code.co_filename.startswith("<") for code in _codes_of(found))
    return found if was_typed else None


def code_of_session(path: str) -> SessionCode:
    """Return the digest of a class of the session, and the modules that it uses.

    Raises
    ------
    InputError
        If there is no such class, or it uses an object of the session of which it cannot be told whether it changed.
    """
    found = session_class(path)
    if found is None:
        return SessionCode("", frozenset())
    teller = _Teller(path)
    return SessionCode(blake2b(repr(teller.tell(found)).encode(), digest_size=8).hexdigest(), frozenset(teller.modules))


def is_of(module: types.ModuleType, source: bytes) -> bool:
    """Return whether a module that this process has imported is of a source, as far as compiled code can tell.

    Its functions, the methods of its classes and its constants are looked at: it may have been imported, by a notebook,
    before anybody noted what its file was. One that was not compiled as it stands, as by pytest, passes.
    """
    if type(module.__loader__) is not SourceFileLoader:
        return True
    try:
        tree = ast.parse(source)
        compiled = {_told_code(code) for code in _inside(compile(tree, "", "exec", dont_inherit=True))}
    except (SyntaxError, ValueError, RecursionError):
        return False
    for value in vars(module).values():
        is_own = getattr(value, "__module__", "") == module.__name__
        for code in _codes_of(value) if is_own and isinstance(value, type | types.FunctionType) else ():
            if code.co_filename == module.__file__ and _told_code(code) not in compiled:
                return False
    return all(getattr(module, name, value) == value for name, value in _constants(tree))


def _inside(code: types.CodeType) -> Iterator[types.CodeType]:
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield each
            yield from _inside(each)


def _told_code(code: types.CodeType) -> str:
    return repr(_Teller("").tell(code))


def _constants(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Yield the names that a module gives a number or a text to, once and for all."""
    counts = Counter(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)) if counts[name] == 1:
                yield name, value


def _codes_of(found: Any) -> Iterator[types.CodeType]:
    for value in vars(found).values() if isinstance(found, type) else [found]:
        function = _without_hook(getattr(value, "fget", getattr(value, "__func__", value)))
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if isinstance(function, types.FunctionType):
            yield function.__code__


def _without_hook(value: Any) -> Any:
    """Return a method without what torch puts around ``step`` when the first optimizer of the class is made."""
    is_hooked = getattr(value, "__globals__", {}).get("__name__") == "torch.optim.optimizer"
    return value.__wrapped__ if is_hooked and hasattr(value, "__wrapped__") else value


class _Teller:
    """Tells objects as nested tuples of texts and numbers that are the same in every process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.modules: set[str] = set()
        self._told: dict[int, tuple[int, Any]] = {}
        """By what is only theirs as long as they are kept, too."""

    def tell(self, value: Any, name: str = "") -> Any:
        value = _without_hook(value)
        match value:
            case None | bool() | int() | float() | complex() | str() | bytes() | types.EllipsisType():
                return repr(value)
            case types.ModuleType():
                return self._refer(value.__name__, "")
            case types.BuiltinFunctionType() | types.WrapperDescriptorType() | types.MethodDescriptorType():
                return "builtin", getattr(value, "__module__", ""), value.__qualname__
            case tuple():
                return "tuple", [self.tell(each, name) for each in value]
        if id(value) in self._told:  # as a method that names its own class
            return "told", self._told[id(value)][0]
        self._told[id(value)] = len(self._told), value
        match value:
            case list():
                return "list", [self.tell(each, name) for each in value]
            case set() | frozenset():
                return type(value).__name__, sorted(repr(self.tell(each, name)) for each in value)
            case Mapping():
                return "mapping", [(self.tell(key, name), self.tell(each, name)) for key, each in value.items()]
            case types.CodeType():
                return self._tell_code(value)
            case types.FunctionType():
                return self._tell_function(value)
            case staticmethod() | classmethod():
                return type(value).__name__, self.tell(value.__func__, name)
            case property():
                return "property", [self.tell(each, name) for each in (value.fget, value.fset, value.fdel)]
            case partial():
                return "partial", [self.tell(each, name) for each in (value.func, value.args, value.keywords)]
            case types.MethodType():
                return "method", self.tell(type(value.__self__), name), value.__func__.__qualname__
            case type():
                return self._tell_class(value)
        return self._tell_object(value, name)

    def _refer(self, module: str, name: str) -> Any:
        """Tell what stands in a module, whose file tells the rest."""
        self.modules.add(module)
        return "from", module, name

    def _tell_code(self, code: types.CodeType) -> Any:
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
        names = code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        table = getattr(code, "co_exceptiontable", b"")
        return "code", counts, names, code.co_code, table, [self.tell(each) for each in code.co_consts]

    def _tell_function(self, function: types.FunctionType) -> Any:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        inside = [(name, self._tell_cell(cell)) for name, cell in cells.items()]
        if (module := function.__globals__.get("__name__")) != MAIN:  # also a decorator's, around what is the session's
            return self._refer(str(module), function.__qualname__), inside
        named = sorted(_globals_of(function.__code__) & function.__globals__.keys())
        used = [(name, self.tell(function.__globals__[name], name)) for name in named]
        defaults = self.tell(function.__defaults__), self.tell(function.__kwdefaults__)
        return "function", self.tell(function.__code__), defaults, inside, used

    def _tell_cell(self, cell: types.CellType) -> Any:
        try:
            return self.tell(cell.cell_contents, "a variable around its methods")
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            return "empty"

    def _tell_class(self, found: type) -> Any:
        if found.__module__ != MAIN:
            return self._refer(found.__module__, found.__qualname__)
        told = []
        for name, value in sorted(vars(found).items()):
            inherited = next((vars(base)[name] for base in found.__mro__[1:] if name in vars(base)), None)
            if name in _OF_EVERY_CLASS or name.startswith("_abc_") or _without_hook(value) is _without_hook(inherited):
                continue
            told.append((name, self.tell(value, name)))
        return "class", found.__qualname__, [self.tell(each) for each in (type(found), *found.__bases__)], told

    def _tell_object(self, value: Any, name: str) -> Any:
        kind = type(value)
        if kind.__module__ in ("torch", "numpy") and callable(getattr(value, "tolist", None)):
            return self.tell(kind), str(value.dtype), self.tell(value.tolist(), name)
        if kind.__module__ == "torch":  # as a dtype or a device
            return "torch", str(value)
        if kind.__module__ == MAIN and hasattr(value, "__dict__"):
            return self.tell(kind), self.tell(vars(value), name)
        if isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
            return kind.__name__
        raise InputError(
            f"'{self.path}': uses {name}, of type {kind.__name__}, of which it cannot be told whether it is still the "
            "same; make it an option of the class, or put the class in a module"
        )


_OF_EVERY_CLASS = {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"}
_OF_EVERY_CLASS |= {"__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"}


def _globals_of(code: types.CodeType) -> set[str]:
    """Return the names that code looks up in its module, that of functions inside it included."""
    named = {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return named.union(*(_globals_of(each) for each in code.co_consts if isinstance(each, types.CodeType)))
