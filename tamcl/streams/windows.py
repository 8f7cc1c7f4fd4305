"""Windows of a text as inputs of a model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Windows:
    """All windows of a data set's training or validation text, cut when a batch is taken.

    Parameters
    ----------
    tokens : Tensor of int32, (n,)
        The text. It may be a map of a file; only the windows of a batch are read.
    context : int
        Tokens of a window.

    Examples
    --------
    >>> windows = Windows(torch.tensor([5, 6, 7, 8, 9], dtype=torch.int32), context=2)
    >>> windows.batch(torch.tensor([0, 2])), windows.targets(torch.tensor([0, 2]))
    (tensor([[5, 6], [7, 8]]), tensor([[6, 7], [8, 9]]))
    """

    def __init__(self, tokens: Tensor, context: int) -> None:
        self.tokens = tokens
        self.context = context

    @property
    def size(self) -> int:
        """Numbers in an input."""
        return self.context

    def batch(self, index: Tensor, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the windows that begin at an index, int64, (len(index), context)."""
        return self.tokens[index[:, None] + torch.arange(self.context)].long()

    def targets(self, index: Tensor) -> Tensor:
        """Return the token after each token of the windows, int64, (len(index), context)."""
        return self.batch(index + 1)
