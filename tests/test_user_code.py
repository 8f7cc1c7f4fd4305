"""Which files of somebody's own decide a run; they are part of its identity, and old runs do not pass as new ones."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tamcl import user_code as own
from tamcl.cli.main import main
from tamcl.errors import AllFailed, InputError
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare, run
from tamcl.study.confirm import confirm
from tamcl.training.build import _load
from tamcl.training.cell import Cell, Task, failed, write_cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.user_code import check_code, user_code
from tests.helpers import in_this_process, refusal

NET = """
from torch import nn
from layers_of_mine import WIDTH
class Net(nn.Module):
    features = WIDTH
    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU())
    def forward(self, x):
        return self.layer(x)
"""
ARMS = ["sgdm", "tam"]
TASKS = 'stream={name="task_shift", setting="task_incremental", dataset="digits", experiences=2}'
SETTINGS = ["protocol.tune_seeds=1", "arms.tam.lr=[0.1]", "arms.sgdm.lr=[0.05]"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to write modules to, which this process forgets afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    forget(folder, before)


def forget(folder: Path, keep: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Do as if this process, which trains in the tests, were a new one."""
    for name, module in list(sys.modules.items()):
        if name not in keep and str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    own._imported.clear()
    own._remembered.clear()
    _load.cache_clear()
    importlib.invalidate_caches()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


FILES = {
    "top.py": "import plain_one, json\nfrom pack import part\nfrom pack.inner.deep import thing as other\n"
    "def later():\n    import late_one\nimport importlib\nimportlib.import_module('named_one')\n"
    "class A: ...\nlater()\n",
    "plain_one.py": "import top\n",
    "late_one.py": "from stars import *\n",
    "named_one.py": "try:\n    import not_there\nexcept ImportError:\n    pass\n",
    "unused.py": "",
    "pack/__init__.py": "from . import initial\nfrom .initial import *\n",
    "pack/initial.py": "import random\n",
    "pack/part.py": "from .inner import deep\n",
    "pack/other.py": "",
    "pack/inner/__init__.py": "# not empty\n",
    "pack/inner/deep.py": "from .. import initial\nthing = 1\n",
    "stars/__init__.py": "__all__ = ['one']\n",
    "stars/one.py": "x = 1\n",
    "names/space.py": "",
    "outer/__init__.py": "import plain_two\n",
    "outer/empty/__init__.py": "\n",
    "outer/empty/named.py": "",
    "plain_two.py": "# more\n",
}


def test_the_modules_are_those_that_an_import_brings(project: Path) -> None:
    write(project, FILES)
    files = "{name: getattr(module, '__file__', None) for name, module in sys.modules.items()}.items()"
    code = f"import sys, top; print(*(name for name, file in {files} if str(file).startswith(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, str(project)], cwd=project, capture_output=True, text=True)
    imported = set(done.stdout.split())
    assert {"top", "late_one", "pack.inner.deep", "stars.one"} <= imported
    assert set(user_code("top:A")) == imported
    assert user_code({"a": [{"b": ("names.space:A",)}]}).keys() == {"names.space"}
    assert user_code({"outer.empty.named:A": 1}).keys() == {"outer", "outer.empty.named", "plain_two"}
    assert not set(user_code("top:A")) & set(sys.modules), "finding them imports nothing"


def test_a_change_of_any_of_them_is_seen_and_no_other(project: Path) -> None:
    write(project, FILES)
    before = user_code(["top:A", "json:loads", "no.such:A", "12:30"])
    (project / "unused.py").write_text("x = 1")
    assert user_code("top:A") == {name: before[name] for name in before if name != "json"}
    (project / "pack" / "initial.py").write_text("import random # a comment counts\n")
    assert own.differing(before, user_code(["top:A", "json:loads"])) == ["pack.initial"]


def test_an_installed_package_counts_by_its_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = project / "lib" / "site-packages"
    write(site, {"bought/__init__.py": "import bought.inside", "bought/inside.py": ""})
    write(site, {"bought-1.0.dist-info/METADATA": "Name: bought\nVersion: 1.0\n"})
    write(site, {"bought-1.0.dist-info/top_level.txt": "bought\n"})
    monkeypatch.syspath_prepend(str(site))
    own._distributions.cache_clear()
    found = user_code("bought:A")
    digest = blake2b((site / "bought" / "__init__.py").read_bytes(), digest_size=8).hexdigest()
    assert found == {"bought": f"{digest} bought 1.0"}
    check_code(found)
    assert " " not in user_code("torch.optim:SGD")["torch.optim"], "torch's version stands in the table"
    own._distributions.cache_clear()


