"""Mini-batches in the order drawn by a stream or a seed, cropped and mirrored where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import crop, hflip, pad

from tamcl.data import DataSet
from tamcl.seeding import derive_seed
from tamcl.strategies.loader import BatchLoader
from tamcl.streams.benchmark import build_benchmark
from tamcl.streams.transforms import Permutation
from tests.helpers import noise_data, noise_segments

DATA = noise_data(samples=45, shape=(3, 9, 7))


def loader(position: int = 0, data: DataSet = DATA, batch_size: int = 10, seed: int = 0, **settings) -> BatchLoader:
    changes = {key: settings.pop(key) for key in ("ordered", "transform") if key in settings}
    segments = [replace(segment, **changes) for segment in noise_segments(data)]
    experience = build_benchmark(data, segments, settings.pop("normalization", "channel")).train_stream[position]
    return BatchLoader(experience, batch_size, seed, position, torch.device("cpu"), **settings)


def inputs(made: BatchLoader) -> torch.Tensor:
    return torch.cat([x for x, _, _ in made])


def test_an_ordered_experience_comes_in_its_order_every_time() -> None:
    made = loader(ordered=True)
    for _ in range(2):
        batches = list(made)
        assert [len(y) for _, y, _ in batches] == [10, 10, 10, 10, 5]
        assert torch.cat([y for _, y, _ in batches]).tolist() == DATA.train_y.tolist()
    assert torch.equal(inputs(made), made.experience.batch(torch.arange(45)))


def test_a_plain_experience_comes_in_the_seeds_order() -> None:
    made = loader(seed=3, position=1)
    for epoch in range(2):
        order = torch.randperm(45, generator=torch.Generator().manual_seed(derive_seed(3, "order", 1, epoch)))
        assert torch.equal(inputs(made), made.experience.batch(order))


@pytest.mark.parametrize("batch_size", [1, 10, 45, 100])
def test_crops_and_flips_are_those_of_torchvision(batch_size: int) -> None:
    """Every image by hand, from the numbers drawn for it, in pixels; the border is black before normalisation."""
    made = loader(augmentation="crop_flip", batch_size=batch_size, seed=5, position=1)
    mean, std = (torch.from_numpy(moment)[:, None, None] for moment in DATA.mean_std)
    for epoch in range(2):
        order = made.order(epoch)
        generator = torch.Generator().manual_seed(derive_seed(5, "augmentation", 1, epoch))
        drawn = torch.rand(45, 3, generator=generator)
        found = inputs(made)
        for image, (top, left, mirrored), result in zip(order, drawn, found, strict=True):
            bordered = pad(torch.from_numpy(DATA.train_x)[image].float(), 4)
            expected = crop(bordered, int(top * 9), int(left * 9), 9, 7)
            expected = hflip(expected) if mirrored >= 0.5 else expected
            torch.testing.assert_close(result, (expected - mean) / std)


def test_crops_are_uniform_differ_over_passes_and_do_not_change_the_order() -> None:
    white = DataSet("white", np.full((2000, 1, 8, 8), 255, np.uint8), np.zeros(2000, np.int64), *[DATA.test_x[:, :1]],
                    DATA.test_y, 10, (1, 1))  # fmt: skip
    made = loader(data=white, augmentation="crop_flip", normalization="none")
    first, second = inputs(made)[:, 0], inputs(made)[:, 0]
    assert not torch.equal(first, second)
    rows, columns = first.amax(2).sum(1), first.amax(1).sum(1)
    for kept in (rows, columns):
        # 8 - |shift| lines are left of 8, for a shift uniform over -4..4: one in nine has all.
        counts = torch.bincount(kept.long(), minlength=9)[4:] / 2000
        assert counts.tolist() == pytest.approx([2 / 9] * 4 + [1 / 9], abs=0.05)
    plain = loader(data=white)
    assert torch.equal(plain.order(0), made.order(0))


def test_half_of_the_images_are_mirrored() -> None:
    sides = np.zeros((1000, 1, 16, 16), np.uint8)
    sides[:, :, :, 8:] = 255
    data = DataSet("sides", sides, np.zeros(1000, np.int64), DATA.test_x[:, :1], DATA.test_y, 10, (1, 1))
    found = inputs(loader(data=data, augmentation="crop_flip", normalization="none"))[:, 0]
    mirrored = found[:, :, :4].sum((1, 2)) > found[:, :, 12:].sum((1, 2))
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / 1000**0.5)


def test_augmentation_comes_after_the_transform_and_depends_on_the_seed_alone() -> None:
    made = loader(augmentation="crop_flip", transform=Permutation(1), normalization="none")
    order = made.order(0)
    drawn = torch.rand(45, 3, generator=torch.Generator().manual_seed(derive_seed(0, "augmentation", 0, 0)))
    permuted = torch.from_numpy(DATA.train_x.reshape(90 - 45, 3, 63)[:, :, np.random.default_rng(1).permutation(63)])
    images = permuted.reshape(45, 3, 9, 7)[order].float()
    bordered = pad(images[0], 4)
    expected = crop(bordered, int(drawn[0, 0] * 9), int(drawn[0, 1] * 9), 9, 7)
    expected = hflip(expected) if drawn[0, 2] >= 0.5 else expected
    torch.testing.assert_close(inputs(made)[0], expected / 255)
    state = torch.get_rng_state()
    again = inputs(loader(augmentation="crop_flip"))
    assert torch.equal(again, inputs(loader(augmentation="crop_flip")))
    assert not torch.equal(again, inputs(loader(augmentation="crop_flip", seed=1)))
    assert torch.equal(state, torch.get_rng_state())
