"""What a user of a strategy relies on: memory, labels, measured rows, closures, upper bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.training.storage_policy import ExperienceBalancedBuffer
from torch import Tensor, nn

from tamcl.avalanche import SupervisedPlugin
from tamcl.data.digits import Digits
from tamcl.models import Classifier
from tamcl.models.classifier import build_classifier
from tamcl.models.heads import SingleHead
from tamcl.optim import SAM
from tamcl.registry import lookup
from tamcl.strategies import STRATEGIES, Naive
from tamcl.strategies.examples import Examples, MixedLoader
from tamcl.strategies.loader import BatchLoader
from tamcl.streams import LabelFlip, TaskShift
from tamcl.streams.base import Segment
from tamcl.streams.benchmark import Experience, build_benchmark
from tamcl.training.collectors import OnlineCollector
from tests.helpers import noise_data
from tests.strategies.helpers import build

DATA = noise_data(samples=97)
FLIPS = LabelFlip(name="label_flip", dataset="noise", experiences=3, fraction=0.8)
TASKS = TaskShift(name="task_shift", dataset="noise", experiences=5, setting="task_incremental")
REHEARSING = ["replay", "a_gem"]
ONLINE_AS_NAIVE = [name for name in STRATEGIES if name not in ("joint", "cumulative")]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05)


def parts(stream: TaskShift | LabelFlip) -> list[Segment]:
    return stream.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)


def model(head: str, segments: list[Segment]) -> Classifier:
    tasks = {segment.task: segment.classes for segment in segments}
    return build_classifier("mlp", head, {"hidden": [8]}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)


def train(
    strategy: str, stream: TaskShift | LabelFlip = FLIPS, head: str = "single", evaluate: bool = False, **options: Any
) -> Naive:
    segments = parts(stream)
    benchmark = build_benchmark(DATA, segments)
    arguments = {"model": model(head, segments), "make_optimizer": sgd, "seed": 3} | options
    training = build(lookup(STRATEGIES, strategy), **arguments)
    for experience in benchmark.train_stream:
        training.train(experience, eval_streams=[])
        if evaluate:
            training.eval(benchmark.test_stream)
    return training


def weights(training: Naive) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.model.parameters()])


class Watch(SupervisedPlugin):  # type: ignore[misc]
    """Call a function after every backward pass."""

    def __init__(self, look: Callable[[Any], None]) -> None:
        super().__init__()
        self.look = look

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        self.look(strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_evaluation_changes_nothing_in_training(strategy: str) -> None:
    assert torch.equal(weights(train(strategy)), weights(train(strategy, evaluate=True)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("head", ["masked", "multi"])
def test_a_closure_computes_all_that_a_strategy_adds(strategy: str, head: str) -> None:
    """SAM that does not climb is its base, whose gradient is then the second one, from the closure."""
    plain = train(strategy, TASKS, head)
    closed = train(strategy, TASKS, head, make_optimizer=lambda p: SAM(p, lr=0.05, base="sgd", rho=0.0))
    torch.testing.assert_close(weights(closed), weights(plain), rtol=0, atol=1e-7)


@pytest.mark.parametrize("strategy", ONLINE_AS_NAIVE)
def test_rows_are_of_the_new_examples_before_the_update(strategy: str) -> None:
    """The loss has no penalty in it, and the counts none of the old examples."""
    rows, plain = OnlineCollector(), OnlineCollector()
    first, second = Recorder(), Recorder()
    train(strategy, plugins=[rows, first])
    train("naive", plugins=[plain, second])
    found, expected = rows.rows(), plain.rows()
    assert found[["experience", "step", "n"]].equals(expected[["experience", "step", "n"]])
    assert all(torch.equal(a, b) for a, b in zip(first.labels, second.labels, strict=True))
    before_any_memory = expected["experience"] == 0
    assert found[before_any_memory].equals(expected[before_any_memory])
    losses = [nn.functional.cross_entropy(*pair).item() for pair in zip(first.outputs, first.labels, strict=True)]
    assert found["loss"].to_numpy() == pytest.approx(np.array(losses), rel=1e-6)


class Recorder(SupervisedPlugin):  # type: ignore[misc]
    """Keep outputs and labels."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []
        self.labels: list[Tensor] = []

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.outputs.append(strategy.mb_output.detach())
        self.labels.append(strategy.mb_y)


