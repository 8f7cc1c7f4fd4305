"""What is checked of an optimizer: its options, steps, parameters, groups and state."""

from __future__ import annotations

from tamcl.testing.optimizers.checks import CHECKS, NEEDS, check_optimizer, yield_checks
from tamcl.testing.optimizers.tools import Make, settings_kept

__all__ = ["CHECKS", "NEEDS", "Make", "check_optimizer", "settings_kept", "yield_checks"]
