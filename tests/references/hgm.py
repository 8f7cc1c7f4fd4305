"""HGM in NumPy: Adam with decoupled weight decay, whose learning rate follows a cosine."""

from __future__ import annotations

import numpy as np

from tests.references.adam import AdamWReference


class HGMReference(AdamWReference):
    def __init__(self, params, lr, beta_s=0.9, gamma=1.0, granularity="global", **options):
        super().__init__(params, lr, rate=lambda i, t: np.exp(self.gamma * self.s[i]), **options)
        self.beta_s, self.gamma, self.granularity = beta_s, gamma, granularity
        self.s = [0.0] * len(self.theta)
        self.all = 0.0

    def step(self, grads):
        present = [i for i, g in enumerate(grads) if g is not None]
        if not present:
            return
        if self.granularity == "global":
            g, m = (np.concatenate([np.ravel(each[i]) for i in present]) for each in (grads, self.m))
            self.all = self.beta_s * self.all + (1 - self.beta_s) * self.cosine(g, m)
            self.s = [self.all] * len(self.theta)
        else:
            for i in present:
                measured = self.cosine(np.ravel(grads[i]), np.ravel(self.m[i]))
                self.s[i] = self.beta_s * self.s[i] + (1 - self.beta_s) * measured
        super().step(grads)

    @staticmethod
    def cosine(a, b):
        length = np.linalg.norm(a) * np.linalg.norm(b)
        return a @ b / length if length else 0.0
