"""UPGD-W in NumPy, given its noise."""

from __future__ import annotations

import numpy as np


class UPGDReference:
    """``noise(place, step, shape)`` gives the standard normal numbers of a parameter's step."""

    def __init__(self, params, lr, noise, beta_utility=0.9, sigma=1e-3, weight_decay=0.0):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.noise, self.beta, self.sigma = noise, beta_utility, sigma
        self.u, self.t = [np.zeros_like(p) for p in self.theta], [0] * n

    def step(self, grads):
        present = [i for i, g in enumerate(grads) if g is not None]
        for i in present:
            self.t[i] += 1
            self.u[i] = self.beta * self.u[i] - (1 - self.beta) * grads[i] * self.theta[i]
        largest = max((self.u[i].max() for i in present), default=0.0)
        for i in present:
            with np.errstate(divide="ignore", invalid="ignore"):
                share = self.u[i] / (1 - self.beta ** self.t[i]) / largest
            share = np.where(np.isnan(share), 0.0, share)
            plastic = 1 - 1 / (1 + np.exp(-np.clip(share, -700, 700)))
            noisy = grads[i] + self.sigma * self.noise(i, self.t[i], grads[i].shape)
            self.theta[i] = (1 - self.lr[i] * self.weight_decay[i]) * self.theta[i] - self.lr[i] * noisy * plastic
