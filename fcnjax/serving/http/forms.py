"""Reading of the file in a form (multipart/form-data)."""

import logging

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fcnjax.serving.http.refusal import Refused

MAX_PARTS = 9  # the file, and fields that are not read

# Errors of a form are returned to the client and need no log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


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
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refused(400, f"the form cannot be read: {error}") from error
    if not form.ended or len(form.files) != 1:
        raise Refused(400, "the form holds no file, or several, or is cut off; valid: one file")
    return b"".join(form.files[0])


class _Form:
    """Collects the files that the parser finds in a form."""

    def __init__(self) -> None:
        self.files: list[list[bytes]] = []
        self.ended = False
        self._parts = 0
        self._in_file = False
        self._name = self._value = b""

    def callbacks(self) -> dict:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refused(400, f"the form has more than {MAX_PARTS} parts; valid: one file")
        self._in_file = False

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition" and not self._in_file:
            self._in_file = b"filename" in parse_options_header(self._value)[1]
            if self._in_file:
                self.files.append([])
        self._name = self._value = b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.files[-1].append(data[start:end])

    def _end(self) -> None:
        self.ended = True
