"""Files: checked readers of what may be damaged or hostile."""
