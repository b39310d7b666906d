"""Division of a dataset into training and held-out examples, drawn once and stored by the run."""
