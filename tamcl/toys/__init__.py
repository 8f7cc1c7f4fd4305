"""Small surfaces on which one sees what an optimizer does: its paths, which minima it leaves, how fast it converges."""

from tamcl.toys.drift import Drift, track, tracking_error, worst_period
from tamcl.toys.escape import escape_ratio
from tamcl.toys.quadratics import best_rate, convergence_rates, largest_step, simulated_rate, spectral_radius
from tamcl.toys.showcase import write_toys
from tamcl.toys.surfaces import SURFACES, Surface, flat_sharp, quadratic
from tamcl.toys.trajectories import outcomes, path_table, trajectory

__all__ = [
    "SURFACES",
    "Drift",
    "Surface",
    "best_rate",
    "convergence_rates",
    "escape_ratio",
    "flat_sharp",
    "largest_step",
    "outcomes",
    "path_table",
    "quadratic",
    "simulated_rate",
    "spectral_radius",
    "track",
    "tracking_error",
    "trajectory",
    "worst_period",
    "write_toys",
]
