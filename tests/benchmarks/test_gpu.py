"""benchmarks/gpu.py: rows that are resumed, reports, the limit of time, and the table."""

import json

import gpu
import pytest
from gpu_rows import Line, Row, Target, make_rows, table

WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1].partition('=')[2]).write_text('{}')"


def lines(row, reports):
    return [Line(row.name, "ours", "torch", reports[row.name]["value"], row.target)]


def make_row(name, code=WRITE, **options):
    return Row(2, name, ("-c", code), lines, Target(1.2, 1.35), **options)


def done(value=0.0):
    return {"status": "done", "measured": "2026-11-30T12:00:00", "seconds": 1} | {
        "report": {"value": value}
    }


def test_finished_rows_are_kept_and_failed_ones_come_last(tmp_path, monkeypatch):
    rows, measured = [make_row(name) for name in "abcd"], []
    outcomes = {"a": "failed", "c": "done", "d": "stopped"}

    def measure(row, *args):
        measured.append(row.name)
        return done() | {"status": outcomes[row.name]}

    monkeypatch.setattr(gpu, "measure", measure)
    results = {"machine": {"card": "x"}, "rows": {"a": {"status": "failed"}, "b": done()}}
    assert gpu.run_part(2, rows, results, tmp_path, "cuda") == 1
    assert measured == ["c", "d", "a"]
    outcomes |= {"a": "done", "d": "done"}
    results = gpu.open_results(tmp_path, {"card": "x"})
    assert gpu.run_part(2, rows, results, tmp_path, "cuda") == 0
    assert measured[3:] == ["d", "a"]
    assert gpu.run_part(2, rows, results, tmp_path, "cuda") == 0
    assert len(measured) == 5


def test_no_row_is_started_without_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(gpu.PARTS, 2, gpu.LEAST_SECONDS - 1)
    results = {"machine": {}, "rows": {}}
    assert gpu.run_part(2, [make_row("a")], results, tmp_path, "cuda") == 1
    assert "run the command again for a" in capsys.readouterr().out


def test_results_of_another_machine_are_refused(tmp_path, capsys):
    (tmp_path / "results.json").write_text(json.dumps({"machine": {"card": "x"}, "rows": {}}))
    with pytest.raises(SystemExit, match="2"):
        gpu.open_results(tmp_path, {"card": "y"})
    assert "is of {'card': 'x'}, not {'card': 'y'}" in capsys.readouterr().err


def test_status_of_a_row(tmp_path):
    entry = gpu.measure(make_row("good"), tmp_path, 60, "cpu")
    assert (entry["status"], entry["report"]) == ("done", {})
    entry = gpu.measure(make_row("bad", "raise SystemExit('no')"), tmp_path, 60, "cpu")
    assert (entry["status"], entry["error"]) == ("failed", "exit code 1: no")
    entry = gpu.measure(make_row("slow", "import time; time.sleep(60)"), tmp_path, 0.5, "cpu")
    assert entry["status"] == "stopped"


def test_cold_row_starts_without_programs_and_warm_row_with_them(tmp_path):
    # Writes a program, and reports whether there was one.
    code = (
        "import json, os, pathlib, sys"
        "; folder = pathlib.Path(os.environ['JAX_COMPILATION_CACHE_DIR'])"
        "; text = json.dumps(folder.is_dir()); folder.mkdir(exist_ok=True)"
        "; pathlib.Path(sys.argv[1].partition('=')[2]).write_text(text)"
    )
    for kind in ("needs_programs", "is_cold", "needs_programs"):
        row = make_row(kind, code, programs="programs", **{kind: True})
        entry = gpu.measure(row, tmp_path, 60, "cpu")
        assert entry["report"] == (kind == "needs_programs")


