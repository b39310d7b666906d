"""From the masks and annotations that a set stores to class ids: encodings, classes, label maps."""
