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
            if event.http_version not in (b"1.0", b"1.1"):
                raise h11.RemoteProtocolError("the version is not HTTP/1.0 or 1.1")
            if not event.target.startswith(b"/"):
                raise h11.RemoteProtocolError("the request's target is not a path")
            chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
            if chunked and event.http_version == b"1.0":
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
            if len(line) > MAX_CHUNK_LINE or self._chunks > MAX_CHUNKS:
                raise h11.LocalProtocolError("the body has too many or too long chunk lines")
            if _BAD_BYTES.search(line):
                raise h11.LocalProtocolError("a chunk line holds control characters")
        return line


def _check_lines(block: bytes, lines: list[bytearray]) -> None:
    """Raise `h11.LocalProtocolError` if servers would differ on the meaning of the lines."""
    if len(block) > MAX_HEAD or len(lines) > MAX_HEADERS:
        raise h11.LocalProtocolError(
            f"the headers take more than {MAX_HEAD} bytes or {MAX_HEADERS} lines"
        )
    if _BAD_BYTES.search(block):
        raise h11.LocalProtocolError("the headers have bare CR or LF, folds or control characters")
    fields = [
        (name.lower(), value.strip()) for name, _, value in (x.partition(b":") for x in lines)
    ]
    counts = Counter(bytes(name) for name, _ in fields)
    if any(counts[name] > 1 for name in _ONCE):
        raise h11.LocalProtocolError("a header that may be there once is repeated")
    if counts[b"content-length"] and counts[b"transfer-encoding"]:
        raise h11.LocalProtocolError("Content-Length with Transfer-Encoding")
    if any(name == b"content-length" and not value.isdigit() for name, value in fields):
        raise h11.LocalProtocolError("Content-Length is not a number")
