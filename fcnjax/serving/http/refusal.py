"""Answers that are not what was asked for: a status, and one plain line."""

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from fcnjax.errors import one_line

RETRY_SECONDS = 1  # after which a client may retry if the server is busy
CLOSING = (403, 408, 413, 421)  # statuses after which the rest of the body is not read


class Refused(HTTPException):
    """A request that is not served: a status, and the reason and the valid values in `detail`."""

    def __init__(self, status: int, message: str):
        super().__init__(status, message, {"Connection": "close"} if status in CLOSING else None)


class Busy(Refused):
    """A request that may be served later: 503, with `Retry-After`."""

    def __init__(self, message: str):
        super().__init__(503, f"{message}; try again in {RETRY_SECONDS} s")


def error_response(error: HTTPException) -> JSONResponse:
    """Return the response to a request that is not served: `{"error": message}`, in one line."""
    headers = dict(error.headers or {})
    if error.status_code == 503:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return JSONResponse({"error": one_line(error.detail)}, error.status_code, headers)
