"""A study: all cells of a question, trained, gathered and compared in one folder."""

from tamcl.study.compare import compare, run_one
from tamcl.study.confirm import confirm
from tamcl.study.estimate import estimate
from tamcl.study.regret import train_oracle

__all__ = ["compare", "confirm", "estimate", "run_one", "train_oracle"]
