"""What a model is fed: images of a data set, or the frozen backbone's cached features of them."""

from arnet.inputs.features import PLAIN, FeatureCache, ImageInput, InputSource
from arnet.inputs.opening import (
    Progress,
    check_fold,
    images_to_read,
    open_source,
    open_split,
    uses_absent,
)

__all__ = [
    "PLAIN",
    "FeatureCache",
    "ImageInput",
    "InputSource",
    "Progress",
    "check_fold",
    "images_to_read",
    "open_source",
    "open_split",
    "uses_absent",
]
