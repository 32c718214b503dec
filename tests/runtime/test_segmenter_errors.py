"""What a segmenter is given and cannot use is told in words."""

import numpy as np
import pytest

from arnet.runtime.errors import (
    AnnotationError,
    BundleError,
    EngineError,
    ImageError,
    StateError,
)
from arnet.runtime.segmenter import Segmenter
from arnet.runtime.state import SupportState

RED = (255, 0, 0)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        "photo.jpg",
        None,
    ],
    ids=lambda image: f"{image.dtype} {image.shape}" if hasattr(image, "shape") else repr(image),
)
def test_a_query_of_another_type_or_shape(image, segmenter, learn) -> None:
    state = learn(segmenter, RED)
    with pytest.raises(ImageError, match=r"an array uint8 \(height, width, 3\)"):
        segmenter.segment(image, state)
    with pytest.raises(ImageError):
        next(segmenter.segment([image], state))
    with pytest.raises((ImageError, AnnotationError)):
        segmenter.learn([image], [np.ones((8, 8), np.uint8)])


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ([], [], "0 images and 0 masks"),
        ([(8, 8, 3)], [], "1 images and 0 masks"),
        ([(8, 8, 3)], [(8, 9)], "8x8 pixels has a mask of 9x8"),
        ([(8, 8, 3)], [(8, 8, 1)], "has a mask of 1x8x8"),
    ],
)
def test_supports_that_do_not_fit(images, masks, message, segmenter) -> None:
    arrays = [[np.zeros(size, np.uint8) for size in sizes] for sizes in (images, masks)]
    with pytest.raises(AnnotationError, match=message):
        segmenter.learn(*arrays)


def test_an_object_of_which_the_model_would_see_nothing(segmenter) -> None:
    image, mask = np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), np.uint8)
    whole = np.ones_like(mask)
    for unmarked in (mask, mask + 255, mask.astype(bool)):
        with pytest.raises(
            AnnotationError, match="support 2 of 2: no pixel of its mask is 1"
        ) as no:
            segmenter.learn([image, image], [whole, unmarked])
        assert "mask == 255" in no.value.hint
    mask[1:4, 1:5] = 1  # between the centres of the first pixels of 33
    with pytest.raises(AnnotationError, match="of 4x3 pixels, in 400x300, vanishes at the 33x33"):
        segmenter.learn([image], [mask])
    mask[4, 6] = 1  # on one of them
    assert segmenter.learn([image], [mask]).per_shot["prototype"].any()


def test_a_mask_of_another_type(segmenter) -> None:
    with pytest.raises(AnnotationError, match="float64"):
        segmenter.learn([np.zeros((8, 8, 3), np.uint8)], [np.zeros((8, 8))])


def test_the_state_of_another_bundle(segmenter, make_bundle, learn, photograph) -> None:
    other = Segmenter.load(make_bundle("other"), threads=1)
    state = learn(other, RED)
    for call in (
        lambda: segmenter.segment(photograph(RED)[0], state),
        lambda: segmenter.segment([photograph(RED)[0]], {"red": state}),
        lambda: segmenter.fuse(state),
    ):
        with pytest.raises(StateError, match=other.bundle.sha256[:12]) as caught:
            call()
        assert "Learn the class again" in caught.value.hint


def test_a_state_with_the_hash_of_the_bundle_and_other_tensors(segmenter, photograph) -> None:
    sha256 = segmenter.bundle.sha256
    wrong = SupportState({"match": np.zeros((1, 4, 5, 6), np.float32)}, None, sha256)
    with pytest.raises(StateError, match="'encode_support'"):
        segmenter.segment(photograph(RED)[0], wrong)
    learned = segmenter.learn(*([one] for one in photograph(RED)))
    halves = {name: array.astype(np.float16) for name, array in learned.per_shot.items()}
    with pytest.raises(StateError, match="'encode_support'"):
        segmenter.segment(photograph(RED)[0], SupportState(halves, None, sha256))
    wrong = SupportState(learned.per_shot, {"refine": np.zeros((1, 8, 4), np.float32)}, sha256)
    with pytest.raises(StateError, match="'fuse_support'"):
        segmenter.segment(photograph(RED)[0], wrong)


def test_a_bundle_for_two_shots(make_bundle, learn, photograph) -> None:
    segmenter = Segmenter.load(make_bundle(shots=2), threads=1)
    one = learn(segmenter, RED, 1)
    assert one.per_class is None
    query, _ = photograph(RED)
    with pytest.raises(StateError, match="has 1 shots; this bundle takes exactly 2"):
        segmenter.segment(query, one)
    assert segmenter.segment(query, one.add(one)).labels().any()


@pytest.mark.parametrize("state", [None, [], "horse.npz", np.zeros(3)], ids=repr)
def test_what_is_no_state(state, segmenter, photograph) -> None:
    with pytest.raises(StateError, match="no state of a bundle"):
        segmenter.segment(photograph(RED)[0], {"red": state})


def test_no_class(segmenter, photograph) -> None:
    with pytest.raises(StateError, match="no class"):
        segmenter.segment(photograph(RED)[0], {})


def test_a_bundle_whose_stages_do_not_fit(bundle_folder, edit_manifest) -> None:
    edit_manifest(bundle_folder, lambda document: document["stages"].pop("decode"))
    with pytest.raises(BundleError, match="'decode' is missing"):
        Segmenter.load(bundle_folder)


def test_a_segmenter_that_was_closed(shared_bundle, learn, photograph) -> None:
    segmenter = Segmenter.load(shared_bundle, threads=1)
    state = learn(segmenter, RED)
    segmenter.close()
    with pytest.raises(EngineError, match="closed"):
        segmenter.segment(photograph(RED)[0], state)


def test_more_classes_than_a_label_map_holds(segmenter, learn, photograph) -> None:
    state = learn(segmenter, RED)
    query, _ = photograph(RED)
    held, more = ({str(n): state for n in range(count)} for count in (254, 255))
    assert segmenter.segment(query, held).labels().max() <= 254
    answer = segmenter.segment(query, more)  # a probability for each is no label map
    assert len(answer.classes) == 255
    for call in (answer.labels, lambda: next(iter(segmenter.label([query], more)))):
        with pytest.raises(AnnotationError, match="255 classes were given; a label map holds 1 to"):
            call()
