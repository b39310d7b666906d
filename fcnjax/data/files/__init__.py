"""Names of files, and lists and tables of them."""
