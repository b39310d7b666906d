"""Class names and colours of a dataset, written as a text table."""

RGB = tuple[int, int, int]


def parse_palette(text: str) -> dict[str, RGB]:
    """Parse `NAME RRGGBB, NAME RRGGBB, ...` into colours by class name, in the same order."""
    palette = {}
    for entry in text.split(","):
        *words, colour = entry.split()
        palette[" ".join(words)] = tuple(bytes.fromhex(colour))
    return palette
