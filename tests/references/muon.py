"""Muon in NumPy: its polynomial is taken of the singular values; what is no matrix goes by AdamW."""

from __future__ import annotations

import numpy as np

from tests.references.adam import AdamWReference


class MuonReference(AdamWReference):
    """``scale(rows, columns)`` gives what the learning rate is multiplied by for a matrix."""

    def __init__(self, params, lr, momentum=0.95, nesterov=True, scale=None, **options):
        super().__init__(params, lr, **options)
        self.mu, self.nesterov = momentum, nesterov
        self.scale = scale or (lambda rows, columns: 0.2 * np.sqrt(max(rows, columns)))

    def step(self, grads):
        super().step([None if g is None or g.ndim == 2 else g for g in grads])
        for i, g in enumerate(grads):
            if g is not None and g.ndim == 2:
                self.m[i] = self.mu * self.m[i] + (1 - self.mu) * g
                moved = self.mu * self.m[i] + (1 - self.mu) * g if self.nesterov else self.m[i]
                start = (1 - self.lr[i] * self.weight_decay[i]) * self.theta[i]
                self.theta[i] = start - self.lr[i] * self.scale(*g.shape) * orthogonalised(moved)


def orthogonalised(matrix):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / max(np.linalg.norm(matrix), 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ v