def test_the_script_that_runs_is_looked_at_and_a_notebook_cannot_be(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "script.py").write_text("import helper_of_script\n")
    (project / "helper_of_script.py").write_text("x = 1")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(project / "script.py"), raising=False)
    assert user_code("__main__:Net").keys() == {"__main__", "helper_of_script"}
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    with pytest.raises(InputError, match="'__main__:Net': no file holds it, and worker processes cannot import it"):
        own.check_importable({"model": {"name": "__main__:Net"}})


@pytest.mark.parametrize(
    "settings",
    [
        ['model={name="mine:Net"}'],
        ['model.head="mine:Head"', TASKS],
        ['strategy={name="mine:Way"}'],
        ['stream.dataset="mine:Data"'],
        ['arms.tam={optimizer="sam", base="mine:Opt", lr=[0.1]}'],
        ['arms.tam={optimizer="switch", first="sgd", then={b=["x", {a="mine:Opt"}]}, lr=[0.1]}'],
        ['diagnostics={names=["mine:Seen"]}'],
    ],
)
def test_every_name_in_a_config_is_part_of_a_runs_identity(tiny: Path, project: Path, settings: list[str]) -> None:
    write(project, {"mine.py": "import inside", "inside.py": ""})

    def ids() -> list[str]:
        scenario = load_scenario(str(tiny), [*SETTINGS, *settings], ARMS)
        return [Cell(scenario, arm, 0.1, 0, "report").id for arm in ("tam", "sgdm")]

    before, plain = ids(), Cell(load_scenario(str(tiny), SETTINGS, ARMS), "sgdm", 0.1, 0, "report").id
    (project / "inside.py").write_text("# changed")
    tam, sgdm = ids()
    assert tam != before[0]
    of_one_arm = settings[0].startswith("arms.")
    assert (sgdm == before[1]) == of_one_arm
    if of_one_arm:
        assert sgdm == plain, "an arm without own code is what it was"


def test_an_own_stream_is_part_of_a_runs_identity(tiny: Path, project: Path) -> None:
    text = "from tamcl.streams import LabelFlip\nclass Mine(LabelFlip):\n    name: str\n"
    ids = set()
    for more in ("", "# changed"):
        (project / "stream_of_mine.py").write_text(text + more)
        scenario = load_scenario(str(tiny), [*SETTINGS, 'stream.name="stream_of_mine:Mine"'], ARMS)
        ids.add(Cell(scenario, "tam", 0.1, 0, "tune").id)
    assert len(ids) == 2


def test_ids_of_what_names_no_user_code_or_one_optimizers_file_are_those_of_before(tiny: Path, project: Path) -> None:
    def expected(cell: Cell, **more: Any) -> str:
        values = cell.scenario.dump()
        config = {part: values[part] for part in ("stream", "model", "strategy", "evaluation")}
        own = {"optimizer", "lr", "null_of", "interventions", "optimizer_state", "groups"}
        options = {key: v for key, v in values["arms"][cell.arm].items() if key not in own}
        optimizer = {"name": values["arms"][cell.arm]["optimizer"], "lr": cell.lr, **options, **more}
        for key in ("stacked", "compiled", "schedule", "clip", "plugins"):
            config["strategy"].pop(key)
        config["model"].pop("normalize_inputs")
        config |= {"optimizer": optimizer, "seed": cell.seed, "tamcl": cell.config["tamcl"]}
        config |= {} if more else {"stacked": True}
        digest = blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=4).hexdigest()
        return f"{cell.arm}-lr{cell.lr:g}-seed{cell.seed}-{digest}"

    cell = Cell(load_scenario(str(tiny), SETTINGS, ARMS), "sgdm", 0.05, 3, "report")
    assert cell.id == expected(cell)
    (project / "one_file.py").write_text("import torch\nclass Opt(torch.optim.SGD): ...\n")
    scenario = load_scenario(str(tiny), [*SETTINGS, 'arms.tam.optimizer="one_file:Opt"'], ARMS)
    cell = Cell(scenario, "tam", 0.1, 0, "tune")
    assert cell.id == expected(cell, source=blake2b((project / "one_file.py").read_bytes(), digest_size=8).hexdigest())


