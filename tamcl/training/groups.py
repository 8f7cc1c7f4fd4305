"""Parameters by name for the optimizers that want them so, and in groups for the arms that ask for some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tamcl.errors import InputError, shown, unknown_name
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.scenario.groups import Group, rule_of
from tamcl.scenario.schema import Arm
from tamcl.seeding import generator_states, set_generators
from tamcl.trial import Trial
from tamcl.user_code import module_of

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Known(NamedTuple):
    """What a model says about one of its parameters."""

    name: str
    layer: str
    """The class of the module that holds it."""
    shape: tuple[int, ...]


def known_parameters(model: nn.Module) -> list[Known]:
    """Return what a model says about its parameters, in their order.

    Examples
    --------
    >>> from torch import nn
    >>> known_parameters(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)))[1:3]
    [Known(name='0.bias', layer='Linear', shape=(2,)), Known(name='1.weight', layer='LayerNorm', shape=(2,))]
    """
    return [
        Known(name, type(model.get_submodule(name.rpartition(".")[0])).__name__, tuple(param.shape))
        for name, param in model.named_parameters()
    ]


def with_names(parameters: Iterable[Tensor], known: Sequence[Known], where: str) -> list[tuple[str, Tensor]]:
    """Return parameters with their names: those of a model, or copies of them, in its order.

    Raises
    ------
    InputError
        If they are others.
    """
    given = list(parameters)
    if [tuple(param.shape) for param in given] != [each.shape for each in known]:
        raise InputError(
            f"{where}: needs names of parameters, and the strategy gives its optimizer others than all of the model's"
        )
    return [(each.name, param) for each, param in zip(known, given, strict=True)]


def needs_names(arm: Arm, trial: Trial) -> bool:
    """Whether an arm's optimizer, or one that it goes over in a trial, wants the names of parameters too."""
    from tamcl.optim.named import wants_names

    names = [arm.optimizer, *(value for value in (arm.options | trial.arguments).values() if isinstance(value, str))]
    own = [name for name in names if module_of(name) is not None]  # none of tamcl's or torch's needs them
    try:
        return any(wants_names(lookup(OPTIMIZERS, name)) for name in own)
    except InputError:  # no optimizer, or none that can be had: it is said where it is made
        return False


def split(groups: Sequence[Group], known: Sequence[Known], where: str) -> list[list[int]]:
    """Return the places of the parameters that each group has, and last, if there are any, of all that are left.

    A parameter is of the first group whose rule matches it.

    Raises
    ------
    InputError
        If there are none for a group.
    """
    left, parts = list(range(len(known))), []
    for number, group in enumerate(groups):
        found = [place for place in range(len(known)) if _fits(group, known[place])]
        part = [place for place in found if place in left]
        if not part:
            rule = shown(rule_of(group.dump()))
            if found:
                raise InputError(f"{where}.groups.{number}: {rule} matches only parameters of the groups before it")
            some = ", ".join(f"{each.name} of a {each.layer}" for each in known[:2])
            raise InputError(
                f"{where}.groups.{number}: {rule} matches none of the model's {len(known)} parameters, such as {some}"
            )
        left = [place for place in left if place not in part]
        parts.append(part)
    return [*parts, left] if left else parts


def _fits(group: Group, known: Known) -> bool:
    return group.fits(known.name, known.layer, len(known.shape))


Make = Callable[[Any, dict[str, Any], str], "Optimizer"]
"""Makes an optimizer of parameters and options; the text says where they stand in the scenario."""


def make_grouped(make: Make, arm: Arm, lr: float, parts: Sequence[Sequence[Any]], where: str) -> Optimizer:
    """Make an arm's optimizer with its groups.

    Parameters
    ----------
    make : callable
    arm : Arm
    lr : float
    parts : sequence of sequences
        The parameters of each group, with their names if the optimizer wants them, and last those of none.
    where : str
        What errors are about.

    Raises
    ------
    InputError
        If a group has an option that the optimizer does not take, not with this value, or not by groups, or if groups
        would make it another method and this is not said.
    """
    groups: list[dict[str, Any]] = [{"params": list(part)} for part in parts]
    for values, group in zip(groups, arm.groups or (), strict=False):
        values.update(group.options, **({} if group.lr_scale == 1 else {"lr": lr * group.lr_scale}))
    made = make(groups, {}, where)
    states = generator_states()
    try:
        for number, (group, part) in enumerate(zip(arm.groups or (), parts, strict=False)):
            _check_options(make, made, group.options, part[0], f"{where}.groups.{number}")
    finally:
        set_generators(states)  # as if nothing but the arm's optimizer had been made
    _check_mechanism(made, arm, where)
    return made


def _check_mechanism(made: Any, arm: Arm, where: str) -> None:
    """Refuse groups for what takes a number from each by default: that would be another method, and not the option."""
    from tamcl.optim.wrapper import underneath

    by_group = any(each.defaults.get("granularity") == "group" for each in underneath([made]))
    if by_group and len(made.param_groups) > 1 and "granularity" not in {*arm.options, *arm.grids}:
        raise InputError(
            f"{where}.groups: {arm.optimizer} has one damping a group of parameters by default, so that groups would "
            "change it; say granularity = 'global', one of all parameters as without groups, or 'group'"
        )


def _check_options(make: Make, made: Any, options: dict[str, Any], example: Any, where: str) -> None:
    """Refuse options that an optimizer does not read from groups; let it look at the others as it does at its own."""
    from torch.nn import Parameter

    from tamcl.optim.wrapper import underneath

    of_groups = {key for each in underneath([made]) for key in each.defaults} - {"lr"}
    for key in options:
        if key not in of_groups:
            raise InputError(f"{where}: {unknown_name('option of a group', key, of_groups)}")
    checked = {key for each in underneath([made]) for key in getattr(each, "own_options", ())}  # as it was made
    if asked := {key: value for key, value in options.items() if key not in checked}:
        is_named = isinstance(example, tuple)
        copy = Parameter((example[1] if is_named else example).detach().clone())  # so that no hook is left behind
        make([(example[0], copy) if is_named else copy], asked, where)
