"""Modules of others as models: any ``torch.nn.Module`` that takes images and gives one number a class.

A model of tamcl is told the shape of an image and gives features, on which a head is put. Code that was not written for
tamcl knows neither: it is built with what it asks for by name, and its outputs are the logits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from tamcl.errors import InputError, shown
from tamcl.models import CLASSES, MODELS, SHAPES
from tamcl.registry import lookup


def build_body(name: str, options: dict[str, Any], shape: tuple[int, ...], classes: int, is_text: bool) -> nn.Module:
    """Build a model by its name: with ``features``, or of others, whose outputs are logits.

    Parameters
    ----------
    name : str
        Name in ``MODELS``, ``package.module:Class`` or ``package.module:function``, or ``timm:name``.
    options : dict
    shape : tuple of int
    classes : int
        Number of classes, or of the tokens of a vocabulary.
    is_text : bool

    Raises
    ------
    InputError
        If it is no module, or one of images where there is text.
    """
    make = _timm(name) if name.startswith("timm:") else lookup(MODELS, name)
    asked = arguments(make)
    if is_text and "tokens" not in asked:
        raise InputError(f"model {shown(name)}: is a model of images, which takes no tokens, and the data are text")
    given: dict[str, Any] = {key: shape for key in SHAPES if key in asked}
    given |= {"tokens": classes} if is_text else {}
    given |= {"in_chans": shape[0]} if name.startswith("timm:") else {}
    given |= {key: classes for key in CLASSES if key in asked or _is_of_torchvision(name, key)}
    body = make(**given | options)
    if not isinstance(body, nn.Module):
        raise InputError(f"model {shown(name)}: made a {type(body).__name__}, and must make a torch.nn.Module")
    return body if isinstance(getattr(body, "features", None), int) else Logits(body, classes, is_text)


def arguments(make: Callable[..., Any]) -> set[str]:
    """Return the names of the arguments of a class or a function, those that it hands on to a base class included.

    Examples
    --------
    >>> class Net(nn.Linear):
    ...     def __init__(self, shape, **options):
    ...         super().__init__(4, 2, **options)
    >>> sorted(arguments(Net))
    ['bias', 'device', 'dtype', 'in_features', 'out_features', 'shape']
    """
    found: set[str] = set()
    inits = [vars(cls)["__init__"] for cls in make.__mro__ if "__init__" in vars(cls)] if inspect.isclass(make) else []
    for function in inits or [make]:
        parameters = inspect.signature(function).parameters.values()
        found |= {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        if not any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
            break
    return found - {"self"}


def _is_of_torchvision(name: str, key: str) -> bool:
    """Whether a model takes ``num_classes`` though its signature, which ends with ``**kwargs``, does not say it."""
    return name.startswith("torchvision.models") and key == "num_classes"


def _timm(name: str) -> Callable[..., Any]:
    """Return what builds a model of timm, without published weights unless they are asked for."""
    try:
        import timm
    except ImportError as error:
        raise InputError(f"model {shown(name)}: needs timm: python -m pip install 'tamcl[timm]' ({error})") from error
    model = name.partition(":")[2]
    if not timm.is_model(model):
        near = ", ".join(get_close_matches(model, timm.list_models()))
        raise InputError(f"model {shown(name)}: timm has no {shown(model)}{near and f'; it has {near}'}")

    def make(*, num_classes: int, **options: Any) -> Any:
        return timm.create_model(model, num_classes=num_classes, **options)

    return make


class Logits(nn.Module):
    """A module of others whose outputs are logits, which is looked at in every forward pass.

    Parameters
    ----------
    module : torch.nn.Module
        Maps images to logits, (n, classes), or windows of text to (n, context, classes).
    classes : int
    is_text : bool
    """

    def __init__(self, module: nn.Module, classes: int, is_text: bool = False) -> None:
        super().__init__()
        self.module = module
        self.features = classes
        self._is_text = is_text

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits, or raise an ``InputError`` if they are none."""
        logits = self.module(x)
        if not isinstance(logits, Tensor):
            raise InputError(f"gives a {type(logits).__name__}, and must give a tensor")
        needed = (*x.shape[: 2 if self._is_text else 1], self.features)
        if logits.shape != needed:
            raise InputError(
                f"gives {tuple(logits.shape)} for inputs {tuple(x.shape)}, and must give {needed}, a number for each "
                f"of the {self.features} classes, or say in its attribute `features` how wide the features are that it "
                "gives instead"
            )
        return logits


class NoHead(nn.Module):
    """The head of a module that has one of its own."""

    def forward(self, logits: Tensor, task: int | Tensor) -> Tensor:
        """Return the logits as they are."""
        return logits
