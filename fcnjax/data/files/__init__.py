"""Lists of files and tables written by people."""
