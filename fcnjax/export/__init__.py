"""From a checkpoint to a program for another runtime: `fcnjax export`."""
