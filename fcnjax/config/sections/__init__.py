"""The keys of each section of a config."""