@pytest.mark.parametrize("strategy", REHEARSING)
def test_the_memory_holds_equal_shares_as_avalanches_buffer_does(strategy: str) -> None:
    buffer, sizes = ExperienceBalancedBuffer(max_size=10), []
    training = train(strategy, memory=10)
    stream = build_benchmark(DATA, parts(FLIPS)).train_stream
    with torch.random.fork_rng(devices=[]):
        for experience in stream:
            buffer.post_adapt(None, experience)
            sizes.append([len(group) for group in buffer.buffer_datasets])
    memory = training.memory
    assert [len(rows) for _, rows in memory.parts] == sizes[-1] == [4, 3, 3]
    assert all(len(rows.unique()) == len(rows) for _, rows in memory.parts)
    assert len(train(strategy, memory=1000).memory) == 3 * 97


@pytest.mark.parametrize("stream", [FLIPS, TASKS], ids=["flips", "tasks"])
def test_old_examples_come_with_the_input_label_and_task_they_had(stream: TaskShift | LabelFlip) -> None:
    seen: list[tuple[int, tuple[Tensor, Tensor, Tensor] | None]] = []
    head = "single" if stream is FLIPS else "masked"
    watch = Watch(lambda strategy: seen.append((strategy.experience.current_experience, strategy.old)))
    train("replay", stream, head, memory=12, memory_batch=5, plugins=[watch])
    known = [set(examples) for examples in examples_of(stream)]
    assert {position for position, old in seen if old is None} == {0}
    earlier = set[int]()
    for position, old in seen:
        for image, label, task in zip(*(old or ([], [], [])), strict=True):
            example = image.numpy().tobytes(), label.item(), task.item()
            homes = {home for home in range(position) if example in known[home]}
            assert homes, "not an example of an earlier experience with its label there"
            earlier |= homes
        assert old is None or len(old[1]) == 5
    assert earlier == set(range(stream.experiences - 1))


@pytest.mark.parametrize("head", ["single", "masked", "multi"])
def test_a_projected_gradient_does_not_raise_the_loss_on_old_examples(head: str) -> None:
    products = []

    def look(strategy: Any) -> None:
        if strategy.old is None:
            return
        images, labels, tasks = strategy.old
        params = list(strategy.model.parameters())
        loss = nn.functional.cross_entropy(strategy.model(images, tasks), labels)
        pairs = zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True)
        products.append(sum(float((p.grad * g).sum()) for p, g in pairs if g is not None and p.grad is not None))

    train("a_gem", TASKS, head, memory=20, memory_batch=20, plugins=[Watch(look)], epochs=3)
    assert min(products) > -1e-5
    assert sum(abs(value) < 1e-5 for value in products) > 3, "nothing was projected"


@pytest.mark.parametrize("strategy", ["ewc", "mas", "si", "lwf"])
def test_strength_zero_is_naive_and_more_holds_the_weights_back(strategy: str) -> None:
    naive = weights(train("naive"))
    torch.testing.assert_close(weights(train(strategy, strength=0.0)), naive, rtol=0, atol=1e-7)
    first = weights(one_experience())
    strong = (weights(train(strategy, strength=10.0)) - first).norm()
    assert strong < (naive - first).norm()


def one_experience() -> Naive:
    training = build(Naive, model("single", parts(FLIPS)), sgd, seed=3)
    training.train(build_benchmark(DATA, parts(FLIPS)).train_stream[0], eval_streams=[])
    return training


