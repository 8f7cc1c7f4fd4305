"""Names, import paths, and reading a class without importing it."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from tamcl.errors import InputError
from tamcl.optim import OPTIMIZERS
from tamcl.registry import load, lookup, signature


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_signature_read_from_source_is_the_real_one(name: str) -> None:
    parameters = signature(OPTIMIZERS[name]).parameters
    real = inspect.signature(lookup(OPTIMIZERS, name).__init__).parameters
    if parameters is None:
        assert "options" in real, "only wrappers take options of another optimizer"
        return
    assert list(parameters) == list(real)[1:]
    assert parameters == {n: p.default is p.empty for n, p in list(real.items())[1:]}


def test_signature_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explodes.py").write_text('raise SystemExit\nclass A:\n    """Say so.\n\n    More."""\n'
                                          "    def __init__(self, a, b: int = 1, *, c): ...\n")  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    assert signature("explodes:A") == ("Say so.", {"a": True, "b": False, "c": True}, {"b": "int"}, frozenset())
    assert "explodes" not in sys.modules


def test_a_class_that_takes_anything_or_cannot_be_read_is_left_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anything.py").write_text("class A:\n    def __init__(self, **options): ...\nclass B(A): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for path in ("anything:A", "anything:B", "anything:C", "there.is.none:A"):
        assert signature(path).parameters is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:A", "optimizer 'no_such_module:A': there is no module 'no_such_module'"),
        ("torch.optim.nothing:A", "there is no module 'torch.optim.nothing'"),
        ("torch.optim:Adm", "unknown optimizer in torch.optim 'Adm': did you mean 'Adam'?"),
        ("not a path", "unknown optimizer 'not a path'"),
        ("a:b:c", "unknown optimizer 'a:b:c'"),
    ],
)
def test_what_cannot_be_found_is_said(path: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        lookup(OPTIMIZERS, path)
    assert message in str(caught.value)


def test_a_module_that_fails_to_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import not_installed_here\n")
    (tmp_path / "divides.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="importing needs_more failed: No module named 'not_installed_here'"):
        load("needs_more:A")
    with pytest.raises(InputError, match="importing divides failed: ZeroDivisionError"):
        load("divides:A")
