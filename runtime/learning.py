"""Annotated photographs become what a segmenter knows of a class."""

from __future__ import annotations

from collections.abc import Sequence

from arnet.runtime.errors import AnnotationError, LostObjectError
from arnet.runtime.segmentation import FewShotSegmenter, State
from arnet.runtime.supports import Support


def learn_class(segmenter: FewShotSegmenter[State], supports: Sequence[Support]) -> State:
    """Learn one class.

    Raises:
        AnnotationError: as ``segmenter.learn``; an object of which the model would see nothing is
            told with its photograph.
    """
    try:
        return segmenter.learn([s.image for s in supports], [s.mask for s in supports])
    except LostObjectError as error:
        raise AnnotationError(f"{supports[error.number].path}: {error.what}", error.hint) from error
