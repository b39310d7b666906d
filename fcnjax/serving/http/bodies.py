"""Reading of request bodies, limited in bytes, in time, and in bytes over all requests.

A body may be a form (multipart/form-data) with a file.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fcnjax.serving.http.refusal import Busy, Refused
from fcnjax.serving.options import Options

# A refused body is read for so long, since a client that is cut off while sending sees no response.
LINGER_SECONDS = 2.0
MAX_PARTS = 9  # of a form: the file, and fields that are not read

# Errors of a form are returned to the client and need no log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class Budget:
    """The bytes that the server holds for requests: bodies, images, results and responses.

    No request waits for room: one that finds none is refused, and its bytes are released.

    Args:
        limit: The largest number of bytes.

    Attributes:
        held: The bytes that requests hold now.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator["Share"]:
        """Yield the share of a request, which is released when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.release(share.held)


class Share:
    """The bytes of a budget that one request holds."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self.held = 0

    def take(self, count: int) -> None:
        """Hold more bytes.

        Raises:
            Refused: The request alone would exceed the limit.
            Busy: Other requests hold too much at the moment.
        """
        needed, limit = self.held + count, self._budget.limit
        if needed > limit:
            raise Refused(413, f"needs {needed} bytes, and the server holds {limit}")
        if self._budget.held + count > limit:
            raise Busy("the server holds too many requests")
        self._budget.held += count
        self.held += count

    def release(self, count: int) -> None:
        """Hold fewer bytes."""
        self._budget.held -= count
        self.held -= count

    @contextlib.contextmanager
    def borrow(self, count: int) -> Iterator[None]:
        """Hold more bytes within the block; raises like `take`."""
        self.take(count)
        try:
            yield
        finally:
            self.release(count)


async def read_body(request: Request, share: Share, options: Options) -> bytes:
    """Read the body of a request.

    Args:
        request: The request.
        share: The share of the budget that the bytes are taken from.
        options: Limits of the body, and of the time for all of it to arrive.

    Raises:
        Refused: The body is too large, too slow, compressed or cut off.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Refused(415, "Content-Encoding: compressed bodies are not read; valid: identity")
    seconds = options.receive_seconds
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, share, options.max_bytes)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "the connection was closed before the body's end") from error


async def _read(request: Request, share: Share, max_bytes: int) -> bytes:
    stream = request.stream()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        await _discard(stream)
        raise Refused(413, f"the body has {declared} bytes; the limit is {max_bytes}")
    chunks, total = [], 0
    async for chunk in stream:
        total += len(chunk)
        if total > max_bytes:
            await _discard(stream)
            raise Refused(413, f"the body has more than {max_bytes} bytes, the limit")
        share.take(len(chunk))
        chunks.append(chunk)
    with share.borrow(total):  # the chunks and the body exist at the same time
        body = b"".join(chunks)
        chunks.clear()
    return body


async def _discard(stream: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in stream:
                pass


def read_form_file(content_type: str, body: bytes) -> bytes:
    """Return the content of the only file in a form, whatever its name.

    Args:
        content_type: The header Content-Type, with the boundary.
        body: The form.

    Raises:
        Refused: The form is invalid.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "the form cannot be read: the header Content-Type names no boundary")
    form = _Form()
    callbacks = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refused(400, f"the form cannot be read: {error}") from error
    if not form.ended or len(form.files) != 1:
        raise Refused(400, "the form holds no file, or several, or is cut off; valid: one file")
    return b"".join(form.files[0])


class _Form:
    """Collects the files of a form; the parser calls its methods `on_...`."""

    def __init__(self) -> None:
        self.files: list[list[bytes]] = []
        self.ended = self._in_file = False
        self._parts = 0
        self._name = self._value = b""

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refused(400, f"the form has more than {MAX_PARTS} parts; valid: one file")
        self._in_file = False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition" and not self._in_file:
            self._in_file = b"filename" in parse_options_header(self._value)[1]
            if self._in_file:
                self.files.append([])
        self._name = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.files[-1].append(data[start:end])

    def on_end(self) -> None:
        self.ended = True
