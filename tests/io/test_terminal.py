"""Progress on standard output."""

import io
import sys
from pathlib import Path

from fcnjax.io.terminal import format_duration, optional_output, print_progress, printable


def test_full_output_is_reported_once_and_does_not_raise(capsys):
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        for _ in range(3):
            with optional_output(stream):
                print("step 1", file=stream, flush=True)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device; training continues" in err


def test_characters_that_the_stream_cannot_encode_are_replaced(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert printable("Straße 5 \udcff", stream) == "Stra?e 5 ?"
    assert printable("Straße", io.StringIO()) == "Straße"
    monkeypatch.setattr(sys, "stdout", stream)
    print_progress("runs/größe")
    assert stream.buffer.getvalue() == b"runs/gr??e\n"


def test_format_duration():
    durations = [format_duration(s) for s in (0.4, 59.6, 3599, 3661)]
    assert durations == ["0:00", "1:00", "59:59", "1:01:01"]
