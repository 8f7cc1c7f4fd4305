"""How Avalanche is imported: only the modules that are used, without side effects, and the rest when it is asked for.

The ``__init__`` of Avalanche's packages imports everything below them: 2700 modules, among them torchvision,
matplotlib, TensorBoard and several solvers. Here those of ``LEAVES`` are not run until they are asked for a name that
is not listed there, and then all of them are, in Avalanche's order. So ``avalanche.training.Naive`` is there after
tamcl was imported as it is before, made of the same classes.

Whatever of Avalanche is imported later, by anybody in the process, is imported as quietly. If it was imported before
tamcl, it stays as it is. If a version of it has its parts elsewhere, it is imported whole.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

LEAVES: dict[str, dict[str, str]] = {
    "avalanche.benchmarks": {
        "CLExperience": "scenarios.generic_scenario",
        "CLScenario": "scenarios.generic_scenario",
        "CLStream": "scenarios.generic_scenario",
        "DatasetExperience": "scenarios.dataset_scenario",
        "OnlineCLExperience": "scenarios.online",
        "SequenceCLStream": "scenarios.generic_scenario",
    },
    "avalanche.benchmarks.scenarios": {
        "CLExperience": "generic_scenario",
        "CLScenario": "generic_scenario",
        "CLStream": "generic_scenario",
        "OnlineCLExperience": "online",
    },
    "avalanche.benchmarks.utils": {
        "AvalancheDataset": "data",
        "DataAttribute": "data_attribute",
        "TaskAwareSupervisedClassificationDataset": "classification_dataset",
        "TaskLabels": "data_attribute",
        "_make_taskaware_classification_dataset": "classification_dataset",
    },
    "avalanche.evaluation.metrics": {
        "accuracy_metrics": "accuracy",
        "loss_metrics": "loss",
    },
    "avalanche.logging": {
        "BaseLogger": "base_logger",
        "CSVLogger": "csv_logger",
        "InteractiveLogger": "interactive_logging",
        "TensorboardLogger": "tensorboard_logger",
        "TextLogger": "text_logging",
        "WandBLogger": "wandb_logger",
    },
    "avalanche.models": {
        "avalanche_forward": "utils",
    },
    "avalanche.training": {},
    "avalanche.training.plugins": {
        "EvaluationPlugin": "evaluation",
        "SupervisedPlugin": "strategy_plugin",
    },
}
"""By package, the module below it that a name comes from: the names that tamcl, and what it imports, asks for."""

_LEAF_MODULES = {f"{package}.{leaf}" for package, leaves in LEAVES.items() for leaf in leaves.values()}

WANTED = [
    "avalanche.benchmarks.scenarios.generic_scenario",
    "avalanche.benchmarks.utils.data_attribute",
    "avalanche.evaluation.metrics.loss",
    "avalanche.training.plugins.evaluation",
    "avalanche.training.templates",
]
"""The modules that tamcl itself uses."""

_PARTS = [f"avalanche.{part}" for part in ("benchmarks", "evaluation", "logging", "models", "training")]
"""In the order in which ``import avalanche`` imports them: not every one can be the first."""

_ONLY_RECOGNISED: dict[str, list[str]] = {
    "matplotlib": [],
    "matplotlib.axes": ["Axes"],
    "matplotlib.figure": ["Figure"],
    "matplotlib.pyplot": [],
    "torchvision": [],
    "torchvision.datasets": [],
    "torchvision.datasets.vision": ["StandardTransform"],
    "torchvision.transforms": ["Compose"],
}
"""Modules that those of ``WANTED`` import for classes in annotations and ``isinstance``, or to draw something later."""

_PLACES = "avalanche.benchmarks.datasets.dataset_utils"


def import_what_is_wanted() -> None:
    """Import Avalanche's modules of ``WANTED``, or all where that fails, unless Avalanche is there already."""
    global _starting
    if "avalanche" in sys.modules:
        return
    sys.meta_path.insert(0, _Finder)
    try:
        with ExitStack() as stack:
            for name, classes in _ONLY_RECOGNISED.items():
                stack.enter_context(_replaced(name, _imported_when_used(name, classes)))
            for name in WANTED:
                importlib.import_module(name)
    except (ImportError, AttributeError):  # this version of Avalanche is laid out otherwise
        for name in [name for name in sys.modules if name.partition(".")[0] == "avalanche"]:
            del sys.modules[name]
        LEAVES.clear()
        importlib.import_module("avalanche")
    finally:
        _starting = False


