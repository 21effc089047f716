import json
from dataclasses import replace
from pathlib import Path

import pytest

from lmmrotate.errors import CheckpointError
from lmmrotate.runs import RUN_FILE, RunInfo, installed_versions, read_run, weights_digest

INFO = RunInfo(
    codec={"name": "loc_tokens", "classes": ["ship"]},
    prompt="Where?",
    image_square_length=64,
    config={"seed": 1},
    data=({"dataset": "x"},),
    versions=installed_versions(),
    weights="abc",
)


def test_round_trip(tmp_path: Path) -> None:
    INFO.write(tmp_path)
    assert read_run(tmp_path) == INFO


def test_fingerprint_follows_what_changes_predictions() -> None:
    assert INFO.fingerprint == replace(INFO, config={}, versions={}).fingerprint
    others = [
        replace(INFO, weights="b"),
        replace(INFO, prompt="?"),
        replace(INFO, image_square_length=1),
        replace(INFO, codec={}),
    ]
    assert len({INFO.fingerprint, *(o.fingerprint for o in others)}) == 5


def test_weights_digest_covers_every_shard(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"1")
    one = weights_digest(tmp_path)
    (tmp_path / "b.safetensors").write_bytes(b"2")
    assert weights_digest(tmp_path) != one


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such run directory"):
        read_run(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"not a run directory \(no lmmrotate\.json\)$"):
        read_run(tmp_path)
    checkpoint = tmp_path / "checkpoints" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    INFO.write(checkpoint)
    with pytest.raises(CheckpointError, match=r"unfinished training: try .*checkpoint-5"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ("[]", "not a run file"), ('{"kind": "lmmrotate-run"}', "not a run file")],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_run(tmp_path)


def test_missing_key_is_named(tmp_path: Path) -> None:
    INFO.write(tmp_path)
    body = json.loads((tmp_path / RUN_FILE).read_text())
    del body["prompt"]
    (tmp_path / RUN_FILE).write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match="'prompt' is missing"):
        read_run(tmp_path)
