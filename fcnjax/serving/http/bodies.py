"""Reads the bodies of requests: bounded in bytes and in time, and in bytes over all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from fcnjax.serving.http.refusal import Busy, Refused

LINGER_SECONDS = 2.0  # for a body that is refused: who is cut off while sending sees no answer


class Budget:
    """The bytes that the server holds for its requests: bodies, images, results and answers.

    Nothing waits for room: a request that finds none is refused, and what it held is given back.

    Args:
        most: The most bytes.

    Attributes:
        held: The bytes that requests hold now.
    """

    def __init__(self, most: int):
        self.most = most
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator["Share"]:
        """Yields the share of a request, which is given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give(share.held)


class Share:
    """The bytes of a budget that one request holds."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self.held = 0

    def take(self, count: int) -> None:
        """Holds so many bytes more.

        Raises:
            Refused: The request would hold more than there is for all.
            Busy: Other requests hold too much for now.
        """
        needed, most = self.held + count, self._budget.most
        if needed > most:
            raise Refused(413, f"needs {needed} bytes, and the server holds {most}")
        if self._budget.held + count > most:
            raise Busy("the server holds too many requests")
        self._budget.held += count
        self.held += count

    def give(self, count: int) -> None:
        """Holds so many bytes less."""
        self._budget.held -= count
        self.held -= count

    @contextlib.contextmanager
    def lent(self, count: int) -> Iterator[None]:
        """Holds so many bytes more within the block; raises as `take`."""
        self.take(count)
        try:
            yield
        finally:
            self.give(count)


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
    with share.lent(total):  # until the chunks are gone there are two of each
        body = b"".join(chunks)
        chunks.clear()
    return body


async def _discard(stream: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in stream:
                pass
