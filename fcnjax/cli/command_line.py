"""`fcnjax COMMAND`: picks the module of a command and imports only that one."""

import atexit
import contextlib
import io
import os
import signal
import sys

from fcnjax import __version__
from fcnjax.cli import subcommands
from fcnjax.errors import UserError
from fcnjax.io.terminal import discard
from fcnjax.runtime import stop_signals
from fcnjax.runtime.compile_cache import prepare_compile_cache, warn_in_one_line
from fcnjax.runtime.machine_errors import machine_error

COMMANDS = {
    "train": ("fcnjax.cli.train", "train a model, or go on with a run that was stopped"),
    "evaluate": (
        "fcnjax.cli.evaluate",
        "score a checkpoint: metrics.json and report.html",
    ),
    "folds": ("fcnjax.cli.folds", "mean and deviation of the scores of a cross-validation"),
    "report": ("fcnjax.cli.report", "several runs side by side, as a table and a page"),
    "predict": ("fcnjax.cli.predict", "label images with a checkpoint"),
    "serve": ("fcnjax.cli.serve", "a model behind HTTP, with a page to try it on"),
    "publish": (
        "fcnjax.cli.publish",
        "write a trained model as a folder to share, with its card",
    ),
    "export": ("fcnjax.cli.export", "write a trained model as a program for other runtimes"),
    "config": ("fcnjax.cli.config", "print the keys of a config and what they mean"),
    "data": ("fcnjax.cli.data", "check, show and build data sets; fetch sample sets"),
    "models": ("fcnjax.cli.models", "list encoders and decoders, or size up a config's model"),
    "plan": ("fcnjax.cli.plan", "what a config needs of devices that need not be there"),
}


def usage() -> str:
    """The text of `fcnjax --help`."""
    about = "Semantic segmentation on JAX."
    ending = "`fcnjax COMMAND --help` describes one. Start with: bash launch/quickstart.sh"
    return subcommands.usage("fcnjax", about, COMMANDS, ending)


def main(argv: list[str]) -> int:
    """Runs a command and returns its exit code: 0, or 2 for a mistake of the user's.

    May be called again and again in one process.
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
        discard(sys.stdout)  # the reader of our output left, as `head` does
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
        discard(sys.stdout)  # which may be what is full
        print(f"fcnjax: error: {reason}", file=sys.stderr)
        return 2


def _run(argv: list[str]) -> int:
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(usage())
            return 0
        if argv[0] == "--version":
            print(f"fcnjax {__version__}")
            return 0
        return subcommands.run("fcnjax", COMMANDS, argv)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a mistake
        return stop.code if isinstance(stop.code, int) else 2


def _escape_output() -> None:
    """Prints file names that are not UTF-8 with escapes, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def console() -> None:
    """The entry point of the installed `fcnjax` command."""
    prepare_compile_cache(os.environ)
    warn_in_one_line()
    code = main(sys.argv[1:])
    if code > 128:
        _end_at_once(code)
    sys.exit(code)


def _end_at_once(code: int) -> None:
    """Ends a process that was interrupted while libraries were at work in threads of their own.

    Python's ordinary end waits for some of them, and others crash when the modules are taken apart.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
