from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.data.augment import Augmentation
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.streaming import ManifestFile, open_manifest
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.training.dataset import AnswerCounts, AnswerDataset, build_answers
from lmmrotate.training.manifests import open_training_manifests

CODEC = LocTokenCodec(("ship", "small-vehicle"))


def tokens(answer: str) -> int:
    """As if every class name were one token: start, end, names and <…> tokens."""
    names = sum(answer.count(word) for word in CODEC.words)
    return 2 + names + answer.count("<")


def written(dataset: AnswerDataset, index: int) -> str:
    record = dataset.record(index)[1]
    return CODEC.encode(record.quads, record.labels, record.wh)


def record_of(*labels: str) -> ImageRecord:
    rng = np.random.default_rng(0)
    return ImageRecord("a.png", 64, 64, rng.uniform(0, 64, (len(labels), 4, 2)), labels, (0,) * len(labels))


def file_of(folder: Path, *labels: str) -> ManifestFile:
    """A manifest of one image with these objects."""
    path = folder / f"{len(labels)}.jsonl"
    Manifest("toy", "train", CODEC.classes, (record_of(*labels),)).write(path)
    return open_manifest(path)


def test_pairs_are_images_and_their_answers(data: Callable[..., Path]) -> None:
    manifest = open_manifest(data())
    dataset = build_answers([manifest], CODEC, tokens, 100, "error")
    assert len(dataset) == 4
    assert dataset[1].image.size == (64, 64)
    assert dataset[1].answer == "There are none."
    assert dataset[1].path.name == "train1.png"
    assert CODEC.decode(dataset[2].answer, (64, 64)).quads.shape == (2, 4, 2)
    assert dataset.lengths().tolist() == [tokens(dataset[i].answer) for i in range(4)]
    assert dataset.counts == AnswerCounts(
        images=4, boxes=4, longest_answer=dataset.counts.longest_answer, largest_side_px=64
    )


@pytest.mark.parametrize(("limit", "kept"), [(100, 5), (2 + 2 + 9 * 4, 4), (2 + 9 + 9, 2), (11, 1), (10, 0)])
def test_too_long_answers_lose_their_last_boxes(limit: int, kept: int, tmp_path: Path) -> None:
    manifest = file_of(tmp_path, "small-vehicle", "ship", "ship", "small-vehicle", "ship")
    whole = CODEC.encode(manifest[0].quads, manifest[0].labels, (64, 64))
    if not kept:
        with pytest.raises(DataError, match="no image to train on"):
            build_answers([manifest], CODEC, tokens, limit, "drop_boxes")
        return
    dataset = build_answers([manifest], CODEC, tokens, limit, "drop_boxes")
    answer = written(dataset, 0)
    assert tokens(answer) == dataset.counts.longest_answer <= limit
    assert len(CODEC.decode(answer, (64, 64)).labels) == dataset.counts.boxes == kept
    assert dataset.counts.dropped_boxes == 5 - kept
    assert dataset.counts.shortened_answers == (kept < 5)
    assert answer.split("small vehicle")[0].startswith("ship"), "whole classes go last first"
    assert kept < 5 or answer == whole


def test_too_long_answers_can_be_skipped_or_refused(tmp_path: Path) -> None:
    long, short = file_of(tmp_path, "ship", "ship"), file_of(tmp_path, "ship")
    dataset = build_answers([long, short], CODEC, tokens, 12, "skip")
    assert (dataset.counts.images, dataset.counts.skipped_images) == (1, 1)
    assert CODEC.decode(written(dataset, 0), (64, 64)).labels == ("ship",), "the short one is left"
    with pytest.raises(DataError, match=r"a\.png: the answer for 2 boxes takes 20 tokens, more than 12"):
        build_answers([long], CODEC, tokens, 12, "error")


def test_balanced_epochs_show_a_small_data_set_as_often(data: Callable[..., Path]) -> None:
    small, large = open_manifest(data((1, 1), name="small")), open_manifest(data((1,) * 10, name="large"))
    dataset = build_answers([small, large], CODEC, tokens, 100, "error", mode="balanced concat")
    seen = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        assert len(dataset) == 12
        seen.append([dataset.record(i)[0].name for i in range(12)])
        assert sum(name.startswith("small") for name in seen[-1]) == 6
    assert seen[0] == seen[2] != seen[1]


def test_versions_without_an_empty_answer_skip_empty_images(tmp_path: Path) -> None:
    codec = LocTokenCodec(CODEC.classes, response_version=2)
    dataset = build_answers([file_of(tmp_path), file_of(tmp_path, "ship")], codec, tokens, 100, "error")
    assert (dataset.counts.images, dataset.counts.skipped_images) == (1, 1)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_data_workers_read_the_same(start: str, data: Callable[..., Path]) -> None:
    """Processes that read images get offsets into the manifest, not the records."""
    dataset = build_answers([open_manifest(data((3, 1, 0, 2, 5)))], CODEC, tokens, 40, "drop_boxes")
    assert dataset.counts.dropped_boxes == 1
    loader = DataLoader(dataset, None, num_workers=2, multiprocessing_context=start)
    for there, index in zip(loader, range(5), strict=True):
        here = dataset[index]
        assert there.answer == here.answer
        assert there.image.tobytes() == here.image.tobytes()


def test_augmentation_depends_on_seed_epoch_and_place(data: Callable[..., Path]) -> None:
    def epoch(seed: int, number: int) -> list[tuple[str, bytes]]:
        dataset = build_answers(
            [open_manifest(data((3, 1, 0, 2)))],
            *(CODEC, tokens, 100, "error"),
            augmentation=Augmentation(flip=True, turn=True, rotation_deg=20, scale=0.2, colour=0.5),
            seed=seed,
        )
        dataset.set_epoch(number)
        return [(example.answer, example.image.tobytes()) for example in map(dataset.__getitem__, range(4))]

    assert epoch(0, 0) == epoch(0, 0)
    assert epoch(0, 0) != epoch(0, 1) != epoch(1, 1)


def test_a_manifest_that_changes_under_way_is_noticed(data: Callable[..., Path]) -> None:
    path = data()
    dataset = build_answers([open_manifest(path)], CODEC, tokens, 100, "error")
    manifest = read_manifest(path)
    replace(manifest, records=manifest.records[::-1]).write(path)
    with pytest.raises(DataError, match=r"train\.jsonl: has changed since it was opened"):
        dataset[0]


def test_manifests_are_checked_before_training(data: Callable[..., Path], tmp_path: Path) -> None:
    first = data()
    other = tmp_path / "data" / "other.jsonl"
    replace(read_manifest(first), classes=("ship", "small-vehicle", "plane")).write(other)
    with pytest.raises(ConfigError, match=r"other\.jsonl: its class list differs"):
        open_training_manifests([str(first), str(other)], [])
    twice = tmp_path / "data" / "twice.jsonl"
    replace(read_manifest(first), records=read_manifest(first).records[:1] * 2).write(twice)
    with pytest.raises(DataError, match=r"twice\.jsonl:3: image 'images/train0\.png' stands on an earlier"):
        open_training_manifests([str(twice)], [])
    Image.new("RGB", (10, 20)).save(tmp_path / "data" / "images" / "train1.png")
    with pytest.raises(DataError, match=r"train1\.png: is 10 x 20 px, but the manifest says 64 x 64"):
        open_training_manifests([str(first)], [])
    (tmp_path / "data" / "images" / "train1.png").unlink()
    with pytest.raises(DataError, match=r"train1\.png"):
        open_training_manifests([str(first)], [])
