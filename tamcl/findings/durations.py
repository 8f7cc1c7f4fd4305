"""A time as people say it."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(7.4), duration(95), duration(7290), duration(200_000)
    ('7 s', '1 min 35 s', '2 h 1 min', '55 h 33 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
