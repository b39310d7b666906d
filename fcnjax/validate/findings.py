"""What the doctor finds, and how it is told."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.text import Text

from fcnjax.config import tuples
from fcnjax.errors import one_line, printable

ERROR, WARNING, NOTE = "error", "warning", "note"
SHOWN = 3  # names listed in a finding
_ORDER = {ERROR: 0, WARNING: 1, NOTE: 2}
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "cyan"}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,=")


@dataclass(frozen=True)
class Finding:
    """Something about a data set.

    Attributes:
        severity: `ERROR` (training may not start), `WARNING` or `NOTE`.
        kind: What it is, in a word or two: `leak`, `size mismatch`.
        text: What was found, in a sentence.
        overrides: Words for the command line that mend it, as `load_config` takes them.
    """

    severity: str
    kind: str
    text: str
    overrides: tuple[str, ...] = ()

    def __post_init__(self):
        # Names of files and classes may hold anything.
        object.__setattr__(self, "text", one_line(self.text))

    @property
    def line(self) -> str:
        """The overrides as a line to paste into a shell; "" where there are none."""
        return printable(" ".join(map(_quoted, self.overrides)))


def _quoted(word: str) -> str:
    key, _, value = word.partition("=")
    return word if set(value) <= _PLAIN else f"{key}={shlex.quote(value)}"


def override_words(config: ConfigDict, wanted: dict[str, Any]) -> tuple[str, ...]:
    """Words that give the config the wanted values, less those that it has already.

    Args:
        config: The config that the words are for.
        wanted: Values by `section.key`.
    """
    words = []
    for key, value in wanted.items():
        if tuples(config[key]) != value:
            words.append(f"--config.{key}={_written(value)}")
    return tuple(words)


def _written(value: Any) -> str:
    """A value as `load_config` reads it: (0, 255) as `0,255`."""
    if not isinstance(value, tuple):
        return str(value)
    if not value or any(isinstance(part, tuple) for part in value):
        return repr(value).replace(" ", "")
    return ",".join(f"{part:.4g}" if isinstance(part, float) else str(part) for part in value)


def some(names: Sequence[Any]) -> str:
    """The first few of the names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, the worst first."""
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])


def counted(findings: Sequence[Finding]) -> str:
    """How many there are of each severity, in words."""
    counts = [sum(f.severity == severity for f in findings) for severity in _ORDER]
    return ", ".join(
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity, count in zip(_ORDER, counts, strict=True)
    )


def tell(findings: Sequence[Finding], console: Console) -> None:
    """Prints the findings, each with its line to paste."""
    for finding in findings:
        text = Text(f"{finding.severity}: ", style=_STYLES[finding.severity])
        text.append(f"{finding.kind}: ", style="bold")
        text.append(finding.text, style="default")
        console.print(text, soft_wrap=True)
        if finding.line:
            console.print(Text(f"    {finding.line}", style="green"), soft_wrap=True)