class _Finder:
    """Finds Avalanche's modules where Python does, for ``_Loader`` to run them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "avalanche":
            return None
        if not _starting and name not in _LEAF_MODULES:
            _run_all()  # in their own order: a module of one that was not run may be in need of another
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Runs a module quietly, and the packages of ``LEAVES`` when they are asked for more than those names."""

    _is_there: ModuleType | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that is there, if running the packages has imported it while it was being found."""
        self._is_there = sys.modules.get(spec.name)
        return self._is_there

    def exec_module(self, module: ModuleType) -> None:
        if self._is_there is not None:
            return
        if module.__name__ in LEAVES:
            module.__class__ = _Package
        else:
            self.run(module)

    def run(self, module: ModuleType) -> None:
        with _quietly():
            super().exec_module(module)


class _Package(ModuleType):
    """A package whose ``__init__`` was not run yet."""

    def __getattr__(self, name: str) -> Any:
        if leaf := LEAVES[self.__name__].get(name):
            return getattr(importlib.import_module(f"{self.__name__}.{leaf}"), name)
        if name.startswith("__") and name != "__all__":  # what inspect asks of every module
            raise AttributeError(name)
        if _starting:
            raise AttributeError(f"{self.__name__}: {name} is not among the names of LEAVES")
        _run(self)
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        _run(self)
        return dir(self)


_lock = RLock()
_running = _all_run = False
_starting = True


def _run(package: ModuleType) -> None:
    """Run the ``__init__`` of every package as ``import avalanche`` does; of this one if they are just being run."""
    with _lock:
        if _running:
            _run_one(package)
        else:
            _run_all()


def _run_all() -> None:
    global _running, _all_run
    with _lock:
        if _running or _all_run:
            return
        _running = True
        try:
            for name in _PARTS:
                _run_one(importlib.import_module(name))
            for name in LEAVES:
                _run_one(importlib.import_module(name))
            _all_run = True
        finally:
            _running = False


def _run_one(package: ModuleType) -> None:
    if isinstance(package, _Package):
        package.__class__ = ModuleType  # type: ignore[assignment]
        loader = package.__loader__
        assert isinstance(loader, _Loader)
        loader.run(package)


@contextmanager
def _quietly() -> Iterator[None]:
    """Import inside the ``with`` block without warnings, W&B, and files in the home folder."""
    with (
        warnings.catch_warnings(),
        _home_for_matplotlib(),
        _replaced("wandb", _imported_when_used("wandb")),
        _replaced(_PLACES, _places()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _replaced(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let a module be imported as another one inside the ``with`` block, unless it was imported before."""
    if module is None or name in sys.modules:
        yield
        return
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


def _imported_when_used(name: str, classes: Sequence[str] = ()) -> ModuleType:
    """Return a module that stands for another, which is imported at the first use of anything but the classes."""

    def look_up(attribute: str) -> Any:
        if attribute.startswith("__") or sys.modules.get(name) is module:  # what inspect asks of every module
            raise AttributeError(attribute)
        return getattr(importlib.import_module(name), attribute)

    module = ModuleType(name)
    vars(module)["__getattr__"] = look_up
    vars(module).update({each: _Recognised(each, (), {"__module__": name}) for each in classes})
    return module


class _Recognised(type):
    """A class of a module that may not be imported: as long as it is not, nothing is an instance of it."""

    def __instancecheck__(cls, thing: Any) -> bool:
        module = sys.modules.get(cls.__module__)
        return module is not None and isinstance(thing, getattr(module, cls.__name__))


def _places() -> ModuleType | None:
    """Return Avalanche's module of where data sets are downloaded to, without its file; None if the user has the file.

    tamcl has data sets of its own; those of Avalanche go where they would.
    """
    if Path(os.path.expanduser("~/.avalanche/config.json")).exists():
        return None
    module = ModuleType(_PLACES)
    vars(module).update(default_dataset_location=_default_place, __all__=["default_dataset_location"])
    return module


def _default_place(dataset_name: str) -> Path:
    return Path(os.path.expanduser("~/.avalanche/data")) / dataset_name


def _is_writable(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


@contextmanager
def _home_for_matplotlib() -> Iterator[None]:
    """Give matplotlib, which Avalanche imports, a folder to write to where the home folder is none, and remove it."""
    if _is_writable(os.path.expanduser("~")) or "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        yield
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MPLCONFIGDIR"] = scratch
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