def test_labels_that_differ_in_case_have_folders_that_differ_where_case_is_ignored(tiny: Path) -> None:
    both = load_scenario(str(tiny), [*SETTINGS, 'arms.TAM={optimizer="tam", lr=[0.1]}'], [*ARMS, "TAM"])
    one = load_scenario(str(tiny), SETTINGS, ARMS)
    ids = [Cell(both, arm, 0.1, seed, "report").id.lower() for arm in ("tam", "TAM", "sgdm") for seed in (0, 1)]
    assert len(set(ids)) == 6
    assert Cell(both, "sgdm", 0.1, 0, "report").id == Cell(one, "sgdm", 0.1, 0, "report").id


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process."""
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)


def study_of_a_net(tiny: Path, seeds: int) -> Scenario:
    settings = [*SETTINGS, 'model={name="net_of_mine:Net"}', f"protocol.seeds={seeds}"]
    return load_scenario(str(tiny), settings, ARMS)


def test_runs_of_another_network_are_trained_anew_and_said_so(
    here: None, tiny: Path, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, {"net_of_mine.py": NET, "layers_of_mine.py": "WIDTH = 16"})
    compare(study_of_a_net(tiny, 2), tmp_path / "out", progress=False)
    assert capsys.readouterr().err == ""
    (project / "layers_of_mine.py").write_text("WIDTH = 4")
    with pytest.raises(InputError, match="^the code of 'layers_of_mine' changed .* Python, again"):
        compare(study_of_a_net(tiny, 3), tmp_path / "out", progress=False)
    forget(project)
    with pytest.raises(InputError, match=r"^arms.sgdm: the code of layers_of_mine is not that of the study by"):
        confirm(tmp_path / "out", seeds=2, progress=False)
    file, out = project / "net_of_mine.py", tmp_path / "out"
    assert capsys.readouterr().err == f"tamcl: imports net_of_mine ({file}): '{out}' names it\n"
    forget(project)
    again = compare(study_of_a_net(tiny, 3), tmp_path / "out", progress=False)
    line = f"tamcl: the code of layers_of_mine changed, so 4 report runs in '{tmp_path / 'out'}' are trained anew\n"
    assert capsys.readouterr().err == line
    fresh = compare(study_of_a_net(tiny, 3), tmp_path / "fresh", progress=False)
    assert again.metrics.equals(fresh.metrics)
    compare(study_of_a_net(tiny, 3), tmp_path / "out", progress=False)
    assert capsys.readouterr().err == "", "it is said when it is done"
    confirm(tmp_path / "out", seeds=2, progress=False)


DATA = """
import numpy as np
from tamcl.data import DataSet, Source
SHIFT = 0
class Blobs(Source):
    classes, official = 4, (80, 40)
    def check(self, root): pass
    def fetch(self, root): pass
    def load(self, root, allow_subset=False):
        labels = np.arange(120) % 4
        images = np.full((120, 1, 8, 8), 20, np.uint8)
        images[np.arange(120), 0, 2 * labels + SHIFT] = 250
        return DataSet("blobs", images[:80], labels[:80], images[80:], labels[80:], 4, self.official)
"""


def test_other_data_are_trained_on_anew_where_it_is_own_code_that_makes_them(
    here: None, tiny: Path, tmp_path: Path, project: Path
) -> None:
    def study(seeds: int) -> Scenario:
        settings = [*SETTINGS, f"protocol.seeds={seeds}", "stream.dataset=data_of_mine:Blobs"]
        return load_scenario(str(tiny), [*settings, "stream.samples=40"], ARMS)

    write(project, {"data_of_mine.py": DATA})
    before = compare(study(2), tmp_path / "out").metrics
    write(project, {"data_of_mine.py": DATA.replace("SHIFT = 0", "SHIFT = 1")})
    forget(project)
    again, fresh = compare(study(3), tmp_path / "out"), compare(study(3), tmp_path / "fresh")
    assert again.metrics.equals(fresh.metrics)
    assert not again.metrics[again.metrics["seed"] < 2].equals(before[before["seed"] < 2])


def test_a_file_that_changes_while_a_study_runs_fails_the_runs_that_it_would_change(
    tiny: Path, tmp_path: Path, project: Path
) -> None:
    write(project, {"net_of_mine.py": NET, "layers_of_mine.py": "WIDTH = 16"})
    scenario = study_of_a_net(tiny, 2)
    cells = [Cell(scenario, "tam", 0.1, seed, "report") for seed in (0, 1)]
    run_cell(cells[0])
    (project / "layers_of_mine.py").write_text("WIDTH = 4")
    assert (run_cell(cells[1]).runs["status"] == "ok").all(), "what was imported is what was planned"
    found = run(scenario, "tam", 0, apart=True)
    assert found.status == "ok", "it has a process of its own, which imports what is there now"
    forget(project)
    with pytest.raises(InputError, match="the code of 'layers_of_mine' changed after the run was planned"):
        run_cell(cells[1])
    forget(project)
    run(scenario, "tam", 0, apart=True)


def test_a_module_that_changes_and_is_first_imported_in_training_is_noticed(tiny: Path, project: Path) -> None:
    late = NET.replace("from layers_of_mine import WIDTH", "WIDTH = 16").replace(
        "        return self.layer(x)", "        import late_layers\n        return self.layer(x) * late_layers.SCALE"
    )
    write(project, {"net_of_mine.py": late, "late_layers.py": "SCALE = 1"})
    cell = Cell(study_of_a_net(tiny, 2), "tam", 0.1, 0, "report")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.training.running.check_code", editing_on(2, project / "late_layers.py"))
        with pytest.raises(InputError, match="the code of 'late_layers' changed"):
            run_cell(cell)


def editing_on(call: int, file: Path) -> Callable[[Any], None]:
    """Return `check_code`, and the file is changed right after its so many-th call."""
    calls = []

    def checked(code: Any) -> None:
        check_code(code)
        calls.append(code)
        if len(calls) == call:
            file.write_text("SCALE = 2")

    return checked


HOSTILE = """
import pathlib
def touch(*arguments, **options):
    pathlib.Path("called").touch()
