"""Writers of the metrics of a training: to the terminal, metrics.jsonl and TensorBoard."""

from fcnjax.training.writers.jsonl import JsonlWriter
from fcnjax.training.writers.read_jsonl import METRICS_FILE, read_metrics
from fcnjax.training.writers.tensorboard import TensorBoardWriter
from fcnjax.training.writers.terminal import TerminalWriter
from fcnjax.training.writers.writer import EVAL_PREFIX, Writer, open_writers

__all__ = [
    "EVAL_PREFIX",
    "METRICS_FILE",
    "JsonlWriter",
    "TensorBoardWriter",
    "TerminalWriter",
    "Writer",
    "open_writers",
    "read_metrics",
]
