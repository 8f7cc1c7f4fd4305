"""Every arm of a study as an oracle, which knows of the shifts or is spared them: what the arm is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from tamcl.arguments import instance
from tamcl.errors import InputError, unknown_name
from tamcl.findings.study import Study
from tamcl.metrics.oracles import ORACLES
from tamcl.results import Results, load_results
from tamcl.scenario.load import parse
from tamcl.scenario.schema import Scenario
from tamcl.study.plan import report_seeds
from tamcl.study.repeat import TrainOptions, at_trials, repeat, say_imports


def train_oracle(directory: str | Path, kind: str, **options: Unpack[TrainOptions]) -> Results:
    """Train every reported arm of a study as an oracle, with its chosen trial and on the reported seeds.

    Seed by seed an oracle sees as many examples in as many mini-batches as the arm, the restart oracle the very same
    ones; the report holds the two against each other. A study that has more seeds or other learning rates by now gets
    the oracle's cells that are missing.

    Assumption: the oracle takes the learning rate of the arm, and the options tuned with it, by the shifts. So the two
    differ in what the shifts do at that rate, and in nothing else; an oracle with a learning rate of its own may be
    better.

    Modules that the study names as ``package.module:Class`` are imported, which is said before: train again only what
    you would run.

    Parameters
    ----------
    directory : path
        The study's folder; tables go to its folder ``oracles/<kind>``. Cells that are finished there are not trained
        again.
    kind : {"restart", "no_shift"}
        Model and optimizer made anew at every shift, or the same amount of data without the shifts.
    **options
        ``jobs``, ``resources``, ``engine``, ``command``, ``progress`` and ``on_progress``, as of
        ``tamcl.study.compare``.

    Raises
    ------
    InputError
        If the folder holds no finished study, its stream has no shift or learns numbers, which have no right answers,
        or its data are others by now.
    """
    if instance("kind", kind, str, "a text") not in ORACLES:
        raise unknown_name("oracle", kind, ORACLES)
    study = Study(load_results(directory))
    say_imports(study)
    scenario = _oracle(study, kind)
    folder = study.results.directory / "oracles" / kind
    return repeat(study, scenario, report_seeds(scenario), folder, phase=f"{kind} oracle", **options)


def _oracle(study: Study, kind: str) -> Scenario:
    """Return the study's scenario as an oracle, without what is measured inside experiences and changes no result."""
    scenario, where = parse(study.scenario), f"'{study.results.directory}'"
    stream = scenario.stream
    if stream.target == "number":
        raise InputError(f"{where}: stream '{stream.name}' learns numbers, and regret counts right answers to classes")
    if stream.oracle != "none":
        raise InputError(f"{where}: is an oracle itself (stream.oracle = '{stream.oracle}'): name the study it is for")
    if stream.experiences == 1:
        raise InputError(f"{where}: has a single experience, and so no shift that an oracle could know of")
    if not study.trials:
        raise InputError(f"{where}: reports no arm, so there is nothing to hold against an oracle")
    trials = {arm: study.trials[arm] for arm in scenario.arms if arm in study.trials}
    values = at_trials(scenario, trials, study.n_seeds, first_seed=scenario.protocol.first_seed).dump()
    values["stream"]["oracle"] = kind
    values["evaluation"]["every"] = values["diagnostics"] = None
    return parse(values)
