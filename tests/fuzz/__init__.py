"""Fuzzing: mutated files for every reader, each read in a monitored process."""
