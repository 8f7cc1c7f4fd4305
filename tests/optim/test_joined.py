"""Parameters that lie in a row and are stepped as one: the steps, and the state, of stepping each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop

from tamcl.optim import (
    HGM,
    SAM,
    SGDCG,
    SGDCM,
    TAM,
    UPGD,
    AdamCM,
    AdamRel,
    AdamWCM,
    AdaTAM,
    AdaTAMW,
    AdEMAMix,
    Lion,
    Muon,
)
from tamcl.optim.joined import Joined, can_be_joined

SHAPES = [(3, 4), (3,), (2, 3), (2,)]
GAP = 5  # zeros between two of them

MAKERS: dict[str, Callable[[Sequence[Tensor]], Optimizer]] = {
    "sgd": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd, fused": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "adam": lambda params: Adam(params, lr=0.01, amsgrad=True),
    "adamw, fused": lambda params: AdamW(params, lr=0.01, fused=True),
    "rmsprop": lambda params: RMSprop(params, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda params: Adagrad(params, lr=0.1),
    "nadam": lambda params: NAdam(params, lr=0.01),
    "radam": lambda params: RAdam(params, lr=0.01),
    "tam": lambda params: TAM(params, lr=0.1, weight_decay=0.01),
    "tam, others": lambda params: TAM(params, lr=0.1, weight_decay=0.1, cosine_on="decayed", start="zero"),
    "tam, held": lambda params: TAM(params, lr=0.1, damping=0.5, granularity="tensor"),
    "tam, shuffled": lambda params: TAM(params, lr=0.1, damping="shuffled", seed=3),
    "adatam": lambda params: AdaTAM(params, lr=0.01),
    "tam, up": lambda params: TAM(params, lr=0.1, maximize=True),
    "adatamw": lambda params: AdaTAMW(params, lr=0.01, weight_decay=0.1),
    "adam_cm": lambda params: AdamCM(params, lr=0.01),
    "adam_cm, paper": lambda params: AdamCM(params, lr=0.01, variant="paper", capacity=3, amsgrad=True),
    "adam_cm, none": lambda params: AdamCM(params, lr=0.01, capacity=0),
    "adamw_cm, random": lambda params: AdamWCM(params, lr=0.01, replacement="random", seed=1, capacity=2),
    "sgd_cm": lambda params: SGDCM(params, lr=0.01, weight_decay=0.1, maximize=True),
    "hgm": lambda params: HGM(params, lr=0.01, weight_decay=0.01),
    "lion": lambda params: Lion(params, lr=0.01, weight_decay=0.01),
    "ademamix": lambda params: AdEMAMix(params, lr=0.01, warmup=20),
    "sgd_cg": lambda params: SGDCG(params, lr=0.01, capacity=5),
}


class Row:
    """Parameters with their gradients, in a row and apart."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.slices, end = [], 0
        for shape in SHAPES:
            size = torch.Size(shape).numel()
            self.slices.append(slice(end, end + size))
            end += size + GAP
        self.values, self.gradients = torch.zeros(2, end, dtype=torch.float64)
        self.joined, self.apart = [], []
        for shape, part in zip(SHAPES, self.slices, strict=True):
            self.values[part] = torch.randn(part.stop - part.start, dtype=torch.float64)
            param = nn.Parameter(self.values[part].view(shape))
            param.data = self.values[part].view(shape)
            param.grad = self.gradients[part].view(shape)
            self.joined.append(param)
            self.apart.append(nn.Parameter(param.detach().clone()))

    def new_gradients(self) -> None:
        for joined, apart in zip(self.joined, self.apart, strict=True):
            apart.grad = torch.randn_like(joined)
            joined.grad.copy_(apart.grad)

    def join(self, optimizer: Optimizer) -> Joined:
        return Joined(optimizer, self.values, self.gradients, self.slices)

    def assert_equal(self) -> None:
        for joined, apart in zip(self.joined, self.apart, strict=True):
            torch.testing.assert_close(joined, apart, rtol=1e-12, atol=1e-12)


BOUNDS = {"size", "sizes", "largest"}
"""How large what is remembered of a tensor may be: of the row it is at least as large, and rules rounding alone."""


def assert_same_state(ours: Optimizer, theirs: Optimizer) -> None:
    for left, right in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        assert ours.state[left].keys() == theirs.state[right].keys()
        for key, value in theirs.state[right].items():
            found: Any = ours.state[left][key]
            if isinstance(value, Tensor):
                assert found.shape == value.shape, key
            if key not in BOUNDS:
                torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_steps_and_state_are_those_of_each_parameter(make: Callable[[Sequence[Tensor]], Optimizer]) -> None:
    """At a learning rate that is changed on the way, and after a new beginning from the state."""
    row = Row()
    optimizer, plain = make(row.joined), make(row.apart)
    assert can_be_joined(optimizer)
    for part in range(3):
        joined = row.join(optimizer)
        for _ in range(15):
            for each in (optimizer, plain):
                each.param_groups[0]["lr"] = 0.01 / (part + 1)
            row.new_gradients()
            joined.step()
            plain.step()
        joined.show()
        row.assert_equal()
        assert_same_state(optimizer, plain)
        joined.take_apart()
        own = {value.untyped_storage().nbytes() for value in optimizer.state[row.joined[1]].values() if _is_row(value)}
        assert all(size <= 5 * 3 * 8 for size in own), "of five slots of three numbers, and nothing of the others"
    row.new_gradients()
    optimizer.step()  # the optimizer by itself goes on where the row was
    plain.step()
    row.assert_equal()


def _is_row(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _of_which_one_has_begun() -> TAM:
    """Of a row there would be but one first step."""
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]
    optimizer = TAM(params)
    params[0].grad = torch.ones(2)
    optimizer.step()
    return optimizer


def test_what_is_about_a_tensor_by_itself_is_not_joined() -> None:
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]

    class Mine(SGD):
        pass

    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.2}]
    for optimizer in (
        TAM(params, granularity="tensor"),
        TAM([nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))]),
        _of_which_one_has_begun(),
        HGM(params, granularity="tensor"),
        AdamRel(params),  # which is told of shifts between its steps
        Muon(params),
        UPGD(params),
        SAM(params, base=SGD, lr=0.1),
        Mine(params, lr=0.1),
        SGD(groups, lr=0.1),
        torch.optim.Adafactor(params),
    ):
        assert not can_be_joined(optimizer)
