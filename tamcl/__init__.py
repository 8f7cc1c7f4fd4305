"""Does one optimizer beat another when the data distribution shifts, by how much, and how sure is that?

A study takes the names below; each is imported when it is first used, so that ``import tamcl`` costs nothing. The parts
are the folders: ``optim``, ``data``, ``streams``, ``models``, ``strategies``, ``metrics``. ``tamcl.optim`` needs torch
alone, and results open without torch.

Examples
--------
>>> import tamcl
>>> scenario = tamcl.load_scenario("label_flip_digits", ["stream.experiences=4"]).only(["sgdm", "tam"])
>>> scenario
<Scenario label_flip_digits: label_flip on digits, 4 experiences; sgdm, tam; 5 learning rates each, 10 seeds>
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamcl import optim as optim
    from tamcl import plots as plots
    from tamcl.findings.answers import verdicts as verdicts
    from tamcl.results import Results as Results
    from tamcl.results import load_results as load_results
    from tamcl.scenario.load import load_scenario as load_scenario
    from tamcl.scenario.load import scenarios as scenarios
    from tamcl.scenario.schema import Scenario as Scenario
    from tamcl.study.compare import compare as compare
    from tamcl.study.compare import run as run

__version__ = "0.1.0"

_NAMES = {
    "Results": "results",
    "Scenario": "scenario.schema",
    "compare": "study.compare",
    "load_results": "results",
    "load_scenario": "scenario.load",
    "optim": "",
    "plots": "",
    "run": "study.compare",
    "scenarios": "scenario.load",
    "verdicts": "findings.answers",
}
"""The module of each name; ``optim`` and ``plots`` are packages themselves."""

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'tamcl' has no attribute {name!r}")
    module = import_module(f"tamcl.{_NAMES[name] or name}")
    found = globals()[name] = getattr(module, name) if _NAMES[name] else module
    return found


def __dir__() -> list[str]:
    parts = [name for name, value in globals().items() if isinstance(value, ModuleType) or name.startswith("__")]
    return sorted({*__all__, *parts})