@pytest.mark.parametrize(
    ("failed", "skipped", "error"), [(0, 0, ""), (1, 0, "failed: test_0"), (0, 2, "no test ran")]
)
def test_report_of_pytest(tmp_path, failed, skipped, error):
    cases = "".join(
        f'<testcase name="test_{i}">{"<failure/>" if i < failed else ""}</testcase>'
        for i in range(2)
    )
    counts = f'tests="2" failures="{failed}" errors="0" skipped="{skipped}"'
    path = tmp_path / "report"
    path.write_text(f"<testsuites><testsuite {counts}>{cases}</testsuite></testsuites>")
    report, found = gpu.read_report(path)
    assert found == error
    assert report["passed"] == 2 - failed - skipped


def timing_report(*names_ms):
    rows = [{"name": name, "ms": ms, "peak_gib": 2.0 * ms} for name, ms in names_ms]
    return {"status": "done", "measured": "2026-11-30T12:00:00", "report": {"results": {"m": rows}}}


def quality(seconds, last):
    results = {"seconds": seconds, "scores": [[1.0, 100, 0.5], [2.0, 2000, last]]}
    report = {"settings": {"target": 0.8284}, "results": results}
    return {"status": "done", "measured": "2026-12-01T12:00:00", "report": report}


def test_table_compares_with_the_targets():
    fcn, one = "training step, fcn_resnet50", "masks, unet, batch 1"
    entries = {
        "correctness": {"status": "failed", "error": "failed: a", "measured": "2026-11-30T1"},
        fcn: timing_report(("fcnjax", 40.0), ("torch compile", 50.0)),
        f"{fcn}, remat": timing_report(("fcnjax", 60.0)),
        one: timing_report(("fcnjax", 2.0), ("torch graphs", 1.0)),
        f"{one}, command buffers": timing_report(("fcnjax", 0.5)),
        "STARE, cold, seed 0": quality(None, 0.82),
        "STARE, warm, seed 1": quality(45.0, 0.85),
        "STARE, warm, seed 2": quality(50.0, 0.86),
    }
    text = table(make_rows("cuda", False), {"machine": {"card": "H100"}, "rows": entries})
    found = text.splitlines()
    assert found[0] == "card H100; 2026-11-30 to 2026-12-01"
    for line in (
        "| 1 | correctness | failed: failed: a | | | | |",
        f"| 2 | {fcn} | 40.00 ms, 80.00 GiB | 50.00 ms, 100.00 GiB, torch compile | 1.25 | "
        "at least 1.2 (aim 1.35) | yes |",
        f"| 2 | {fcn}, remat: peak memory | 60.00 ms, 120.00 GiB | 40.00 ms, 80.00 GiB, without "
        "| 1.5 | - | - |",
        f"| 3 | {one} | 2.00 ms, 4.00 GiB | 1.00 ms, 2.00 GiB, torch graphs | 0.5 | at least 1 "
        "| **no** |",
        f"| 3 | {one}, command buffers | 0.50 ms, 1.00 GiB | 1.00 ms, 2.00 GiB, torch graphs | 2 "
        "| at least 1 | yes |",
        "| 4 | input | not run | | | | |",
        "| 5 | STARE, cold, seed 0: seconds to Dice 0.8284 | not reached |  | inf | at most 120 "
        "| **no** |",
        "| 5 | STARE, warm, seed 2: seconds to Dice 0.8284 | 50.0 s |  | 50 | at most 60 | yes |",
        "| 5 | STARE: mean Dice at the last step | 0.8200, 0.8500, 0.8600 |  | 0.8433 | at least "
        "0.84 (aim 0.85) | yes |",
    ):
        assert line in found


def test_parts_fit_their_limits():
    assert sum(gpu.PARTS.values()) < 29 * 60
    rows = make_rows("cuda", False)
    assert {row.part for row in rows} == set(gpu.PARTS)
    assert len({row.name for row in rows}) == len(rows)


def test_missing_packages_are_named(monkeypatch):
    def version(name):
        if name in ("grain", gpu.UNUSED):
            raise gpu.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(gpu.importlib.metadata, "version", version)
    assert gpu.missing_packages() == ["grain"]
