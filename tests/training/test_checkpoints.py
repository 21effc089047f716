import json
from pathlib import Path

from lmmrotate.training.checkpoints import last_complete_checkpoint, remove_incomplete_checkpoints


def checkpoint(run: Path, step: int, state: str | None = None) -> Path:
    folder = run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    text = json.dumps({"global_step": step}) if state is None else state
    if text:
        (folder / "trainer_state.json").write_text(text)
    return folder


def test_newest_complete_checkpoint_wins(tmp_path: Path) -> None:
    assert last_complete_checkpoint(tmp_path) is None
    checkpoint(tmp_path, 90)
    good = checkpoint(tmp_path, 100)
    cut = checkpoint(tmp_path, 110, state='{"global_st')
    without_state = checkpoint(tmp_path, 120, state="")
    (tmp_path / "checkpoints" / "checkpoint-final").mkdir()
    assert last_complete_checkpoint(tmp_path) == good
    assert sorted(remove_incomplete_checkpoints(tmp_path)) == ["checkpoint-110", "checkpoint-120"]
    assert not cut.exists()
    assert not without_state.exists()
    assert good.exists()
