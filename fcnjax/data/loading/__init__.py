"""Loading of batches on the host: crops, caches, workers and the Grain pipeline."""
