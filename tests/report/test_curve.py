from dataclasses import replace
from pathlib import Path

from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.curve import write_curve


def test_checkpoints_come_in_order_and_the_best_is_bold(tmp_path: Path, evaluation: Evaluation) -> None:
    points = [(2000, replace(evaluation, mf1=0.9)), (500, replace(evaluation, mf1=0.25))]
    path = tmp_path / "curve.html"
    write_curve(path, "run <b> on val", points)
    page = path.read_text(encoding="utf-8")
    assert page.index('<th scope="row">500</th>') < page.index('<th scope="row">2,000</th>')
    assert "<b>0.9000</b>" in page
    assert "<td>0.2500</td>" in page
    assert page.count("<svg") == 1
    assert "run &lt;b&gt; on val" in page
    assert "<script" not in page
