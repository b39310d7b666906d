"""Measures the throughput and latency of `fcnjax serve` by number of clients.

    python benchmarks/serve.py --model=runs/quickstart
    python benchmarks/serve.py --model=runs/quickstart --size=512x512 --out=serve.json
    python benchmarks/serve.py --model=runs/quickstart --engines=xla,openvino --batches=1

Starts a server on this machine for each engine and each batch size; a gain is the rate relative to
that of the first server. Each client uses one connection and sends the next request after the
answer to the last: a generated uint8 image in the binary extension of the protocol, with the mask
returned as bytes. The servers alternate, so that changes on the machine affect all.
"""

import argparse
import contextlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
from timing import write_report

PATH = "/v2/models/segmenter/infer"


def main() -> None:
    """Measure each number of clients and print the table."""
    args = _parse()
    height, width = map(int, args.size.split("x"))
    body, headers = request(np.random.default_rng(0), height, width)
    with contextlib.ExitStack() as stack:
        ports = {
            (engine, batch): stack.enter_context(serving(args, batch, engine))
            for engine in args.engines.split(",")
            for batch in args.batches
        }
        rows = {}
        for clients in args.clients:
            for _ in range(args.chunks):
                for server, port in ports.items():
                    found = measure(port, body, headers, clients, args)
                    rows.setdefault((clients, *server), []).append(found)
    results = [summary(*server, found) for server, found in rows.items()]
    print(table(results))
    if args.out:
        write_report(args.out, {**vars(args)}, {"rows": results})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="workdir of a model")
    parser.add_argument("--size", default="256x256", metavar="HxW", help="image size (256x256)")
    parser.add_argument("--engines", default="xla", help="engines, with commas (xla)")
    for name, default in (("batches", "1,8"), ("clients", "1,8,32")):
        parser.add_argument(
            f"--{name}",
            default=default,
            type=lambda text: [int(number) for number in text.split(",")],
            help=f"numbers, with commas ({default})",
        )
    parser.add_argument("--seconds", type=float, default=8, help="maximum duration of a chunk (8)")
    parser.add_argument("--requests", type=int, default=2000, help="of a chunk, at most (2000)")
    parser.add_argument("--chunks", type=int, default=3, help="number of chunks for the median (3)")
    parser.add_argument("--out", metavar="FILE", help="write the results to this JSON file")
    return parser.parse_args()


@contextlib.contextmanager
def serving(args: argparse.Namespace, batch: int, engine: str = "xla") -> Iterator[int]:
    """Start a server, warm it up and yield its port."""
    command = [sys.executable, "-m", "fcnjax", "serve", f"--model={args.model}"]
    command.append(f"--engine={engine}")
    options = [f"--batch={batch}", f"--warm={args.size}", "--port=0", "--queue=256"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)$", process.stdout.readline().strip())[1])
        while ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/v2/health/ready") != 200:
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def request(rng: np.random.Generator, height: int, width: int) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request for the mask of an image."""
    image = rng.integers(0, 256, (1, height, width, 3), np.uint8)
    tensor = {"name": "image", "shape": list(image.shape), "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": image.nbytes}
    outputs = [{"name": "mask", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    return head + image.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def ask(connection: http.client.HTTPConnection, *what) -> int:
    """Send a request and return the status of the answer."""
    connection.request(*what)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def measure(port: int, body: bytes, headers: dict, clients: int, args) -> tuple[float, list]:
    """Return the requests per second and all latencies for a number of clients."""
    seconds, lock = [], threading.Lock()
    start = time.perf_counter()
    until = start + args.seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.perf_counter() < until:
            begun = time.perf_counter()
            status = ask(connection, "POST", PATH, body, headers)
            if status != 200:
                raise RuntimeError(f"status {status}")
            with lock:
                seconds.append(time.perf_counter() - begun)
                if len(seconds) >= args.requests:
                    break
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(seconds) / (time.perf_counter() - start), seconds


def summary(clients: int, engine: str, batch: int, found: list[tuple[float, list]]) -> dict:
    """Return a row: the rate of the median chunk and quantiles over all requests."""
    rates = [rate for rate, _ in found]
    times = np.concatenate([seconds for _, seconds in found])
    return {
        "clients": clients,
        "engine": engine,
        "batch": batch,
        "requests_per_second": statistics.median(rates),
        "rates": rates,
        "p50_ms": 1e3 * float(np.quantile(times, 0.5)),
        "p99_ms": 1e3 * float(np.quantile(times, 0.99)),
        "requests": len(times),
    }


def table(rows: list[dict]) -> str:
    """Format the rows; the gain is the rate relative to that of the first server."""
    lines = [
        f"{'clients':>8} {'engine':<12}{'batch':>6}{'req/s':>9}{'min..max':>17}{'p50 ms':>9}"
        f"{'p99 ms':>9}{'gain':>6}"
    ]
    first = {}
    for row in rows:
        rate = row["requests_per_second"]
        gain = rate / first.setdefault(row["clients"], rate)
        spread = f"{min(row['rates']):.1f}..{max(row['rates']):.1f}"
        lines.append(
            f"{row['clients']:>8} {row['engine']:<12}{row['batch']:>6}{rate:>9.1f}{spread:>17}"
            f"{row['p50_ms']:>9.0f}{row['p99_ms']:>9.0f}{gain:>6.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
