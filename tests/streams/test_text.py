"""Windows of text: every token but the first of a domain is predicted once, and none from another domain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.data.text import Domain, as_data_set
from tamcl.errors import InputError
from tamcl.scenario import load_scenario, parse
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.build import check_size, plan
from tests.streams.helpers import stream

TEXTS = {"a": Domain("abcdefghij", "abcde"), "k": Domain("klmnopq", "klmn"), "r": Domain("rstuv", "rst")}
DATA = as_data_set("three", TEXTS)


def read(experiences: int, part: str = "train", **settings: object) -> list[list[tuple[str, str]]]:
    """Each window with what is to be learnt of it, as texts, experience by experience."""
    made = stream("text", experiences=experiences, **{"context": 2, **settings})
    segments = made.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    found = []
    for experience in getattr(build_benchmark(DATA, segments), f"{part}_stream"):
        rows = torch.arange(len(experience.labels))
        pairs = zip(experience.batch(rows).tolist(), experience.targets(rows).tolist(), strict=True)
        found.append([tuple("".join(DATA.vocabulary[t] for t in tokens) for tokens in pair) for pair in pairs])
    return found


def test_windows_follow_one_another_and_stay_in_their_domain() -> None:
    assert read(3) == [
        [("ab", "bc"), ("cd", "de"), ("ef", "fg"), ("gh", "hi")],
        [("kl", "lm"), ("mn", "no"), ("op", "pq")],
        [("rs", "st"), ("tu", "uv")],
    ]
    assert read(3, part="test") == [[("ab", "bc"), ("cd", "de")], [("kl", "lm")], [("rs", "st")]]


def test_domains_are_split_over_the_experiences_in_the_order_asked_for() -> None:
    together, alone = read(2)
    assert (together, alone) == (read(3)[0] + read(3)[1], read(3)[2])
    assert [len(part) for part in read(1)] == [9]
    assert [part[0][0] for part in read(3, domain_order=[2, 0, 1])] == ["rs", "ab", "kl"]


def test_without_a_shift_as_many_windows_come_mixed() -> None:
    mixed = read(3, oracle="no_shift")
    assert [len(part) for part in mixed] == [4, 3, 2]
    assert sorted(pair for part in mixed for pair in part) == sorted(pair for part in read(3) for pair in part)
    assert mixed != read(3)


def test_avalanche_is_given_windows_and_next_tokens() -> None:
    segments = stream("text", experiences=1, context=2).segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    x, y, task = build_benchmark(DATA, segments).train_stream[0].dataset[1]
    assert (x.tolist(), y, task) == ([2, 3], [3, 4], 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experiences": 4}, "stream.experiences = 4: at most 3, as the text has domains"),
        ({"context": 3}, "stream.context = 3: the validation text of domain 2 has 3 tokens; an input"),
        ({"samples": 5}, "stream.samples = 5: an experience has 4 windows of text"),
        ({"domain_order": [0, 1]}, r"stream.domain_order = \[0, 1\]: must name each of the 3 domains from 0 on once"),
    ],
)
def test_what_does_not_fit_the_text_is_refused_in_one_line(settings: dict[str, object], message: str) -> None:
    made = stream("text", **{"experiences": 3, "context": 2, **settings})
    with pytest.raises(InputError, match=message):
        made.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)


TEXT = ["stream={name='text', dataset='books', experiences=1}", "protocol.tune_by='perplexity'"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.name='mlp'"], "model.name: 'mlp' is a model of images, and the stream has text"),
        (["model={name='lstm', tokens=5}"], "model.tokens: unknown key"),
        (["model={name='lstm'}", "stream.normalization='channel'"], "normalization: 'channel' is for images"),
        (["model={name='lstm'}", "stream.augmentation='crop_flip'"], "augmentation: 'crop_flip' is for images"),
        (["model={name='lstm', head='masked'}"], "model.head: 'masked' needs a stream that tells the task"),
    ],
)
def test_what_is_for_images_is_refused_for_text(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_scenario("label_flip_digits", [*TEXT, *settings])
    assert "\n" not in str(caught.value)


def test_what_is_for_text_is_refused_for_images() -> None:
    with pytest.raises(InputError, match=r"model.name: 'lstm' is a model of text, and the stream has images"):
        load_scenario("label_flip_digits", ["model={name='lstm'}"])
    with pytest.raises(InputError, match=r"protocol.tune_by: 'perplexity' needs text"):
        load_scenario("label_flip_digits", ["protocol.tune_by='perplexity'"])


def test_a_stream_of_images_takes_no_text_and_one_of_text_no_images() -> None:
    flips = load_scenario("label_flip_digits", ["stream.dataset='books'"])
    with pytest.raises(InputError, match=r"^stream.dataset = 'books': has text, the stream 'label_flip' needs images$"):
        plan(flips, DATA, seed=0)
    from tamcl.data import Digits

    text = load_scenario("label_flip_digits", [*TEXT, "model={name='lstm'}", "stream.dataset='digits'"])
    with pytest.raises(InputError, match=r"^stream.dataset = 'digits': has images, the stream 'text' needs text$"):
        plan(text, Digits().load(None), seed=0)  # type: ignore[arg-type]


def test_the_size_of_a_run_is_counted_in_windows() -> None:
    text = load_scenario("label_flip_digits", [*TEXT, "model={name='lstm'}", "stream.batch_size=1"])
    check_size(text, 10**9, 10**3)  # 15,625,000 windows of 64: as many rows, and 1e9 tokens would be too many
    longer = parse({**text.dump(), "stream": {**text.dump()["stream"], "context": 32}})
    with pytest.raises(InputError, match=r"evaluation.batches = 1: a run makes 3.12e\+07 rows"):
        check_size(longer, 10**9, 10**3)


def test_the_seed_draws_windows_and_order() -> None:
    made = stream("text", experiences=3, context=2, samples=2, domain_order="random")
    parts = [made.segments(DATA.train_y, DATA.test_y, DATA.classes, seed) for seed in (0, 0, 3)]
    rows = [np.concatenate([segment.train_index for segment in each]).tolist() for each in parts]
    assert rows[0] == rows[1] != rows[2]
