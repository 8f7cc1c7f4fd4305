"""Our optimizers beside torch's, on the MLP and a few large tensors: prints ratios, fails far above the goals."""

from __future__ import annotations

import pytest
import torch

from tamcl.optim import AdamCM, AdaTAM
from tests.benchmarks.bench_optimizers import MODELS, OPTIMIZERS, Goal, main, measure, ratio, stepping

SHAPES = {"MLP": [param.shape for param in MODELS["MLP"]().parameters()], "large": [torch.Size((1024, 1024))] * 2}
READABLE = {
    "AdaTAM readable": lambda params: AdaTAM(params, lr=1e-6, foreach=False),
    "AdamCM 5 readable": lambda params: AdamCM(params, lr=1e-6, foreach=False),
}

LIMITS = [
    ("TAM", "SGD foreach", 2.5, 2.0),
    ("TAM", "SGD fused", 4.0, 3.0),
    ("AdaTAM", "Adam fused", 2.5, 2.5),
    ("AdamCM 5", "Adam fused", 4.5, 4.5),
    ("AdamCM 20", "AdamCM 5", 1.4, 1.4),
    ("AdaTAM", "AdaTAM readable", 1.0, 1.0),
    ("AdamCM 5", "AdamCM 5 readable", 1.0, 1.0),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trials(one_thread):
    makers = {name: maker for name, maker in (OPTIMIZERS | READABLE).items() if not name.startswith("their")}
    found = [
        measure(lambda shapes=shapes: {name: stepping(make, shapes) for name, make in makers.items()}, 3, 5)
        for shapes in SHAPES.values()
    ]
    return dict(zip(SHAPES, found, strict=True))


@pytest.mark.parametrize(("ours", "other", "mlp", "large"), LIMITS)
def test_a_step_takes_little_longer_than_torchs(trials, ours, other, mlp, large):
    for shapes, limit in (("MLP", mlp), ("large", large)):
        found = ratio(trials[shapes], Goal(ours, other))
        print(f"\n{shapes}: {ours} / {other} {found:.2f} (limit {limit})")
        assert found < limit


def test_the_table_prints(monkeypatch, capsys):
    """With a small model in place of the large ones."""
    for name in MODELS:
        monkeypatch.setitem(MODELS, name, lambda: torch.nn.Linear(3, 2))
    main(["--quick"])
    printed = capsys.readouterr().out
    assert "TAM / SGD foreach" in printed
    assert "met" in printed
    assert "AdamCM 5, bfloat16 slots" in printed
