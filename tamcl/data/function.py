"""A data set that a function of the user's returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamcl.data.base import DataSet, Source
from tamcl.data.benchmark import read_benchmark


class FunctionSource(Source):
    """What a function returns; one that takes an argument is given the folder of the data sets.

    Parameters
    ----------
    function : callable
        Returns a data set, or an Avalanche benchmark, whose data are then those of all its experiences.
    name : str
        What the scenario calls it.
    """

    classes = 0
    official = (0, 0)

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name

    def check(self, root: Path) -> None:
        """Do nothing: what the function needs is known when it is called."""

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Call the function."""
        needed = [each for each in inspect.signature(self._function).parameters.values() if each.default is each.empty]
        found = self._function(root) if needed else self._function()
        if hasattr(found, "train_stream"):
            return read_benchmark(found, self._name).data
        return found  # type: ignore[no-any-return]  # it is looked at by who asked

    def fetch(self, root: Path) -> None:
        """Do nothing: whoever writes the function gets the files."""
