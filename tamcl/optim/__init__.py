"""Optimizers for training under distribution shift; they need torch alone and work in any training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.optim.transfer import transfer_lr
from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.optim.adam_cg import AdamCG as AdamCG
    from tamcl.optim.adam_cm import AdamCM as AdamCM
    from tamcl.optim.adam_rel import AdamRel as AdamRel
    from tamcl.optim.adamw_cm import AdamWCM as AdamWCM
    from tamcl.optim.adatam import AdaTAM as AdaTAM
    from tamcl.optim.adatamw import AdaTAMW as AdaTAMW
    from tamcl.optim.ademamix import AdEMAMix as AdEMAMix
    from tamcl.optim.cautious import Cautious as Cautious
    from tamcl.optim.fade import FADE as FADE
    from tamcl.optim.hgm import HGM as HGM
    from tamcl.optim.lion import Lion as Lion
    from tamcl.optim.lookahead import Lookahead as Lookahead
    from tamcl.optim.muon import Muon as Muon
    from tamcl.optim.rmsprop_cg import RMSpropCG as RMSpropCG
    from tamcl.optim.sam import SAM as SAM
    from tamcl.optim.schedule_free import ScheduleFree as ScheduleFree
    from tamcl.optim.sgd_cg import SGDCG as SGDCG
    from tamcl.optim.sgd_cm import SGDCM as SGDCM
    from tamcl.optim.switch import Switch as Switch
    from tamcl.optim.tam import TAM as TAM
    from tamcl.optim.upgd import UPGD as UPGD

OPTIMIZERS = Table(
    "optimizer",
    {
        "tam": "tamcl.optim.tam:TAM",
        "adatam": "tamcl.optim.adatam:AdaTAM",
        "adatamw": "tamcl.optim.adatamw:AdaTAMW",
        "adam_cm": "tamcl.optim.adam_cm:AdamCM",
        "adamw_cm": "tamcl.optim.adamw_cm:AdamWCM",
        "sgd_cm": "tamcl.optim.sgd_cm:SGDCM",
        "adam_cg": "tamcl.optim.adam_cg:AdamCG",
        "sgd_cg": "tamcl.optim.sgd_cg:SGDCG",
        "rmsprop_cg": "tamcl.optim.rmsprop_cg:RMSpropCG",
        "adam_rel": "tamcl.optim.adam_rel:AdamRel",
        "ademamix": "tamcl.optim.ademamix:AdEMAMix",
        "fade": "tamcl.optim.fade:FADE",
        "hgm": "tamcl.optim.hgm:HGM",
        "lion": "tamcl.optim.lion:Lion",
        "muon": "tamcl.optim.muon:Muon",
        "schedule_free": "tamcl.optim.schedule_free:ScheduleFree",
        "upgd": "tamcl.optim.upgd:UPGD",
        "sam": "tamcl.optim.sam:SAM",
        "lookahead": "tamcl.optim.lookahead:Lookahead",
        "cautious": "tamcl.optim.cautious:Cautious",
        "switch": "tamcl.optim.switch:Switch",
        "sgd": "torch.optim.sgd:SGD",
        "adam": "torch.optim.adam:Adam",
        "adamw": "torch.optim.adamw:AdamW",
        "rmsprop": "torch.optim.rmsprop:RMSprop",
        "adagrad": "torch.optim.adagrad:Adagrad",
        "nadam": "torch.optim.nadam:NAdam",
        "radam": "torch.optim.radam:RAdam",
    },
    kind="torch.optim:Optimizer",
)
"""Name of every optimizer and where it is; ``package.module:Class`` names any other."""

__all__ = ["OPTIMIZERS", "transfer_lr", *OPTIMIZERS.classes()]
__getattr__ = OPTIMIZERS.exports()
