"""What is looked at before a study is trained: that everything can be had which its scenario names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tamcl.data import DataSet
from tamcl.data.checked import CheckedSource
from tamcl.engines import Engine
from tamcl.engines.local import names_user_code
from tamcl.engines.processes import WORKER, call_apart, refuse_in_import
from tamcl.errors import InputError
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import is_compiled
from tamcl.study.plan import report_seeds, tuning_seeds
from tamcl.training.build import (
    build_diagnostics,
    build_model,
    build_strategy,
    check_model,
    check_step,
    find_source,
    load_data,
    plan,
)
from tamcl.training.resources import Resources, missing_compiler
from tamcl.user_code import check_code, check_importable, user_code


def check_workers(scenario: Scenario) -> None:
    """Raise an ``InputError`` if worker processes cannot train the scenario."""
    refuse_in_import()
    check_importable(scenario.dump())
    check_code(user_code(scenario.stream.model_dump(mode="json")))  # it is planned here, and trained there


def check_here(scenario: Scenario) -> None:
    """Raise an ``InputError`` if this process has imported other code than what the scenario names by now."""
    refuse_in_import(WORKER)
    check_code(user_code(scenario.dump()))


def check_compiler(scenario: Scenario, resources: Resources) -> None:
    """Raise an ``InputError`` if runs are to be compiled, and no compiler is there or a logger looks inside of them."""
    arms = [arm for arm in scenario.arms if is_compiled(scenario, arm)]
    if arms and resources.log is not None:
        raise InputError(
            f"--log {resources.log.logger}: looks inside of steps, which strategy.compiled = true makes one graph; "
            "leave either out"
        )
    if arms and (compiler := missing_compiler()):
        raise InputError(
            f"strategy.compiled = true: needs a compiler of C++, and '{compiler}' is not to be found; install one, "
            "name it in the environment variable CXX, or train without --compile"
        )


def at_hand(resources: Resources, engine: Engine) -> Resources:
    """Return what a check here computes with: the CPU for an engine of other machines, whose GPUs are not here."""
    return replace(resources, device="cpu") if getattr(engine, "is_elsewhere", False) else resources


def check_new(directory: Path) -> None:
    """Make a folder, or raise an ``InputError`` if it cannot be made or is not empty."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InputError(f"--out {directory}: is not empty; name another folder")
    except OSError as error:
        raise InputError(f"--out {directory}: {error.strerror}") from error


def check(
    scenario: Scenario,
    resources: Resources,
    *,
    seeds: Sequence[int] | None = None,
    call: Callable[[str, Callable[[], Any]], Any] | None = None,
    here: bool = False,
) -> dict[str, Any]:
    """Check that everything can be had that a scenario names, and return the description of its data.

    User code does not come into this process, where it could change what is trained or measured later, unless it is
    trained ``here``. Where it makes the data or the stream, the description has the digests of that code as ``code``.
    Without any, the check is made here, or elsewhere by ``call``, if an engine has it.

    Raises
    ------
    InputError
        As of ``check_data`` and ``check_parts``. Also if user code ends the process that builds it.
    """
    if names_user_code(scenario) and not here:
        described = call_apart(checks(scenario, resources, seeds))["stream"]
    else:
        make = partial(_check, scenario, resources, seeds)
        described = make() if call is None else call(f"scenario '{scenario.name}'", make)
    code = user_code(scenario.stream.model_dump(mode="json"))
    return {**described, "code": dict(code)} if code else dict(described)


def _check(scenario: Scenario, resources: Resources, seeds: Sequence[int] | None) -> dict[str, Any]:
    data = check_data(scenario, resources, seeds=seeds)
    check_parts(scenario, data, resources.choose_device())
    return data.describe()


def checks(scenario: Scenario, resources: Resources, seeds: Sequence[int] | None) -> dict[str, Callable[[], Any]]:
    """Return the checks by what they are about; arms with user code are checked each by itself."""
    with_user_code = [[arm] for arm in scenario.arms if names_user_code(scenario, [arm])]
    others = [arm for arm in scenario.arms if [arm] not in with_user_code]
    calls: dict[str, Callable[[], Any]] = {"stream": partial(_describe, scenario, resources, seeds)}
    for arms in [*with_user_code, others] if others else with_user_code:
        calls[f"arms.{arms[0]}"] = partial(_check_parts, scenario.only(arms), resources)
    return calls


def _describe(scenario: Scenario, resources: Resources, seeds: Sequence[int] | None) -> dict[str, Any]:
    return check_data(scenario, resources, seeds=seeds).describe()


def _check_parts(scenario: Scenario, resources: Resources) -> None:
    check_parts(scenario, load_data(scenario.stream.dataset, resources), resources.choose_device())


def check_data(scenario: Scenario, resources: Resources, *, seeds: Sequence[int] | None = None) -> DataSet:
    """Load the data; raise an ``InputError`` if they are missing or damaged, or do not fit the stream for some seed."""
    name = scenario.stream.dataset
    source = find_source(name)
    source.check(resources.root)
    data = load_data(name, resources)
    if isinstance(source, CheckedSource):
        source.load_again(resources.root, resources.allow_subset, data.checksum)
    for seed in [*report_seeds(scenario), *tuning_seeds(scenario)] if seeds is None else seeds:
        plan(scenario, data, seed)
    return data


def check_parts(scenario: Scenario, data: DataSet, device: str = "cpu") -> None:
    """Raise an ``InputError`` if model, strategy, an arm's optimizer or a diagnostic cannot be had. Imports torch.

    Every arm makes two steps on two images of the first experience, so that what cannot train is said before any run.
    """
    segments = plan(scenario, data, seed=0)
    model = build_model(scenario, data, segments, seed=0)
    for arm, config in scenario.arms.items():
        for trial in config.trials:
            build_strategy(scenario, arm, trial, model, seed=0)
    build_diagnostics(scenario)
    check_model(scenario, data, segments, model)
    for arm in scenario.arms:
        check_step(scenario, arm, data, segments, device)
