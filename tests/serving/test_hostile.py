"""Ten thousand requests, good and hostile, to one process: it stays, answers, and stays small."""

import contextlib
import http.client
import importlib.util
import re
import signal
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile, process_tests = load("hostile"), load("test_process")

REQUESTS, CLIENTS, ROUNDS = 10_000, 12, 10
# What rounds after the second may bring: of the memory, and of each program that is new.
GROWTH, PROGRAM = 0.03, 10 * 2**20


def send(rng, port, counts, faults):
    if rng.random() < 0.05:
        counts["rude"] += 1
        with contextlib.suppress(ConnectionError):
            hostile.rude(rng, port)
        return
    method, path, body, headers, good = hostile.request(rng)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except ConnectionError as error:
        # Where the body is not read, the connection may be gone before its answer is.
        status = type(error).__name__
        if good:
            faults.append((method, path, status))
    else:
        status = answer.status
        fine = status in ({200, 503} if good else hostile.FINE)
        if not fine or (status == 503 and not answer.headers["Retry-After"]):
            faults.append((method, path, status, content[:300]))
    finally:
        connection.close()
    counts[status] += 1


def attack(port, seed, count, counts, faults):
    def client(number):
        rng = np.random.default_rng((seed, number))
        for _ in range(count // CLIENTS + 1):
            send(rng, port, counts, faults)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_ten_thousand_requests(workdir, png):
    options = ("--warm=none", "--port=0", "--max-bytes=2097152", "--max-pixels=1000000")
    with process_tests.serving(workdir, *options, "--queue=32", "--batch=8") as (process, port):
        counts, faults, memory, programs = Counter(), [], [], []
        for seed in range(ROUNDS):
            attack(port, seed, REQUESTS // ROUNDS, counts, faults)
            memory.append(psutil.Process(process.pid).memory_info().rss)
            text = process_tests.ask(port, "GET", "/metrics")[1].decode()
            programs.append(int(float(re.search(r"^fcnjax_programs (.*)$", text, re.M)[1])))
            assert process_tests.ask(port, "POST", "/segment", png)[0] == 200
        print(dict(counts), [round(size / 2**20) for size in memory], "MiB", programs)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert not faults, faults[:5]
    assert sum(counts.values()) >= REQUESTS
    assert (process.returncode, out, err) == (0, "stopped\n", "")
    new = programs[-1] - programs[1]
    assert memory[-1] < (1 + GROWTH) * memory[1] + PROGRAM * new, (memory, programs)
