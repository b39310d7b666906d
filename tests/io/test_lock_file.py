"""Locks between processes and threads."""

import threading
import time

from fcnjax.io.lock_file import locked


def test_builders_of_one_file_take_turns(tmp_path):
    inside, most = [], []

    def build():
        with locked(tmp_path / "cache" / "set"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
