"""Commands that train, watch and read studies."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamcl.cli.app import (
    FOLDER,
    Device,
    ExecutorName,
    ExecutorOptions,
    Jobs,
    LoggerName,
    ScenarioName,
    Settings,
    StudyFolder,
    Timeout,
    command_line,
)
from tamcl.cli.data import PATH, AllowSubset, DataDir
from tamcl.errors import InputError, printable, unknown_name
from tamcl.scenario.settings import value_text
from tamcl.trial import Trial

if TYPE_CHECKING:
    from tamcl.engines import Engine
    from tamcl.engines.local import Local
    from tamcl.results import Results
    from tamcl.scenario.schema import Scenario
    from tamcl.training.resources import Resources


Arms = Annotated[str | None, typer.Option(metavar="A,B", help="Only these arms of the scenario.")]
MoreArms = Annotated[
    list[str] | None,
    typer.Option(
        "--arm", metavar="[LABEL=]NAME[,KEY=VALUE...]", help="One more arm, as my.module:MyOpt,lr=[0.1,0.01]."
    ),
]
Seeds = Annotated[
    str | None, typer.Option(metavar="N|A-B", help="Number of reported seeds; or the first and the last, as 5-9.")
]
TuneSeeds = Annotated[int | None, typer.Option(help="Number of tuning seeds.")]
Extend = Annotated[
    bool, typer.Option("--extend", help="Widen the grids while an arm's best learning rate is an end of its grid.")
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Make each step of stacked runs one compiled graph: strategy.compiled = true."),
]
_COMPILED = ["strategy.compiled=true"]
Search = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Learning rates, and options with several values: grid, random or tpe."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Train nothing: say how long it would take, as tamcl plan does.")
]
Trials = Annotated[int | None, typer.Option(help="Trials an arm, for random and tpe.")]


def compare(
    context: typer.Context,
    scenario: ScenarioName,
    arms: Arms = None,
    arm: MoreArms = None,
    seeds: Seeds = None,
    tune_seeds: TuneSeeds = None,
    extend: Extend = False,
    search: Search = None,
    trials: Trials = None,
    compiled: Compile = False,
    settings: Settings = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option(**PATH, help="Folder for the results; out/SCENARIO if absent.")] = None,
    jobs: Jobs = None,
    executor: ExecutorName = None,
    executor_options: ExecutorOptions = None,
    timeout: Timeout = None,
    log: LoggerName = None,
    dry_run: DryRun = False,
) -> int:
    """Tune every arm, run the reported seeds, measure, and write tables and a report."""
    chosen = _choose(scenario, arms, arm, seeds, tune_seeds, extend, search, trials, compiled, settings)
    directory = out or Path("out") / chosen.name
    resources = _resources(data_dir, allow_subset, device, log, directory)
    if dry_run:
        return _plan(chosen, resources, jobs, timeout, directory)
    engine = _engine(jobs, timeout, executor, executor_options)
    from tamcl.study import compare  # after the scenario was found to be right: its imports take a while

    results = compare(chosen, directory, resources=resources, engine=engine, command=command_line(context))
    return _finish(directory, results)


def sweep(
    context: typer.Context,
    scenario: ScenarioName,
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=V1,V2,...", help="A key of the scenario and its values; of several each combination."
        ),
    ],
    arms: Arms = None,
    arm: MoreArms = None,
    seeds: Seeds = None,
    tune_seeds: TuneSeeds = None,
    extend: Extend = False,
    search: Search = None,
    trials: Trials = None,
    compiled: Compile = False,
    settings: Settings = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(**PATH, help="Folder for the results; out/SCENARIO-sweep if absent.")
    ] = None,
    jobs: Jobs = None,
    executor: ExecutorName = None,
    executor_options: ExecutorOptions = None,
    timeout: Timeout = None,
    log: LoggerName = None,
    dry_run: DryRun = False,
) -> int:
    """Run a study at each value of a key, in one folder, with one report and one figure of them all."""
    from tamcl.scenario.sweeping import points, read_over

    chosen = _choose(scenario, arms, arm, seeds, tune_seeds, extend, search, trials, compiled, settings)
    given = read_over(over)
    points(chosen, given)
    directory = out or Path("out") / f"{chosen.name}-sweep"
    resources = _resources(data_dir, allow_subset, device, log, directory)
    if dry_run:
        return _plan_sweep(chosen, given, resources, jobs, timeout, directory)
    engine = _engine(jobs, timeout, executor, executor_options)
    from tamcl.cli.display import SweepDisplay
    from tamcl.report import sweep_verdicts, write_report, write_sweep_report
    from tamcl.study import sweep  # as in compare

    status = 0
    with SweepDisplay(chosen.name, len(points(chosen, given))) as display:

        def finish(results: Results) -> None:
            nonlocal status
            display.pause()
            status = max(status, _failures(results))
            if not _is_reported(results.directory):
                write_report(results.directory)

        found = sweep(
            chosen,
            given,
            directory,
            resources=resources,
            engine=engine,
            command=command_line(context),
            on_study=display.begin,
            on_progress=display.update,
            on_steps=display.steps,
            on_results=finish,
        )
    for sentence in sweep_verdicts(found):
        print(printable(sentence))
    print(f"report: {write_sweep_report(directory)}")
    return 3 if any(study.results is None for study in found.studies) else status


def plan(
    scenario: ScenarioName,
    arms: Arms = None,
    arm: MoreArms = None,
    seeds: Seeds = None,
    tune_seeds: TuneSeeds = None,
    extend: Extend = False,
    search: Search = None,
    trials: Trials = None,
    compiled: Compile = False,
    settings: Settings = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> int:
    """Say what compare would take, before anything is trained: cells, stacks, time and disk, measured in seconds."""
    chosen = _choose(scenario, arms, arm, seeds, tune_seeds, extend, search, trials, compiled, settings)
    return _plan(chosen, _resources(data_dir, allow_subset, device), jobs)


def confirm(
    context: typer.Context,
    directory: StudyFolder,
    seeds: Annotated[int | None, typer.Option(help="Number of fresh seeds; as reported, or as it takes.")] = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    jobs: Jobs = None,
    executor: ExecutorName = None,
    executor_options: ExecutorOptions = None,
    timeout: Timeout = None,
) -> int:
    """Declare a study's claims, repeat them on fresh seeds without tuning, and say which held."""
    from tamcl.results import load_results

    load_results(directory)
    from tamcl.report import outcomes  # after the folder was found to hold a study: its imports take a while
    from tamcl.study import confirm

    engine = _engine(jobs, timeout, executor, executor_options)
    resources = _resources(data_dir, allow_subset, device)
    train = partial(confirm, directory, seeds=seeds, resources=resources, engine=engine, command=command_line(context))
    return _again(directory, [train], outcomes)


