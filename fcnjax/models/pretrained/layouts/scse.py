"""Where the layers of scSE attention lie in the files of smp."""

Path = tuple[str, ...]
_LAYERS = {("channel", "reduce"): "cSE.1", ("channel", "expand"): "cSE.3", ("spatial",): "sSE.0"}


def smp_scse(path: Path) -> str | None:
    """Of the attention of a decoder's block, which the path begins with; None for other layers.

    Of `("attention1", "channel", "reduce")` it is `attention1.attention.cSE.1`.
    """
    match path:
        case (attention, *rest) if attention.startswith("attention"):
            return f"{attention}.attention.{_LAYERS[tuple(rest)]}"
    return None
