"""The command line as a user meets it: answers, exit statuses, a clear line for each mistake, no heavy imports."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tamcl.cli.main import main
from tamcl.cli.objects import KINDS
from tamcl.cli.options import options_of, options_of_scenarios
from tamcl.optim import OPTIMIZERS, TAM
from tamcl.scenario.load import load_scenario, scenarios
from tamcl.streams import STREAMS
from tests.data.layouts import write_mnist, write_tiny
from tests.helpers import refusal
from tests.synthetic_study import write_study

HEAVY = ("torch", "torchvision", "avalanche", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare"], "Missing argument 'SCENARIO'"),
        (["compare", "label_flip_digit"], "unknown scenario 'label_flip_digit': did you mean 'label_flip_digits'?"),
        (["compare", "none.toml"], "scenario file 'none.toml': No such file"),
        (["compare", "label_flip_digits", "--arms", "tam,sgmd"], "'sgmd': did you mean 'sgdm'?"),
        (["compare", "label_flip_digits", "--arm", "tamm,lr=1"], "unknown optimizer 'tamm': did you mean 'tam'?"),
        (["compare", "label_flip_digits", "--arm", "tam,lr=0"], "arms.tam.lr.0 = 0: must be greater than 0"),
        (["compare", "label_flip_digits", "--seeds", "0"], "protocol.seeds = 0: must be greater than or equal to 1"),
        (
            ["compare", "label_flip_digits", "--seeds", "x"],
            "--seeds x: must be a number of seeds, or the first and the last, as 5-9",
        ),
        (
            ["compare", "label_flip_digits", "--seeds", "7-5"],
            "--seeds 7-5: must be a number of seeds, or the first and",
        ),
        (["compare", "label_flip_digits", "--seeds", "998-1000"], "protocol.seeds: 3 from 998 on go beyond 999"),
        (["compare", "label_flip_digits", "--seeds", "1001"], "protocol.seeds = 1001: must be less than or equal to"),
        (["compare", "label_flip_digits", "--tune-seeds", "0"], "protocol.tune_seeds = 0: must be greater than or"),
        (["compare", "label_flip_digits", "--search", "bayes"], "protocol.search = 'bayes': must be 'grid', 'random'"),
        (["compare", "label_flip_digits", "--search", "random"], "protocol.trials: is for the searches 'random' and"),
        (["compare", "label_flip_digits", "--trials", "4"], "protocol.trials: is for the searches 'random' and 'tpe'"),
        (
            ["compare", "label_flip_digits", "--search", "tpe", "--trials", "1"],
            "protocol.trials = 1: must be greater than or equal to 2",
        ),
        (
            ["compare", "label_flip_digits", "--search", "tpe", "--trials", "3", "--extend"],
            "protocol.extend: is for search = 'grid'",
        ),
        (["compare", "label_flip_digits", "--extend", "2"], "Got unexpected extra argument(s) (2)"),
        (["compare", "label_flip_digits", "--log", "tensorbord"], "'tensorbord': did you mean 'tensorboard'?"),
        (["compare", "label_flip_digits", "--log"], "Option '--log' requires an argument"),
        (["compare", "label_flip_digits", "--out", "/dev/null"], "--out /dev/null: is a file; name a folder"),
        (["compare", "label_flip_digits", "--jobs", "0"], "jobs = 0: must be at least 1"),
        (["compare", "label_flip_digits", "--job", "2"], "No such option: --job"),
        (["compare", "label_flip_digits", "--set", "stream"], "--set stream: is not key=value, such as"),
        (["compare", "label_flip_digits", "--set", "strem.samples=1"], "strem: unknown key: did you mean 'stream'?"),
        (["compare", "label_flip_digits", "--set", "evaluation.every=0"], "evaluation.every = 0: must be greater"),
        (["compare", "label_flip_digits", "--set", "stream.fraction=1.2"], "stream.fraction = 1.2: must be less"),
        (["compare", "label_flip_digits", "--set", "stream.fraction=0.1"], "a flip needs 0 or at least 2 classes"),
        (["compare", "label_flip_digits", "--set", "stream.samples=9999"], "the training set has 1442 images"),
        (["compare", "label_flip_digits", "--set", "stream.batch_size=0"], "stream.batch_size = 0: must be greater"),
        (["compare", "label_flip_digits", "--set", "protocol.tune_by=acuracy"], "unknown metric 'acuracy'"),
        (["compare", "label_flip_mnist", "--data-dir", "/nowhere"], "/nowhere/MNIST/raw/train-images-idx3-ubyte"),
        (["compare", "label_flip_digits", "--dry-run", "--jobs", "0"], "jobs = 0: must be at least 1"),
        (["compare", "label_flip_digits", "--dry-run", "--timeout", "0"], "timeout = 0.0: must be above 0, in seconds"),
        (["compare", "label_flip_digits", "--dry-run", "--out", "/dev/null"], "--out /dev/null: is a file; name a"),
        (["compare", "label_flip_mnist", "--dry-run", "--data-dir", "/nowhere"], "/nowhere/MNIST/raw/train-images"),
        (["plan"], "Missing argument 'SCENARIO'"),
        (["plan", "label_flip_digit"], "unknown scenario 'label_flip_digit': did you mean 'label_flip_digits'?"),
        (["plan", "label_flip_digits", "--arms", "tam,sgmd"], "'sgmd': did you mean 'sgdm'?"),
        (["plan", "label_flip_digits", "--arm", "tamm,lr=1"], "unknown optimizer 'tamm': did you mean 'tam'?"),
        (["plan", "label_flip_digits", "--seeds", "0"], "protocol.seeds = 0: must be greater than or equal to 1"),
        (["plan", "label_flip_digits", "--search", "random"], "protocol.trials: is for the searches 'random' and"),
        (["plan", "label_flip_digits", "--jobs", "0"], "jobs = 0: must be at least 1"),
        (["plan", "label_flip_digits", "--out", "x"], "No such option: --out"),
        (["plan", "label_flip_digits", "--set", "stream.samples=9999"], "the training set has 1442 images"),
        (["plan", "label_flip_mnist", "--data-dir", "/nowhere"], "/nowhere/MNIST/raw/train-images-idx3-ubyte"),
        (["run", "label_flip_digits"], "Missing option '--arm'"),
        (["run", "label_flip_digits", "--arm", "tam"], "has 5 learning rates; name one, such as tam,lr="),
        (["run", "label_flip_digits", "--arm", "tam,lr=0.1,gamma=[0.8,0.9]"], "name one, such as tam,lr=0.1,gamma=0.8"),
        (["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--seed", "-1"], "--seed -1: must be at least 0"),
        (["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--log", "csv"], "--log csv: needs --out, the folder"),
        (["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--out", "/dev/null"], "--out /dev/null: File exists"),
        (["confirm"], "Missing argument 'DIR'"),
        (["confirm", "/nowhere"], "'/nowhere' holds no finished study: study.json"),
        (["confirm", "/nowhere", "--seeds", "x"], "Invalid value for '--seeds'"),
        (["regret"], "Missing argument 'DIR'"),
        (["regret", "/nowhere"], "'/nowhere' holds no finished study: study.json"),
        (
            ["regret", "/nowhere", "--oracles", "restart,no_shfit"],
            "unknown oracle 'no_shfit': did you mean 'no_shift'?",
        ),
        (["regret", "/nowhere", "--oracles", ""], "unknown oracle '': Known: no_shift, restart."),
        (["regret", "/nowhere", "--jobs", "x"], "Invalid value for '--jobs'"),
        (["watch"], "Missing argument 'DIR'"),
        (["watch", "/nowhere"], "'/nowhere' holds no study: study.json not found"),
        (["check"], "Missing argument 'NAME"),
        (["check", "tamm"], "unknown optimizer 'tamm': did you mean 'tam'?"),
        (["check", "tam,lr"], "'tam,lr': 'lr' is not key=value"),
        (["check", "tam,gamma=2"], "check: tam refuses {'lr': 0.01, 'gamma': 2}: gamma must be in [0, 1), got 2"),
        (["check", "torch.nn:Linear"], "check: optimizer 'torch.nn:Linear': is no torch.optim.Optimizer"),
        (["report"], "Missing argument 'DIR'"),
        (["toys", "--out", "/dev/null"], "--out /dev/null: File exists"),
        (["doctor", "--data-dir"], "Option '--data-dir' requires an argument"),
        (["report", "/nowhere"], "'/nowhere' holds no finished study: study.json"),
        (["list", "optimisers"], "unknown kind of object 'optimisers': did you mean 'optimizers'?"),
        (["list", "metrics", "streams"], "Got unexpected extra argument(s) (streams)"),
        (["data", "fetch"], "Missing argument 'name'"),
        (["data", "fetch", "mnits"], "unknown data set 'mnits': did you mean 'mnist'?"),
        (["data", "verify", "mnits"], "unknown data set 'mnits': did you mean 'mnist'?"),
        (["data", "verify", "mnist", "--data-dir", "/nowhere"], "no file '/nowhere/MNIST/raw/train-images-idx3-ubyte'"),
        (["data", "import", "mnist"], "Missing option '--from'"),
        (["data", "import", "mnist", "--from", "/nowhere"], "--from '/nowhere': no such file or folder"),
        (["data", "import", "digits", "--from", "/nowhere"], "this data set needs no files"),
        (["compar"], "No such command 'compar'"),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert message in refusal(arguments, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["compare", "--help"],
        ["plan", "--help"],
        ["list"],
        ["compare", "label_flip_digit"],
        ["compare", "label_flip_digits", "--arms", "tan"],
        ["compare", "label_flip_digits", "--set", "arms.tam.momentm=0.5"],
        ["compare", "label_flip_mnist", "--data-dir", "/nowhere"],
        ["plan", "label_flip_mnist", "--data-dir", "/nowhere"],
        ["report", "/nowhere"],
        ["confirm", "/nowhere"],
        ["regret", "/nowhere"],
        ["regret", "/nowhere", "--oracles", "restrat"],
        ["data", "list"],
    ],
)
def test_help_lists_and_errors_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys; from tamcl.cli import main; main({arguments!r}); "
        f"print('\\nIMPORTED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "IMPORTED []"


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    for kind in KINDS:
        assert main(["list", kind]) == 0
        for line in capsys.readouterr().out.splitlines():
            assert f"  {line}" in everything
            name, _, summary = line.partition("  ")
            assert name.strip()
            assert summary.strip(), f"{name} says nothing about itself"
    for name in scenarios():
        assert name in everything


def test_run_prints_metrics_and_writes_tables(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "one"
    assert main(["run", str(tiny), "--arm", "tam,lr=0.1", "--seed", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "online_accuracy" in printed
    assert "status: ok" in printed
    assert (out / "online.parquet").is_file()
    assert main(["run", str(tiny), "--arm", "sgd,lr=1e30"]) == 3
    assert "status: diverged" in capsys.readouterr().out


BROKEN = """
import torch