class Touch:
    def __init__(self, *arguments, **options):
        touch()
    def __class_getitem__(cls, key):
        touch()
"""


@pytest.mark.parametrize("name", ["touch", "Touch"])
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (['model={{name="{}", cmd="echo"}}'], "model '{}': is "),
        (['model.head="{}"', TASKS.replace("{", "{{").replace("}", "}}")], "head '{}': is no"),
        (['strategy={{name="{}", cmd="echo"}}'], "strategy '{}': is no"),
        (['stream.dataset="{}"'], "data set '{}': is "),
        (['stream={{name="{}", dataset="digits", experiences=2}}'], "stream '{}': is "),
        (['arms.tam={{optimizer="{}", lr=[0.1]}}'], "arms.tam: optimizer '{}': is no"),
        (['arms.tam={{optimizer="sam", base="{}", lr=[0.1]}}'], "optimizer '{}': is no"),
        (['diagnostics={{names=["{}"]}}'], "diagnostic '{}': is no"),
    ],
)
def test_nothing_is_called_before_it_was_found_to_be_of_its_kind(
    tiny: Path, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    settings: list[str], kind: str, name: str,
) -> None:  # fmt: skip
    (project / "hostile.py").write_text(HOSTILE)
    monkeypatch.chdir(tmp_path)
    path = f"hostile:{name}"
    changes = [*SETTINGS, "arms.tam_frozen.lr=[0.1]", *(setting.format(path) for setting in settings)]
    arguments = ["compare", str(tiny), "--out", "out", *(part for each in changes for part in ("--set", each))]
    assert kind.format(path) in refusal(arguments, capsys)
    assert not (tmp_path / "called").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["confirm", "regret"])
def test_a_studys_folder_cannot_have_a_command_run(
    here: None, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    compare(load_scenario(str(tiny), [*SETTINGS, "protocol.seeds=2"], ARMS), out)
    study = json.loads((out / "study.json").read_text())
    study["scenario"]["model"] = {"name": "pydoc:pipepager", "head": "single", "cmd": "touch called"}
    (out / "study.json").write_text(json.dumps(study))
    capsys.readouterr()
    assert main([command, str(out)]) == 2
    imported, refused = capsys.readouterr().err.splitlines()
    assert imported.startswith("tamcl: imports pydoc (")
    assert "model 'pydoc:pipepager': is a function that does not say" in refused
    assert not (tmp_path / "called").exists()


def test_a_study_all_of_whose_runs_failed_is_no_result(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing: list[str] = ["sgdm", "tam"]

    class Failing:
        def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
            for cell in chain.from_iterable(tasks):
                bad = cell.arm in failing
                write_cell(directory, cell, failed(cell, ValueError("no good")) if bad else run_cell(cell))
                yield cell, "failed" if bad else "ok"

    monkeypatch.setattr("tamcl.engines.local.Local", lambda *_: Failing())
    monkeypatch.setattr("tamcl.engines.inline.Inline", Failing)
    scenario = load_scenario(str(tiny), [*SETTINGS, "protocol.seeds=2"], ARMS)
    why = r"^all 4 runs failed, the first of them \(sgdm lr 0.05 seed 0\) by ValueError: no good$"
    with pytest.raises(AllFailed, match=why):
        compare(scenario, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cells", "study.json"}
    changes = [part for setting in [*SETTINGS, "protocol.seeds=2"] for part in ("--set", setting)]
    assert main(["compare", str(tiny), "--arms", "sgdm,tam", *changes, "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("tamcl: all 4 runs failed, the first of them (sgdm lr")
    failing.remove("tam")
    assert (compare(scenario, tmp_path / "out").runs.groupby("arm")["status"].first()).to_dict() == {
        "sgdm": "failed",
        "tam": "ok",
    }
