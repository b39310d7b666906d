"""Images to predict: files, folders, lists and Parquet records."""
