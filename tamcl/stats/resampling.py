"""How many resamples are drawn, and the generator that draws them."""

from __future__ import annotations

import numpy as np

from tamcl.seeding import derive_seed

RESAMPLES = 9999
"""Bootstrap resamples, and sign flips drawn where all 2^n of them are more (from 14 seeds on)."""


def rng() -> np.random.Generator:
    """Return a generator that starts afresh, so that a pair's numbers do not depend on the pairs beside it."""
    return np.random.default_rng(derive_seed(0, "resampling"))
