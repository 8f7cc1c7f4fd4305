"""A sweep: a study for each value of a key of the scenario, in one folder. It goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tamcl.arguments import function, instance
from tamcl.engines import Engine, engine_of, is_here, kept
from tamcl.engines.processes import OnSteps
from tamcl.errors import AllFailed, InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.parquet import dump_parquet
from tamcl.files.paths import user_path
from tamcl.files.records import read_sweep, write_record
from tamcl.results import Results
from tamcl.scenario.load import as_scenario
from tamcl.scenario.schema import Scenario
from tamcl.scenario.settings import put, value_text
from tamcl.scenario.sweeping import Over, Point, name_of, points
from tamcl.study.checks import at_hand, check, check_compiler, check_here, check_workers
from tamcl.study.compare import compare
from tamcl.study.estimate import Plan, estimate
from tamcl.study.folder import check_folder, hold, other_study, remove_left_overs
from tamcl.study.train import Progress
from tamcl.sweeps import STUDIES, SWEEP, Sweep, SweptStudy, load_sweep
from tamcl.training.resources import Resources, resources_of


def sweep(
    scenario: Scenario | str | Path,
    over: Over,
    directory: str | Path,
    *,
    jobs: int | None = None,
    resources: Resources | None = None,
    engine: Engine | None = None,
    command: str = "",
    on_study: Callable[[SweptStudy], object] = lambda study: None,
    on_progress: Callable[[Progress], object] = lambda progress: None,
    on_steps: OnSteps = lambda running: None,
    on_results: Callable[[Results], object] = lambda results: None,
) -> Sweep:
    """Answer a scenario's question at several values of a key, by a study for each.

    Each study is what ``compare`` makes of the scenario with its value, to the last bit, in a folder of its own in
    ``studies``. The processes that train stay from one to the next. A study all of whose runs failed is noted as such,
    and the others go on. What is finished in the folder is not trained again; further values widen it.

    Parameters
    ----------
    scenario : Scenario or str or path
        Or its name, or the path of its file.
    over : mapping of str to sequence
        Values by key, as ``{"stream.fraction": [0.2, 0.8]}``; with several keys there is a study for each combination.
    directory : path
        Where the studies and the tables of all go.
    jobs, resources, engine, command, on_progress, on_steps
        As of ``tamcl.study.compare``.
    on_study : callable
        Called with each study before it is trained.
    on_results : callable
        Called with the results of each study that was finished.

    Raises
    ------
    InputError
        If the folder holds another sweep, or any of the studies would be refused by ``compare``; nothing is trained
        then.
    AllFailed
        If every run of every study failed.
    """
    scenario, directory = as_scenario(scenario), user_path(directory)
    resources, engine = resources_of(resources), engine_of(engine, jobs)
    here = is_here(engine)
    calls = {"on_study": on_study, "on_progress": on_progress, "on_steps": on_steps, "on_results": on_results}
    for name, called in calls.items():
        function(name, called)
    instance("command", command, str, "a text")
    over, known = _known(directory, scenario, over)
    wanted = [(point, known.get(_key(point.settings), point.folder)) for point in points(scenario, over)]
    directory = directory.absolute()
    for point, folder in wanted:
        with _about(point):
            (check_here if here else check_workers)(point.scenario)
            check_compiler(point.scenario, resources)
            check_folder(directory / STUDIES / folder, point.scenario.dump())
    with kept(engine) as started:
        for point, _ in wanted:
            with _about(point):
                check(point.scenario, at_hand(resources, started), call=getattr(started, "call", None), here=here)
        with hold(directory) as is_held:
            if is_held:
                remove_left_overs(directory)
            record = _widened(directory, {"command": command, "scenario": scenario.dump()}, wanted)
            train = partial(
                compare,
                resources=resources,
                engine=started,
                command=command,
                progress=False,
                on_progress=on_progress,
                on_steps=on_steps,
            )
            for point, folder in wanted:
                study = directory / STUDIES / folder
                on_study(SweptStudy(point.name, point.settings, study, None))
                try:
                    results = train(point.scenario, study)
                except AllFailed as error:
                    _note(directory, record, folder, str(error))
                else:
                    _note(directory, record, folder, "")
                    on_results(results)
            write_sweep_tables(directory)
    found = load_sweep(directory)
    if not found.finished:
        first = found.studies[0]
        raise AllFailed(f"no study of '{directory}' has results; {first.name}: {first.why}")
    return found


def estimate_sweep(
    scenario: Scenario | str | Path,
    over: Over,
    directory: str | Path,
    *,
    jobs: int | None = None,
    resources: Resources | None = None,
    engine: Engine | None = None,
) -> dict[str, Plan]:
    """Say what ``sweep`` of the same arguments would take: for each study, by its name, what ``estimate`` says.

    Raises
    ------
    InputError
        As ``sweep``.
    """
    scenario, directory = as_scenario(scenario), user_path(directory)
    engine = engine_of(engine, jobs)
    over, known = _known(directory, scenario, over)
    plans = {}
    for point in points(scenario, over):
        with _about(point):
            folder = directory / STUDIES / known.get(_key(point.settings), point.folder)
            plans[point.name] = estimate(point.scenario, resources=resources, engine=engine, directory=folder)
    return plans


def write_sweep_tables(directory: str | Path) -> None:
    """Write the tables of all studies of a sweep that are finished: metrics, comparisons, and pairs over all values."""
    found = load_sweep(directory)
    for name, table in (("metrics", found.metrics), ("comparisons", found.comparisons), ("across", found.across)):
        content = dump_parquet(table, "")
        write_atomic(found.directory / f"{name}.parquet", partial(_write, content))


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _key(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what tells a study of a sweep from the others."""
    return tuple(sorted((key, value_text(value)) for key, value in values.items()))


