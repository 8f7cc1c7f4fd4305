"""Optimizers step without torch's compiler as they do with it, and know it when somebody imports it."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, torch
from tamcl.training.compiler import put_off_compiler

def steps(kind, count, optimizer=None):
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0])) if optimizer is None else optimizer.param_groups[0]["params"][0]
    optimizer = optimizer or kind([w], lr=0.1)
    for _ in range(count):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
    assert torch.is_grad_enabled()
    return w.tolist(), optimizer

KINDS = [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad]
put_off_compiler()
before = [steps(kind, 3) for kind in KINDS]
assert "torch._dynamo" not in sys.modules
assert all(abs(w - first * 0.8**3) < 1e-6 for w, first in zip(before[0][0], (1.0, -2.0)))
before[0][1].load_state_dict(before[0][1].state_dict())
assert "torch._dynamo" not in sys.modules
torch._dynamo.reset()
assert [steps(kind, 3)[0] for kind in KINDS] == [weights for weights, _ in before]
for method in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    getattr(before[0][1], method)(*[{"params": []}] if method == "add_param_group" else [before[0][1].state_dict()] if
        method == "load_state_dict" else [])
    function = getattr(torch.optim.Optimizer, method).__wrapped__
    assert vars(function)["__dynamo_disable"].__module__.startswith("torch._dynamo"), method
"""


def test_the_compiler_is_imported_when_somebody_wants_it_and_changes_no_step() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
