"""Answers that are not what was asked for: a status, and one plain line."""

from starlette.responses import JSONResponse

from fcnjax.errors import one_line

RETRY_SECONDS = 1  # after which a client may retry if the server is busy


class Refused(Exception):
    """A request that is not served.

    Attributes:
        status: Status of the HTTP response.
        message: The reason and the valid values, in one line.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


class Busy(Refused):
    """A request that may be served later: 503, with `Retry-After`."""

    def __init__(self, message: str):
        super().__init__(503, f"{message}; try again in {RETRY_SECONDS} s")


def error_response(status: int, message: str, **headers: str) -> JSONResponse:
    """Return the response to a request that is not served: `{"error": message}`, in one line."""
    if status == 503:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return JSONResponse({"error": one_line(message)}, status, headers)
