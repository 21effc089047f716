from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.training.dataset import AnswerCounts, build_answers, read_training_manifests

CODEC = LocTokenCodec(("ship", "small-vehicle"))


def tokens(answer: str) -> int:
    """As if every class name were one token: start, end, names and <…> tokens."""
    names = sum(answer.count(word) for word in CODEC.words)
    return 2 + names + answer.count("<")


def manifest_of(*labels: str, folder: Path = Path()) -> Manifest:
    rng = np.random.default_rng(0)
    quads = rng.uniform(0, 64, (len(labels), 4, 2))
    record = ImageRecord("a.png", 64, 64, quads, labels, (0,) * len(labels))
    return Manifest("toy", "train", CODEC.classes, (record,), folder)


def test_pairs_are_images_and_their_answers(data: Callable[..., Path]) -> None:
    manifest = read_manifest(data())
    dataset = build_answers([manifest], CODEC, tokens, 100, "error")
    assert len(dataset) == 4
    image, answer = dataset[1]
    assert image.size == (64, 64)
    assert answer == "There are none."
    assert CODEC.decode(dataset[2][1], (64, 64)).quads.shape == (2, 4, 2)
    assert dataset.counts == AnswerCounts(images=4, boxes=4, longest_answer=dataset.counts.longest_answer)


@pytest.mark.parametrize(("limit", "kept"), [(100, 5), (2 + 2 + 9 * 4, 4), (2 + 9 + 9, 2), (11, 1), (10, 0)])
def test_too_long_answers_lose_their_last_boxes(limit: int, kept: int) -> None:
    manifest = manifest_of("small-vehicle", "ship", "ship", "small-vehicle", "ship")
    whole = CODEC.encode(manifest.records[0].quads, manifest.records[0].labels, (64, 64))
    if not kept:
        with pytest.raises(DataError, match="no image to train on"):
            build_answers([manifest], CODEC, tokens, limit, "drop_boxes")
        return
    dataset = build_answers([manifest], CODEC, tokens, limit, "drop_boxes")
    answer = dataset._items[0][0][1]
    assert tokens(answer) <= limit
    assert len(CODEC.decode(answer, (64, 64)).labels) == dataset.counts.boxes == kept
    assert dataset.counts.dropped_boxes == 5 - kept
    assert dataset.counts.shortened_answers == (kept < 5)
    assert answer.split("small vehicle")[0].startswith("ship"), "whole classes go last first"
    assert kept < 5 or answer == whole


def test_too_long_answers_can_be_skipped_or_refused() -> None:
    long = manifest_of("ship", "ship")
    short = replace(long, records=(long.records[0].select([0]),))
    dataset = build_answers([long, short], CODEC, tokens, 12, "skip")
    assert (dataset.counts.images, dataset.counts.skipped_images) == (1, 1)
    with pytest.raises(DataError, match=r"a\.png: the answer for 2 boxes takes 20 tokens, more than 12"):
        build_answers([long], CODEC, tokens, 12, "error")


def test_balanced_epochs_show_a_small_data_set_as_often(data: Callable[..., Path]) -> None:
    small, large = read_manifest(data((1, 1), name="small")), read_manifest(data((1,) * 10, name="large"))
    dataset = build_answers([small, large], CODEC, tokens, 100, "error", mode="balanced concat")
    seen = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        assert len(dataset) == 12
        seen.append([dataset._shown[i].tolist() for i in range(12)])
        assert sum(which == 0 for which, _ in seen[-1]) == 6
    assert seen[0] == seen[2] != seen[1]


def test_versions_without_an_empty_answer_skip_empty_images() -> None:
    codec = LocTokenCodec(CODEC.classes, response_version=2)
    dataset = build_answers([manifest_of(), manifest_of("ship")], codec, tokens, 100, "error")
    assert (dataset.counts.images, dataset.counts.skipped_images) == (1, 1)


def test_manifests_are_checked_before_training(data: Callable[..., Path], tmp_path: Path) -> None:
    first = data()
    other = tmp_path / "data" / "other.jsonl"
    replace(read_manifest(first), classes=("ship", "small-vehicle", "plane")).write(other)
    with pytest.raises(ConfigError, match=r"other\.jsonl: its class list differs"):
        read_training_manifests([str(first), str(other)], [])
    Image.new("RGB", (10, 20)).save(tmp_path / "data" / "images" / "train1.png")
    with pytest.raises(DataError, match=r"train1\.png: is 10 x 20 px, but the manifest says 64 x 64"):
        read_training_manifests([str(first)], [])
    (tmp_path / "data" / "images" / "train1.png").unlink()
    with pytest.raises(DataError, match=r"train1\.png"):
        read_training_manifests([str(first)], [])
