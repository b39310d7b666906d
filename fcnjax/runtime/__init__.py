"""The process: signals, the cache of compiled programs, and errors of the machine."""
