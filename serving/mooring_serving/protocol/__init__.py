"""Open Inference Protocol v2: JSON bodies to columns, predictions to JSON bodies.

Pure: no sockets, clocks or logs. Total over its input: any bytes give a value or a
`RequestRefused` that names what is wrong. Binary tensors and gRPC will be further codecs beside
`codec` that make the same `InferenceRequest`.
"""
