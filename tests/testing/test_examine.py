"""What ``tamcl check`` is made of: outcomes, cost and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tamcl.cli.main import main
from tamcl.engines.processes import CAN_FORK
from tamcl.optim import TAM
from tamcl.testing.examine import SHAPES, examine_optimizer
from tamcl.testing.optimizers import CHECKS, yield_checks


def test_every_check_is_listed_with_its_promise() -> None:
    found = examine_optimizer(TAM, lr=0.1)
    assert {outcome.check for outcome in found.outcomes} == {check.__name__ for check in CHECKS}
    assert found.passed
    assert all(outcome.promise.endswith(".") and not outcome.why for outcome in found.outcomes)


def test_state_is_counted_by_hand() -> None:
    parameters = sum(torch.Size(shape).numel() for shape in SHAPES)
    adam = examine_optimizer(torch.optim.Adam)
    assert adam.state_bytes == 4 * (2 * parameters + len(SHAPES))
    assert adam.state_copies == pytest.approx(2, rel=1e-3)
    assert examine_optimizer(torch.optim.SGD, momentum=0.9).state_bytes == 4 * parameters


def test_cost_is_relative_to_sgd() -> None:
    class Slow(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:  # type: ignore[override]
            for _ in range(19):
                super().step(closure)
            return super().step(closure)

    threads = torch.get_num_threads()
    found = examine_optimizer(Slow, momentum=0.9)
    assert 5 < found.sgd_ratio < 100
    assert found.ms_per_step > 0
    assert torch.get_num_threads() == threads


def test_leaving_python_fails_a_check() -> None:
    class Leaves(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:  # type: ignore[override]
            raise SystemExit(0)

    found = examine_optimizer(Leaves)
    failed = {outcome.check: outcome.why for outcome in found.outcomes if not outcome.passed}
    assert failed["check_descends_a_quadratic"] == "SystemExit: 0"
    assert found.unmeasured == "SystemExit: 0"


OWN = """
import os, torch

class Leaves(torch.optim.SGD):
    def __init__(self, params, lr=0.1, momentum=0.0):
        super().__init__(params, lr=lr)
        torch.set_default_dtype(torch.float64)

    def step(self, closure=None):
        if torch.is_complex(self.param_groups[0]["params"][0]):
            os._exit(0)
        return super().step(closure)
"""


@pytest.mark.skipif(not CAN_FORK, reason="processes are not forked here")
def test_a_check_fails_that_ends_its_process_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_leaves.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "own_leaves:Leaves"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "FAIL  check_complex_parameters           the process ended with status 0" in lines
    assert any(line.startswith("pass  check_state_dict_file") for line in lines)
    assert lines[-2].startswith("a step: ")
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", ["SparseAdam", "Muon"])
def test_what_cannot_be_measured_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    assert main(["check", f"torch.optim:{name}"]) == 3
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert f" of {len(list(yield_checks(getattr(torch.optim, name))))} checks passed" in out
    assert "a step and its state could not be measured: " in out
