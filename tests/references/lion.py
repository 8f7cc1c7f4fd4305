"""Lion in NumPy."""

from __future__ import annotations

import numpy as np


class LionReference:
    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay, self.betas = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n), betas
        self.m = [np.zeros_like(p) for p in self.theta]

    def step(self, grads):
        b1, b2 = self.betas
        for i, g in enumerate(grads):
            if g is not None:
                update = np.sign(b1 * self.m[i] + (1 - b1) * g) + self.weight_decay[i] * self.theta[i]
                self.theta[i] = self.theta[i] - self.lr[i] * update
                self.m[i] = b2 * self.m[i] + (1 - b2) * g
