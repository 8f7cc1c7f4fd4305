"""Step an optimizer and its NumPy reference through the same gradients and compare them after every step."""

from __future__ import annotations

import numpy as np
import torch

SHAPES = [(3, 4), (4,), (), (2, 1, 3)]


def start():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in SHAPES]


def gradients(steps=200, missing=False, zeros=False):
    """Make noise of changing size around a direction that turns round every 40 steps.

    ``missing``: the second array has none at first, then any may be missing, and once all are. ``zeros``: all are zero
    on the first steps and for a while later.
    """
    rng = np.random.default_rng(1)
    direction = [rng.normal(size=shape) for shape in SHAPES]
    table = []
    for t in range(steps):
        turn, size = (-1) ** (t // 40), 10 ** rng.uniform(-1, 1)
        grads = [size * (turn * d + rng.normal(size=d.shape)) for d in direction]
        if zeros and (t < 3 or 100 <= t < 115):
            grads = [np.zeros_like(g) for g in grads]
        if missing:
            absent = rng.random(len(grads)) < 0.3
            absent[1] |= t < 20
            grads = [None if t == 50 or gone else g for g, gone in zip(grads, absent, strict=True)]
        table.append(grads)
    return table


def parameters(dtype=torch.float64):
    return [torch.nn.Parameter(torch.tensor(p, dtype=dtype)) for p in start()]


def set_gradients(params, grads):
    for param, grad in zip(params, grads, strict=True):
        param.grad = None if grad is None else torch.tensor(grad, dtype=param.dtype)


def assert_follows(make, reference, table, tolerance=1e-10):
    """Assert that ``make(params)`` and the reference agree after every step."""
    params = parameters()
    optimizer = make(params)
    for t, grads in enumerate(table):
        set_gradients(params, grads)
        optimizer.step()
        reference.step(grads)
        for param, theta in zip(params, reference.theta, strict=True):
            np.testing.assert_allclose(
                param.detach().numpy(), theta, rtol=tolerance, atol=tolerance, err_msg=f"after step {t + 1}"
            )
    return optimizer


LR, WEIGHT_DECAY = (0.01, 0.002), (0.1, 0.0)


def two_groups(params):
    """Split the parameters in two groups with options of their own."""
    return [
        {"params": params[:2], "lr": LR[0], "weight_decay": WEIGHT_DECAY[0]},
        {"params": params[2:], "lr": LR[1], "weight_decay": WEIGHT_DECAY[1]},
    ]


TWO_GROUPS = {"lr": np.repeat(LR, 2), "weight_decay": np.repeat(WEIGHT_DECAY, 2)}
"""The options of ``two_groups`` as a reference takes them."""
