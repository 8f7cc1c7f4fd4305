"""Scenario files: what they may hold, how they are read and changed from the command line."""

from tamcl.scenario.load import add_arm, load_scenario, parse, scenarios
from tamcl.scenario.schema import Arm, Scenario

__all__ = ["Arm", "Scenario", "add_arm", "load_scenario", "parse", "scenarios"]
