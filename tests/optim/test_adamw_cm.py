"""AdamW with critical momenta is Adam with critical momenta with another default."""

from __future__ import annotations

import inspect

from tamcl.optim import AdamCM, AdamWCM
from tests.references.adam_cm import AdamCMReference
from tests.references.trajectory import assert_follows, gradients, parameters


def test_follows_the_equations():
    reference = AdamCMReference([p.detach().numpy() for p in parameters()], lr=0.1, weight_decay=0.01)
    assert_follows(lambda params: AdamWCM(params, lr=0.1), reference, gradients(50))


def test_takes_the_options_of_adam_cm_and_hands_them_on():
    ours, theirs = (dict(inspect.signature(cls).parameters) for cls in (AdamWCM, AdamCM))
    assert list(ours) == list(theirs)
    assert [key for key in ours if ours[key] != theirs[key]] == ["weight_decay"]
    assert (ours["weight_decay"].default, theirs["weight_decay"].default) == (0.01, 0.0)
    others = {"capacity": 7, "decay": 0.9, "betas": (0.5, 0.9), "eps": 0.1, "amsgrad": True, "variant": "paper"}
    ours, theirs = (cls(parameters(), weight_decay=0.3, **others).param_groups[0] for cls in (AdamWCM, AdamCM))
    for key in theirs.keys() - {"params"}:
        assert ours[key] == theirs[key]
