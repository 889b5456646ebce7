"""ONNX files, and passes over their graphs."""
