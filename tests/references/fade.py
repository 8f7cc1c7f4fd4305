"""FADE in NumPy, given the curvature; the last layer begins at ``last``."""

from __future__ import annotations

import numpy as np


class FADEReference:
    def __init__(self, params, lr, last, meta_lr=0.1, initial_log_decay=-6.9, weight_decay=0.0, curvature=0.0):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.last, self.meta_lr, self.curvature = last, meta_lr, curvature
        self.gamma = [np.full_like(p, initial_log_decay) for p in self.theta]
        self.h = [np.zeros_like(p) for p in self.theta]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            decay = self.lr[i] * self.weight_decay[i]
            if i >= self.last:
                self.gamma[i] = np.clip(self.gamma[i] + self.meta_lr * -g * self.h[i], -15, 0)
                decay = np.exp(self.gamma[i])
                kept = np.maximum(0, 1 - decay - self.lr[i] * self.curvature)
                self.h[i] = self.h[i] * kept - decay * self.theta[i]
            self.theta[i] = (1 - decay) * self.theta[i] - self.lr[i] * g
