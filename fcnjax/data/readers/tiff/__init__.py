"""Reader of TIFF files."""
