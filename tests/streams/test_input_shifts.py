"""Permuted, rotated and corrupted images against NumPy, SciPy and torchvision; labels stay."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from tamcl.data import DataSet
from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.strategies.loader import BatchLoader
from tamcl.streams.benchmark import build_benchmark
from tamcl.streams.fields import CorruptionName
from tamcl.streams.transforms import Corruption, Permutation, Rotation
from tests.streams.helpers import stream

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 3, 12, 9), dtype=np.uint8)
LABELS = np.arange(40) % 4
DATA = DataSet("noise", PIXELS, LABELS, PIXELS[::-1].copy(), LABELS, 4, (40, 40))
NAMES = ["permuted_inputs", "rotated_inputs", "corrupted_inputs"]
NOISES = ["gaussian_noise", "shot_noise", "impulse_noise"]


def experiences(name: str, seed: int = 0, **settings):
    made = stream(name, **settings)
    return build_benchmark(DATA, made.segments(LABELS, LABELS, 4, seed), "none")


def inputs(experience) -> np.ndarray:
    """Everything a strategy would see of an experience, in the order of its index, 0 to 1."""
    loader = BatchLoader(experience, 7, 0, experience.current_experience, torch.device("cpu"))
    order = loader.order(0)
    seen = torch.cat([x for x, _, _ in loader])
    labels = torch.cat([y for _, y, _ in loader])
    assert labels.tolist() == LABELS[experience.index[loader.order(1)].numpy()].tolist()
    return seen[order.argsort()].numpy()


# The three streams


@pytest.mark.parametrize("name", NAMES)
def test_the_first_experience_has_the_images_as_they_are(name: str) -> None:
    benchmark = experiences(name, samples=20)
    for experience, pixels in ((benchmark.train_stream[0], DATA.train_x), (benchmark.test_stream[0], DATA.test_x)):
        assert inputs(experience) * 255 == pytest.approx(pixels[experience.index.numpy()].astype(float), abs=1e-4)
    for experience in [*benchmark.train_stream][1:]:
        assert np.abs(inputs(experience) * 255 - DATA.train_x[experience.index.numpy()]).max() > 1


@pytest.mark.parametrize("name", NAMES)
def test_without_a_shift_no_image_changes_and_the_same_come(name: str) -> None:
    shifted, still = (experiences(name, samples=20, oracle=oracle) for oracle in ("none", "no_shift"))
    for one, other in zip(shifted.train_stream, still.train_stream, strict=True):
        assert one.index.tolist() == other.index.tolist()
        assert inputs(other) * 255 == pytest.approx(DATA.train_x[other.index.numpy()].astype(float), abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_drawn_anew_and_the_seed_decides(name: str) -> None:
    first, again, other = (stream(name, samples=20).segments(LABELS, LABELS, 4, seed) for seed in (0, 0, 1))
    assert [part.train_index.tolist() for part in first] == [part.train_index.tolist() for part in again]
    assert [part.train_index.tolist() for part in first] != [part.train_index.tolist() for part in other]
    assert len({tuple(part.train_index.tolist()) for part in first}) == 4
    assert all(len(set(part.train_index.tolist())) == 20 for part in first)


def test_every_experience_has_its_own_permutation_of_the_places_of_pixels() -> None:
    benchmark = experiences("permuted_inputs")
    orders = []
    for position in (1, 2, 3):
        train, test = benchmark.train_stream[position], benchmark.test_stream[position]
        order = train.inputs.transform.order(12 * 9).numpy()
        assert sorted(order.tolist()) == list(range(12 * 9))
        for experience, pixels in ((train, DATA.train_x), (test, DATA.test_x)):
            expected = pixels[experience.index.numpy()].reshape(-1, 3, 12 * 9)[:, :, order].reshape(-1, 3, 12, 9)
            assert inputs(experience) * 255 == pytest.approx(expected.astype(float), abs=1e-4)
            restored = inputs(experience).reshape(-1, 3, 12 * 9)[:, :, np.argsort(order)].reshape(-1, 3, 12, 9)
            assert (restored * 255).round().astype(np.uint8).tolist() == pixels[experience.index.numpy()].tolist()
        orders.append(tuple(order.tolist()))
    assert len(set(orders)) == 3
    other = experiences("permuted_inputs", seed=1).train_stream[1].inputs.transform
    assert tuple(other.order(12 * 9).tolist()) not in orders


def test_even_angles_drift_and_random_ones_differ_over_seeds() -> None:
    def angles(seed: int = 0, **settings) -> list[float]:
        parts = stream("rotated_inputs", **settings).segments(LABELS, LABELS, 4, seed)
        return [0.0 if part.transform is None else part.transform.degrees for part in parts]

    assert angles(experiences=4, degrees=360) == [0, 90, 180, 270]
    assert angles(experiences=3) == [0, 60, 120]
    drawn = angles(experiences=400, angles="random", degrees=90)
    assert drawn[0] == 0
    assert 0 < min(drawn[1:]) < 2
    assert 88 < max(drawn) < 90
    assert np.mean(drawn) == pytest.approx(45, abs=4)
    assert angles(1, angles="random") != angles(0, angles="random")
    assert angles(experiences=1) == [0]


def test_corruptions_come_in_turn_with_their_severities() -> None:
    parts = stream("corrupted_inputs", experiences=9, severity=[1, 2]).segments(LABELS, LABELS, 4, 0)
    came = [(part.transform.name, part.transform.severity) for part in parts[1:]]
    names = get_args(CorruptionName)
    assert came == [(names[k % 7], 1 + k % 2) for k in range(8)]


# Transforms


def apply(transform, pixels: np.ndarray = PIXELS, index=None) -> np.ndarray:
    numbers = torch.arange(len(pixels)) if index is None else torch.tensor(index)
    return transform(torch.from_numpy(pixels).float(), numbers).numpy()


@pytest.mark.parametrize("degrees", [0.0, 17.0, 90.0, 180.0, 301.5])
@pytest.mark.parametrize("shape", [(3, 12, 12), (1, 28, 28), (3, 8, 13)])
def test_rotation_is_that_of_torchvision(degrees: float, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, *shape), dtype=np.uint8)
    expected = rotate(torch.from_numpy(pixels).float(), degrees, InterpolationMode.BILINEAR).numpy()
    assert apply(Rotation(degrees), pixels) == pytest.approx(expected, abs=0.02)


def test_a_quarter_turn_is_exact_and_counter_clockwise() -> None:
    square = PIXELS[:, :, :9]
    assert apply(Rotation(90.0), square) == pytest.approx(np.rot90(square, 1, (2, 3)).astype(float), abs=0.01)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_gaussian_blur_is_that_of_scipy(severity: int) -> None:
    sigma = [0.4, 0.6, 0.7, 0.8, 1][severity - 1]
    expected = scipy.ndimage.gaussian_filter(PIXELS.astype(float), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    assert apply(Corruption("gaussian_blur", severity, 0)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("severity", [1, 5])
def test_contrast_and_brightness_by_hand(severity: int) -> None:
    x = PIXELS / 255
    factor, shift = {1: (0.75, 0.05), 5: (0.15, 0.3)}[severity]
    mean = x.mean((2, 3), keepdims=True)
    assert apply(Corruption("contrast", severity, 0)) == pytest.approx(255 * ((x - mean) * factor + mean), abs=0.01)
    import colorsys

    found = apply(Corruption("brightness", severity, 0))
    for image, row, column in [(0, 0, 0), (3, 4, 5), (39, 11, 8), (7, 2, 2)]:
        hue, saturation, value = colorsys.rgb_to_hsv(*x[image, :, row, column])
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + shift))
        assert found[image, :, row, column] == pytest.approx(255 * np.array(expected), abs=0.01)
    black = np.zeros((1, 1, 2, 2), np.uint8)
    assert apply(Corruption("brightness", severity, 0), black) == pytest.approx(255 * shift, abs=0.01)


@pytest.mark.parametrize(("severity", "scale"), [(1, 0.95), (3, 0.85), (5, 0.65)])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_pixelate_is_that_of_pillow(severity: int, scale: float, size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    small = Image.fromarray(image).resize((int(size * scale),) * 2, Image.Resampling.BOX)
    expected = np.asarray(small.resize((size, size), Image.Resampling.BOX)).astype(float)
    found = apply(Corruption("pixelate", severity, 0), image[None, None])[0, 0]
    assert found == pytest.approx(expected, abs=1.01)  # Pillow rounds to whole grey values


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.04), (5, 0.1)])
def test_gaussian_noise_has_its_deviation(severity: int, deviation: float) -> None:
    grey = np.full((50, 3, 12, 9), 128, np.uint8)
    noise = apply(Corruption("gaussian_noise", severity, 0), grey) / 255 - 128 / 255
    assert noise.std() == pytest.approx(deviation, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=5 * deviation / noise.size**0.5)
    clipped = apply(Corruption("gaussian_noise", 5, 0), np.full((5, 3, 12, 9), 255, np.uint8))
    assert clipped.max() == pytest.approx(255)


def test_shot_noise_is_poisson_and_impulse_noise_is_salt_and_pepper() -> None:
    grey = np.full((100, 3, 12, 9), 102, np.uint8)
    shot = apply(Corruption("shot_noise", 5, 0), grey) / 255
    assert shot.mean() == pytest.approx(0.4, abs=0.003)
    assert shot.var() == pytest.approx(0.4 / 50, rel=0.05)
    impulse = apply(Corruption("impulse_noise", 5, 0), grey)
    values, counts = np.unique(impulse.round(3), return_counts=True)
    assert values == pytest.approx([0, 102, 255], abs=0.01)
    assert counts / counts.sum() == pytest.approx([0.035, 0.93, 0.035], abs=0.005)


@pytest.mark.parametrize("name", NOISES)
def test_the_noise_of_an_image_is_the_same_in_every_batch_and_differs_over_images_and_seeds(name: str) -> None:
    grey = np.full((6, 3, 12, 9), 100, np.uint8)
    noisy = Corruption(name, 5, 3)
    together = apply(noisy, grey, [4, 9, 2, 0, 7, 1])
    assert np.array_equal(apply(noisy, grey[:2], [7, 9]), together[[4, 1]])
    assert np.array_equal(apply(Corruption(name, 5, 3), grey, [4, 9, 2, 0, 7, 1]), together)
    assert len({image.tobytes() for image in together}) == 6
    assert not np.array_equal(apply(Corruption(name, 5, 4), grey, [4, 9, 2, 0, 7, 1]), together)
    benchmark = experiences("corrupted_inputs", experiences=3, corruptions=[name])
    first, second = (inputs(benchmark.train_stream[position]) for position in (1, 2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", get_args(CorruptionName))
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 8, 8), (1, 28, 28), (3, 7, 10)])
def test_severities_grow_and_every_shape_is_kept(name: str, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (30, *shape), dtype=np.uint8)
    pixels[0], pixels[1] = 0, 255
    strength = []
    for severity in range(1, 6):
        found = apply(Corruption(name, severity, 0), pixels)
        assert found.shape == pixels.shape
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 255 + 1e-3
        strength.append(np.abs(found - pixels).mean())
    if shape == (1, 28, 28) and name != "pixelate":  # which takes noise for detail at any severity
        assert strength == sorted(strength)
        assert strength[0] > 0


def test_descriptions_tell_transforms_apart() -> None:
    transforms = [
        *(Permutation(seed) for seed in (0, 1)),
        *(Rotation(degrees) for degrees in (0.0, 1.0, 1.0000001)),
        *(Corruption(name, severity, seed) for name in NOISES for severity in (1, 2) for seed in (0, 1)),
    ]
    assert len({transform.describe() for transform in transforms}) == len(transforms)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('name="corrupted_inputs", severity=6', "stream.severity = 6: must be less than or equal to 5"),
        ('name="corrupted_inputs", severity=[1, 0]', "stream.severity.1 = 0: must be greater than or equal to 1"),
        ('name="corrupted_inputs", corruptions=["fog"]', "stream.corruptions.0 = 'fog': must be 'gaussian_noise', "),
        ('name="corrupted_inputs", corruptions=[]', "stream.corruptions: is an empty list"),
        ('name="rotated_inputs", degrees=0', "stream.degrees = 0: must be greater than 0"),
        ('name="rotated_inputs", degrees=361', "stream.degrees = 361: must be less than or equal to 360"),
        ('name="rotated_inputs", degrees=inf', "stream.degrees = inf: must be a finite number"),
        ('name="permuted_inputs", first_identity=true', "stream.first_identity: unknown key"),
    ],
)
def test_a_mistake_in_a_scenario_is_one_line(settings: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("label_flip_digits", [f'stream={{dataset="digits", experiences=3, {settings}}}'])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_too_many_samples_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="^stream.samples = 41: the training set has 40 images$"):
        experiences(name, samples=41)