def regret(
    context: typer.Context,
    directory: StudyFolder,
    oracles: Annotated[str, typer.Option(metavar="A,B", help="restart, no_shift, or both.")] = "restart,no_shift",
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    jobs: Jobs = None,
    executor: ExecutorName = None,
    executor_options: ExecutorOptions = None,
    timeout: Timeout = None,
) -> int:
    """Hold each arm against itself started anew at every shift, and against itself without the shifts."""
    from tamcl.metrics.oracles import ORACLES
    from tamcl.results import load_results

    kinds = [part.strip() for part in oracles.split(",")]
    for kind in kinds:
        if kind not in ORACLES:
            raise unknown_name("oracle", kind, ORACLES)
    load_results(directory)
    from tamcl.report import oracle_verdicts  # as in confirm
    from tamcl.study import train_oracle

    engine = _engine(jobs, timeout, executor, executor_options)
    resources = _resources(data_dir, allow_subset, device)
    train = partial(train_oracle, directory, resources=resources, engine=engine, command=command_line(context))
    return _again(directory, [partial(train, kind) for kind in kinds], oracle_verdicts)


def run(
    scenario: ScenarioName,
    arm: Annotated[str, typer.Option(metavar="NAME[,KEY=VALUE...]", help="As tam,lr=0.1 or my.module:MyOpt,lr=0.1.")],
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    compiled: Compile = False,
    settings: Settings = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(**PATH, help="Folder for the run's tables; only printed if absent.")
    ] = None,
    log: LoggerName = None,
) -> int:
    """Train and evaluate one cell and print its metrics."""
    from tamcl.scenario.load import add_arm, load_scenario

    chosen, label = add_arm(load_scenario(scenario, [*(settings or []), *(_COMPILED if compiled else [])]), arm)
    config = chosen.arms[label]
    if len(config.lr) != 1:
        said = f"has {len(config.lr)} learning rates; name one, such as {label},lr={config.lr[0]:g}"
        raise InputError(f"--arm {arm}: {said}")
    if several := [name for name, values in config.grids.items() if len(values) > 1]:
        one = ",".join(f"{name}={value_text(config.grids[name][0])}" for name in several)
        said = f"has several values of {', '.join(several)}; name one, such as {label},lr={config.lr[0]:g},{one}"
        raise InputError(f"--arm {arm}: {said}")
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed}: must be at least 0 and below 2^63")
    resources = _resources(data_dir, allow_subset, device, log, out)
    from tamcl import study  # as in compare

    status, error, metrics, _ = study.run(chosen, label, seed, resources=resources, directory=out, apart=True)
    for name, value in metrics.items():
        if value == value:  # nan: the metric has no value here
            print(f"{name:20} {value:.4g}")
    print(f"status: {status}{error and ': ' + error}{f'; tables in {out}' if out else ''}")
    return 0 if status == "ok" else 3


