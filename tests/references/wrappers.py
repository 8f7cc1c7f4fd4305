"""SAM, Lookahead and SGD with momentum in NumPy; the first two step with a reference of another optimizer."""

from __future__ import annotations

import numpy as np


class SGDReference:
    def __init__(self, params, lr, momentum=0.0):
        self.theta = [np.array(p, dtype=float) for p in params]
        self.lr, self.momentum = lr, momentum
        self.m = [np.zeros_like(p) for p in self.theta]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.m[i] = self.momentum * self.m[i] + g
                self.theta[i] = self.theta[i] - self.lr * self.m[i]


class SAMReference:
    """``gradient(theta)`` gives the gradients of a list of arrays."""

    def __init__(self, base, rho, gradient):
        self.base, self.rho, self.gradient = base, rho, gradient
        self.theta = base.theta

    def step(self):
        grads = self.gradient(self.base.theta)
        length = np.sqrt(sum((g**2).sum() for g in grads))
        worst = [p + self.rho * g / length for p, g in zip(self.base.theta, grads, strict=True)]
        self.base.step(self.gradient(worst))
        self.theta = self.base.theta


class LookaheadReference:
    def __init__(self, base, k, alpha):
        self.base, self.k, self.alpha = base, k, alpha
        self.slow = [np.array(p) for p in base.theta]
        self.t = 0

    @property
    def theta(self):
        return self.base.theta

    def step(self, grads):
        if all(g is None for g in grads):
            return
        self.base.step(grads)
        self.t += 1
        if self.t % self.k == 0:
            self.slow = [
                slow + self.alpha * (fast - slow) for slow, fast in zip(self.slow, self.base.theta, strict=True)
            ]
            self.base.theta = [np.array(slow) for slow in self.slow]


class CautiousReference:
    """Over a base without weight decay; ``weight_decay`` is decoupled, at the base's learning rate."""

    def __init__(self, base, xi=1.0, weight_decay=0.0):
        self.base, self.xi, self.weight_decay = base, xi, weight_decay

    @property
    def theta(self):
        return self.base.theta

    def step(self, grads):
        lr = np.broadcast_to(self.base.lr, len(grads))
        for i, g in enumerate(grads):
            if g is not None:
                self.base.theta[i] = (1 - lr[i] * self.weight_decay) * self.base.theta[i]
        before = [np.array(p) for p in self.base.theta]
        self.base.step(grads)
        for i, g in enumerate(grads):
            if g is not None:
                move = self.base.theta[i] - before[i]
                kept = (move * g < 0).astype(float)
                scale = g.size / (self.xi + kept.sum()) if kept.any() else 0.0
                self.base.theta[i] = before[i] + scale * kept * move
