"""`fcnjax serve`: serve a model over HTTP."""

import argparse
import os
import re
import socket
from pathlib import Path

from fcnjax.cli.parsers import make_parser, parse_step
from fcnjax.cli.predict_arguments import add_model_arguments
from fcnjax.errors import UserError


def main(argv: list[str]) -> int:
    """Run `fcnjax serve`."""
    args = _parser().parse_args(argv)
    _check(args)
    try:
        from fcnjax.serving import memory, service
        from fcnjax.serving.http import server
    except ImportError as error:
        raise UserError(f"fcnjax serve: needs {error.name}: pip install 'fcnjax[serve]'") from error
    import jax

    from fcnjax.inference import load

    memory.limit_arenas()
    batch = args.batch or (1 if jax.default_backend() == "cpu" else 8)
    bound = server.bind(args.host, args.port)
    with bound:
        allowed_hosts = _allowed_hosts(args.allow_host, bound)
        model = load(args.model, parse_step(args.step), args.dtype, args.resize, args.engine)
        if model.config.eval.resize.crop and batch > 1:
            raise UserError("--resize=original: images are cropped one by one; valid: --batch=1")
        if args.bucket:
            model.config.eval.bucket = args.bucket
        served = service.Service(
            model,
            service.Options(
                name=model_name(args.model),
                batch=batch,
                queue=args.queue,
                programs=args.programs,
                max_bytes=args.max_bytes,
                max_total_bytes=args.max_total_bytes,
                max_pixels=args.max_pixels,
                receive_seconds=args.receive_seconds,
                answer_seconds=args.answer_seconds,
                connections=args.connections,
                drain_seconds=args.drain_seconds,
                warm=_warm(args.warm, tuple(model.config.augment.crop)),
                allowed_hosts=allowed_hosts,
            ),
        )
        address = _address(bound)
        server.Server(
            served,
            on_start=lambda: print(f"serving {args.model} on {address}", flush=True),
        ).run([bound])
    if served.fault is not None:
        raise served.fault
    print("stopped", flush=True)
    if not served.stopped:
        # XLA cannot be interrupted, Python waits for its threads, and a compilation takes minutes.
        os._exit(0)
    return 0


def model_name(model: str) -> str:
    """Return the name of a model's folder, or what follows `hf://` or `torchvision://`."""
    return model.partition("://")[2] if "://" in model else Path(model).resolve().name


def _address(bound) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "serve",
        "Serve a model over HTTP: the Open Inference Protocol v2, POST /segment for "
        "image files, /metrics, and a page at /. SIGTERM stops it once all requests are answered.",
        "fcnjax serve --model=runs/stare --port=8000",
        usage="fcnjax serve --model=MODEL [OPTIONS]",
    )
    add_model_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    _add(parser, "--port", 8000, "0 picks a free one")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer requests whose Host is this name, such as that of a proxy; may be repeated "
        "(on a loopback address only loopback names, elsewhere any)",
    )
    parser.add_argument(
        "--warm",
        action="append",
        metavar="HxW|none",
        help="compile for images of this size at the start; may be repeated (the training crop)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="largest batch (8; on a CPU, which gains nothing from batches, 1)",
    )
    _add(parser, "--queue", 64, "images that may wait; more get status 503")
    _add(parser, "--programs", 64, "compiled programs that are kept, one per image size")
    _add(parser, "--bucket", 0, "pad images to multiples of this (as in training)")
    _add(parser, "--max-pixels", 16 * 2**20, "limit of an image")
    _add(parser, "--max-bytes", 64 * 2**20, "limit of a request")
    _add(parser, "--max-total-bytes", 2 * 2**30, "limit of all requests, with their images")
    _add(parser, "--connections", 256, "limit at a time")
    _add(parser, "--receive-seconds", 30, "time limit for a request to arrive")
    _add(parser, "--answer-seconds", 60, "time limit for the prediction of its images")
    _add(parser, "--drain-seconds", 30, "time limit for open requests at SIGTERM")
    return parser


def _add(parser: argparse.ArgumentParser, name: str, default: int, text: str) -> None:
    shown = "" if name == "--bucket" else f" ({default})"
    parser.add_argument(name, type=int, default=default, metavar="N", help=f"{text}{shown}")


def _check(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        minimum = 0 if name in ("port", "bucket") else 1
        if isinstance(value, int) and value < minimum:
            raise UserError(f"--{name.replace('_', '-')}: {value} is not {minimum} or more")
    if args.port > 65535:
        raise UserError(f"--port: {args.port} is not 0 to 65535")
    _warm(args.warm, (1, 1))


def _allowed_hosts(names: list[str], bound: socket.socket) -> tuple[str, ...] | None:
    """Return `Options.allowed_hosts`: None on an address that is not a loopback address."""
    from fcnjax.serving.http.middleware import is_loopback, parse_authority

    hosts = {name: parse_authority(name) for name in names}
    for name, authority in hosts.items():
        if authority is None or authority.port is not None:
            raise UserError(f"--allow-host: {name!r} is not a host's name or address without port")
    if names or is_loopback(bound.getsockname()[0]):
        return tuple(authority.host for authority in hosts.values())
    return None


def _warm(words: list[str] | None, default: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    if words is None:
        return (default,)
    if words == ["none"]:
        return ()
    for word in words:
        if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", word, re.ASCII):
            raise UserError(f"--warm: {word!r} is not a size; valid: HxW, such as 480x640, or none")
    return tuple(tuple(map(int, word.split("x"))) for word in words)
