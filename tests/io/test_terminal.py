"""Progress on standard output."""

from pathlib import Path

from fcnjax.io.terminal import optional_output


def test_full_output_is_reported_once_and_does_not_raise(capsys):
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        for _ in range(3):
            with optional_output(stream):
                print("step 1", file=stream, flush=True)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device; training continues" in err
