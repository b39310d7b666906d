"""Mutations of XML: of its tree if it can be parsed, else of its text."""

import copy
from random import Random
from xml.etree import ElementTree

from tests.fuzz.mutations import TEXT, VALUES

TEXTS = tuple(
    str(value)
    for value in VALUES
    if not isinstance(value, int | list | dict) and str(value).isprintable()
)
TEXTS += ("1,2;3,4", "1,2;3,4;5,6", "nan,nan;1,1;2,2", "1e300,1;2,2;3,3", "10,10,10", "9" * 30)
ENTITIES = (
    b'<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>',
    b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]>',
    b'<?xml version="1.0" encoding="utf-16"?>',
    b'<?xml-stylesheet href="http://127.0.0.1:9/a.xsl"?>',
)


def mutate_xml(rng: Random, content: bytes) -> bytes:
    """Change the attributes, text, tag, position or children of an XML element.

    Content that is not XML, such as after another mutation, is changed as text.
    """
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError):
        return rng.choice(TEXT)(rng, content)
    elements = list(root.iter())
    element = rng.choice(elements)
    action = rng.choice(("set", "set", "set", "unset", "text", "text", "delete", "repeat", "tag"))
    if action == "set" and element.attrib:
        element.set(rng.choice(list(element.attrib)), rng.choice(TEXTS))
    elif action == "unset" and element.attrib:
        del element.attrib[rng.choice(list(element.attrib))]
    elif action == "delete" and len(element):
        element.remove(rng.choice(list(element)))
    elif action == "repeat":
        element.extend([copy.deepcopy(rng.choice(elements))] * rng.choice((1, 2, 100)))
    elif action == "tag":
        element.tag = rng.choice(elements).tag
    else:
        element.text = rng.choice(TEXTS)
    return ElementTree.tostring(root)


def declare(rng: Random, content: bytes) -> bytes:
    """Prepend a declaration, or change the encoding."""
    if rng.random() < 0.3:
        return content.decode(errors="replace").encode(rng.choice(("utf-16", "utf-32", "utf-7")))
    return rng.choice(ENTITIES) + content


XML = (mutate_xml, mutate_xml, mutate_xml, mutate_xml, declare, *TEXT)
