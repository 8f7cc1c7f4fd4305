"""AdEMAMix in NumPy, its slow momentum as a sum over all gradients so far."""

from __future__ import annotations

import numpy as np


class AdEMAMixReference:
    """``half_lives``: the slow momentum forgets half in a number of steps that grows in a line over the warm-up."""

    def __init__(self, params, lr, betas=(0.9, 0.999), beta3=0.9999, alpha=5.0, warmup=0, eps=1e-8, weight_decay=0.0):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.betas, self.beta3, self.alpha, self.warmup, self.eps = betas, beta3, alpha, warmup, eps
        self.past = [[] for _ in self.theta]

    def beta3_at(self, t):
        """Interpolate 1 / log(beta), to which the half-life is proportional."""
        if t >= self.warmup:
            return self.beta3
        share = t / self.warmup
        return np.exp(1 / ((1 - share) / np.log(self.betas[0]) + share / np.log(self.beta3)))

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.past[i].append(g)
            t = len(self.past[i])
            m = v = slow = np.zeros_like(g)
            for k, old in enumerate(self.past[i], start=1):
                later = np.prod([self.beta3_at(j) for j in range(k + 1, t + 1)])
                slow = slow + later * (1 - self.beta3_at(k)) * old
                m = m + self.betas[0] ** (t - k) * (1 - self.betas[0]) * old
                v = v + self.betas[1] ** (t - k) * (1 - self.betas[1]) * old**2
            weight = self.alpha * min(t / self.warmup, 1) if self.warmup else self.alpha
            up = m / (1 - self.betas[0] ** t) + weight * slow
            down = np.sqrt(v / (1 - self.betas[1] ** t)) + self.eps
            self.theta[i] = self.theta[i] - self.lr[i] * (up / down + self.weight_decay[i] * self.theta[i])
