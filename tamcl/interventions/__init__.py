"""What keeps a network able to learn: changes of its gradients, weights or units beside the optimizer's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.interventions.base import Intervention as Intervention
    from tamcl.interventions.continual_backprop import ContinualBackprop as ContinualBackprop
    from tamcl.interventions.l2_init import L2Init as L2Init
    from tamcl.interventions.redo import ReDo as ReDo
    from tamcl.interventions.self_normalized_resets import SelfNormalizedResets as SelfNormalizedResets
    from tamcl.interventions.shrink_and_perturb import ShrinkAndPerturb as ShrinkAndPerturb
    from tamcl.interventions.weight_clipping import WeightClipping as WeightClipping

INTERVENTIONS = Table(
    "intervention",
    {
        "weight_clipping": "tamcl.interventions.weight_clipping:WeightClipping",
        "l2_init": "tamcl.interventions.l2_init:L2Init",
        "shrink_and_perturb": "tamcl.interventions.shrink_and_perturb:ShrinkAndPerturb",
        "continual_backprop": "tamcl.interventions.continual_backprop:ContinualBackprop",
        "redo": "tamcl.interventions.redo:ReDo",
        "self_normalized_resets": "tamcl.interventions.self_normalized_resets:SelfNormalizedResets",
    },
    kind="tamcl.interventions.base:Intervention",
)
"""Name of every intervention and where it is; ``package.module:Class`` names any other."""

__all__ = ["INTERVENTIONS", "Intervention", *INTERVENTIONS.classes()]
__getattr__ = INTERVENTIONS.exports(Intervention="tamcl.interventions.base:Intervention")
