"""The command line: every command is one library call. Heavy imports stand inside the commands."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamcl import __version__
from tamcl.cli_data import PATH, AllowSubset, DataDir, data_app, list_data
from tamcl.errors import AllFailed, InputError, reason, shortened, shown, unknown_name
from tamcl.logs import Log, check_logger, logged
from tamcl.plain import unprintable

if TYPE_CHECKING:
    from tamcl.registry import Table
    from tamcl.results import Results

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tamcl {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Ask whether one optimizer beats another when the data distribution shifts."""


ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A scenario's name or a .toml file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as stream.samples=500.")
]


LoggerName = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Log each run to OUT/logs by Avalanche: tensorboard, wandb (offline) or csv."),
]


FOLDER = PATH | {"metavar": "DIR"}
StudyFolder = Annotated[Path, typer.Argument(**FOLDER, help="A finished study's folder.")]
Jobs = Annotated[int, typer.Option(help="Worker processes; results do not depend on it.")]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Give up a run that takes longer, and count it as failed.")
]


KINDS = ("optimizers", "scenarios", "datasets", "streams", "models", "heads", "metrics", "strategies", "diagnostics")


@app.command()
def compare(
    scenario: ScenarioName,
    arms: Annotated[str | None, typer.Option(metavar="A,B", help="Only these arms of the scenario.")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(metavar="[LABEL=]NAME[,KEY=VALUE...]", help="One more arm, as my.module:MyOpt,lr=[0.1,0.01]."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of reported seeds.")] = None,
    tune_seeds: Annotated[int | None, typer.Option(help="Number of tuning seeds.")] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Widen the grids while an arm's best learning rate is an end of its grid.")
    ] = False,
    search: Annotated[str | None, typer.Option(metavar="KIND", help="Learning rates: grid, random or tpe.")] = None,
    trials: Annotated[int | None, typer.Option(help="Learning rates an arm, for random and tpe.")] = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    out: Annotated[Path | None, typer.Option(**PATH, help="Folder for the results; out/SCENARIO if absent.")] = None,
    jobs: Jobs = 1,
    timeout: Timeout = None,
    log: LoggerName = None,
) -> int:
    """Tune every arm, run the reported seeds, measure, and write tables and a report."""
    from tamcl.config import EXTENSIONS, add_arm, load_scenario

    numbers: dict[str, int | str | None] = {"seeds": seeds, "tune_seeds": tune_seeds, "search": search}
    numbers |= {"trials": trials, "extend": EXTENSIONS if extend else None}
    given = [f"protocol.{key}={value}" for key, value in numbers.items() if value is not None]
    only = None if arms is None else [part.strip() for part in arms.split(",")]
    chosen = load_scenario(scenario, [*(settings or []), *given], only)
    labels = []
    for text in arm or []:
        chosen, label = add_arm(chosen, text)
        if label in labels:
            raise InputError(f"--arm {text}: arm '{label}' is given twice")
        labels.append(label)
    directory = out or Path("out") / chosen.name
    logs = _log(log, directory)
    from tamcl.display import Display
    from tamcl.study import compare  # after the scenario was found to be right: its imports take a while

    command = shlex.join(["tamcl", *_arguments])
    with Display(directory) as display, logged(logs):
        results = compare(
            chosen,
            directory,
            data_dir=data_dir,
            allow_subset=allow_subset,
            jobs=jobs,
            timeout=timeout,
            command=command,
            on_progress=display.update,
        )
    return _finish(results)


@app.command()
def confirm(
    directory: StudyFolder,
    seeds: Annotated[int | None, typer.Option(help="Number of fresh seeds; as reported, or as it takes.")] = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    jobs: Jobs = 1,
    timeout: Timeout = None,
) -> int:
    """Declare a study's claims, repeat them on fresh seeds without tuning, and say which held."""
    from tamcl.results import load_results

    load_results(directory)
    from tamcl.confirm import confirm  # after the folder was found to hold a study: its imports take a while
    from tamcl.repeat import How
    from tamcl.report import outcomes

    how = How(data_dir=data_dir, allow_subset=allow_subset, jobs=jobs, timeout=timeout)
    train = partial(confirm, directory, seeds=seeds, **how)
    return _again(directory, {directory / "confirm": train}, outcomes)


@app.command()
def regret(
    directory: StudyFolder,
    oracles: Annotated[str, typer.Option(metavar="A,B", help="restart, no_shift, or both.")] = "restart,no_shift",
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    jobs: Jobs = 1,
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
    from tamcl.oracles import train_oracle  # as in confirm
    from tamcl.repeat import How
    from tamcl.report import oracle_verdicts

    how = How(data_dir=data_dir, allow_subset=allow_subset, jobs=jobs, timeout=timeout)
    train = partial(train_oracle, directory, **how)
    folders = {directory / "oracles" / kind: partial(train, kind) for kind in kinds}
    return _again(directory, folders, oracle_verdicts)


@app.command()
def run(
    scenario: ScenarioName,
    arm: Annotated[str, typer.Option(metavar="NAME[,KEY=VALUE...]", help="As tam,lr=0.1 or my.module:MyOpt,lr=0.1.")],
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    settings: Settings = None,
    data_dir: DataDir = None,
    allow_subset: AllowSubset = False,
    out: Annotated[
        Path | None, typer.Option(**PATH, help="Folder for the run's tables; only printed if absent.")
    ] = None,
    log: LoggerName = None,
) -> int:
    """Train and evaluate one cell and print its metrics."""
    from tamcl.config import add_arm, load_scenario

    chosen, label = add_arm(load_scenario(scenario, settings or []), arm)
    rates = chosen.arms[label].lr
    if len(rates) != 1:
        raise InputError(f"--arm {arm}: has {len(rates)} learning rates; name one, such as {label},lr={rates[0]:g}")
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed}: must be at least 0 and below 2^63")
    logs = _log(log, out)
    from tamcl.study import run_one  # as in compare

    with logged(logs):
        status, error, metrics = run_one(
            chosen, label, seed, data_dir=data_dir, allow_subset=allow_subset, directory=out
        )
    for name, value in metrics.items():
        if value == value:  # nan: the metric has no value here
            print(f"{name:20} {value:.4g}")
    print(f"status: {status}{error and ': ' + error}{f'; tables in {out}' if out else ''}")
    return 0 if status == "ok" else 3


@app.command()
def watch(
    directory: Annotated[Path, typer.Argument(**FOLDER, help="A study's folder.")],
    once: Annotated[bool, typer.Option("--once", help="Show it once and leave.")] = False,
) -> int:
    """Show how far a study is, from its files alone, until nobody trains it any more."""
    from tamcl.display import watch

    try:
        watch(directory, once=once)
    except KeyboardInterrupt:
        return 130
    return 0


@app.command()
def report(directory: StudyFolder) -> int:
    """Make figures and report again from what is stored."""
    from tamcl.results import load_results

    results = load_results(directory)
    from tamcl.report import write_report  # after the folder was found to hold a study: drawing takes a while to import

    print(f"report: {write_report(results.directory)}")
    return 0


@app.command()
def ranks(
    directories: Annotated[list[Path], typer.Argument(**PATH | {"metavar": "DIR DIR..."}, help="Folders of studies.")],
    metric: Annotated[str, typer.Option(help="What to rank by.")] = "online_accuracy",
    out: Annotated[Path, typer.Option(**PATH, help="Folder for table and picture.")] = Path("out/ranks"),
) -> int:
    """Rank the arms over several studies, and draw which of them are told apart."""
    from tamcl.ranking import rank_studies, write_ranks
    from tamcl.results import load_results

    table = rank_studies(directories, metric)
    width = max(len(arm) for arm in table["arm"])
    for row in table.itertuples():
        print(f"{row.arm:{width}}  {row.rank:.2f}")
    first = table.iloc[0]
    print(
        f"{first['n_scenarios']} studies; ranks less than {first['critical_difference']:.2f} apart are not told apart"
        f" (Nemenyi, 5 %); Friedman's test that no arm differs: p = {first['p_value']:.2g}"
    )
    print(f"picture: {write_ranks(table, out, load_results(directories[0]).arms)}")
    return 0


@app.command()
def check(
    optimizer: Annotated[str, typer.Argument(metavar="NAME[,KEY=VALUE...]", help="As tam or my.module:MyOpt,lr=0.1.")],
) -> int:
    """Run every conformance check on an optimizer, and print what a step and its state cost."""
    from tamcl.config import parse_options
    from tamcl.optim import OPTIMIZERS

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


@app.command()
def toys(out: Annotated[Path, typer.Option(**PATH, help="Folder for figures and tables.")] = Path("out/toys")) -> int:
    """Draw what the optimizers do on toy surfaces, and how fast critical momenta converge on quadratics."""
    from tamcl.toys import write_toys

    for path in write_toys(out):
        print(path)
    return 0


@app.command(name="list")
def list_(
    what: Annotated[str | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")] = None,
) -> int:
    """List what there is, a line each."""
    if what is not None and what not in KINDS:
        raise unknown_name("kind of object", what, KINDS)
    for kind in [what] if what else KINDS:
        rows = list(_entries(kind))
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:{width}}  {summary}" for name, summary in rows]
        print("\n".join(lines) if what else f"{kind}:\n  " + "\n  ".join(lines))
    return 0


@app.command()
def doctor(data_dir: DataDir = None) -> int:
    """Print versions, devices, data found and what is missing."""
    import os

    import torch

    from tamcl.run import versions

    for name, number in versions().items():
        print(f"{name:14}  {number}")
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"{'devices':14}  cpu ({os.cpu_count()} cores){''.join(f', {name}' for name in cuda)}")
    return list_data(data_dir)


