"""Parsing of XML files of annotation tools, safe against hostile files."""

import re
from pathlib import Path
from xml.etree import ElementTree

from fcnjax.errors import UserError
from fcnjax.io.regular_files import read_file

MAX_BYTES = 2**30
MAX_MARKS = 5 * 10**6  # tags and attributes; each takes about 100 bytes of memory
MAX_ATTRIBUTES = 1000  # of a tag
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_xml(path: Path) -> ElementTree.Element:
    """Parse an XML file in UTF-8, whatever encoding it declares; return its root element.

    Document type declarations are refused, since they declare entities, which may expand without
    end or name other files. Annotation tools write none.

    Raises:
        UserError: The file cannot be read, is larger than `MAX_BYTES`, has more than `MAX_MARKS`
            tags and attributes or more than `MAX_ATTRIBUTES` in a tag, declares a document type,
            or is not XML; the error names the line.
    """
    content = read_file(path, MAX_BYTES)
    if b"\0" in content:  # the parser would detect UTF-16, whatever encoding is set
        raise UserError(f"{path}: is not XML in UTF-8: has a NUL")
    if b"<!DOCTYPE" in content:
        raise UserError(f"{path}: declares a document type, which annotations may not have")
    if (count := content.count(b"<") + content.count(b"=")) > MAX_MARKS:
        raise UserError(f"{path}: has {count} tags and attributes; valid: at most {MAX_MARKS}")
    if any(tag[0].count(b"=") > MAX_ATTRIBUTES for tag in re.finditer(b"<[^<]*", content)):
        raise UserError(f"{path}: has a tag with more than {MAX_ATTRIBUTES} attributes")
    # In an encoding chosen by the file, a document type declaration could look different.
    parser = ElementTree.XMLParser(encoding="utf-8")
    try:
        parser.feed(content.removeprefix(_BYTE_ORDER_MARK))
        return parser.close()
    except ElementTree.ParseError as error:
        line = error.position[0]
        reason = str(error).partition(":")[0]
        raise UserError(f"{path}, line {line}: is not XML: {reason}") from error


def text_of(element: ElementTree.Element, path: str) -> str:
    """Return the stripped text of the element at `path` below `element`; "" if there is none."""
    return (element.findtext(path) or "").strip()
