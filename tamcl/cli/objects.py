"""Commands about whatever has a name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamcl.cli.data import PATH, DataDir, list_data
from tamcl.errors import unknown_name

if TYPE_CHECKING:
    from tamcl.registry import Table

KINDS = (
    "optimizers",
    "scenarios",
    "datasets",
    "streams",
    "models",
    "heads",
    "metrics",
    "strategies",
    "interventions",
    "diagnostics",
)


def check(
    optimizer: Annotated[str, typer.Argument(metavar="NAME[,KEY=VALUE...]", help="As tam or my.module:MyOpt,lr=0.1.")],
) -> int:
    """Run every conformance check on an optimizer, and print what a step and its state cost."""
    from tamcl.optim import OPTIMIZERS
    from tamcl.scenario.settings import parse_options

    name, options = parse_options(optimizer)
    OPTIMIZERS.path(name)
    from tamcl.testing.examine import examine_named  # after the name was found to be one: it imports torch

    found = examine_named(name, options)
    width = max(len(outcome.check) for outcome in found.outcomes)
    for outcome in found.outcomes:
        print(f"{'pass' if outcome.passed else 'FAIL'}  {outcome.check:{width}}  {outcome.why or outcome.promise}")
    passed = sum(outcome.passed for outcome in found.outcomes)
    print(f"{passed} of {len(found.outcomes)} checks passed")
    if found.unmeasured:
        print(f"a step and its state could not be measured: {found.unmeasured}")
        return 3
    print(f"a step: {found.ms_per_step:.3f} ms, {found.sgd_ratio:.1f} x torch's SGD with momentum (MLP 784-100-100-10)")
    print(f"state: {found.state_bytes} bytes, {found.state_copies:.2g} x the parameters")
    return 0 if found.passed else 3


def toys(out: Annotated[Path, typer.Option(**PATH, help="Folder for figures and tables.")] = Path("out/toys")) -> int:
    """Draw what the optimizers do on toy surfaces, and how fast critical momenta converge on quadratics."""
    from tamcl.toys import write_toys

    for path in write_toys(out):
        print(path)
    return 0


def list_(
    what: Annotated[str | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Also what each may be told: defaults and ranges.")
    ] = False,
) -> int:
    """List what there is, a line each."""
    if what is not None and what not in KINDS:
        raise unknown_name("kind of object", what, KINDS)
    for kind in [what] if what else KINDS:
        rows = list(_entries(kind))
        width = max(len(name) for name, _ in rows)
        lines = [
            line
            for name, summary in rows
            for line in (f"{name:{width}}  {summary}", *(_options(kind, name) if options else ()))
        ]
        if options and kind == "scenarios":
            lines += ["every scenario, by --set:", *_options(kind)]
        print("\n".join(lines) if what else f"{kind}:\n  " + "\n  ".join(lines))
    return 0


def doctor(data_dir: DataDir = None) -> int:
    """Print versions, devices, data found and what is missing."""
    from tamcl.training.cell import versions
    from tamcl.training.resources import gpus

    for name, number in versions().items():
        print(f"{name:14}  {number}")
    cuda = "".join(f", cuda:{number} ({name})" for number, name in enumerate(gpus()))
    print(f"{'devices':14}  cpu ({os.cpu_count()} cores){cuda}")
    return list_data(data_dir)


def _entries(kind: str) -> Iterable[tuple[str, str]]:
    """Yield each object's name and its first sentence, without importing it."""
    if kind == "scenarios":
        from tamcl.scenario.load import load_scenario, scenarios

        yield from ((name, load_scenario(name).title) for name in scenarios())
    elif kind == "metrics":
        from tamcl.metrics import METRICS

        yield from ((name, f"{metric.label}; {metric.better} is better") for name, metric in METRICS.items())
    else:
        from tamcl.registry import signature

        yield from ((name, signature(path).summary or path) for name, path in _table(kind).items())


def _options(kind: str, name: str = "") -> Iterable[str]:
    """Yield a line for each option of an object, or of every scenario; of what is no class there are none."""
    if kind == "metrics" or (kind == "scenarios" and name):
        return
    from tamcl.cli.options import options_of, options_of_scenarios

    found = options_of(_table(kind), name) if name else options_of_scenarios()
    yield from (f"    {option}" for option in found)


def _table(kind: str) -> Table:
    from tamcl.data import DATASETS
    from tamcl.diagnostics import DIAGNOSTICS
    from tamcl.interventions import INTERVENTIONS
    from tamcl.models import HEADS, MODELS
    from tamcl.optim import OPTIMIZERS
    from tamcl.strategies import STRATEGIES
    from tamcl.streams import STREAMS

    tables = {"optimizers": OPTIMIZERS, "datasets": DATASETS, "streams": STREAMS, "models": MODELS, "heads": HEADS}
    return {**tables, "strategies": STRATEGIES, "interventions": INTERVENTIONS, "diagnostics": DIAGNOSTICS}[kind]
