"""The process: its signals, its cache of compiled programs, and faults of the machine."""
