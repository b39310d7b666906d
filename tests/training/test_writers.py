"""The metrics of a training in metrics.jsonl and TensorBoard."""

import contextlib
import io
import json
import math
import os
import struct
import subprocess
import sys
import threading

import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.training.writers import open_writers
from fcnjax.training.writers.metrics_file import JsonlWriter, read_metrics
from fcnjax.training.writers.tensorboard import TensorBoardWriter
from fcnjax.training.writers.terminal import TerminalWriter


def write_steps(workdir, steps, start_step=0):
    with contextlib.closing(JsonlWriter(workdir, start_step)) as writer:
        for step in steps:
            writer.write(step, {"loss": 1 / step})


def read_events(workdir):
    """Every event of every file, oldest first; a record is length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    events = []
    for path in sorted((workdir / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def test_lines_are_written_at_once_and_read_back(tmp_path):
    with contextlib.closing(JsonlWriter(tmp_path)) as writer:
        writer.write(10, {"loss": 0.5, "lr": 1e-3})
        assert read_metrics(tmp_path) == [{"step": 10, "loss": 0.5, "lr": 1e-3}]
        writer.write(20, {"loss": math.inf, "eval/iou/vessel": math.nan})
    last = (tmp_path / "metrics.jsonl").read_text().splitlines()[1]
    assert json.loads(last) == {"step": 20, "loss": None, "eval/iou/vessel": None}
    assert math.isnan(read_metrics(tmp_path)[1]["loss"])


def test_missing_file_has_no_lines(tmp_path):
    assert read_metrics(tmp_path) == []


def test_resumed_run_writes_the_same_file_as_an_uninterrupted_one(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    write_steps(one, range(10, 101, 10))
    write_steps(other, range(10, 61, 10))
    with (other / "metrics.jsonl").open("a") as file:
        file.write('{"step": 70, "lo')  # killed while it wrote
    assert [line["step"] for line in read_metrics(other)] == [10, 20, 30, 40, 50, 60]
    write_steps(other, range(50, 101, 10), start_step=40)
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


def test_new_run_removes_the_lines_of_another(tmp_path):
    with contextlib.closing(JsonlWriter(tmp_path)) as writer:
        writer.write(0, {"eval/mean_iou": 0.1})
        writer.write(10, {"loss": 1})
    write_steps(tmp_path, [5])
    assert [line["step"] for line in read_metrics(tmp_path)] == [5]


@pytest.mark.parametrize("cut", ['{"step": 2', '{"step": 20}', "[]\n", "12\n", "\0\0\0\n"])
def test_incomplete_last_line_is_dropped(tmp_path, cut):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n' + cut)
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 2.0}]
    JsonlWriter(tmp_path, start_step=50).close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 2.0}\n'


def test_damaged_line_in_the_middle_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\noops\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 2"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": "2", "loss": 1}',
        '{"step": true}',
        '{"step": -1}',
        '{"step": 1e3}',
        '{"loss": 1}',
        '{"step": 2, "loss": "low"}',
        '{"step": 2, "loss": [1]}',
        '{"step": 2, "loss": 1e999}',
        '{"step": 2, "loss": NaN}',
        '{"step": 99999999999999999999}',
        "[" * 10**5,
        "9" * 5000,
        "x" * (5 * 2**20),
    ],
)
def test_line_of_wrong_types_is_an_error(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    for read in (read_metrics, lambda folder: JsonlWriter(folder, start_step=50)):
        with pytest.raises(UserError, match=r"metrics\.jsonl: line 2 is not a line of metrics"):
            read(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text().endswith('{"step": 3}\n')


def test_file_of_too_many_values_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("fcnjax.training.writers.metrics_file.MAX_VALUES", 5)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2}\n' * 3)
    with pytest.raises(UserError, match="has more than 5 values"):
        read_metrics(tmp_path)


def test_pipe_in_place_of_the_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match="is not a regular file"):
        read_metrics(tmp_path)


def test_tensorboard_files_contain_the_values_and_no_thread_remains(tmp_path):
    before = threading.active_count()
    with contextlib.closing(TensorBoardWriter(tmp_path)) as writer:
        writer.write(10, {"loss": 0.5, "lr": math.nan})
        assert threading.active_count() == before
        assert len(read_events(tmp_path)) == 2  # flushed at once: the header and the loss
    with contextlib.closing(TensorBoardWriter(tmp_path, start_step=10)) as writer:
        writer.write(20, {"loss": 0.25})
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    events = read_events(tmp_path)
    scalars = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert scalars == [(10, "loss", 0.5), (20, "loss", 0.25)]
    # TensorBoard drops what an earlier file contains from this step on.
    assert [e.step for e in events if e.HasField("session_log")] == [11]


def test_full_disk_error_names_the_file(tmp_path):
    writer = JsonlWriter(tmp_path)
    writer._file.close()
    writer._file = open("/dev/full", "a")  # noqa: SIM115, PTH123 (closed below)
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written: No space left"):
        writer.write(1, {"loss": 1.0})
    with pytest.raises(UserError, match="No space"):
        writer.close()


def test_unwritable_workdir_error_names_the_file(tmp_path):
    (tmp_path / "workdir").write_text("a file")
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be"):
        JsonlWriter(tmp_path / "workdir")
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(UserError, match="tensorboard: cannot be written"):
        TensorBoardWriter(tmp_path)


@pytest.mark.parametrize("tensorboard", [False, True])
def test_open_writers_are_those_of_the_config_and_further_ones(tmp_path, tensorboard):
    config, extra = default_config(), TerminalWriter(3, stream=io.StringIO())
    config.train.tensorboard = tensorboard
    with open_writers(config, tmp_path, 0, [extra]) as opened:
        names = [type(writer).__name__ for writer in opened]
    events = ["TensorBoardWriter"] * tensorboard
    assert names == ["JsonlWriter", *events, "TerminalWriter", "TerminalWriter"]
    assert opened[-1] is extra
    assert opened[0]._file.closed


def test_tensorboard_and_rich_are_imported_only_when_used():
    code = (
        "import sys, fcnjax.training.writers\n"
        "print([name for name in ('tensorboardX', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
