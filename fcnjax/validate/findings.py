"""Findings of a dataset check, and how they are printed."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.text import Text

from fcnjax.config import tuples
from fcnjax.errors import one_line, printable

SEVERITIES = ERROR, WARNING, NOTE = "error", "warning", "note"
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "cyan"}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,=")


@dataclass(frozen=True)
class Finding:
    """Something that a check reports about a dataset.

    Attributes:
        severity: `ERROR` (training may not start), `WARNING` or `NOTE`.
        kind: A label of a word or two: `leak`, `size mismatch`.
        text: The finding in a sentence.
        overrides: Command-line words for `load_config` that fix it.
    """

    severity: str
    kind: str
    text: str
    overrides: tuple[str, ...] = ()

    def __post_init__(self):
        # Names of files and classes may hold any characters.
        object.__setattr__(self, "text", one_line(self.text))

    @property
    def line(self) -> str:
        """The overrides as a line to paste into a shell; "" if there are none."""
        return printable(" ".join(map(_quote, self.overrides)))


def _quote(word: str) -> str:
    key, _, value = word.partition("=")
    return word if set(value) <= _PLAIN else f"{key}={shlex.quote(value)}"


def make_overrides(config: ConfigDict, values: dict[str, Any]) -> tuple[str, ...]:
    """Return command-line words that set values in a config, without those it has already.

    Args:
        config: The config that the words are for.
        values: Values by the path of the key: `data.labels.encoding`.
    """
    return tuple(
        f"--config.{key}={_format_value(value)}"
        for key, value in values.items()
        if tuples(config[key]) != value
    )


def _format_value(value: Any) -> str:
    """Format a value as `load_config` reads it: (0, 255) as `0,255`."""
    if not isinstance(value, tuple):
        return str(value)
    if not value or any(isinstance(part, tuple) for part in value):
        return repr(value).replace(" ", "")
    return ",".join(f"{part:.4g}" if isinstance(part, float) else str(part) for part in value)


def count_by_severity(findings: Sequence[Finding]) -> str:
    """Return the number of findings of each severity, in words."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(f"{counts[s]} {s}{'' if counts[s] == 1 else 's'}" for s in SEVERITIES)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print findings, each with its line to paste."""
    for finding in findings:
        text = Text(f"{finding.severity}: ", style=_STYLES[finding.severity])
        text.append(f"{finding.kind}: ", style="bold")
        text.append(finding.text, style="default")
        console.print(text, soft_wrap=True)
        if finding.line:
            console.print(Text(f"    {finding.line}", style="green"), soft_wrap=True)
