"""Small studies whose sentences are read without a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamcl.findings.study import Study
from tamcl.results import load_results
from tests.synthetic_study import write_study


def small(folder: Path, **options: Any) -> Study:
    """A study whose sentences are read without a page."""
    few = {"seeds": 1, "tune_seeds": 1, "experiences": 2, "steps": 20}
    return Study(load_results(write_study(folder, **(few | options))))