def _log(name: str | None, directory: Path | None) -> Log | None:
    """Return what ``--log`` asks for, before anything is trained."""
    if name is None:
        return None
    check_logger(name)
    if directory is None:
        raise InputError(f"--log {name}: needs --out, the folder that gets the logs")
    return Log(name, directory / "logs")


def _finish(results: Results) -> int:
    """Write the report, say what was found, and return the exit status."""
    from tamcl.report import verdicts, write_report

    path = write_report(results.directory)
    for sentence in verdicts(results):
        print(sentence)
    print(f"report: {path}")
    return _failures(results)


def _again(
    directory: Path, parts: Mapping[Path, Callable[..., Results]], sentences: Callable[[Results], list[str]]
) -> int:
    """Train a study's arms again in folders of it, say what was found, and return the exit status."""
    from tamcl.display import Display
    from tamcl.report import write_report
    from tamcl.results import load_results

    status = 0
    for folder, train in parts.items():
        with Display(folder) as display:
            results = train(command=shlex.join(["tamcl", *_arguments]), on_progress=display.update)
        status = max(status, _failures(results))
    for sentence in sentences(load_results(directory)):
        print(sentence)
    print(f"report: {write_report(directory)}")
    return status


def _failures(results: Results) -> int:
    """Name the cells that failed, and return the exit status."""
    failed = results.runs[results.runs["status"] == "failed"]
    for row in failed.itertuples():
        print(f"failed: {row.arm} lr {row.lr:g} seed {row.seed}: {row.error}", file=sys.stderr)
    return 3 if len(failed) else 0


