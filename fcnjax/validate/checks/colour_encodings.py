"""Checks of masks that encode classes by colour."""

from collections.abc import Iterable

from ml_collections import ConfigDict

from fcnjax.data.labels.classes import MAX_MASK_VALUES
from fcnjax.validate.checks.proposals import KIND, encoding_overrides, given_names
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding, abbreviate
from fcnjax.validate.mask_statistics import MaskStatistics
from fcnjax.validate.mask_summary import RGB


def check_colours(
    masks: MaskStatistics, config: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    """Compare the colours of RGB masks with those of the config."""
    colours = set().union(*masks.palettes.values())
    if not colours:
        colours = {v if isinstance(v, tuple) else (v, v, v) for v in masks.pixels}
    text = f"the masks hold {len(colours)} colours"
    if masks.has_unique_values:
        text += (
            ", most of them in one mask only, like random colours of objects; write objects as "
            "numbers, for config.data.labels.encoding=instances"
        )
        return [Finding(WARNING, KIND, text)]
    return _compare_colours(colours, text, config, data)


def palettes_differ(masks: MaskStatistics) -> bool:
    """Return whether a palette index stands for several classes, which differ in colour.

    More colours than indices are random colours, which mean nothing.
    """
    differ = any(len(colours) > 1 for colours in masks.palettes.values())
    return differ and len(set().union(*masks.palettes.values())) <= len(masks.palettes)


def check_palettes(
    masks: MaskStatistics, config: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    """Report palette masks whose palettes differ, so that colours and not indices are classes."""
    index, colours = next(item for item in masks.palettes.items() if len(item[1]) > 1)
    text = (
        f"the palettes of the masks differ (index {index} is {abbreviate(sorted(colours))}), so "
        "that the colour and not the index tells the class"
    )
    return _compare_colours(set().union(*masks.palettes.values()), text, config, data)


def _compare_colours(
    mask_colours: Iterable[RGB], text: str, config: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    colours = tuple(sorted(mask_colours))
    is_rgb = data is not None and data.labels.encoding == "rgb"
    declared = tuple(map(tuple, data.labels.mask_colours)) if is_rgb else ()
    undeclared = [colour for colour in colours if colour not in declared]
    if not undeclared:
        overrides = encoding_overrides(config, encoding="rgb", mask_colours=declared)
        return [Finding(NOTE, KIND, f"{text}, a class each", overrides)]
    if len(colours) > MAX_MASK_VALUES:
        return [Finding(ERROR, KIND, f"{text}: too many to be classes")]
    num_names, values = len(given_names(config)), {"mask_values": (), "ignore_values": ()}
    if num_names and len(set(declared)) == num_names:
        values = {
            "mask_values": tuple(range(num_names)),
            "ignore_values": tuple(range(num_names, num_names + len(undeclared))),
        }
        text += "; colours that are none of the named classes are ignored below"
    elif num_names and len(colours) == num_names + 1 and colours[0] == (0, 0, 0):
        values = {"mask_values": tuple(range(1, num_names + 1)), "ignore_values": (0,)}
        text += "; that is one more than there are names, so black is ignored below"
    elif num_names and len(colours) != num_names:
        text += f", and config.data.class_names has {num_names} names"
        return [Finding(ERROR, KIND, text)]
    if declared:
        text += f"; config.data.labels.mask_colours lacks {abbreviate(undeclared)}, appended below"
        colours = (*declared, *undeclared)
    elif num_names:
        text += "; config.data.labels.mask_colours must list them in the order of the names: "
        return [Finding(ERROR, KIND, text + ", ".join(map(str, colours)))]
    else:
        text += "; below in ascending order: put them in that of your classes"
    overrides = encoding_overrides(config, encoding="rgb", mask_colours=colours, **values)
    return [Finding(ERROR, KIND, text, overrides)]
