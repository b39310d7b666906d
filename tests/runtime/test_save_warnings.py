"""Suppression of messages about failed saves."""

import asyncio
import gc

import pytest

from fcnjax.runtime.save_warnings import suppress_save_warnings


def raised_in(path):
    """Return the error of a full disk, raised by code in a file."""
    try:
        exec(compile("raise OSError(28, 'No space left on device')", path, "exec"))
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("path", "reports"), [("/lib/orbax/checkpoint/async_path.py", 0), ("/home/me/loop.py", 1)]
)
def test_only_errors_of_orbax_futures_are_suppressed(path, reports, caplog):
    suppress_save_warnings()
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.set_exception(raised_in(path))
    del future
    gc.collect()
    loop.close()
    records = [record for record in caplog.records if record.name == "asyncio"]
    assert ["never retrieved" in record.getMessage() for record in records] == [True] * reports