def _entries(kind: str) -> Iterable[tuple[str, str]]:
    """Yield each object's name and its first sentence, without importing it."""
    if kind == "scenarios":
        from tamcl.config import load_scenario, scenarios

        yield from ((name, load_scenario(name).title) for name in scenarios())
    elif kind == "metrics":
        from tamcl.metrics import METRICS

        yield from ((name, f"{metric.label}; {metric.better} is better") for name, metric in METRICS.items())
    else:
        from tamcl.registry import signature

        yield from ((name, signature(path).summary or path) for name, path in _table(kind).items())


def _table(kind: str) -> Table:
    from tamcl.data import DATASETS
    from tamcl.diagnostics import DIAGNOSTICS
    from tamcl.models import HEADS, MODELS
    from tamcl.optim import OPTIMIZERS
    from tamcl.strategies import STRATEGIES
    from tamcl.streams import STREAMS

    tables = {"optimizers": OPTIMIZERS, "datasets": DATASETS, "streams": STREAMS, "models": MODELS, "heads": HEADS}
    return {**tables, "strategies": STRATEGIES, "diagnostics": DIAGNOSTICS}[kind]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 well, 2 wrong call or file, 3 failed cells, 130 Ctrl-C."""
    global _arguments
    if arguments is None:  # from a shell: pictures go to files, and a backend that is not there would stop matplotlib
        os.environ["MPLBACKEND"] = "agg"
    _arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal may not have every character, such as an arrow
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        for argument in _arguments:
            if why := unprintable(argument):
                raise InputError(f"argument {shown(argument)}: {why}")
        status = int(app(_arguments, prog_name="tamcl", standalone_mode=False) or 0)
    except InputError as error:
        print(f"tamcl: {error}", file=sys.stderr)
        return 2
    except AllFailed as error:
        print(f"tamcl: {error}", file=sys.stderr)
        return 3
    except MemoryError as error:
        print(f"tamcl: there is not enough memory: {reason(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # no right to write there, or no room: what was finished is there, and goes on from there
        print(f"tamcl: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except _UsageError as error:
        message = shortened(error.format_message())
        print(f"tamcl: {message}" if message else "", end="\n" if message else "", file=sys.stderr)
        return 2
    except SystemExit as error:  # tamcl returns its status, so this is somebody's code that was imported or called
        print(f"tamcl: somebody's code called sys.exit({error.code!r})", file=sys.stderr)
        return 2
    if status == 130 and _arguments[:1] != ["watch"]:  # typer's answer to Ctrl-C
        print("tamcl: interrupted; a study goes on where it stopped when the same command is given", file=sys.stderr)
    return status


# The class of all wrong calls; where it is defined depends on typer's version.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
_arguments: list[str] = []


if __name__ == "__main__":
    sys.exit(main())
