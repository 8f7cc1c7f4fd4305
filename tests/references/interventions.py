"""Interventions in NumPy: what each does to the weights of a step, given what it is told."""

from __future__ import annotations

import numpy as np


def clip(weights, kappa):
    """Clamp weights, by names of layers: ``a.weight`` and ``a.bias`` have the inputs of ``a.weight``."""
    clipped = {}
    for name, values in weights.items():
        layer = weights[name.rpartition(".")[0] + ".weight"]
        bound = kappa / np.sqrt(layer.size / len(layer))
        clipped[name] = np.minimum(np.maximum(values, -bound), bound)
    return clipped


def pull(gradients, weights, starts, strength):
    """Add L2 Init's gradient."""
    return {name: g + strength * (weights[name] - starts[name]) for name, g in gradients.items()}


def shrink(weights, noise, decay, sigma, rate=1.0):
    """Shrink and perturb."""
    return {name: (1 - rate * decay) * w - rate * sigma * noise[name] for name, w in weights.items()}


class DormantUnits:
    """Which units of a layer ReDo resets, step by step, given what they gave out: (examples, units)."""

    def __init__(self, tau, every):
        self.tau, self.every, self.seen = tau, every, []

    def __call__(self, outputs, magnitudes):
        self.seen.append(np.abs(outputs))
        if len(self.seen) < self.every:
            return []
        means = np.concatenate(self.seen).astype(float).mean(0)
        self.seen = []
        return [i for i, mean in enumerate(means) if mean <= self.tau * means.mean()]


class LeastUseful:
    """Which units of a layer continual backprop replaces, given also the mean size of their outgoing weights."""

    def __init__(self, rate, maturity, decay):
        self.rate, self.maturity, self.decay = rate, maturity, decay
        self.ages = self.utility = self.mean = None
        self.waiting = 0.0

    def __call__(self, outputs, magnitudes):
        if self.ages is None:
            self.ages, self.utility, self.mean = (np.zeros(outputs.shape[1]) for _ in range(3))
        self.ages += 1
        self.utility = self.decay * self.utility + (1 - self.decay) * np.abs(outputs).mean(0) * magnitudes
        self.mean = self.decay * self.mean + (1 - self.decay) * outputs.mean(0)
        mature = [i for i, age in enumerate(self.ages) if age > self.maturity]
        self.waiting += self.rate * len(mature)
        count = int(self.waiting)
        self.waiting -= count
        corrected = self.utility / (1 - self.decay**self.ages)
        chosen = sorted(mature, key=lambda i: corrected[i])[:count]
        self.given = (self.mean / (1 - self.decay**self.ages))[chosen]
        for values in (self.ages, self.utility, self.mean):
            values[chosen] = 0
        return chosen


class SilentUnits:
    """Which units of a layer self-normalized resets reset: every age that a unit had when it fired is kept."""

    def __init__(self, percentile, every, threshold, expansion, longest):
        self.percentile, self.every, self.expansion, self.longest = percentile, every, expansion, longest
        self.threshold, self.ages, self.step = threshold, None, 0

    def __call__(self, outputs, magnitudes):
        size, n = outputs.shape
        if self.ages is None:
            self.ages, self.noted = [0] * n, [[] for _ in range(n)]
            self.thresholds = [self.threshold] * n
        self.step += 1
        chosen = []
        for i in range(n):
            if (outputs[:, i] > 0).any():
                self.noted[i].append(min(self.ages[i], self.longest))
                self.ages[i] = 0
            else:
                self.ages[i] += size
            if self.step % self.every == 0:
                self.thresholds[i] = self._next(self.thresholds[i], [a for a in self.noted[i] if a], size)
                self.noted[i] = []
            if self.ages[i] >= self.thresholds[i]:
                self.noted[i].append(min(self.ages[i], self.longest))
                self.ages[i] = 0
                chosen.append(i)
        return chosen

    def _next(self, threshold, spells, size):
        spells = sorted(spells)
        enough = [a for k, a in enumerate(spells, 1) if k / len(spells) >= self.percentile]
        found = enough[0] if enough else size
        return max(size, min(self.longest, found if found < threshold else int(self.expansion * threshold)))
