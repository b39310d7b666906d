"""`fcnjax COMMAND`: dispatch to the module of a command, importing only that one."""

import atexit
import contextlib
import gc
import io
import os
import signal
import sys

from fcnjax import __version__
from fcnjax.cli import subcommands
from fcnjax.errors import UserError
from fcnjax.io.regular_files import machine_error
from fcnjax.io.terminal import discard
from fcnjax.runtime import stop_signals
from fcnjax.runtime.compile_cache import prepare_compile_cache, warn_in_one_line

GC_THRESHOLD = 100_000  # new objects between two searches for garbage; Python's is 700 to 2,000
ABOUT = "Semantic segmentation on JAX; start with: bash launch/quickstart.sh."
COMMANDS = {
    "train": ("fcnjax.cli.train", "train a model, or resume a stopped run"),
    "evaluate": (
        "fcnjax.cli.evaluate",
        "evaluate a checkpoint: metrics.json and report.html",
    ),
    "folds": ("fcnjax.cli.folds", "summarise the scores of a cross-validation"),
    "report": ("fcnjax.cli.report", "compare runs, as a table and a page"),
    "predict": ("fcnjax.cli.predict", "predict masks of images with a checkpoint"),
    "serve": ("fcnjax.cli.serve", "serve a model over HTTP, with a demo page"),
    "publish": (
        "fcnjax.cli.publish",
        "write a trained model as a folder to share, with a model card",
    ),
    "export": ("fcnjax.cli.export", "export a trained model for other runtimes"),
    "config": ("fcnjax.cli.config", "print the keys of a config and what they mean"),
    "data": ("fcnjax.cli.data", "check, show and build datasets; fetch sample datasets"),
    "models": ("fcnjax.cli.models", "list encoders and decoders, and inspect models"),
    "plan": ("fcnjax.cli.plan", "plan memory and batch size for absent devices"),
}


def main(argv: list[str]) -> int:
    """Run a command and return its exit code: 0, or 2 for an error caused by user input.

    It can be called repeatedly in one process.
    """
    _escape_output()
    try:
        with stop_signals.raise_stop_signals():
            code = _run(argv)
            sys.stdout.flush()
        return code
    except UserError as error:
        print(f"fcnjax: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        discard(sys.stdout)  # the reader of the output has left, as `head` does
        return 0
    except stop_signals.Stopped as stopped:
        print(f"fcnjax: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print("fcnjax: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        reason = machine_error(error)
        if reason is None:
            raise
        discard(sys.stdout)  # the disk that it is written to may be full
        print(f"fcnjax: error: {reason}", file=sys.stderr)
        return 2


def _run(argv: list[str]) -> int:
    try:
        if argv[:1] == ["--version"]:
            print(f"fcnjax {__version__}")
            return 0
        return subcommands.run("fcnjax", ABOUT, COMMANDS, argv)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after an error
        return stop.code if isinstance(stop.code, int) else 2


def _escape_output() -> None:
    """Print file names that are not UTF-8 with escapes, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def console() -> None:
    """Run the installed `fcnjax` command."""
    # Imports and traces of JAX make many objects that stay; looking for garbage among them at the
    # usual threshold takes a sixth of their time.
    gc.set_threshold(GC_THRESHOLD)
    prepare_compile_cache(os.environ)
    warn_in_one_line()
    code = main(sys.argv[1:])
    if code > 128:
        _exit_now(code)
    sys.exit(code)


def _exit_now(code: int) -> None:
    """Exit a process that was interrupted while threads of libraries were working.

    A normal exit waits for some of these threads, and others crash when modules are unloaded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