def watch(
    directory: Annotated[Path, typer.Argument(**FOLDER, help="A study's folder, or a sweep's.")],
    once: Annotated[bool, typer.Option("--once", help="Show it once and leave.")] = False,
) -> int:
    """Show how far a study or a sweep is, from its files alone, until nobody trains it any more."""
    from tamcl.cli.display import watch, watch_sweep
    from tamcl.sweeps import is_sweep

    try:
        watch_sweep(directory, once=once) if is_sweep(directory) else watch(directory, once=once)
    except KeyboardInterrupt:
        return 130
    return 0


def merge(
    context: typer.Context,
    directories: Annotated[
        list[Path], typer.Argument(**PATH | {"metavar": "DIR DIR..."}, help="Folders of one study.")
    ],
    out: Annotated[Path, typer.Option(**PATH, help="A new folder for the joined study.")],
) -> int:
    """Join folders of one study that were trained on several machines: other seeds, arms or learning rates."""
    from tamcl.study import merge

    merged = merge(directories, out, command=command_line(context))
    print(f"{len(directories)} folders, {len(merged.results.runs)} runs, {_agreement(merged.differences)}")
    return _finish(out, merged.results)


def verify(
    directory: StudyFolder,
    cells: Annotated[int, typer.Option(help="How many runs to train anew.")] = 5,
    code: Annotated[
        list[str] | None, typer.Option(metavar="MODULE", help="A module that arms name and that may be imported.")
    ] = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
    jobs: Jobs = None,
    executor: ExecutorName = None,
    executor_options: ExecutorOptions = None,
    timeout: Timeout = None,
) -> int:
    """Train some of a study's runs anew, and say whether the numbers are the same here."""
    from tamcl.results import load_results

    load_results(directory)
    from tamcl.study import verify  # as in confirm

    engine, resources = _engine(jobs, timeout, executor, executor_options), _resources(data_dir, allow_subset, device)
    found = verify(directory, cells=cells, code=code or (), resources=resources, engine=engine)
    for check in found.checks:
        apart = f" {check.agreement} the same" if check.agreement != "bit by bit" else " the same, bit by bit"
        most = f", at most {check.difference:.2g} apart" if 0 < check.difference < float("inf") else ""
        why = f" ({check.why})" if check.why else ""
        print(f"{check.arm} {check.trial} seed {check.seed}:{apart}{most}{why}")
    for name, (there, here) in found.versions.items():
        print(f"{name}: {there} there, {here} here")
    for why in found.left_out.values():
        print(f"left out: {why}")
    return 3 if any(check.agreement == "not" for check in found.checks) else 0


