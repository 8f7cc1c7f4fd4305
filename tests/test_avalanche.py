"""Avalanche is imported in part and quietly; nobody who uses all of it sees a difference."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import tamcl.avalanche
from tamcl.avalanche import light

HEAVY = ["GPUtil", "gdown", "jax", "matplotlib", "optuna", "pytorchcv", "qpsolvers", "requests", "scipy", "sklearn"]
HEAVY += ["sympy", "tensorboard", "torch._dynamo", "torchmetrics", "torchvision", "wandb"]
"""What Avalanche, torch's optimizers and scikit-learn's digits would import."""

GLOBALS = """
def of(name):
    found = {}
    for key, value in vars(sys.modules[name]).items():
        if isinstance(value, type) or isinstance(value, type(of)):
            found[key] = [value.__module__, value.__qualname__]
    return found
"""
STAND_INS = {"Axes", "Compose", "Figure", "StandardTransform"}


def run(code: str) -> str:
    """Run code in a new process that shows warnings, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_worker_that_has_trained_imported_nothing_that_it_does_not_use() -> None:
    code = f"""
import importlib, sys
from tamcl.engines.processes import prepare
from tamcl.scenario import load_scenario
from tamcl.training.cell import Cell
from tamcl.training.run import run_cell
prepare()
scenario = load_scenario("label_flip_digits", ["stream.experiences=1", "stream.samples=20"])
for arm in ("sgdm", "adam", "tam"):
    outcome = run_cell(Cell(scenario, arm, 0.01, 0, "report"))
    assert outcome.runs["status"].item() == "ok"
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert run(code) == "[]\n"


def test_all_of_avalanche_is_there_after_tamcl_was_imported_with_the_same_classes() -> None:
    code = f"""
import importlib, json, sys
import tamcl.avalanche as ours
from tamcl.avalanche import light
{GLOBALS}
print(json.dumps({{name: of(name) for name in sys.modules if name.partition(".")[0] == "avalanche"}}))
there = {{package: dict(vars(sys.modules[package])) for package in light.LEAVES if package in sys.modules}}
import avalanche.training
from avalanche.training import Naive
from avalanche.training.plugins import SupervisedPlugin
from avalanche.benchmarks import *
assert issubclass(Naive, ours.SupervisedTemplate) and issubclass(tensors_benchmark and DatasetExperience, CLExperience)
assert ours.SupervisedPlugin is SupervisedPlugin and ours.DatasetExperience is DatasetExperience
assert "EWCPlugin" in dir(avalanche.training.plugins) and "wandb" not in sys.modules
for package, names in light.LEAVES.items():
    module = importlib.import_module(package)
    for name, leaf in names.items():
        assert getattr(module, name) is getattr(importlib.import_module(f"{{package}}.{{leaf}}"), name), name
    for name, value in there.get(package, {{}}).items():
        assert name.startswith("__") or getattr(module, name) is value, name
transforms = avalanche.benchmarks.utils.transforms
from torchvision.transforms import Compose
assert isinstance(Compose([]), transforms.Compose) and not isinstance(1, transforms.Compose)
"""
    plain = f"""
import json, sys, warnings
with warnings.catch_warnings(action="ignore"):
    import avalanche
{GLOBALS}
print(json.dumps({{name: of(name) for name in sys.modules if name.partition(".")[0] == "avalanche"}}))
import tamcl.avalanche
from avalanche.training import Naive
assert issubclass(Naive, tamcl.avalanche.SupervisedTemplate) and "wandb" in sys.modules
"""
    part, whole = json.loads(run(code)), json.loads(run(plain))
    assert 40 < len(part) < len(whole) / 2
    for module, names in part.items():
        for name, origin in names.items():
            assert name in STAND_INS or whole[module][name] == origin, (module, name)


def test_another_layout_of_avalanche_is_imported_whole() -> None:
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("light", {light.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
del module.LEAVES["avalanche.models"]["avalanche_forward"]
module.import_what_is_wanted()
import avalanche
assert {{type(part) for name, part in sys.modules.items() if name.startswith("avalanche.")}} == {{type(sys)}}
assert avalanche.training.Naive and "matplotlib.pyplot" in sys.modules and "wandb" not in sys.modules
"""
    assert run(code) == ""


@pytest.mark.parametrize("name", ["Naive", "__wrapped__", "CSVlogger"])
def test_what_tamcl_does_not_use_is_no_name_of_its_part(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(tamcl.avalanche, name)