def _known(directory: Path, scenario: Scenario, over: Over) -> tuple[Over, dict[tuple[tuple[str, str], ...], str]]:
    """Check that a folder is new or holds this very sweep, with these or other values.

    Returns
    -------
    mapping of str to sequence
        ``over``, its keys in the order of those that are there.
    dict of tuple to str
        The folders of the studies that are there, by their values.
    """
    path = directory / SWEEP
    if not path.is_file():
        if (directory / "study.json").is_file():
            raise InputError(f"--out {directory}: holds a study and no sweep; name another folder")
        if directory.is_dir() and any(not each.name.startswith(".") for each in directory.iterdir()):
            raise InputError(f"--out {directory}: is not empty and holds no sweep; name another folder")
        return over, {}
    there = read_sweep(path)
    first = there["studies"][0]["values"]
    if set(first) != set(over):
        swept = f"is over {', '.join(first)} there and over {', '.join(over)} here"
        raise InputError(f"--out {directory}: holds another sweep: it {swept}; name another folder")
    ours = scenario.dump()
    for key, value in first.items():  # what it is without --over does not matter
        put(ours, key, value, f"--over {key}")
        put(there["scenario"], key, value, f"--over {key}")
    if found := other_study(there["scenario"], ours):
        raise InputError(f"--out {directory}: holds another sweep: {found}; name another folder")
    return {key: over[key] for key in first}, {_key(each["values"]): each["folder"] for each in there["studies"]}


def _widened(directory: Path, record: dict[str, Any], wanted: list[tuple[Point, str]]) -> dict[str, Any]:
    """Write which studies the sweep has: those that are there, and those that are wanted."""
    path = directory / SWEEP
    studies = {each["folder"]: each for each in read_sweep(path)["studies"]} if path.is_file() else {}
    for point, folder in wanted:
        studies.setdefault(
            folder, {"folder": folder, "name": name_of(point.settings), "values": point.settings, "error": ""}
        )
    record = record | {"studies": [*studies.values()]}
    write_atomic(path, lambda temporary: write_record(temporary, record))
    return record


def _note(directory: Path, record: dict[str, Any], folder: str, error: str) -> None:
    """Write why a study has no results, if that is another than before."""
    study = next(each for each in record["studies"] if each["folder"] == folder)
    if study.get("error", "") != error:
        study["error"] = error
        write_atomic(directory / SWEEP, lambda temporary: write_record(temporary, record))


@contextmanager
def _about(point: Point) -> Iterator[None]:
    """Say at which value it is that something cannot be had."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"--over {point.name}: {error}") from error
