"""What a model is fed: images of a data set, or the frozen backbone's cached features of them."""

from arnet.inputs.features import PLAIN, FeatureCache, ImageInput, InputSource
from arnet.inputs.opening import Progress, check_fold, open_source, open_split

__all__ = [
    "PLAIN",
    "FeatureCache",
    "ImageInput",
    "InputSource",
    "Progress",
    "check_fold",
    "open_source",
    "open_split",
]