class DrawsNoise(torch.optim.SGD):
    "SGD that draws from the global generator. https://example.org"

    def __init__(self, params, lr=0.1):
        if not 0 <= lr < float("inf"):
            raise ValueError("lr")
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        torch.rand(1)
        return super().step(closure)
"""


def test_check_passes_a_sound_optimizer_and_names_what_a_broken_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "torch.optim:Adam"]) == 0
    printed = capsys.readouterr().out
    assert "FAIL" not in printed
    assert "checks passed" in printed
    assert "x torch's SGD with momentum" in printed
    assert "2 x the parameters" in printed
    (tmp_path / "draws_noise.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "draws_noise:DrawsNoise"]) == 3
    failures = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert [line.split()[1] for line in failures] == ["check_global_generators"]


def test_doctor_names_versions_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for word in ("torch", "avalanche-lib", "cpu", str(tmp_path), "digits"):
        assert word in printed
    assert "no file" in printed


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MNIST, and a cache of its own."""
    monkeypatch.setenv("TAMCL_CACHE_DIR", str(tmp_path / "cache"))
    write_mnist(tmp_path / "root")
    return tmp_path / "root"


def data_line(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["data", "list", "--data-dir", str(root)]) == 0
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name} ")).split()


def test_data_list_says_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_line("emnist", root, capsys)[1:7] == ["missing,", "112,800", "+", "18,800", "562", "MB"]
    part = "found, 30 + 20 of 60,000 + 10,000: needs --allow-subset 12 MB"
    assert " ".join(data_line("mnist", root, capsys)[1:]).startswith(part)
    assert data_line("digits", root, capsys)[1:5] == ["found,", "1,442", "+", "355"]
    assert (
        main(["data", "import", "mnist", "--from", str(root), "--data-dir", str(root / "more"), "--allow-subset"]) == 0
    )
    assert "mnist: 30 training and 20 test images, checksum" in capsys.readouterr().out
    assert " ".join(data_line("mnist", root / "more", capsys)[1:]).startswith(part)


