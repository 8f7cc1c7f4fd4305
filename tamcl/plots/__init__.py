"""Pictures of a study: a tidy table in, matplotlib ``Axes`` out.

Every function draws on ``ax``, or on a new figure that pyplot does not know about, so that nothing is left open. A
notebook shows what is the last value of a cell, ``online_accuracy(table)`` or its ``.figure``, without a backend being
chosen; inside of a cell it is shown by ``display``. Save it with ``.figure.savefig("online.png")``. Fractions are
drawn in percent. Intervals are 95 % intervals of the mean over seeds (Student's t), drawn from two seeds on.

An arm has the same colour, line and marker in every picture. Pass all arms of a study as ``arms`` when a table holds
only some of them.
"""

from __future__ import annotations

from tamcl.plots.diagnostic import diagnostics, diagnostics_after_shift
from tamcl.plots.differences import paired_differences
from tamcl.plots.epochs import over_epochs
from tamcl.plots.experiences import over_experiences
from tamcl.plots.labels import better_side, metric_axis, short_names, with_direction
from tamcl.plots.landscape import loss_on_line, loss_plane
from tamcl.plots.matrix import accuracy_matrix, perplexity_matrix
from tamcl.plots.metrics import forgetting_against_learning, summary
from tamcl.plots.online import online_accuracy, online_loss
from tamcl.plots.options import option_map, shade_limits
from tamcl.plots.oracles import regret
from tamcl.plots.over_time import NULLS, correlations_over_time, diagnostics_together
from tamcl.plots.ranks import critical_differences
from tamcl.plots.seeds import mean_interval
from tamcl.plots.shifts import recovery, stability
from tamcl.plots.style import ArmStyle, arm_styles, theme
from tamcl.plots.swept import sweep, sweep_differences
from tamcl.plots.tuning import expected_best, lr_sensitivity

__all__ = [
    "NULLS",
    "ArmStyle",
    "accuracy_matrix",
    "arm_styles",
    "better_side",
    "correlations_over_time",
    "critical_differences",
    "diagnostics",
    "diagnostics_after_shift",
    "diagnostics_together",
    "expected_best",
    "forgetting_against_learning",
    "loss_on_line",
    "loss_plane",
    "lr_sensitivity",
    "mean_interval",
    "metric_axis",
    "online_accuracy",
    "online_loss",
    "option_map",
    "over_epochs",
    "over_experiences",
    "paired_differences",
    "perplexity_matrix",
    "recovery",
    "regret",
    "shade_limits",
    "short_names",
    "stability",
    "summary",
    "sweep",
    "sweep_differences",
    "theme",
    "with_direction",
]
