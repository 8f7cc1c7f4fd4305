"""The long short-term memory as a language model."""

from __future__ import annotations

from torch import Tensor, nn


class LSTM(nn.Module):
    """torch's LSTM on an embedding of the tokens, in the size of the language models of Adam+CG: 64 and 128 wide.

    Use it as the recurrent model whose gradients grow and vanish, beside a transformer. Windows are independent: the
    state is zero at the first token of each, and nothing is carried over from one mini-batch to the next.

    Parameters
    ----------
    shape : tuple of int, (context,)
        Tokens of a window; any number will do.
    tokens : int
        Size of the vocabulary.
    embedding : int
        Width of a token's vector.
    hidden : int
        Width of each layer.
    layers : int

    Attributes
    ----------
    features : int
        Width of a layer.

    Notes
    -----
    The embedding is drawn from a uniform distribution in [-0.1, 0.1] rather than from torch's normal one.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, https://doi.org/10.1162/neco.1997.9.8.1735. Sizes:
    code of "Memory Augmented Optimizers for Deep Learning", 2021,
    https://arxiv.org/abs/2106.10708

    Examples
    --------
    >>> import torch
    >>> LSTM((35,), tokens=82)(torch.zeros(2, 35, dtype=torch.int64)).shape
    torch.Size([2, 35, 128])
    """

    def __init__(
        self, shape: tuple[int, ...], *, tokens: int, embedding: int = 64, hidden: int = 128, layers: int = 1
    ) -> None:
        super().__init__()
        for name, value in {"embedding": embedding, "hidden": hidden, "layers": layers}.items():
            if value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1")
        self.embedding = nn.Embedding(tokens, embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.network = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.features = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (n, context) to the features of each of their tokens, (n, context, features)."""
        features: Tensor
        features, _ = self.network(self.embedding(x))
        return features
