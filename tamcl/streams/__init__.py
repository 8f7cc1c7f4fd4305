"""Streams: how the data of one experience differs from that of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table
from tamcl.streams.base import Segment, Stream, Transform

if TYPE_CHECKING:
    from tamcl.streams.blurred import Blurred as Blurred
    from tamcl.streams.classification import Classification as Classification
    from tamcl.streams.corrupted_inputs import CorruptedInputs as CorruptedInputs
    from tamcl.streams.label_flip import LabelFlip as LabelFlip
    from tamcl.streams.label_permuted import LabelPermuted as LabelPermuted
    from tamcl.streams.permuted_inputs import PermutedInputs as PermutedInputs
    from tamcl.streams.random_labels import RandomLabels as RandomLabels
    from tamcl.streams.rotated_inputs import RotatedInputs as RotatedInputs
    from tamcl.streams.slowly_changing_regression import SlowlyChangingRegression as SlowlyChangingRegression
    from tamcl.streams.task_shift import TaskShift as TaskShift
    from tamcl.streams.text import Text as Text

STREAMS = Table(
    "stream",
    {
        "label_flip": "tamcl.streams.label_flip:LabelFlip",
        "label_permuted": "tamcl.streams.label_permuted:LabelPermuted",
        "random_labels": "tamcl.streams.random_labels:RandomLabels",
        "task_shift": "tamcl.streams.task_shift:TaskShift",
        "blurred": "tamcl.streams.blurred:Blurred",
        "permuted_inputs": "tamcl.streams.permuted_inputs:PermutedInputs",
        "rotated_inputs": "tamcl.streams.rotated_inputs:RotatedInputs",
        "corrupted_inputs": "tamcl.streams.corrupted_inputs:CorruptedInputs",
        "classification": "tamcl.streams.classification:Classification",
        "text": "tamcl.streams.text:Text",
        "slowly_changing_regression": "tamcl.streams.slowly_changing_regression:SlowlyChangingRegression",
    },
    kind="tamcl.streams:Stream",
    returns=("tamcl.avalanche:CLScenario",),
)

__all__ = ["STREAMS", "Segment", "Stream", "Transform", *STREAMS.classes()]
__getattr__ = STREAMS.exports()
