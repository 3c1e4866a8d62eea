"""The gRPC half of the Open Inference Protocol v2.

Our own HTTP/2 (`connection`, `frames`, `heads`) carries unary calls on the server's event loop,
since grpcio's Python server costs more a call than a prediction does; `service` answers them
through the same `InferenceApp` as HTTP. `proto` has the wire formats.
"""
