"""Export of the DiT to ONNX and TensorRT, with parity against the plain path."""
