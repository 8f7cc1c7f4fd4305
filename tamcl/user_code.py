"""User code behind a run: which modules of theirs decide its result, and whether they are still the same.

A scenario may name classes as ``package.module:Class``. What such a class does stands in its module and in the modules
of the same project that this one imports, so a run keeps a digest of each of these files, by the module's name. A class
of a notebook or of a session stands in no file: its digest is that of its compiled code, by ``__main__:Class``.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from tamcl.errors import InputError
from tamcl.session_code import MAIN, code_of_session, is_of, session_class

Code = Mapping[str, str]
"""Names of modules and the digests of their files; of a class of the session its ``__main__:Class``."""

RECORDED = ("tamcl", "torch", "torchvision", "avalanche-lib", "numpy", "scipy", "pandas", "scikit-learn")
"""Packages whose versions stand in every row of ``runs``; another version of them alone trains nothing anew."""


def user_code(values: Any) -> Code:
    """Return the digests of the modules behind every ``package.module:Class`` in nested values, as the files are now.

    With a module come all modules of the project that it imports, wherever in it, and theirs: whatever is neither an
    installed package, part of Python, nor tamcl's. A comment counts as a change, and so does an import that the class
    does not use: what stands at the top of a file, a script's too, runs with it, and may change what the class does
    without a name that leads there. Of a class of a notebook only what it uses counts. A module of an installed package
    stands for the whole package: its file's digest is followed by the package's version, but for those ``RECORDED``.
    A package that is installed as editable is project code.

    Imports are read from the source and not followed as they run. So a module that is imported under a name computed
    at run time is not seen, nor are the files that code reads, such as weights.

    Parameters
    ----------
    values : dict, list, str or anything else
        What a scenario holds.

    Examples
    --------
    >>> user_code({"name": "mlp", "hidden": [100]})
    {}
    >>> list(user_code({"base": "torch.optim:Adagrad"}))
    ['torch.optim']
    """
    paths = {text: module for text in _texts(values) if (module := module_of(text)) is not None}
    of_session = {path: code_of_session(path) for path in sorted(paths) if session_class(path) is not None}
    named = {module for path, module in paths.items() if path not in of_session}
    found = {path: code.digest for path, code in of_session.items()}
    used = named.union(*(code.modules for code in of_session.values()))
    waiting = [around for name in sorted(used) for around in _with_parents(name)]
    while waiting:
        name = waiting.pop()
        spec = find_module(name)
        if name in found or spec is None or not (name in named or _is_own(spec)):
            continue
        content = _content(spec)
        if content is None:  # a folder without __init__.py, or a part of Python without a file
            continue
        if name not in named and not content.strip():  # as most __init__.py are: there is nothing in it to count
            continue
        found[name] = _digest(content)
        if _is_own(spec):
            waiting += _imports(content, _package_of(name, spec))
        else:
            found[name] += _version_of(name)
    return dict(sorted(found.items()))


def check_code(code: Code) -> None:
    """Check that this process trains with the code that a run is about; call it before and after what may import it.

    Raises
    ------
    InputError
        If a file changed since its digest was taken, or since this process imported it.
    """
    for module, digest in code.items():
        if module_of(module) is not None:  # a class of the session
            if code_of_session(module).digest != digest:
                raise InputError(
                    f"'{module}' or what it uses of the session changed after the run was planned: keep what changes "
                    "in the optimizer itself"
                )
            continue
        now = _digest_here(module)
        if now != _of_file(digest):
            raise InputError(
                f"the code of '{module}' changed after the run was planned, or after this process imported it: "
                "start the command, or Python, again"
            )
        if module in sys.modules:
            _imported[module] = _spec_here(module), now


def _digest_here(module: str) -> str:
    """Return the digest of what this process imported, which stays what it was, or would import by now."""
    spec, digest = _imported.get(module, (None, ""))
    if digest and module in sys.modules and _spec_here(module) is spec:  # and not loaded again
        return digest
    found = find_module(module)
    content = None if found is None else _content(found)
    if content is not None and module in sys.modules and not digest and not is_of(sys.modules[module], content):
        return ""  # imported by others than tamcl, as by a notebook, before it changed
    return "" if content is None else _digest(content)


def remember(path: str) -> None:
    """Note what this process imported with a ``package.module:Class``; called right after it."""
    modules = user_code(path) if path not in _remembered else {}
    _remembered.add(path)
    for module, digest in modules.items():
        if module in sys.modules:  # which a class of the session is not
            _imported.setdefault(module, (_spec_here(module), _of_file(digest)))


def _spec_here(module: str) -> ModuleSpec | None:
    return getattr(sys.modules[module], "__spec__", None)


_remembered: set[str] = set()
_imported: dict[str, tuple[ModuleSpec | None, str]] = {}
"""Modules that this process has imported, as what they were found, and the digests of what was imported."""


def named_modules(values: Any) -> dict[str, str]:
    """Return the modules of every ``package.module:Class`` in nested values, with their files. Nothing is imported.

    Those of tamcl are left out.

    Examples
    --------
    >>> list(named_modules({"arms": {"mine": {"optimizer": "torch.optim:LBFGS"}, "tam": {"optimizer": "tam"}}}))
    ['torch.optim']
    """
    modules = {module for text in _texts(values) if (module := module_of(text)) is not None}
    others = sorted(module for module in modules if module.partition(".")[0] != "tamcl")
    return {module: (spec.origin or "" if (spec := find_module(module)) else "") for module in others}


def check_importable(values: Any) -> None:
    """Check that worker processes can import every ``package.module:Class`` in nested values.

    Raises
    ------
    InputError
        If a class is one of a notebook or of a session, which no other process can see.
    """
    for text in _texts(values):
        if module_of(text) == MAIN and (find_module(MAIN) is None or session_class(text) is not None):
            cure = "put it in a module, or train in this process, with jobs=1"
            raise InputError(f"'{text}': no file holds it, and worker processes cannot import it; {cure}")


def differing(one: Code, other: Code) -> list[str]:
    """Return the modules whose code is not the same in both.

    Examples
    --------
    >>> differing({"net": "a1", "layers": "b2"}, {"net": "a1", "layers": "b3"})
    ['layers']
    """
    return sorted(module for module in {**one, **other} if one.get(module) != other.get(module))


def module_of(text: str) -> str | None:
    """Return the module of a ``package.module:Class``, or None if the text is something else.

    Examples
    --------
    >>> module_of("my.nets:Net"), module_of("mlp"), module_of("12:30")
    ('my.nets', None, None)
    """
    module, _, attribute = text.partition(":")
    is_path = attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))
    return module if is_path else None


def holder_of(path: str, code: Code) -> str:
    """Return what has the digest of a class in ``code``: its module, or itself if it is one of a session.

    Examples
    --------
    >>> holder_of("my.nets:Net", {}), holder_of("__main__:Net", {"__main__:Net": "a1"})
    ('my.nets', '__main__:Net')
    """
    return path if path in code else module_of(path) or ""


def find_module(name: str) -> ModuleSpec | None:
    """Find a module as an import would, the folder the command was called from included, without importing anything.

    The packages' folders are walked, since ``importlib.util.find_spec`` would import the parents.
    """
    if name == MAIN:
        return _main_module()
    folders: list[str] | None = None
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for depth, part in enumerate(parts):
        spec = PathFinder.find_spec(part, [*sys.path, ""] if folders is None else folders)
        if spec is None:  # as a package that is installed as editable, for which a finder of its own answers
            spec = _by_other_finders(".".join(parts[: depth + 1]), folders)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or [])
    return spec


def _main_module() -> ModuleSpec | None:
    """Return what the script that runs would be found as; None in a notebook, where no file holds it."""
    file = getattr(sys.modules[MAIN], "__file__", None)
    return ModuleSpec(MAIN, None, origin=file) if file and Path(file).is_file() else None


def _by_other_finders(name: str, folders: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if finder is not PathFinder and (find := getattr(finder, "find_spec", None)):
            spec: ModuleSpec | None = find(name, folders)
            if spec is not None:
                return spec
    return None


def _content(spec: ModuleSpec) -> bytes | None:
    """Return a module's file, whether it is source, compiled, or in a zip; None if it has none."""
    try:
        get_data = getattr(spec.loader, "get_data", None)
        return Path(spec.origin or "").read_bytes() if get_data is None else bytes(get_data(spec.origin))
    except OSError:
        return None


