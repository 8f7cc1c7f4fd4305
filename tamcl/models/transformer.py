"""A small transformer as a language model."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    """A decoder of a few layers: every token attends to itself and to those before it in its window.

    GPT-2's form: normalisation before attention and before the two fully connected layers, whose hidden layer is four
    times as wide and has GELU; learnt positions; normalisation at the end; no dropout. The output layer has weights of
    its own.

    Parameters
    ----------
    shape : tuple of int, (context,)
        Tokens of a window, each of whose places has a learnt vector. Attention costs the square of them.
    tokens : int
        Size of the vocabulary.
    layers : int
    heads : int
        Parts that attention is split into; divides the width.
    width : int
        Width of a token's vector.

    Attributes
    ----------
    features : int
        The width.

    Notes
    -----
    Matrices and embeddings are drawn from a normal distribution of deviation 0.02, biases are 0, and the layers that
    add to the residual stream are scaled by :math:`1 / \\sqrt{2 \\cdot layers}`, as GPT-2's.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762. A. Radford et al.,
    "Language Models are Unsupervised Multitask Learners", 2019

    Examples
    --------
    >>> Transformer((64,), tokens=82)(torch.zeros(2, 64, dtype=torch.int64)).shape
    torch.Size([2, 64, 128])
    """

    def __init__(
        self, shape: tuple[int, ...], *, tokens: int, layers: int = 2, heads: int = 4, width: int = 128
    ) -> None:
        super().__init__()
        for name, value in {"layers": layers, "heads": heads, "width": width}.items():
            if value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1")
        if width % heads:
            raise ValueError(f"heads = {heads}: must divide the width, which is {width}")
        (context,) = shape
        self.tokens = nn.Embedding(tokens, width)
        self.places = nn.Embedding(context, width)
        blocks = [Block(width, heads, context) for _ in range(layers)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.features = width
        self.apply(_initialise)
        for last in (last for block in blocks for last in block.adds):
            nn.init.normal_(last.weight, std=0.02 / (2 * layers) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (n, context) to the features of each of their tokens, (n, context, features)."""
        x = self.tokens(x) + self.places.weight[: x.shape[1]]
        return self.norm(self.blocks(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and two fully connected layers, each of which adds to the residual stream."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, context)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    @property
    def adds(self) -> tuple[nn.Linear, nn.Linear]:
        """The two layers whose outputs are added to the residual stream."""
        return self.attention.out, cast(nn.Linear, self.mlp[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, context, width) to the same."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class CausalAttention(nn.Module):
    """Scaled dot-product attention to a token itself and to those before it, by several heads.

    It is written out, since torch's fused kernel on CPUs has no second derivative, which the Hessian needs.
    """

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.later: Tensor
        self.register_buffer("later", torch.ones(context, context, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, context, width) to the same."""
        length = x.shape[1]
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.mT / query.shape[-1] ** 0.5
        weights = scores.masked_fill(self.later[:length, :length], -torch.inf).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