def landscape(
    context: typer.Context,
    directory: StudyFolder,
    arms: Annotated[str | None, typer.Option(metavar="A,B", help="Only these arms of the study.")] = None,
    pairs: Annotated[
        str, typer.Option(metavar="KIND", help="Ends of a line: arms, two on each seed; or seeds, two of each arm.")
    ] = "arms",
    plane: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Arms of the plane; the first three that span one if absent.")
    ] = None,
    points: Annotated[int, typer.Option(help="Places on each line, and on each side of the plane.")] = 21,
    samples: Annotated[int, typer.Option(help="Training and test images, each, that losses are measured on.")] = 500,
    experiences: Annotated[str, typer.Option(metavar="KIND", help="Whose images: last or all.")] = "last",
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    device: Device = "auto",
) -> int:
    """Measure the loss between and around the ends of a study's runs that kept their weights (keep_weights = true)."""
    from tamcl.results import load_results

    load_results(directory)
    from tamcl.landscape import sentences  # as in confirm
    from tamcl.report import write_report
    from tamcl.study import landscape

    only, corners = (None if text is None else [part.strip() for part in text.split(",")] for text in (arms, plane))
    resources = _resources(data_dir, allow_subset, device)

    def say(seed: int) -> None:
        print(f"seed {seed}", file=sys.stderr)

    found = landscape(
        directory,
        arms=only,
        plane=corners,
        pairs=pairs,
        points=points,
        samples=samples,
        experiences=experiences,
        resources=resources,
        command=command_line(context),
        on_progress=say,
    )
    for sentence in sentences(found):
        print(printable(sentence))
    if found.plane.empty:
        print("no plane: there are no three arms whose ends do not lie on a line")
    print(f"report: {write_report(directory)}")
    return 0


def report(
    directory: Annotated[Path, typer.Argument(**FOLDER, help="A finished study's folder, or a sweep's.")],
    format: Annotated[
        str | None, typer.Option(metavar="KIND", help="Write figures for a paper instead: pdf, svg or png.")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(metavar="INCHES", help="Their width; 3.3, a column, if absent.", show_default=False),
    ] = None,
) -> int:
    """Make figures and report again from what is stored, by a study or by a sweep; or its figures for a paper."""
    from tamcl.results import load_results
    from tamcl.sweeps import is_sweep

    if width is not None and format is None:
        raise InputError(f"--width {width:g}: is that of figures for a paper: name their --format, pdf, svg or png")
    if format is not None:
        return _write_figures(directory, format, width)
    if is_sweep(directory):
        return _report_sweep(directory)

    results = load_results(directory)
    from tamcl.report import write_report  # after the folder was found to hold a study: drawing takes a while to import

    print(f"report: {write_report(results.directory)}")
    return 0


def table(
    directories: Annotated[
        list[Path], typer.Argument(**PATH | {"metavar": "DIR DIR..."}, help="Folders of studies, or of sweeps.")
    ],
    format: Annotated[str, typer.Option(metavar="KIND", help="latex, markdown or csv.")] = "latex",
    metrics: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these metrics; one where each study has a row.")
    ] = None,
    arms: Annotated[str | None, typer.Option(metavar="A,B", help="Only these arms, in this order.")] = None,
    out: Annotated[Path | None, typer.Option(**PATH, help="File for the table; printed if absent.")] = None,
    bib: Annotated[
        Path | None, typer.Option(**PATH, help="File for BibTeX entries of all that the studies used.")
    ] = None,
) -> int:
    """Write results as a table for a paper: the arms of a study, or a row for each of several studies or of a sweep."""
    from tamcl.files.atomic import write_atomic
    from tamcl.report.paper_table import paper_table
    from tamcl.report.references import bibliography

    chosen, only = (None if text is None else [part.strip() for part in text.split(",")] for text in (metrics, arms))
    text = paper_table(directories, format=format, metrics=chosen, arms=only)
    written = {} if out is None else {"table": (out, text)}
    if bib is not None:
        written["references"] = (bib, bibliography(directories))
    for path, content in written.values():
        write_atomic(path, partial(Path.write_text, data=content, encoding="utf-8"))
    if out is None:
        print(text, end="")
    for what, (path, _) in written.items():
        print(f"{what}: {path}", file=sys.stderr if out is None else sys.stdout)
    return 0


