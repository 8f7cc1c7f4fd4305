"""TAM, AdaTAM and AdaTAMW in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class TorqueReference:
    """Momentum and damping for a list of arrays; a gradient may be None.

    ``lr`` and ``weight_decay`` may be lists with a value for each array, as parameter groups have them.
    """

    def __init__(
        self,
        params,
        lr,
        beta=0.9,
        gamma=0.9,
        eps=1e-8,
        weight_decay=0.0,
        decoupled=False,
        granularity="global",
        damping=None,
    ):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.beta, self.gamma, self.eps, self.decoupled = beta, gamma, eps, decoupled
        self.granularity, self.damping = granularity, damping
        self.m = [np.zeros_like(p) for p in self.theta]
        self.s, self.d = np.zeros(n), np.zeros(n)

    def step(self, grads: Sequence[Array | None]) -> None:
        present = [i for i, g in enumerate(grads) if g is not None]
        if not present:
            return
        g = {i: np.array(grads[i]) for i in present}
        for i in present:
            if self.decoupled:
                self.theta[i] = self.theta[i] - self.lr[i] * self.weight_decay[i] * self.theta[i]
            else:
                g[i] = g[i] + self.weight_decay[i] * self.theta[i]
        for i in range(len(self.theta)):
            if self.granularity == "global":  # every array keeps the same copy of the one smoothed cosine
                cosine = self.cosine([self.m[k] for k in present], [g[k] for k in present])
            elif i in present:
                cosine = self.cosine([self.m[i]], [g[i]])
            else:
                continue
            self.s[i] = self.gamma * self.s[i] + (1 - self.gamma) * cosine
            self.d[i] = self.damp(i)
        for i in present:
            d = self.d[i] if self.damping is None else self.damping
            self.m[i] = self.beta * self.m[i] + (self.eps + d) * g[i]
            self.move(i, g[i])

    def damp(self, i: int) -> float:
        return (1 + self.s[i]) / 2

    def move(self, i: int, g: Array) -> None:
        self.theta[i] = self.theta[i] - self.lr[i] * self.m[i]

    @staticmethod
    def cosine(m: list[Array], g: list[Array]) -> float:
        a, b = np.concatenate([x.ravel() for x in m]), np.concatenate([x.ravel() for x in g])
        length = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / length) if length > 0 else 0.0


class AdaTAMReference(TorqueReference):
    def __init__(self, params, lr, beta2=0.999, bias_correction="second", **options):
        super().__init__(params, lr, **options)
        self.beta2, self.bias_correction = beta2, bias_correction
        self.v = [np.zeros_like(p) for p in self.theta]
        self.t = [0 for _ in self.theta]

    def move(self, i, g):
        self.t[i] += 1
        self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
        m, v = self.m[i], self.v[i]
        if self.bias_correction in ("second", "both"):
            v = v / (1 - self.beta2 ** self.t[i])
        if self.bias_correction == "both":
            m = m / (1 - self.beta ** self.t[i])
        self.theta[i] = self.theta[i] - self.lr[i] * m / (np.sqrt(v) + self.eps)
