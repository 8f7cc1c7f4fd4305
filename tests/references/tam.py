"""TAM, AdaTAM and AdaTAMW in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class TorqueReference:
    """Momentum and damping for a list of arrays; a gradient may be None.

    ``lr`` and ``weight_decay`` may be lists with a value for each array, as parameter groups have them, and ``groups``
    says which group each is in.
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
        start="gradient",
        cosine_on="raw",
        granularity="group",
        groups=None,
        damping=None,
    ):
        self.theta = [np.array(p, dtype=float) for p in params]
        n = len(self.theta)
        self.lr, self.weight_decay = np.broadcast_to(lr, n), np.broadcast_to(weight_decay, n)
        self.beta, self.gamma, self.eps, self.decoupled = beta, gamma, eps, decoupled
        self.start, self.cosine_on, self.damping = start, cosine_on, damping
        of = {"group": groups or [0] * n, "global": [0] * n, "tensor": list(range(n))}[granularity]
        self.sharing = [[i for i in range(n) if of[i] == which] for which in sorted(set(of))]
        self.m: list[Array | None] = [np.zeros_like(p) if start == "zero" else None for p in self.theta]
        self.s, self.d = np.zeros(n), np.ones(n)

    def step(self, grads: Sequence[Array | None]) -> None:
        raw = {i: np.array(g) for i, g in enumerate(grads) if g is not None}
        entering = {}
        for i, g in raw.items():
            if self.decoupled:
                self.theta[i] = self.theta[i] - self.lr[i] * self.weight_decay[i] * self.theta[i]
                entering[i] = g
            else:
                entering[i] = g + self.weight_decay[i] * self.theta[i]
        measured = raw if self.cosine_on == "raw" else entering
        for sharing in self.sharing:
            compared = [i for i in sharing if i in raw and self.m[i] is not None]
            if not compared:  # first gradients alone, or none
                continue
            cosine = self.cosine([self.m[i] for i in compared], [measured[i] for i in compared])
            for i in sharing:  # each keeps the same copy
                self.s[i] = self.gamma * self.s[i] + (1 - self.gamma) * cosine
                self.d[i] = self.damp(i)
        for i, g in entering.items():
            if self.m[i] is None:
                self.m[i] = g
            else:
                d = self.d[i] if self.damping is None else self.damping
                self.m[i] = self.beta * self.m[i] + (self.eps + d) * g
            self.move(i, g)

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
