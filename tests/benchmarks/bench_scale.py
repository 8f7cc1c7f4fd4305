"""What studies of many cells take when nothing is left to be trained: prints seconds, memory, and how they grow.

Run it as ``python -m tests.benchmarks.bench_scale --cells 1000 3000 10000 --rows 10``. The cells are written as a study
leaves them, without training, into ``--keep DIR`` where they are found again the next time, or a temporary folder. Each
step is a process of its own; seconds are those of the processor, imports left out, and memory is the most that the
process held, imports included.

The steps, in the order of a study: ``plan`` makes the cells and their names, ``find`` tells which are finished,
``scores`` measures those that choose learning rates, ``gather`` reads and measures all and writes the study's tables,
``open`` opens the folder, ``report`` writes the page with its figures, ``watch`` is the first look of ``tamcl watch``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.synthetic_study import plan_of, scenario_of, write_cells

STEPS = ("plan", "find", "scores", "gather", "open", "report", "watch")


def step_of(name: str, number: int, out: Path) -> Callable[[], object]:
    """Return a step after what it needs was imported and made."""
    from tamcl.metrics import find
    from tamcl.report.page import write_report
    from tamcl.results import load_results
    from tamcl.study.folder import is_finished
    from tamcl.study.gather import measure_cells, write_results
    from tamcl.study.plan import pack
    from tamcl.study.watch import Watcher

    scenario = scenario_of(number)
    if name == "plan":
        return lambda: [cell.id for task in pack(plan_of(scenario), 2) for cell in task]
    cells = plan_of(scenario)
    every = [out / "cells" / cell.id for cell in cells]
    tuned = [folder for folder, cell in zip(every, cells, strict=True) if cell.phase == "tune"]
    steps: dict[str, Callable[[], object]] = {
        "find": lambda: [is_finished(folder) for folder in every],
        "scores": lambda: measure_cells(tuned, [find(scenario.protocol.tune_by)]),
        "gather": lambda: write_results(out, every, scenario.protocol.pairs),
        "open": lambda: load_results(out),
        "report": lambda: write_report(out),
        "watch": lambda: Watcher(out).read(),
    }
    return steps[name]


def run_step(name: str, number: int, out: Path) -> dict[str, float]:
    """Take a step in this process, and return what it took."""
    step, before = step_of(name, number, out), time.process_time()
    step()
    seconds, peak = time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "mb": peak / (1e6 if sys.platform == "darwin" else 1e3)}


def make(number: int, rows: int, out: Path) -> None:
    """Write a study whose cells are all trained and whose tables are not gathered."""
    from tamcl.study.folder import write_study

    scenario = scenario_of(number)
    (out / "cells").mkdir(parents=True)
    write_cells(out / "cells", plan_of(scenario), rows=rows)
    data = {"name": "digits", "checksum": "", "train": 1437, "test": 360, "classes": 10}
    write_study(out, {"command": "tamcl compare", "scenario": scenario.dump(), "data": data})


def measure(number: int, rows: int, folder: Path, steps: Sequence[str]) -> dict[str, dict[str, float]]:
    """Take all steps of a study, each in a new process."""
    out = folder / f"{number}x{rows}"
    if not (out / "study.json").is_file():
        make(number, rows, out)
    found = {}
    for name in steps:
        command = [sys.executable, "-m", "tests.benchmarks.bench_scale", "--step", name]
        command += ["--cells", str(number), "--keep", str(folder), "--rows", str(rows)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found[name] = json.loads(answer.splitlines()[-1])
        print(f"{number:6} {name:8}{found[name]['seconds']:8.2f} s{found[name]['mb']:7.0f} MB", flush=True)
    size = sum(path.stat().st_size for path in (out / "cells").rglob("*.parquet"))
    print(f"{number:6} cells    {size / number / 1000:7.1f} kB each on disk", flush=True)
    return found


def main() -> None:
    """Take every step at every number of cells, and print what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        out = options.keep / f"{options.cells[0]}x{options.rows}"
        print(json.dumps(run_step(options.step, options.cells[0], out)))
        return
    with TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        found = {each: measure(each, options.rows, folder, options.steps) for each in sorted(options.cells)}
    print(f"\n{'ms a cell':10}" + "".join(f"{number:>9}" for number in found) + "   growth beside linear")
    for name in options.steps:
        each = {number: taken[name]["seconds"] / number for number, taken in found.items()}
        ratios = " ".join(f"x {each[more] / each[less]:.2f}" for less, more in pairwise(each))
        print(f"{name:10}" + "".join(f"{1000 * seconds:9.2f}" for seconds in each.values()) + f"   {ratios}")


if __name__ == "__main__":
    main()
