"""The network: one part of the paper, one file.

``backbone`` features; ``mpm`` eqs 3-4; ``mrm`` eqs 5-7 with ``cbam`` and ``aspp``; ``cmm`` eq. 8;
``attention`` the alternative of Table 6; ``arnet`` the assembly; ``losses`` eqs 1-2; ``state`` what
goes in and out.
"""

from arnet.modeling.arnet import ARNet
from arnet.modeling.backbone import Backbone, load_backbone_weights
from arnet.modeling.losses import Losses, arnet_loss
from arnet.modeling.state import Prediction, SupportFeatures

__all__ = [
    "ARNet",
    "Backbone",
    "Losses",
    "Prediction",
    "SupportFeatures",
    "arnet_loss",
    "load_backbone_weights",
]
