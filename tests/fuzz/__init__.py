"""Fuzzing: mutated files through every reader, each in a process that is watched."""