def ranks(
    directories: Annotated[list[Path], typer.Argument(**PATH | {"metavar": "DIR DIR..."}, help="Folders of studies.")],
    metric: Annotated[str, typer.Option(help="What to rank by.")] = "online_accuracy",
    out: Annotated[Path, typer.Option(**PATH, help="Folder for table and picture.")] = Path("out/ranks"),
) -> int:
    """Rank the arms over several studies, and draw which of them are told apart."""
    from tamcl.report.ranking import rank_studies, write_ranks
    from tamcl.results import load_results

    table = rank_studies(directories, metric)
    width = max(len(arm) for arm in table["arm"])
    for row in table.itertuples():
        print(printable(f"{row.arm:{width}}  {row.rank:.2f}"))
    first = table.iloc[0]
    print(
        f"{first['n_scenarios']} studies; ranks less than {first['critical_difference']:.2f} apart are not told apart"
        f" (Nemenyi, 5 %); Friedman's test that no arm differs: p = {first['p_value']:.2g}"
    )
    print(f"picture: {write_ranks(table, out, load_results(directories[0]).arms)}")
    return 0


def _choose(
    scenario: str,
    arms: str | None,
    arm: list[str] | None,
    seeds: str | None,
    tune_seeds: int | None,
    extend: bool,
    search: str | None,
    trials: int | None,
    compiled: bool,
    settings: list[str] | None,
) -> Scenario:
    """Return the scenario that the options of a study ask for."""
    from tamcl.scenario.load import add_arm, load_scenario
    from tamcl.scenario.schema import EXTENSIONS

    numbers: dict[str, int | str | None] = {**_seeds(seeds), "tune_seeds": tune_seeds, "search": search}
    numbers |= {"trials": trials, "extend": EXTENSIONS if extend else None}
    given = [f"protocol.{key}={value}" for key, value in numbers.items() if value is not None]
    given += _COMPILED if compiled else []
    only = None if arms is None else [part.strip() for part in arms.split(",")]
    chosen = load_scenario(scenario, [*(settings or []), *given], only)
    labels = []
    for text in arm or []:
        chosen, label = add_arm(chosen, text)
        if label in labels:
            raise InputError(f"--arm {text}: arm '{label}' is given twice")
        labels.append(label)
    return chosen


def _seeds(text: str | None) -> dict[str, int | str]:
    """Return what ``--seeds`` sets in the protocol: a number of seeds, or those from one to another."""
    if text is None:
        return {}
    found = re.fullmatch(r"(\d{1,9})(-\d{1,9})?", text, re.ASCII)
    count = int(found[1]) if found else 0
    if found is None or (found[2] and count + int(found[2]) > 0):
        raise InputError(f"--seeds {text}: must be a number of seeds, or the first and the last, as 5-9")
    return {"first_seed": count, "seeds": 1 - int(found[2]) - count} if found[2] else {"seeds": count}


def _plan(
    scenario: Scenario,
    resources: Resources,
    jobs: int | None,
    timeout: float | None = None,
    directory: Path | None = None,
) -> int:
    """Say what a study would take in processes of this machine."""
    from tamcl.cli.display import show_plan
    from tamcl.study import estimate  # as in compare

    show_plan(estimate(scenario, resources=resources, engine=_local(jobs, timeout), directory=directory), directory)
    return 0


def _plan_sweep(
    scenario: Scenario,
    over: Mapping[str, Sequence[Any]],
    resources: Resources,
    jobs: int | None,
    timeout: float | None,
    directory: Path,
) -> int:
    """Say what each study of a sweep would take in processes of this machine, and all of them."""
    from tamcl.cli.display import show_sweep_plan
    from tamcl.study import estimate_sweep  # as in compare

    plans = estimate_sweep(scenario, over, directory, resources=resources, engine=_local(jobs, timeout))
    show_sweep_plan(plans, directory)
    return 0


