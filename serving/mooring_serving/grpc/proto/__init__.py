"""The wire formats of gRPC, as written (`*.proto`) and as `make proto` compiles them.

`*_pb2.py` and `*_pb2.pyi` are generated: never edit them.
"""
