"""Class ids from masks and annotations: encodings, classes, label maps."""
