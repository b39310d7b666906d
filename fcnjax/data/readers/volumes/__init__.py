"""Volumes: NIfTI files and DICOM series, read as slices."""
