"""Reader of TIFF files: their pages, the meaning of their bands, and refusals by the header."""
