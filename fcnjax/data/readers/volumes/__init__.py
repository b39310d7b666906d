"""Reader of volumes: NIfTI files and DICOM series, as slices."""
