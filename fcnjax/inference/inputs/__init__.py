"""Inputs of a prediction: files, folders, lists and Parquet records."""
