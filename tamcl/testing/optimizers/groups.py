"""Parameter groups: options of their own, and groups that come later."""

from __future__ import annotations

from functools import partial

import torch

from tamcl.testing.optimizers.tools import (
    Make,
    copies_of,
    expect,
    expect_equal,
    expect_finite,
    has_option,
    make_parameters,
    run_steps,
    without_decay,
)


def check_named_parameters(make: Make) -> None:
    """Parameters may be given with their names."""
    named, plain = make_parameters(), make_parameters()
    run_steps(make([(f"layer.{i}", param) for i, param in enumerate(named)]), named, range(4))
    run_steps(make(plain), plain, range(4))
    expect_equal(named, plain, "names changed where it led")


# Groups


def check_group_with_zero_lr(make: Make) -> None:
    """A group with a learning rate of 0 stays where it is, and the others move."""
    params = make_parameters()
    before = copies_of(params)
    run_steps(make([{"params": params[:1]}, {"params": params[1:], "lr": 0.0}]), params, range(8))
    expect_equal(params[1:], before[1:], "the group moved")
    expect(not torch.equal(params[0], before[0]), "the other group did not move")


def check_group_options(make: Make) -> None:
    """A group's own options are used: weight decay, momentum, betas, ``maximize``."""
    own = {"weight_decay": 0.5, "momentum": 0.55, "betas": (0.55, 0.75), "maximize": True}
    make = without_decay(make)
    for name, value in own.items():
        if not has_option(make, name):
            continue
        params, plain, alone, grouped = (make_parameters() for _ in range(4))
        for some, optimizer in (
            (params, make([{"params": params[:1]}, {"params": params[1:], name: value}])),
            (plain, make(plain)),
            (alone, make(alone, **{name: value})),
            (grouped, make([{"params": grouped, name: value}])),
        ):
            run_steps(optimizer, some, range(8))
        expect(not torch.equal(params[1], plain[1]), f"{name} of a group made no difference")
        expect_equal(grouped, alone, f"{name} of the only group led elsewhere than as an option of all")


def check_equal_groups_are_one(make: Make) -> None:
    """Two groups with equal options do what one group does; of one that measures groups apart, if told not to."""
    make = _over_all_groups(make)
    one, two = make_parameters(), make_parameters()
    run_steps(make(one), one, range(20))
    run_steps(make([{"params": two[:2]}, {"params": two[2:]}]), two, range(20))
    expect_equal(two, one, "two groups led elsewhere")


def _over_all_groups(make: Make) -> Make:
    """Return how to make an optimizer with ``granularity="global"``, if it has that option."""
    try:
        make(make_parameters(), granularity="global")
    except (TypeError, ValueError):
        return make
    return partial(make, granularity="global")


def check_added_group(make: Make) -> None:
    """A group may be added in the middle; it moves, and the others move on."""
    params = make_parameters()
    optimizer = make(params[:2])
    run_steps(optimizer, params, range(4))
    before = copies_of(params)
    is_named = "param_names" in optimizer.param_groups[0]  # then torch wants names of all
    optimizer.add_param_group({"params": [("added", param) if is_named else param for param in params[2:]]})
    run_steps(optimizer, params, range(4, 8))
    expect_finite(params, "a parameter is not finite")
    expect(not any(map(torch.equal, params, before)), "a parameter did not move")
