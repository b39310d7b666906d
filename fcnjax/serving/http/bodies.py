"""Reading of request bodies, limited in bytes, in time, and in bytes over all requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from fcnjax.serving.http.refusal import Busy, Refused

# A refused body is read for so long, since a client that is cut off while sending sees no response.
LINGER_SECONDS = 2.0


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


async def read_body(request: Request, share: Share, max_bytes: int, seconds: float) -> bytes:
    """Read the body of a request.

    Args:
        request: The request.
        share: The share of the budget that the bytes are taken from.
        max_bytes: Limit of the body.
        seconds: Time limit for all of it to arrive.

    Raises:
        Refused: The body is too large, too slow, compressed or cut off.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Refused(415, "Content-Encoding: compressed bodies are not read; valid: identity")
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, share, max_bytes)
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
