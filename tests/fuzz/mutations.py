"""Mutations of bytes, of text and of JSON. Each takes a `random.Random` and the content."""

import copy
import json
import re
import struct
from random import Random
from typing import Any

INTEGERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1)
INTEGERS += (2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e38, 1e300, float("inf"), float("-inf"), float("nan"))
NESTED = [[[]]]
for _ in range(200):
    NESTED = [NESTED]
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3,
        255,
        256,
        65536,
        10**6,
        2**31,
        2**63,
        2**64,
        10**30,
        -(2**63),
    ),
    *(0.5, -0.5, 1e9, 1e300, float("nan"), float("inf"), 10**400),
    *(
        "",
        "0",
        "-1",
        "48",
        "1e999",
        "nan",
        "a",
        "../x",
        "/etc/passwd",
        "http://127.0.0.1:9/x",
        "\0",
    ),
    *("é", "\ud800", "\x1b[2J", "<script>", "a\nb", "%s{}", "x" * 5000, "[" * 3000, "9" * 5000),
    *([], {}, [None], [[]], [{}], [1, 2], ["a"], {"a": 1}, NESTED, [0] * 1000),
)
TOKENS = (
    *(
        b"0",
        b"-1",
        b"1",
        b"1e999",
        b"nan",
        b"999999999999999999999",
        b"9" * 5000,
        b"",
        b"\0",
        b"\n",
    ),
    *(b"[" * 3000, b"{", b"}", b'"', b"'", b"<", b"&", b"&lt;", b"<!--", b",", b";", b"\t", b"\r"),
    *(b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"../", b"/dev/zero", b"\x1b[2J", b"\\ud800"),
)


def flip_bits(rng: Random, content: bytes) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_integer(rng: Random, content: bytes) -> bytes:
    """Overwrite some bytes with an extreme integer or float, in either byte order.

    Nine times in ten within the first kilobyte, where headers are.
    """
    kind = rng.choice("bBhHiIqQfd")
    at = rng.randrange(max(min(len(content), 1024 if rng.random() < 0.9 else 2**31), 1))
    if kind in "fd":
        value = rng.choice(FLOATS) if kind == "d" else rng.choice((0.0, -1.0, 1e38, float("nan")))
    else:
        bits = 8 * struct.calcsize(f"<{kind}")
        value = rng.choice(INTEGERS) * rng.choice((1, 1, -1)) % 2**bits
        value -= 2**bits if kind.islower() and value >= 2 ** (bits - 1) else 0
    packed = struct.pack(rng.choice("<>") + kind, value)
    return content[:at] + packed + content[at + len(packed) :]


def cut(rng: Random, content: bytes) -> bytes:
    """Cut off the end."""
    return content[: rng.randrange(len(content) + 1)]


def move_block(rng: Random, content: bytes) -> bytes:
    """Delete, repeat or move a block of up to 64 bytes."""
    at, size = rng.randrange(len(content) + 1), rng.randint(1, 64)
    block, rest = content[at : at + size], content[:at] + content[at + size :]
    to = rng.randrange(len(rest) + 1)
    return rest[:to] + block * rng.choice((0, 1, 2, 8, 200)) + rest[to:]


def insert_token(rng: Random, content: bytes) -> bytes:
    """Insert a problematic token, or replace a word or number by it."""
    words = [match.span() for match in re.finditer(rb"[\w.+-]+", content[:100_000])]
    token = rng.choice(TOKENS)
    if words and rng.random() < 0.7:
        start, end = rng.choice(words)
    else:
        start = end = rng.randrange(len(content) + 1)
    return content[:start] + token + content[end:]


BYTES = (flip_bits, set_integer, cut, move_block)
TEXT = (flip_bits, cut, move_block, insert_token, insert_token)


def mutate_json(rng: Random, content: bytes) -> bytes:
    """Change a value of a JSON text: another type, deleted, repeated, nested, renamed.

    Content that is not JSON, as after another mutation, is changed as text.
    """
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return insert_token(rng, content)
    root = [tree]
    places = list(_places(root))
    parent, key = rng.choice(places)
    action = rng.choice(("value", "value", "value", "delete", "repeat", "nest", "swap", "rename"))
    if action == "value":
        parent[key] = copy.copy(rng.choice(VALUES))
    elif action == "delete" and parent is not root:
        del parent[key]
    elif action == "repeat" and isinstance(parent, list):
        parent[key:key] = [copy.deepcopy(parent[key])] * rng.choice((1, 2, 1000))
    elif action == "rename" and isinstance(parent, dict):
        parent[rng.choice((f"{key}x", "", key.upper(), "id", "__class__"))] = parent.pop(key)
    elif action == "swap":
        other, name = rng.choice(places)
        parent[key] = copy.deepcopy(other[name])
    else:
        for _ in range(rng.choice((1, 3, 100))):
            parent[key] = [parent[key]] if rng.random() < 0.5 else {"a": parent[key]}
    return json.dumps(root[0] if root else None).encode()


def _places(root: list) -> Any:
    """Return every container with each of its keys, 20,000 at most."""
    stack, count = [root], 0
    while stack and count < 20_000:
        parent = stack.pop()
        for key in parent if isinstance(parent, dict) else range(len(parent)):
            count += 1
            yield parent, key
            if isinstance(parent[key], dict | list):
                stack.append(parent[key])


JSON = (mutate_json, mutate_json, mutate_json, insert_token, flip_bits, cut)
