"""Reads the bodies of requests: bounded in bytes and in time, and in bytes over all of them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fcnjax.serve.refusal import Busy, Refused

# What is wrong with a form is answered; it is not the server's to tell of.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

LINGER_SECONDS = 2.0  # for a body that is refused: who is cut off while sending sees no answer


class Budget:
    """How many bytes the server holds for its requests.

    Args:
        most: Above which more are refused.
    """

    def __init__(self, most: int):
        self._most = most
        self._held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator["Share"]:
        """What one request holds; given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self._held -= share.held

    def take(self, count: int) -> None:
        """Adds to what is held.

        Raises:
            Busy: It would be too much for now.
            Refused: It is too much.
        """
        if count > self._most:
            raise Refused(413, f"needs {count} bytes, and the server holds {self._most}")
        if self._held + count > self._most:
            raise Busy("the server holds too many requests")
        self._held += count


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self.held = 0

    def take(self, count: int) -> None:
        """Adds to it; raises as `Budget.take`."""
        self._budget.take(count)
        self.held += count


async def read_body(request: Request, share: Share, most: int, seconds: float) -> bytes:
    """The body of a request.

    Args:
        request: The request.
        share: Of the budget, that the bytes are taken from.
        most: Bytes.
        seconds: For all of it to arrive.

    Raises:
        Refused: It is too large, too slow, compressed or cut off.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Refused(415, "Content-Encoding: compressed bodies are not read; valid: identity")
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, share, most)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "the connection was closed before the body's end") from error


async def _read(request: Request, share: Share, most: int) -> bytes:
    stream = request.stream()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        await _discard(stream)
        raise Refused(413, f"the body has {declared} bytes; the limit is {most}")
    chunks, total = [], 0
    async for chunk in stream:
        total += len(chunk)
        if total > most:
            await _discard(stream)
            raise Refused(413, f"the body has more than {most} bytes, the limit")
        share.take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in stream:
                pass


async def file_of_form(request: Request, body: bytes) -> bytes:
    """The content of the one file of a form (multipart/form-data), whatever it is called.

    Raises:
        Refused: It is no such form.
    """

    async def whole() -> AsyncIterator[bytes]:
        yield body

    parser = MultiPartParser(request.headers, whole(), max_files=1, max_fields=8)
    parser.spool_max_size = len(body) + 1  # so that nothing goes to the disk
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError) as error:
        raise Refused(400, f"the form cannot be read: {_line(error)}") from error
    files = [value for _, value in form.multi_items() if not isinstance(value, str)]
    if len(files) != 1:
        raise Refused(400, "the form holds no file; valid: one file")
    try:
        return await files[0].read()
    finally:
        await form.close()


def _line(error: Exception) -> str:
    words = getattr(error, "message", None) or str(error)
    return next(iter(words.splitlines()), type(error).__name__)
