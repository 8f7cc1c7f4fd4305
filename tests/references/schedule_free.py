"""Schedule-Free AdamW in NumPy, with all three of its points."""

from __future__ import annotations

import numpy as np


class ScheduleFreeReference:
    def __init__(self, params, lr, betas=(0.9, 0.999), warmup=0, eps=1e-8, weight_decay=0.0):
        self.x = [np.array(p, dtype=float) for p in params]
        self.z, n = [np.array(p) for p in self.x], len(self.x)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.betas, self.warmup, self.eps = betas, warmup, eps
        self.v, self.rates = [np.zeros_like(p) for p in self.x], [[] for _ in self.x]

    @property
    def theta(self):
        return [(1 - self.betas[0]) * z + self.betas[0] * x for x, z in zip(self.x, self.z, strict=True)]

    def step(self, grads):
        y = self.theta
        for i, g in enumerate(grads):
            if g is None:
                continue
            rates = self.rates[i]
            t = len(rates) + 1
            rates.append(self.lr[i] * (min(1, t / self.warmup) if self.warmup else 1))
            self.v[i] = self.betas[1] * self.v[i] + (1 - self.betas[1]) * g**2
            down = np.sqrt(self.v[i] / (1 - self.betas[1] ** t)) + self.eps
            self.z[i] = self.z[i] - rates[-1] * (g / down + self.weight_decay[i] * y[i])
            c = rates[-1] ** 2 / sum(rate**2 for rate in rates)
            self.x[i] = (1 - c) * self.x[i] + c * self.z[i]
