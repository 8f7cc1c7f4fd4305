"""What learning rate of TAM compares with one of SGD with momentum."""

from __future__ import annotations

import math
from numbers import Real


def transfer_lr(lr_sgdm: float, s: float = 0.0) -> float:
    r"""Return the learning rate at which TAM takes the steps that SGD with momentum takes at its own.

    Use it to move a tuned learning rate over, or to choose the grid for TAM: twice that of SGD. Tune it all the same.

    .. math::
        \eta_{TAM} = \frac{2 \, \eta_{SGDM}}{1 + \hat s}

    Parameters
    ----------
    lr_sgdm : float
        :math:`\eta_{SGDM}`, at least 0.
    s : float
        :math:`\hat s` in (-1, 1]: the smoothed cosine that TAM settles at. Gradients of small mini-batches are nearly
        orthogonal to the momentum, so it is close to 0.

    Notes
    -----
    If the smoothed cosine stays at :math:`\hat s`, TAM's momentum is :math:`(1 + \hat s) / 2` times that of SGD, and
    the two take the same steps (but for TAM's :math:`\epsilon`). The paper has a rule for this transfer; that it is
    this one is an assumption.

    References
    ----------
    Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790

    Examples
    --------
    >>> transfer_lr(0.05)
    0.1
    >>> transfer_lr(0.05, s=1.0)
    0.05
    """
    if not _is_number(lr_sgdm) or not 0 <= lr_sgdm < math.inf:
        raise ValueError(f"lr_sgdm must be a number >= 0, got {lr_sgdm!r}")
    if not _is_number(s) or not -1 < s <= 1:
        raise ValueError(f"s must be in (-1, 1], got {s!r}")
    return 2 * lr_sgdm / (1 + s)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
