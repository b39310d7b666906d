"""Conversion of the predict step to ONNX from its jaxpr, with symbolic batch, height and width."""