def _of_file(digest: str) -> str:
    """Return a digest without the package's version that may follow it."""
    return digest.partition(" ")[0]


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _is_own(spec: ModuleSpec) -> bool:
    """Whether a module is user code: none of Python's, of an installed package, or tamcl's."""
    place = Path(spec.origin or next(iter(spec.submodule_search_locations or [""]))).absolute()
    others = [*_python_folders(), Path(__file__).parent]
    return not ({"site-packages", "dist-packages"} & set(place.parts) or any(map(place.is_relative_to, others)))


@cache
def _python_folders() -> list[Path]:
    return [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]


def _version_of(module: str) -> str:
    """Return the version of the installed package that a module is of, if no row of ``runs`` has it."""
    top = module.partition(".")[0]
    if top in RECORDED or top in sys.stdlib_module_names:  # looking it up takes a second
        return ""
    packages = _distributions().get(top, [])
    return "".join(f" {name} {version(name)}" for name in sorted(set(packages)) if name not in RECORDED)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _package_of(module: str, spec: ModuleSpec) -> str:
    """Return the package that a module's relative imports are meant in."""
    if module == MAIN:
        return getattr(sys.modules[module], "__package__", None) or ""
    return module if spec.submodule_search_locations is not None else module.rpartition(".")[0]


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Yield every module that a file may import, and the packages around them."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # no source, or importing it will say more
        return
    for node in ast.walk(tree):
        for name in _named_by(node, package):
            yield from _with_parents(name)


def _with_parents(module: str) -> Iterator[str]:
    """Yield the packages around a module, whose files run first, and the module."""
    parts = module.split(".")
    yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


def _named_by(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            try:
                base = resolve_name("." * level + (module or ""), package) if level else module or ""
            except ImportError:  # beyond the top package
                return
            yield base
            for alias in names:  # an attribute, or a module, which is looked for
                yield from _submodules(base) if alias.name == "*" else [f"{base}.{alias.name}"]
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(name)), *_]):
            if called in ("import_module", "__import__"):
                yield name.lstrip(".") if not name.startswith(".") else f"{package}{name}"
        case ast.Constant(value=str(text)) if (named := module_of(text)) is not None:
            yield named


def _submodules(package: str) -> Iterator[str]:
    """Yield the modules of a package that ``from package import *`` may import."""
    spec = find_module(package)
    if spec is None or not _is_own(spec):
        return
    for folder in spec.submodule_search_locations or []:
        yield from (f"{package}.{path.stem}" for path in Path(folder).glob("*.py") if path.stem != "__init__")


def _texts(values: Any) -> Iterator[str]:
    """Yield every text in nested values, keys included."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for pair in values.items():
            yield from _texts(pair)
    elif isinstance(values, Iterable):
        for value in values:
            yield from _texts(value)
