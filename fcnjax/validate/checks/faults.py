"""Check for examples that cannot be used."""

from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.example_summary import MISMATCH, UNREADABLE, UNUSABLE
from fcnjax.validate.findings import ERROR, WARNING, Finding, abbreviate


def check_faults(dataset: DatasetSummary) -> list[Finding]:
    """Report unreadable files, sizes that differ and unusable examples."""
    # With on_error=skip a run skips such examples, up to a limit.
    severity = WARNING if dataset.data.loading.on_error == "skip" else ERROR
    findings = []
    for kind in (UNREADABLE, MISMATCH, UNUSABLE):
        faults = (example.fault for example in dataset.examples if example.fault)
        texts = [text for fault, text in faults if fault == kind]
        if texts:
            text = f"{len(texts)} of {len(dataset.examples)} examples: {abbreviate(texts)}"
            findings.append(Finding(severity, kind, text))
    return findings
