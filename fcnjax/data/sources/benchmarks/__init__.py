"""Public datasets in the layouts in which they are downloaded."""
