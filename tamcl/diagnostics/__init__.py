"""What optimizer and model do over the stream: measured every few updates, and changing nothing in training.

A scenario asks for them by name::

    diagnostics = { every = 100, names = ["damping", "update_norm", "dead_units"] }

They are rows of the table ``diagnostics``: a value for each diagnostic, step and tensor; the tensor is empty where the
value is about all of them. An optimizer or a model that lacks what a diagnostic measures gives no rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.diagnostics.collector import DiagnosticsCollector
    from tamcl.diagnostics.diagnostic import Diagnostic
    from tamcl.diagnostics.update import Update

DIAGNOSTICS = Table(
    "diagnostic",
    {
        "cosine": "tamcl.diagnostics.torque:Cosine",
        "smoothed_cosine": "tamcl.diagnostics.torque:SmoothedCosine",
        "damping": "tamcl.diagnostics.torque:Damping",
        "momentum_gradient_cosine": "tamcl.diagnostics.torque:MomentumGradientCosine",
        "effective_lr": "tamcl.diagnostics.movement:EffectiveLR",
        "gradient_norm": "tamcl.diagnostics.movement:GradientNorm",
        "update_norm": "tamcl.diagnostics.movement:UpdateNorm",
        "update_per_gradient": "tamcl.diagnostics.movement:UpdatePerGradient",
        "distance_from_init": "tamcl.diagnostics.movement:DistanceFromInit",
        "buffer_occupancy": "tamcl.diagnostics.buffer:BufferOccupancy",
        "buffer_age": "tamcl.diagnostics.buffer:BufferAge",
        "buffer_priority": "tamcl.diagnostics.buffer:BufferPriority",
        "buffer_accepted": "tamcl.diagnostics.buffer:BufferAccepted",
        "buffer_cosine": "tamcl.diagnostics.buffer:BufferCosine",
        "hessian_top": "tamcl.diagnostics.hessian:HessianTop",
        "sam_sharpness": "tamcl.diagnostics.sharpness:SAMSharpness",
        "sample_plasticity": "tamcl.diagnostics.plasticity:SamplePlasticity",
        "zero_outputs": "tamcl.diagnostics.units:ZeroOutputs",
        "dead_units": "tamcl.diagnostics.units:DeadUnits",
        "dormant_units": "tamcl.diagnostics.units:DormantUnits",
        "effective_rank": "tamcl.diagnostics.ranks:EffectiveRank",
        "approximate_rank": "tamcl.diagnostics.ranks:ApproximateRank",
        "stable_rank": "tamcl.diagnostics.ranks:StableRank",
    },
    kind="tamcl.diagnostics:Diagnostic",
)
"""Name of every diagnostic and where it is; ``package.module:Class`` names any other ``Diagnostic``."""

FRACTIONS = frozenset({"buffer_occupancy", "buffer_accepted", "zero_outputs", "dead_units", "dormant_units"}) | {
    "sample_plasticity"
}
"""Diagnostics that are shares of a whole, from 0 to 1."""

__all__ = ["DIAGNOSTICS", "FRACTIONS", "Diagnostic", "DiagnosticsCollector", "Update"]

__getattr__ = DIAGNOSTICS.exports(
    Diagnostic="tamcl.diagnostics.diagnostic:Diagnostic",
    DiagnosticsCollector="tamcl.diagnostics.collector:DiagnosticsCollector",
    Update="tamcl.diagnostics.update:Update",
)
