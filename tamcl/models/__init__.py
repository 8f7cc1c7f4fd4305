"""Models: a body that turns images or text into features, and a head that turns features into one logit a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.models.classifier import Classifier as Classifier
    from tamcl.models.convnext_atto import ConvNeXtAtto as ConvNeXtAtto
    from tamcl.models.lenet import LeNet as LeNet
    from tamcl.models.lstm import LSTM as LSTM
    from tamcl.models.mlp import MLP as MLP
    from tamcl.models.pc_cnn import PCCNN as PCCNN
    from tamcl.models.resnet18 import ResNet18 as ResNet18
    from tamcl.models.slim_resnet18 import SlimResNet18 as SlimResNet18
    from tamcl.models.transformer import Transformer as Transformer
    from tamcl.models.vit_tiny import ViTTiny as ViTTiny

MODELS = Table(
    "model",
    {
        "mlp": "tamcl.models.mlp:MLP",
        "lenet": "tamcl.models.lenet:LeNet",
        "slim_resnet18": "tamcl.models.slim_resnet18:SlimResNet18",
        "pc_cnn": "tamcl.models.pc_cnn:PCCNN",
        "resnet18": "tamcl.models.resnet18:ResNet18",
        "vit_tiny": "tamcl.models.vit_tiny:ViTTiny",
        "convnext_atto": "tamcl.models.convnext_atto:ConvNeXtAtto",
        "lstm": "tamcl.models.lstm:LSTM",
        "transformer": "tamcl.models.transformer:Transformer",
    },
    kind="torch.nn:Module",
    returns=("torch.nn:Module",),
)

SHAPES = ("shape", "input_shape", "image_shape")
"""Arguments of a model that are given the shape of an input; no other argument is."""

CLASSES = ("num_classes", "n_classes", "classes")
"""Arguments of a model that are given the number of classes, where the scenario gives none."""

HEADS = Table(
    "head",
    {
        "single": "tamcl.models.heads:SingleHead",
        "masked": "tamcl.models.heads:MaskedHead",
        "multi": "tamcl.models.heads:MultiHead",
    },
    kind="torch.nn:Module",
)

__all__ = ["CLASSES", "HEADS", "MODELS", "SHAPES", "Classifier", *MODELS.classes()]
__getattr__ = MODELS.exports(Classifier="tamcl.models.classifier:Classifier")
