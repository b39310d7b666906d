"""Files, locks and progress. The readers check files that may be damaged or hostile."""
