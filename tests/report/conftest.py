"""Reports that several test files read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tamcl.report import write_report
from tests.report.helpers import Page
from tests.synthetic_study import write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three arms with its report and figures."""
    folder = write_study(
        tmp_path_factory.mktemp("report") / "study",
        arms=["sgdm", "tam", "tam_frozen"], seeds=3, tune_seeds=2, experiences=3, steps=30, edge=["tam"],
    )  # fmt: skip
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def page(study: Path) -> Page:
    return Page((study / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Page]:
    """Write a study, change its files, and read its report without figures, which take seconds."""
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])

    def write(change: Callable[[Path], object] = lambda folder: None, **options: Any) -> Page:
        small = {"seeds": 2, "tune_seeds": 2, "experiences": 2, "steps": 20, "arms": ["sgdm", "tam"]}
        folder = write_study(tmp_path / "study", **(small | options))
        change(folder)
        return Page(write_report(folder).read_text(encoding="utf-8"))

    return write
