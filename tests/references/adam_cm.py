"""Adam with critical momenta in NumPy; the buffer is a list of whole steps, the oldest first."""

from __future__ import annotations

import numpy as np


class AdamCMReference:
    def __init__(
        self,
        params,
        lr,
        capacity=5,
        decay=0.7,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        weight_decay=0.0,
        amsgrad=False,
        variant="official",
    ):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.capacity, self.decay, self.beta1, self.beta2, self.eps = capacity, decay, beta1, beta2, eps
        self.amsgrad, self.variant = amsgrad, variant
        self.m = [np.zeros_like(p) for p in self.theta]
        self.v = [np.zeros_like(p) for p in self.theta]
        self.v_max = [np.zeros_like(p) for p in self.theta]
        self.t = [0] * n
        self.buffer: list[tuple[float, list]] = []  # (priority, momentum of every array)

    def step(self, grads):
        present = [i for i, g in enumerate(grads) if g is not None]
        if not present:
            return
        stored = [np.zeros_like(p) for p in self.theta]
        for i in present:
            g = grads[i]
            self.t[i] += 1
            self.theta[i] = self.theta[i] * (1 - self.lr[i] * self.weight_decay[i])
            if self.t[i] == 1 and self.variant == "official" and self.capacity > 0:
                stored[i] = g
                continue
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            stored[i] = self.m[i]
            past = sum((momenta[i] for _, momenta in self.buffer), np.zeros_like(g))
            a = self.m[i] + past / max(len(self.buffer), 1)
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * a**2
            self.v_max[i] = np.maximum(self.v_max[i], self.v[i])
            v = self.v_max[i] if self.amsgrad else self.v[i]
            denominator = np.sqrt(v) / np.sqrt(1 - self.beta2 ** self.t[i]) + self.eps
            self.theta[i] = self.theta[i] - self.lr[i] / (1 - self.beta1 ** self.t[i]) * a / denominator

        lengths = [np.linalg.norm(grads[i]) for i in present]
        priority = float(np.sum(lengths) if self.variant == "official" else np.linalg.norm(lengths))
        self.remember(priority, stored)
        self.buffer = [(self.decay * r, momenta) for r, momenta in self.buffer]

    def remember(self, priority, momenta):
        if len(self.buffer) == self.capacity:
            lowest = min((r for r, _ in self.buffer), default=np.inf)
            if priority <= lowest:
                return
            oldest = next(k for k, (r, _) in enumerate(self.buffer) if r == lowest)
            del self.buffer[oldest]
        self.buffer.append((priority, momenta))