def test_data_list_counts_words_unless_that_takes_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ptb").mkdir()
    (tmp_path / "ptb" / "ptb.train.txt").write_text("no it was\nn't\n")  # four words, and the ends of two lines
    (tmp_path / "ptb" / "ptb.valid.txt").write_text("it\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "mine.txt").write_text("words " * 20)
    words = " ".join(data_line("ptb", tmp_path, capsys)[1:])
    assert words.startswith("found, 6 + 2 of 929,589 + 73,760: needs --allow-subset - Penn")
    monkeypatch.setattr("tamcl.data.words.MOST_COUNTED", 10)
    words = " ".join(data_line("ptb", tmp_path, capsys)[1:])
    assert words.startswith("found, not counted, of 929,589 + 73,760 - Penn")
    assert data_line("text_files", tmp_path, capsys)[1:4] == ["found,", "not", "counted"]


def test_data_list_says_where_allow_subset_is_needed_and_what_is_damaged(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny(root)
    part = "found, 33 + 6 of 100,000 + 10,000: needs --allow-subset 248 MB"
    assert " ".join(data_line("tinyimagenet", root, capsys)[1:]).startswith(part)
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08")
    assert data_line("mnist", root, capsys)[1:5] == ["damaged,", "60,000", "+", "10,000"]
    (root / "file").write_text("")
    line = data_line("mnist", root / "file", capsys)
    assert (line[1], line[-4:]) == ("missing,", [f"('{root / 'file'}'", "is", "a", "file)"])
    assert main(["data", "list", "--data-dir", str(root / "none")]) == 0
    assert "--allow-subset" not in capsys.readouterr().out


def test_data_verify_takes_a_subset_only_when_asked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "verify", "mnist", "--data-dir", str(root)]
    assert main(command) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert "has 30 training and 20 test images, published are 60000" in errors
    assert main([*command, "--allow-subset"]) == 0
    assert "not as published: MNIST/raw has 30 training" in capsys.readouterr().out


def test_a_download_that_fails_says_so(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tamcl.data import MNIST, download

    monkeypatch.setattr(
        MNIST, "published", tuple(file._replace(mirrors=("http://127.0.0.1:9/",)) for file in MNIST.published)
    )
    monkeypatch.setattr(download, "ROUNDS", 1)
    assert main(["data", "fetch", "mnist", "--data-dir", str(root / "new")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("tamcl: download of '")
    assert "http://127.0.0.1:9/train-images-idx3-ubyte.gz: " in last
    (root / "file").write_text("")
    assert main(["data", "fetch", "mnist", "--data-dir", str(root / "file")]) == 2
    assert "tamcl: data set 'mnist': download to" in capsys.readouterr().err


def test_where_nothing_can_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studies = [write_study(tmp_path / name, arms=["sgdm", "tam"], seeds=2, steps=20) for name in ("a", "b")]
    (tmp_path / "file").write_text("")
    assert main(["ranks", *map(str, studies), "--out", str(tmp_path / "file")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"tamcl: {tmp_path / 'file'}")
    assert errors.count("\n") == 1
    assert main(["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--seed", str(2**70)]) == 2
    assert "must be at least 0 and below 2^63" in capsys.readouterr().err


NASTY = {
    "deep list": "[" * 3000 + "]" * 3000,
    "deep and open": "[" * 3000,
    "deep table": "{a=" * 3000 + "1" + "}" * 3000,
    "rather deep": "[" * 100 + "]" * 100,
    "digits": "1" * 100_000,
    "65 bits": str(2**64),
    "nan": "nan",
    "date": "1979-05-27",
    "time": "07:32:00",
    "long": "x" * 100_000,
    "null": '"a\\u0000b"',
    "escape": '"\\u001b[31m"',
}


@pytest.mark.parametrize("key", ["title", "stream.samples", "model.hidden", "arms.tam.gamma", "stream.name", "x"])
@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
def test_nasty_values_are_one_line(
    value: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refusal(["compare", "label_flip_digits", "--set", f"{key}={value}"], capsys)
    assert len(line) < 2000
    scenario = "title = 'x'\nstream = {name = 'label_flip', dataset = 'digits', experiences = 2, fraction = 0.5}\n"
    Path("file.toml").write_text(f"{key} = {value}\n{scenario}")
    assert len(refusal(["run", "file.toml", "--arm", "tam,lr=0.1"], capsys)) < 2000
    assert len(refusal(["run", "label_flip_digits", "--arm", f"tam,lr=0.1,gamma={value}"], capsys)) < 2000
    assert [path.name for path in tmp_path.iterdir()] == ["file.toml"]


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "two\nlines", "\x1b[31m", "\x85"])
def test_arguments_of_characters_that_are_no_text_are_one_line(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["compare", bad],
        ["compare", "label_flip_digits", "--out", bad],
        ["compare", "label_flip_digits", "--set", f"title={bad}"],
        ["run", "label_flip_digits", "--arm", f"{bad}=tam,lr=0.1"],
        ["report", bad],
        [bad],
    ):
        assert "holds the character U+" in refusal(arguments, capsys)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("tam,lr=0.1,lr=0.2", "'tam,lr=0.1,lr=0.2': gives 'lr' twice"),
        ("tam,=1", "'=1' is not key=value"),
        ("tam,lr=[0.1", "arms.tam.lr.0 = '[0.1': must be a number"),
        ("tam,lr=true", "arms.tam.lr.0 = True: must be a number"),
        ("tam,lr=inf", "arms.tam.lr.0 = inf: must be a finite number"),
        ("tam,lr='0.1,0.2'", "arms.tam.lr.0 = '0.1,0.2': must be a number"),
        ("con.x=tam,lr=0.1", "'con.x' is no label: 'con' is a device on Windows"),
        ("COM1.=tam,lr=0.1", "'COM1.' is no label: 'COM1' is a device on Windows"),
        ("", "unknown optimizer ''"),
        (",,,", "',,,': '' is not key=value"),
    ],
)
def test_arms_that_are_none_are_one_line(arm: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(["run", "label_flip_digits", "--arm", arm], capsys)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "stream.experiences=1000000",
            "stream.experiences = 1000000: order and labels of 1442 + 355 images in each",
        ),
        ("stream.experiences=5000", "evaluation.on = 'all': a run makes 2.5e+07 rows, and at most 2e+07 are kept"),
        ("stream.epochs=100000", "evaluation.batches = 1: a run makes 1.45e+08 rows, and at most 2e+07"),
        ("model.hidden=[1000000, 1000000]", "model: mlp refuses {'hidden': [1000000, 1000000]}: "),
        ("model.hidden=[0]", "model: mlp refuses"),
    ],
)
def test_absurd_sizes_are_refused_at_once(
    setting: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.perf_counter()
    assert message in refusal(["compare", "label_flip_digits", "--set", setting], capsys)
    assert time.perf_counter() - started < 30
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "latin-1"])
def test_whatever_a_terminal_cannot_show_is_escaped(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, errors = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(errors, encoding=encoding))
    assert main(["list"]) == 0
    assert main(["compare", "→ ± n² ŝ", "--out", str(tmp_path / "→")]) == 2
    sys.stdout.flush()
    sys.stderr.flush()
    shown = "→ ± n² ŝ".encode(encoding, errors="backslashreplace").decode(encoding)
    assert f"unknown scenario '{shown}'" in errors.getvalue().decode(encoding)
    assert "label_flip_digits" in output.getvalue().decode(encoding)


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("40 GB")

    monkeypatch.setattr("tamcl.scenario.load.load_scenario", fail)
    assert refusal(["compare", "label_flip_digits"], capsys) == "tamcl: there is not enough memory: 40 GB\n"


