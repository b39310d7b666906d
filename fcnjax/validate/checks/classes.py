"""Check of the classes and ignored pixels of each split."""

import numpy as np

from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding, abbreviate

MAX_IGNORED = 0.5  # share of ignored pixels without a warning


def check_classes(dataset: DatasetSummary) -> list[Finding]:
    """Report missing classes, labels that are no class, and ignored pixels."""
    if dataset.resolved is None:
        return []
    # A class that was not seen may be in the labels that were not read.
    is_complete = dataset.is_complete
    names, findings = np.asarray(dataset.data.class_names), []
    for part, statistics in dataset.statistics.items():
        if not statistics.examples:
            continue
        num_present = int((statistics.counts > 0).sum())
        where = part if is_complete else f"the {statistics.examples} examples of {part} looked at"
        if part == "train" and num_present < 2:
            text = (
                f"the labels of {where} hold {num_present} class of {len(names)}: there is nothing "
                "to learn"
            )
            findings.append(Finding(ERROR if is_complete else WARNING, "one class", text))
        elif num_present < len(names):
            text = f"{abbreviate(list(names[statistics.counts == 0]))}: in no label of {where}"
            text += ", so it has no score" if part == "eval" else ", so it is not learnt"
            findings.append(Finding(WARNING if is_complete else NOTE, "empty class", text))
        if statistics.outside:
            text = f"{statistics.outside} pixels of {part} have a label that is no class"
            findings.append(Finding(ERROR, "labels outside the classes", text))
        if statistics.blank and num_present >= 2:
            text = f"{len(statistics.blank)} labels of {part} are ignored completely: "
            text += abbreviate(statistics.blank)
            findings.append(Finding(WARNING, "ignored labels", text))
        if statistics.ignored:
            severity = WARNING if statistics.ignored_share > MAX_IGNORED else NOTE
            text = f"{statistics.ignored_share:.1%} of the pixels of {part} are ignored"
            findings.append(Finding(severity, "ignored pixels", text))
    return findings
