"""XML files of annotation tools, parsed so that a hostile one can do no harm."""

from pathlib import Path
from xml.etree import ElementTree

from fcnjax.errors import UserError
from fcnjax.io.json_files import read_text

MOST_BYTES = 2**30  # of a file; its elements take several times as much memory


def parse_xml(path: Path) -> ElementTree.Element:
    """The root element of an XML file.

    Declarations of a document type are refused: entities, which may expand without end or name
    other files, are declared there. Annotation tools write none.

    Raises:
        UserError: It cannot be read, is larger than `MOST_BYTES`, declares a document type, or is
            not XML; names the line.
    """
    if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
        raise UserError(f"{path}: has {size} bytes; XML of more than {MOST_BYTES} is not read")
    text = read_text(path)  # decoded, so that no encoding hides the declaration
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{path}: declares a document type, which is not read in annotations")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line = error.position[0]
        reason = str(error).partition(":")[0]
        raise UserError(f"{path}, line {line}: is not XML: {reason}") from error


def text_of(element: ElementTree.Element, path: str) -> str:
    """The text of the element below `element` at `path`, without blanks at its ends; "": none."""
    return (element.findtext(path) or "").strip()