def test_leaving_python_is_never_a_success(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*arguments: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("tamcl.scenario.load.load_scenario", leave)
    assert "somebody's code called sys.exit(0)" in refusal(["compare", "label_flip_digits"], capsys)


def test_ctrl_c_that_comes_while_a_library_runs_exec_gives_130_too(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text("exec('raise KeyboardInterrupt')\n")
    command = [sys.executable, "-m", "tamcl.cli", "run", "label_flip_digits", "--arm", "tam,lr=0.1"]
    command += ["--set", 'stream={name="interrupted:Stream"}']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert done.stderr.startswith("tamcl: interrupted; ")


def test_lists_show_options_with_defaults_and_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        assert main(["list", kind, "--options"]) == 0
        lines = capsys.readouterr().out.splitlines()
        options = [line for line in lines if line.startswith("    ")]
        assert bool(options) == (kind not in ("metrics", "heads", "datasets")), kind
        if kind == "streams":
            flips = lines[: lines.index(next(line for line in lines if line.startswith("label_permuted")))]
            assert "    batch_size = 10  (integer at least 1): Images in a mini-batch; the last one of" in "\n".join(
                flips
            )
            assert any(line.startswith("    fraction, to be given  (number 0 to 1, or list of") for line in flips)
    assert main(["list", "--options"]) == 0
    assert "\n      protocol.tune_seeds = 3  (integer 1 to 1000)\n" in capsys.readouterr().out


def test_options_are_those_that_are_taken_by_a_scenario() -> None:
    """Each default is set to itself; pydantic, or the optimizer's signature, would know no other name."""
    found = {option.name: option for option in options_of(OPTIMIZERS, "tam")}
    taken = inspect.signature(TAM).parameters
    assert [*found] == [name for name in taken if name != "params"]
    assert {name: repr(taken[name].default) for name in found} == {name: each.default for name, each in found.items()}
    assert found["gamma"].purpose.startswith("gamma in [0, 1): smoothing of the cosine")
    for name in STREAMS:
        for option in options_of(STREAMS, name):
            assert option.purpose, f"{name}.{option.name} is described"
    settings = [
        f"{option.name}={option.default}" for option in options_of_scenarios() if option.default not in ("", "None")
    ]
    plain = [each.lower() if each.endswith(("True", "False")) else each for each in settings]
    chosen = [each for each in plain if not each.startswith(("diagnostics", "protocol.pairs"))]
    assert load_scenario("permuted_mnist", chosen).protocol.seeds == 5
    assert len(chosen) > 8


def test_the_module_is_the_command(tmp_path: Path) -> None:
    for module in ("tamcl", "tamcl.cli"):
        done = subprocess.run(
            [sys.executable, "-m", module, "list", "heads"], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("single ")
        wrong = subprocess.run([sys.executable, "-m", module, "lst"], cwd=tmp_path, capture_output=True, text=True)
        assert wrong.returncode == 2


def test_nothing_is_said_where_nobody_reads_on() -> None:
    command = [sys.executable, "-m", "tamcl", "list", "optimizers", "--options"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == 1
    process.stderr.close()