def _write_figures(directory: Path, format: str, width: float | None) -> int:
    """Write the figures of a study or a sweep for a paper."""
    from tamcl.report.paper_figures import COLUMN, write_figures  # as in compare

    for path in write_figures(directory, format=format, width=COLUMN if width is None else width):
        print(path)
    return 0


def _report_sweep(directory: Path) -> int:
    """Make tables, figure and report of a sweep again, and the reports of its studies that have none of all cells."""
    from tamcl.sweeps import load_sweep

    found = load_sweep(directory)
    from tamcl.report import write_report, write_sweep_report
    from tamcl.study.sweep import write_sweep_tables

    for study, _ in found.finished:
        if not _is_reported(study.directory):
            write_report(study.directory)
    path = write_sweep_report(directory)
    write_sweep_tables(directory)
    print(f"report: {path}")
    return 0


def _is_reported(directory: Path) -> bool:
    """Tell whether a study's report is newer than all of its cells: to make one takes seconds."""
    try:
        return (directory / "report.html").stat().st_mtime >= (directory / "cells").stat().st_mtime
    except OSError:
        return False


def _local(jobs: int | None, timeout: float | None) -> Local:
    """Return processes of this machine."""
    from tamcl.engines.local import Local  # after the rest was found to be right: its imports take a while

    return Local(1 if jobs is None else jobs, timeout)


def _engine(jobs: int | None, timeout: float | None, executor: str | None, options: Path | None) -> Engine:
    """Return what trains: processes of this machine, or an executor that is named."""
    if executor is None:
        if options is not None:
            raise InputError(f"--executor-options {options}: needs --executor")
        return _local(jobs, timeout)
    from tamcl.engines.executor import named_executor, read_options  # as in _local

    given = {} if options is None else read_options(options)
    return named_executor(executor, given, jobs=jobs, timeout=timeout)


def _resources(
    data_dir: Path | None,
    allow_subset: bool,
    device: str,
    logger: str | None = None,
    directory: Path | None = None,
) -> Resources:
    """Return what the options ask for, before anything is trained."""
    from tamcl.training.logs import Log, check_logger
    from tamcl.training.resources import Resources

    if logger is None:
        return Resources(data_dir, allow_subset, device)
    check_logger(logger)
    if directory is None:
        raise InputError(f"--log {logger}: needs --out, the folder that gets the logs")
    return Resources(data_dir, allow_subset, device, log=Log(logger, directory / "logs"))


def _finish(directory: Path, results: Results) -> int:
    """Write the report, say what was found, and return the exit status."""
    from tamcl.report import verdicts, write_report

    path = write_report(results.directory)
    for sentence in verdicts(results):
        print(printable(sentence))
    print(f"report: {directory / path.name}")
    return _failures(results)


def _again(directory: Path, parts: Sequence[Callable[[], Results]], sentences: Callable[[Results], list[str]]) -> int:
    """Train a study's arms again in folders of it, say what was found, and return the exit status."""
    from tamcl.report import write_report
    from tamcl.results import load_results

    status = 0
    for train in parts:
        status = max(status, _failures(train()))
    for sentence in sentences(load_results(directory)):
        print(printable(sentence))
    print(f"report: {write_report(directory)}")
    return status


def _agreement(differences: list[float]) -> str:
    """Say how far folders agree on the runs that several of them have."""
    if not differences:
        return "none of them in several folders"
    differing = [each for each in differences if each]
    twice = f"{len(differences)} of them in several folders"
    if not differing:
        return f"{twice}, bit by bit the same"
    most = f"in the mean over the stream by at most {max(differing):.2g}"
    return f"{twice}: {len(differing)} differ, {most}; those of the first folder are used"


def _failures(results: Results) -> int:
    """Name the cells that failed, and return the exit status."""
    failed = results.runs[results.runs["status"] == "failed"]
    for row in failed.to_dict("records"):
        trial = Trial(row["lr"], row["options"])
        print(printable(f"failed: {row['arm']} {trial} seed {row['seed']}: {row['error']}"), file=sys.stderr)
    return 3 if len(failed) else 0
