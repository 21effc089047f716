"""Answers that do not fit: the image is asked about again, in four parts."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrotate.codec.base import Decoded
from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.inference.decoding import Answer, DecodingOptions
from lmmrotate.inference.overflow import quarters
from lmmrotate.inference.predictor import Predictor
from lmmrotate.runs import RunInfo

CODEC = LocTokenCodec(("car",))
KEEP, SPLIT = DecodingOptions(overflow="keep"), DecodingOptions()


class Clerk:
    """Writes down the bright rectangles of a picture, no more than ``most`` of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked = 0

    def write(self, pictures: list[Image.Image]) -> list[Answer]:
        self.asked += len(pictures)
        return [self._answer(picture) for picture in pictures]

    def _answer(self, picture: Image.Image) -> Answer:
        import cv2

        mask = (np.asarray(picture)[..., 0] > 128).astype(np.uint8)
        shapes, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        boxes = [cv2.boundingRect(shape) for shape in shapes]
        quads = np.array(
            [[[x, y], [x + w, y], [x + w, y + h], [x, y + h]] for x, y, w, h in boxes], dtype=float
        )
        text = CODEC.encode(
            quads[: self.most].reshape(-1, 4, 2), ["car"] * min(len(boxes), self.most), picture.size
        )
        return Answer(
            text=text,
            token_ids=np.empty(0, np.int64),
            token_ends=np.array([len(text)]),
            bins=np.array([-1]),
            log_probs=np.array([-0.1]),
            spreads=np.full((1, 2), np.nan),
            truncated=len(boxes) > self.most,
            repetition="",
        )


def predictor(clerk: Clerk) -> Predictor:
    family: Any = SimpleNamespace(shown_wh=lambda wh: wh, model=torch.nn.Identity())
    made = Predictor(family, CODEC, RunInfo(CODEC.to_json(), "", 64))
    made._writers = {KEEP: clerk, SPLIT: clerk}  # type: ignore[dict-item]
    return made


@pytest.fixture
def car_park() -> tuple[Image.Image, np.ndarray]:
    """64 cars, and their centres."""
    pixels = np.zeros((400, 600, 3), np.uint8)
    centres = [(x, y) for y in range(30, 400, 48) for x in range(40, 600, 72)]
    for x, y in centres:
        pixels[y - 6 : y + 6, x - 12 : x + 12] = 255
    return Image.fromarray(pixels), np.array(centres, dtype=float)


def centres_of(found: Decoded | Any) -> np.ndarray:
    return found.quads.mean(axis=1)[np.lexsort(found.quads.mean(axis=1).round(-1).T)]


def test_everything_is_found_in_the_parts_and_once(car_park: tuple[Image.Image, np.ndarray]) -> None:
    picture, centres = car_park
    for most, times in ((100, 1), (30, 5)):
        clerk = Clerk(most)
        found = predictor(clerk).predict_pictures(["lot"], [picture])[0]
        assert clerk.asked == times
        assert not found.truncated
        assert (found.image, found.width, found.height) == ("lot", 600, 400)
        np.testing.assert_allclose(centres_of(found), centres[np.lexsort(centres.round(-1).T)], atol=1.5)
        assert [p.kind for p in found.problems] == (["split_in_four"] if times > 1 else [])


def test_what_cannot_be_held_even_in_parts_is_kept_and_counted(
    car_park: tuple[Image.Image, np.ndarray],
) -> None:
    picture, centres = car_park
    clerk = Clerk(2)
    found = predictor(clerk).predict_pictures(["lot"], [picture])[0]
    assert clerk.asked == 1 + 4 + 16
    assert found.truncated
    assert 2 < len(found.quads) < len(centres)
    assert sum(p.kind == "split_in_four" for p in found.problems) == 5
    kept = predictor(Clerk(2)).predict_pictures(["lot"], [picture], KEEP)[0]
    assert kept.truncated
    assert len(kept.quads) == 2
    small = predictor(Clerk(0)).predict_pictures(["dot"], [Image.new("RGB", (20, 20), "white")])[0]
    assert small.truncated, "too small to be cut"


def test_quarters_cover_the_picture_and_overlap() -> None:
    for size in ((33, 47), (1000, 999)):
        picture = Image.new("RGB", size)
        covered = np.zeros(size[::-1], int)
        for (x0, y0, x1, y1), part in quarters(picture):
            assert part.size == (x1 - x0, y1 - y0)
            covered[y0:y1, x0:x1] += 1
        assert covered.min() >= 1
        assert covered.max() == 4
