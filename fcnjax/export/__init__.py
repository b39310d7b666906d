"""Export of a trained model as a program for another runtime: `fcnjax export`."""
