"""SGD, Adam and RMSprop with critical gradients, and SGD with critical momenta, in NumPy.

The buffer is a list of whole steps, the oldest first.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np


class CriticalReference:
    """``lr`` and ``weight_decay`` may be lists with a value for each array, as parameter groups have them."""

    default_capacity = 10

    def __init__(
        self,
        params,
        lr,
        capacity=None,
        decay=0.7,
        weight_decay=0.0,
        variant="official",
        replacement="priority",
        **options,
    ):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.capacity = self.default_capacity if capacity is None else capacity
        self.decay, self.variant, self.replacement = decay, variant, replacement
        self.options = self.defaults | options
        self.m = [np.zeros_like(p) for p in self.theta]
        self.v = [np.zeros_like(p) for p in self.theta]
        self.average = [np.zeros_like(p) for p in self.theta]
        self.t = [0] * n
        self.buffer: list[tuple[float, list]] = []  # (priority, what is remembered of every array)

    def step(self, grads):
        present = [i for i, g in enumerate(grads) if g is not None]
        if not present:
            return
        stored = [np.zeros_like(p) for p in self.theta]
        for i in present:
            self.t[i] += 1
            past = sum((values[i] for _, values in self.buffer), np.zeros_like(self.theta[i]))
            mean = past / max(len(self.buffer), 1)
            stored[i], move = self.move(i, grads[i], mean)
            self.theta[i] = self.theta[i] - self.lr[i] * move
        lengths = [np.linalg.norm(grads[i]) for i in present]
        priority = float(np.sum(lengths) if self.variant == "official" else np.linalg.norm(lengths))
        self.remember(priority, stored)
        self.buffer = [(self.decay * r, values) for r, values in self.buffer]

    def remember(self, priority, values):
        if self.capacity == 0:
            return
        if len(self.buffer) == self.capacity:
            lowest = min(r for r, _ in self.buffer)
            leaves = next(k for k, (r, _) in enumerate(self.buffer) if r == lowest)
            if self.replacement == "fifo":
                leaves = 0
            elif priority <= lowest:
                return
            del self.buffer[leaves]
        self.buffer.append((priority, values))


class SGDCGReference(CriticalReference):
    defaults: ClassVar[dict] = {"momentum": 0.0}

    def move(self, i, g, mean):
        g = g + self.weight_decay[i] * self.theta[i]
        self.m[i] = self.options["momentum"] * self.m[i] + g + mean
        return g, self.m[i]


class SGDCMReference(CriticalReference):
    default_capacity = 5
    defaults: ClassVar[dict] = {"momentum": 0.9}

    def move(self, i, g, mean):
        self.m[i] = self.options["momentum"] * self.m[i] + g + self.weight_decay[i] * self.theta[i]
        return self.m[i], self.m[i] + mean


class AdamCGReference(CriticalReference):
    defaults: ClassVar[dict] = {"betas": (0.9, 0.999), "eps": 1e-8}

    def move(self, i, g, mean):
        (beta1, beta2), t = self.options["betas"], self.t[i]
        total = g + mean + self.weight_decay[i] * self.theta[i]
        self.m[i] = beta1 * self.m[i] + (1 - beta1) * total
        self.v[i] = beta2 * self.v[i] + (1 - beta2) * total**2
        m, v = self.m[i] / (1 - beta1**t), self.v[i] / (1 - beta2**t)
        return g, m / (np.sqrt(v) + self.options["eps"])


class RMSpropCGReference(CriticalReference):
    defaults: ClassVar[dict] = {"alpha": 0.99, "momentum": 0.0, "eps": 1e-8, "centered": False, "aggregation": "buffer"}

    def move(self, i, g, mean):
        alpha = self.options["alpha"]
        total = mean if self.options["aggregation"] == "buffer" else g + mean
        if self.t[i] == 1 or not self.buffer:
            total = g
        total = total + self.weight_decay[i] * self.theta[i]
        self.v[i] = alpha * self.v[i] + (1 - alpha) * total**2
        self.average[i] = alpha * self.average[i] + (1 - alpha) * total
        variance = self.v[i] - self.average[i] ** 2 if self.options["centered"] else self.v[i]
        scaled = total / (np.sqrt(np.maximum(variance, 0)) + self.options["eps"])
        self.m[i] = self.options["momentum"] * self.m[i] + scaled
        return g, self.m[i]
