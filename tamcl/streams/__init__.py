"""Streams: how the data of one experience differs from that of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table
from tamcl.streams.base import Segment, Stream

if TYPE_CHECKING:
    from tamcl.streams.label_flip import LabelFlip
    from tamcl.streams.task_shift import TaskShift

STREAMS = Table(
    "stream",
    {
        "label_flip": "tamcl.streams.label_flip:LabelFlip",
        "task_shift": "tamcl.streams.task_shift:TaskShift",
    },
)

__all__ = ["STREAMS", "LabelFlip", "Segment", "Stream", "TaskShift"]
__getattr__ = STREAMS.exports()