@pytest.mark.parametrize("strategy", ["ewc", "mas"])
def test_measuring_importance_leaves_batch_norm_and_gradients_alone(strategy: str) -> None:
    class Normed(nn.Module):
        features = 16

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    states: dict[str, list[Tensor]] = {}
    for name in ("naive", strategy):
        network = Classifier(Normed(), SingleHead(16, 10, {}))
        with torch.no_grad():
            network.head.linear.weight.fill_(0.1)
            network.head.linear.bias.zero_()
        training = build(lookup(STRATEGIES, name), network, sgd, seed=3)
        training.train(build_benchmark(DATA, parts(FLIPS)).train_stream[0], eval_streams=[])
        assert network.training
        states[name] = [*network.state_dict().values(), *(p.grad for p in network.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(*states.values(), strict=True))


Example = tuple[bytes, int, int]


def examples_of(stream: TaskShift | LabelFlip) -> list[list[Example]]:
    """Input, label and task of the examples of each experience."""
    found = []
    for experience in build_benchmark(DATA, parts(stream)).train_stream:
        images = experience.batch(torch.arange(len(experience.labels)))
        pairs = zip(images, experience.labels.tolist(), strict=True)
        found.append([(image.numpy().tobytes(), label, experience.task) for image, label in pairs])
    return found


def examples_seen(strategy: str, stream: TaskShift | LabelFlip, **options: Any) -> list[list[Example]]:
    """The same of the mini-batches that a strategy trained on."""
    seen: list[list[Example]] = [[] for _ in range(stream.experiences)]

    def look(training: Any) -> None:
        batch = zip(training.mb_x, training.mb_y.tolist(), training.mb_task.tolist(), strict=True)
        seen[training.experience.current_experience] += [(x.numpy().tobytes(), y, task) for x, y, task in batch]

    train(strategy, stream, "masked", plugins=[Watch(look)], batch_size=6, **options)
    return seen


def test_cumulative_training_is_on_everything_so_far_in_random_order() -> None:
    seen, so_far = examples_seen("cumulative", TASKS), list[Example]()
    for found, examples in zip(seen, examples_of(TASKS), strict=True):
        so_far += examples
        assert sorted(found) == sorted(so_far)
        assert found != so_far


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("stream", [FLIPS, TASKS], ids=["flips", "tasks"])
def test_joint_training_is_once_on_everything_cut_into_as_many_steps(
    stream: TaskShift | LabelFlip, epochs: int
) -> None:
    seen, parts_of_stream = examples_seen("joint", stream, epochs=epochs), examples_of(stream)
    assert [len(found) for found in seen] == [epochs * len(part) for part in parts_of_stream]
    everything = [example for part in parts_of_stream for example in part]
    in_order = [example for found in seen for example in found]
    passes = [in_order[start : start + len(everything)] for start in range(0, len(in_order), len(everything))]
    assert len(passes) == epochs
    assert all(sorted(found) == sorted(everything) for found in passes)
    assert in_order[: len(everything)] != everything
    assert epochs == 1 or passes[0] != passes[1]


def test_joint_training_knows_the_old_classes_that_naive_training_forgets() -> None:
    data = Digits().load(None)  # type: ignore[arg-type]
    stream = TaskShift(name="task_shift", dataset="digits", experiences=2, setting="class_incremental")
    segments = stream.segments(data.train_y, data.test_y, data.classes, seed=0)
    benchmark = build_benchmark(data, segments)
    accuracy = {}
    for name in ("naive", "replay", "cumulative", "joint"):
        network = build_classifier(
            "mlp", "single", {"hidden": [32]}, shape=(1, 8, 8), classes=10, tasks={0: tuple(range(10))}, seed=0
        )
        training = build(lookup(STRATEGIES, name), network, lambda p: torch.optim.SGD(p, lr=0.1), epochs=2, seed=0)
        for experience in benchmark.train_stream:
            training.train(experience, eval_streams=[])
        accuracy[name] = training.eval(benchmark.test_stream)[0].accuracy
    assert accuracy["naive"] < 0.2
    assert accuracy["replay"] > 0.7
    assert min(accuracy["cumulative"], accuracy["joint"]) > 0.85


def test_examples_of_several_experiences_are_those_of_each_in_the_order_asked_for() -> None:
    first, second, *_ = build_benchmark(DATA, parts(TASKS)).train_stream
    examples = Examples()
    for experience in (first, second):
        examples.add(experience)
    assert len(examples) == len(first.labels) + len(second.labels) == len(examples.labels)
    positions = torch.tensor([len(first.labels), 3, len(examples) - 1, 0])
    images, labels, tasks = examples.batch(positions)
    ends = [(second, 0), (first, 3), (second, len(second.labels) - 1), (first, 0)]
    for found, (experience, row) in zip(zip(images, labels, tasks, strict=True), ends, strict=True):
        assert torch.equal(found[0], experience.batch(torch.tensor([row]))[0])
        assert (found[1], found[2]) == (experience.labels[row], experience.task)


def test_examples_of_one_experience_come_in_its_own_order_with_its_own_crops() -> None:
    experience: Experience = build_benchmark(DATA, parts(FLIPS)).train_stream[1]
    examples = Examples()
    examples.add(experience)
    place = 10, 0, 1, torch.device("cpu")
    for augmentation in ("none", "crop_flip"):
        mixed = MixedLoader(examples, *place, augmentation=augmentation)  # type: ignore[arg-type]
        plain = BatchLoader(experience, *place, augmentation=augmentation)  # type: ignore[arg-type]
        for ours, theirs in zip([*mixed, *mixed], [*plain, *plain], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_restart_is_training_from_scratch_on_each_experience() -> None:
    stream = build_benchmark(DATA, parts(FLIPS)).train_stream

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=0.01)

    fresh = build(Naive, model("single", parts(FLIPS)), adam, seed=3)
    fresh.train(stream[2], eval_streams=[])
    restarted = train("naive", make_optimizer=adam, restart=True)
    assert torch.equal(weights(restarted), weights(fresh))
    assert not torch.equal(weights(train("naive", make_optimizer=adam)), weights(fresh))


def test_the_loss_of_a_number_is_the_squared_error_of_the_first_output() -> None:
    segment = Segment(
        np.arange(20), np.linspace(-1, 1, 20, dtype=np.float32), np.arange(5), np.zeros(5, np.float32), 0, (0,)
    )
    benchmark = build_benchmark(DATA, [segment])
    network = build_classifier(
        "mlp", "single", {"hidden": [4]}, shape=(1, 4, 4), classes=1, tasks={0: (0,)}, seed=0
    ).double()
    body, head = list(network.body.parameters()), list(network.head.parameters())
    (w1, b1), (w2, b2) = ([p.detach().numpy().copy() for p in layer] for layer in (body, head))
    online = OnlineCollector()
    network.float()
    training = build(Naive, network, sgd, target="number", seed=1, batch_size=20, plugins=[online])
    training.train(benchmark.train_stream[0], eval_streams=[])
    x = benchmark.train_stream[0].batch(torch.arange(20)).flatten(1).double().numpy()
    output = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
    expected = ((output[:, 0] - segment.train_labels) ** 2).mean()
    assert online.rows()["loss"].tolist() == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        ("replay", {"memory": 0}, "memory = 0: must be at least 1"),
        ("a_gem", {"memory_batch": -1}, "memory_batch = -1: must be at least 1"),
        ("ewc", {"strength": -1.0}, "strength = -1.0: must be at least 0"),
        ("ewc", {"strength": float("nan")}, "strength = nan: must be at least 0"),
        ("ewc", {"decay": 1.5}, "decay = 1.5: must be in [0, 1]"),
        ("mas", {"alpha": 2.0}, "alpha = 2.0: must be in [0, 1]"),
        ("si", {"damping": 0.0}, "damping = 0.0: must be above 0"),
        ("lwf", {"strength": -2.0}, "strength = -2.0: must be at least 0"),
        ("lwf", {"temperature": 0.0}, "temperature = 0.0: must be above 0"),
    ],
)
def test_bad_options_are_refused_in_one_line(strategy: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train(strategy, **options)
