"""Adam with decoupled weight decay in NumPy."""

from __future__ import annotations

import numpy as np


class AdamWReference:
    """``rate(i, t)`` gives what the learning rate of a parameter's step is multiplied by."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, rate=lambda i, t: 1.0):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.betas, self.eps, self.rate = betas, eps, rate
        self.m, self.v = ([np.zeros_like(p) for p in self.theta] for _ in range(2))
        self.t = [0] * n

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.t[i] += 1
                b1, b2 = self.betas
                self.m[i] = b1 * self.m[i] + (1 - b1) * g
                self.v[i] = b2 * self.v[i] + (1 - b2) * g**2
                m, v = self.m[i] / (1 - b1 ** self.t[i]), self.v[i] / (1 - b2 ** self.t[i])
                start = (1 - self.lr[i] * self.weight_decay[i]) * self.theta[i]
                self.theta[i] = start - self.lr[i] * self.rate(i, self.t[i]) * m / (np.sqrt(v) + self.eps)
