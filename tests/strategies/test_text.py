"""Training on text: what a bare loop would do, counted in tokens, with every strategy, optimizer and diagnostic."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from tamcl.avalanche import SupervisedPlugin
from tamcl.data.text import Domain, as_data_set
from tamcl.diagnostics import DIAGNOSTICS, DiagnosticsCollector
from tamcl.landscape.surface import Surface
from tamcl.models import Classifier
from tamcl.models.classifier import build_classifier
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.strategies import STRATEGIES, Naive
from tamcl.strategies import evaluation as evaluating
from tamcl.strategies.loader import BatchLoader
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.collectors import OnlineCollector
from tests.models.test_language import OPTIONS
from tests.strategies.helpers import build
from tests.streams.helpers import stream

LETTERS = np.random.default_rng(0).choice(list("abcdef"), 400)
DATA = as_data_set("two", {"a": Domain(LETTERS[:200], LETTERS[200:240]), "b": Domain(LETTERS[240:370], LETTERS[370:])})
STREAM = stream("text", experiences=2, context=5, batch_size=4)
SEGMENTS = STREAM.segments(DATA.train_y, DATA.test_y, 2, seed=0)
BENCHMARK = build_benchmark(DATA, SEGMENTS)


def model(name: str = "lstm") -> Classifier:
    sizes: dict[str, Any] = {"shape": (5,), "classes": 6, "tasks": {0: (0, 1)}, "is_text": True}
    return build_classifier(name, "single", OPTIONS[name], **sizes, seed=0)


def train(strategy: str = "naive", optimizer: str = "adamw", name: str = "lstm", **options: Any) -> Naive:
    settings = {"lr": 0.01} | ({"at": 3} if optimizer == "switch" else {})
    make = partial(lookup(OPTIMIZERS, optimizer), **settings)
    common = {"batch_size": 4, "seed": 1, "target": "token"}
    training = build(lookup(STRATEGIES, strategy), model(name), make, **common, **options)
    for experience in BENCHMARK.train_stream:
        training.train(experience, eval_streams=[])
    return training


@pytest.mark.parametrize("name", OPTIONS)
def test_a_bare_loop_over_windows_gives_the_same_weights_and_rows(name: str) -> None:
    online = OnlineCollector()
    strategy = train(name=name, plugins=[online])
    bare = model(name)
    optimizer = torch.optim.AdamW(bare.parameters(), lr=0.01)
    text, rows = torch.from_numpy(DATA.train_x).long(), []
    for position, segment in enumerate(SEGMENTS):
        loader = BatchLoader(BENCHMARK.train_stream[position], 4, 1, position, torch.device("cpu"))
        starts = torch.from_numpy(segment.train_index)[loader.order(0)]
        for start in starts.split(4):
            x = torch.stack([text[i : i + 5] for i in start])
            y = torch.stack([text[i + 1 : i + 6] for i in start])
            optimizer.zero_grad()
            logits = bare(x)
            loss = -(logits.log_softmax(1) * one_hot(y.flatten(), 6)).sum(1).mean()
            rows.append((position, y.numel(), loss.item(), (logits.argmax(1) == y.flatten()).sum().item()))
            cross_entropy(logits, y.flatten()).backward()
            optimizer.step()
    for ours, theirs in zip(strategy.model.parameters(), bare.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    found = online.rows()
    assert found["n"].tolist()[:2] == [20, 20]  # tokens of four windows
    expected = np.array(rows)
    np.testing.assert_allclose(found[["experience", "n", "loss", "correct"]].to_numpy(float), expected, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_evaluation_is_the_mean_over_tokens_of_the_validation_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "_LOGITS_BYTES", 4 * 3 * 5 * 6)  # three windows at a time
    network = model(name)
    results = evaluating.evaluate(network, BENCHMARK.test_stream, torch.device("cpu"))
    text = torch.from_numpy(DATA.test_x).long()
    for result, segment in zip(results, SEGMENTS, strict=True):
        x = torch.stack([text[i : i + 5] for i in segment.test_index])
        y = torch.stack([text[i + 1 : i + 6] for i in segment.test_index]).flatten()
        with torch.no_grad():
            logits = network(x)
        assert result.n == len(y) == 5 * len(segment.test_index)
        assert result.loss == pytest.approx(-logits.log_softmax(1)[range(len(y)), y].mean().item(), rel=1e-6)
        assert result.accuracy == pytest.approx(np.mean(logits.argmax(1).numpy() == y.numpy()))
    assert [result.n for result in results] == [35, 25]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_text_or_refuses_it(strategy: str) -> None:
    if strategy == "lwf":
        with pytest.raises(ValueError, match="target = 'token': LwF compares what is said about classes"):
            train(strategy)
        return
    training, start = train(strategy), model()
    pairs = zip(training.model.parameters(), start.parameters(), strict=True)
    assert all(now.isfinite().all() and not torch.equal(now, before) for now, before in pairs)


class Objectives(SupervisedPlugin):  # type: ignore[misc]
    """Compare what is minimised in the last experience with the mean loss of all tokens of a step."""

    compared = 0

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        if len(strategy.mbatch) == 3:
            return
        x, y, old_x, old_y, *_ = strategy.mbatch
        logits = strategy.model(torch.cat([x, old_x]))
        torch.testing.assert_close(strategy.objective(), cross_entropy(logits, torch.cat([y, old_y]).flatten()))
        self.compared += 1

    def state_dict(self) -> dict[str, Any]:
        return {}


def test_replay_is_one_mean_over_the_tokens_of_new_and_old_windows() -> None:
    plugin = Objectives()
    train("replay", memory=6, memory_batch=2, plugins=[plugin])
    assert plugin.compared == 7


@pytest.mark.parametrize(("optimizer", "name"), list(product(OPTIMIZERS, OPTIONS)))
def test_every_optimizer_trains_models_of_text(optimizer: str, name: str) -> None:
    training, start = train(optimizer=optimizer, name=name), model(name)
    now = torch.cat([p.detach().flatten() for p in training.model.parameters()])
    assert now.isfinite().all()
    assert not torch.equal(now, torch.cat([p.detach().flatten() for p in start.parameters()]))


@pytest.mark.parametrize("name", OPTIONS)
def test_diagnostics_are_of_tokens(name: str) -> None:
    names = [each for each in DIAGNOSTICS if each in ("hessian_top", "sam_sharpness", "sample_plasticity")]
    collector = DiagnosticsCollector([*names, "effective_rank", "gradient_norm"], every=5, samples=8)
    train(name=name, plugins=[collector])
    rows = collector.rows()
    assert set(rows["diagnostic"]) == {*names, "effective_rank", "gradient_norm"}
    assert np.isfinite(rows["value"]).all()
    features = model(name).body.features
    assert rows.loc[rows["diagnostic"] == "effective_rank", "value"].max() <= features


def test_the_landscape_of_a_loss_on_text_is_of_the_mean_over_tokens() -> None:
    network = model()
    land = Surface(network, list(BENCHMARK.train_stream), list(BENCHMARK.test_stream), torch.device("cpu"))
    heights = land.heights({name: value.clone() for name, value in network.state_dict().items()})
    text = torch.from_numpy(DATA.train_x).long()
    starts = [int(start) for segment in SEGMENTS for start in segment.train_index]
    with torch.no_grad():
        logits = network(torch.stack([text[i : i + 5] for i in starts]))
    y = torch.cat([text[i + 1 : i + 6] for i in starts])
    expected = -logits.log_softmax(1)[range(len(y)), y].mean().item()
    assert heights["train"].loss == pytest.approx(expected, rel=1e-5)
    assert land._loss(dict(network.named_parameters())).item() == pytest.approx(expected, rel=1e-5)
