"""The channels of an image."""

from fcnjax.errors import UserError

MOST_CHANNELS = 1024  # of an image; hyperspectral ones have some hundreds


def channel_names(channels: str) -> tuple[str, ...]:
    """Return the channel names of `config.data.channels`: `RGB`, `L` or names of bands.

    Raises:
        UserError: A name is missing or repeated, or there are too many.
    """
    if channels in ("RGB", "L"):
        return tuple(channels)
    names = tuple(name.strip() for name in channels.split(","))
    if not 2 <= len(names) <= MOST_CHANNELS or not all(names) or len(set(names)) < len(names):
        raise UserError(
            f"config.data.channels: {channels!r} is not RGB, L (grey) or different bands, as B2,B3"
        )
    return names
