"""Strict framing of HTTP/1.1, so that h11 and a proxy in front agree on where a request ends.

h11 also accepts lines that end in a bare LF, folded headers, repeated lengths, and Content-Length
with Transfer-Encoding. Proxies may read these differently, which permits request smuggling.
"""

import re
from collections import Counter

import h11
from h11._receivebuffer import ReceiveBuffer

MAX_HEAD = 16 * 2**10  # bytes of a request line with its headers, or of trailers
MAX_HEADERS = 100
MAX_CHUNK_LINE = 256  # bytes of the line before a chunk, extensions included
MAX_CHUNKS = 2**16  # of a body; each costs the event loop about 20 microseconds

_BAD_BYTES = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ONCE = (b"host", b"content-length", b"transfer-encoding")


class StrictConnection(h11.Connection):
    """A server's `h11.Connection` that raises `h11.RemoteProtocolError` for ambiguous requests."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._receive_buffer = _StrictBuffer()

    def next_event(self):
        """Return the next event of h11; accept only HTTP/1.0 or 1.1, and a path as the target."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            version, names = event.http_version, [name for name, _ in event.headers]
            if version not in (b"1.0", b"1.1"):
                raise h11.RemoteProtocolError("the version is not HTTP/1.0 or 1.1")
            if not event.target.startswith(b"/"):
                raise h11.RemoteProtocolError("the request's target is not a path")
            if version == b"1.0" and b"transfer-encoding" in names:
                raise h11.RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
        return event


class _StrictBuffer(ReceiveBuffer):
    """The buffer from which h11 takes every head, trailer and chunk line.

    h11 turns a `LocalProtocolError` of it into a `RemoteProtocolError`.
    """

    _chunks = 0

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take the lines of a head or of trailers; None if they are incomplete."""
        before = bytes(self)
        lines = super().maybe_extract_lines()
        if lines is not None:
            self._chunks = 0
            _check_lines(before[: len(before) - len(self)], lines)
        return lines

    def maybe_extract_next_line(self) -> bytearray | None:
        """Take the line before a chunk; None if it is incomplete."""
        line = super().maybe_extract_next_line()
        if line is not None:
            self._chunks += 1
            is_small = len(line) <= MAX_CHUNK_LINE and self._chunks <= MAX_CHUNKS
            _require(is_small, "the body has too many or too long chunk lines")
            _require(not _BAD_BYTES.search(line), "a chunk line holds control characters")
        return line


def _check_lines(block: bytes, lines: list[bytearray]) -> None:
    """Raise `h11.LocalProtocolError` if servers would differ on the meaning of the lines."""
    is_small = len(block) <= MAX_HEAD and len(lines) <= MAX_HEADERS
    _require(is_small, f"the headers take more than {MAX_HEAD} bytes or {MAX_HEADERS} lines")
    is_clean = not _BAD_BYTES.search(block)
    _require(is_clean, "the headers have bare CR or LF, folds or control characters")
    parts = [line.partition(b":") for line in lines]
    fields = [(bytes(name).lower(), value.strip()) for name, _, value in parts]
    counts = Counter(name for name, _ in fields)
    is_once = all(counts[name] <= 1 for name in _ONCE)
    _require(is_once, "a header that may be there once is repeated")
    has_both = counts[b"content-length"] and counts[b"transfer-encoding"]
    _require(not has_both, "Content-Length with Transfer-Encoding")
    is_number = all(value.isdigit() for name, value in fields if name == b"content-length")
    _require(is_number, "Content-Length is not a number")


def _require(condition: object, message: str) -> None:
    if not condition:
        raise h11.LocalProtocolError(message)
