"""Files that prediction writes."""
