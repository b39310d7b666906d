"""benchmarks/time_to_quality.py: the scores of a run, the time of the target, and the report."""

import json
from argparse import Namespace

import pytest
from time_to_quality import METRIC, _report, _watch


class Ended:
    """A run that has ended."""

    def poll(self):
        return 0


@pytest.mark.parametrize(
    ("target", "code", "written"), [(0.8, 0, True), (0.9, 0, True), (0.9, 1, False)]
)
def test_report_has_the_time_of_the_target(tmp_path, target, code, written):
    log, out = tmp_path / "metrics.jsonl", tmp_path / "out.json"
    rows = [
        {"step": 100 * (i + 1), f"eval/{METRIC}": dice} for i, dice in enumerate((0.5, 0.85, 0.7))
    ]
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"step": 400, "ev')
    args = Namespace(target=target, end=True, out=str(out))
    scores = _watch(Ended(), log, 0.0, args)
    assert [score[1:] for score in scores] == [(100, 0.5), (200, 0.85), (300, 0.7)]
    assert _report(scores, code, args) == int(target > 0.85)
    assert out.exists() == written
    if written:
        results = json.loads(out.read_text())["results"]
        assert results["seconds"] == (scores[1][0] if target == 0.8 else None)
        assert results["scores"][-1][1:] == [300, 0.7]
