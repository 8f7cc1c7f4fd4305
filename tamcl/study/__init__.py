"""A study: all cells of a question, trained, gathered and compared in one folder."""

from tamcl.study.compare import compare, run
from tamcl.study.confirm import confirm
from tamcl.study.estimate import estimate
from tamcl.study.landscape import landscape
from tamcl.study.merge import merge
from tamcl.study.regret import train_oracle
from tamcl.study.sweep import estimate_sweep, sweep
from tamcl.study.verify import verify

__all__ = [
    "compare",
    "confirm",
    "estimate",
    "estimate_sweep",
    "landscape",
    "merge",
    "run",
    "sweep",
    "train_oracle",
    "verify",
]
