"""The division of a set into training and held-out examples, drawn once and kept by the run."""
