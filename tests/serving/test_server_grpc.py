"""gRPC against a real server: every method, both forms of contents, headers, errors, counters."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.serving.grpc_client import (
    Client,
    connected,
    health_pb2,
    join_texts,
    matrix_request,
    pb,
    read_output,
)
from tests.serving.running_server import ROOT, Server, running
from tests.serving.served_packages import (
    cancer_package,
    cancer_rows,
    mixed_package,
    multiclass_package,
)

Code = grpc.StatusCode
NUMPY = {
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
TYPED = {
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(cancer_package()) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with connected(server.grpc) as opened:
        yield opened


@pytest.fixture(scope="module")
def mixed() -> Iterator[Client]:
    with running(mixed_package()) as server, connected(server.grpc) as opened:
        yield opened


def answered_over_http(server: Server, rows: int) -> dict[str, list[Any]]:
    matrix = cancer_rows(rows)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": matrix.tolist()}
    answer = server.post("/v2/models/cancer/infer", {"inputs": [tensor]}).json()
    return {output["name"]: output["data"] for output in answer["outputs"]}


@pytest.mark.parametrize("raw", [True, False], ids=["raw contents", "typed contents"])
@pytest.mark.parametrize("rows", [1, 64])
def test_matrix_is_answered_as_over_http_in_the_requests_form(
    server: Server, client: Client, raw: bool, rows: int
) -> None:
    answer = client.infer(matrix_request(cancer_rows(rows), raw=raw, id="req-1"))
    assert (answer.model_name, answer.model_version, answer.id) == ("cancer", "v1", "req-1")
    assert bool(answer.raw_output_contents) is raw
    assert [list(output.shape) for output in answer.outputs] == [[rows], [rows]]
    for name, expected in answered_over_http(server, rows).items():
        assert read_output(answer, name) == pytest.approx(expected, rel=1e-6)


def test_answer_says_which_version_and_revision_gave_it_and_carries_a_receipt(
    server: Server, client: Client
) -> None:
    answer, headers = client.infer_with_call(matrix_request(cancer_rows(1)))
    assert headers["mooring-model-version"] == "v1"
    assert headers["mooring-revision"] == "aaaaaaaaaaaa"
    assert float(headers["mooring-server-ms"]) > 0
    assert answer.id == ""
    receipt = answer.parameters["prediction_id"].string_param
    label = {"labels": [{"prediction_id": receipt, "label": 1}]}
    assert server.post("/v2/models/cancer/feedback", label).json()["accepted"] == 1


def test_raw_tensor_is_read_when_it_carries_the_parameter_of_rest(client: Client) -> None:
    request = matrix_request(cancer_rows(2))
    request.inputs[0].parameters["binary_data_size"].int64_param = 2 * 30 * 8
    assert len(read_output(client.infer(request), "label")) == 2


def test_answer_has_the_wanted_outputs_in_the_wanted_order(client: Client) -> None:
    request = matrix_request(cancer_rows(2))
    request.outputs.add(name="probability")
    request.outputs.add(name="label")
    assert [output.name for output in client.infer(request).outputs] == ["probability", "label"]
    del request.outputs[1]
    assert [output.name for output in client.infer(request).outputs] == ["probability"]


def test_wide_output_has_two_dimensions_when_there_are_three_classes() -> None:
    table_rows = np.ones((5, 13))
    with running(multiclass_package()) as server, connected(server.grpc) as client:
        answer = client.infer(matrix_request(table_rows, model="wine"))
        shapes = {output.name: list(output.shape) for output in answer.outputs}
        assert shapes == {"label": [5], "probability": [5, 3]}
        sums = np.reshape(read_output(answer, "probability"), (5, 3)).sum(axis=1)
        assert sums == pytest.approx([1.0] * 5)


def mixed_request(*, raw: bool, rows: int = 2, distance: float = 700.0) -> Any:
    """Text, a nullable number, an integer and a flag, one tensor each."""
    request = pb.ModelInferRequest(model_name="flights")
    columns: list[tuple[str, str, Any]] = [
        ("carrier", "BYTES", ["UA", "B6"][:rows]),
        ("distance", "FP64", [distance, float("nan")][:rows]),
        ("hour", "INT64", [8, 23][:rows]),
        ("weekend", "BOOL", [True, False][:rows]),
    ]
    for name, datatype, column in columns:
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[rows])
        if raw and datatype == "BYTES":
            request.raw_input_contents.append(join_texts(column))
        elif raw:
            kind = "?" if datatype == "BOOL" else NUMPY[datatype]
            request.raw_input_contents.append(np.array(column, kind).tobytes())
        elif datatype == "BYTES":
            tensor.contents.bytes_contents.extend([item.encode() for item in column])
        elif datatype == "BOOL":
            tensor.contents.bool_contents.extend(column)
        else:
            getattr(tensor.contents, TYPED[datatype]).extend(column)
    return request


@pytest.mark.parametrize("raw", [True, False], ids=["raw contents", "typed contents"])
def test_one_tensor_a_feature_is_answered_with_text_classes(mixed: Client, raw: bool) -> None:
    answer = mixed.infer(mixed_request(raw=raw))
    assert answer.outputs[0].datatype == "BYTES"
    assert set(read_output(answer, "label")) <= {"late", "on time"}
    assert all(0 <= value <= 1 for value in read_output(answer, "probability"))
    other = mixed.infer(mixed_request(raw=not raw))
    assert read_output(answer, "probability") == read_output(other, "probability")


def hour_request(datatype: str, hour: int, *, raw: bool) -> Any:
    request = mixed_request(raw=raw, rows=1)
    tensor = request.inputs[2]
    tensor.datatype = datatype
    if raw:
        request.raw_input_contents[2] = np.array([hour], NUMPY[datatype]).tobytes()
    else:
        tensor.contents.Clear()
        getattr(tensor.contents, TYPED[datatype]).append(hour)
    return request


@pytest.mark.parametrize("datatype", NUMPY)
def test_every_numeric_datatype_means_the_same_number_when_raw(
    mixed: Client, datatype: str
) -> None:
    expected = read_output(mixed.infer(mixed_request(raw=True, rows=1)), "probability")
    answer = mixed.infer(hour_request(datatype, 8, raw=True))
    assert read_output(answer, "probability") == expected


@pytest.mark.parametrize("datatype", TYPED)
def test_every_numeric_datatype_means_the_same_number_when_typed(
    mixed: Client, datatype: str
) -> None:
    expected = read_output(mixed.infer(mixed_request(raw=True, rows=1)), "probability")
    answer = mixed.infer(hour_request(datatype, 8, raw=False))
    assert read_output(answer, "probability") == expected


def test_bf16_is_read_when_raw(mixed: Client) -> None:
    request = mixed_request(raw=True, rows=1)
    request.inputs[2].datatype = "BF16"
    request.raw_input_contents[2] = (np.array([8], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    expected = read_output(mixed.infer(mixed_request(raw=True, rows=1)), "probability")
    assert read_output(mixed.infer(request), "probability") == expected


def test_server_and_model_describe_themselves(client: Client) -> None:
    assert client.call("ServerLive", pb.ServerLiveRequest()).live
    assert client.call("ServerReady", pb.ServerReadyRequest()).ready
    assert client.call("ModelReady", pb.ModelReadyRequest(name="cancer")).ready
    assert client.call("ModelReady", pb.ModelReadyRequest(name="cancer", version="v1")).ready
    described = client.call("ServerMetadata", pb.ServerMetadataRequest())
    assert described.name == "mooring"
    assert described.version
    model = client.call("ModelMetadata", pb.ModelMetadataRequest(name="cancer"))
    assert (model.name, list(model.versions), model.platform) == ("cancer", ["v1"], "onnx_onnxv1")
    assert len(model.inputs) == 30
    assert {tuple(tensor.shape) for tensor in model.inputs} == {(-1,)}
    assert [output.name for output in model.outputs] == ["label", "probability"]


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_health_is_serving_for_the_server_and_its_service(client: Client, service: str) -> None:
    answer = client.call("Check", health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(client: Client) -> None:
    request = health_pb2.HealthCheckRequest(service="someone.Else")
    assert client.refused(request, "Check").code() is Code.NOT_FOUND


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata"])
@pytest.mark.parametrize(("name", "version"), [("nope", ""), ("cancer", "v9"), ("", "")])
def test_unknown_model_or_version_is_not_found(
    client: Client, method: str, name: str, version: str
) -> None:
    request: Any
    if method == "ModelInfer":
        request = matrix_request(cancer_rows(1), model=name, model_version=version)
    elif method == "ModelReady":
        request = pb.ModelReadyRequest(name=name, version=version)
    else:
        request = pb.ModelMetadataRequest(name=name, version=version)
    error = client.refused(request, method)
    assert error.code() is Code.NOT_FOUND
    assert "this server has" in error.details()


def test_version_that_is_served_is_answered(client: Client) -> None:
    assert client.infer(matrix_request(cancer_rows(1), model_version="v1")).model_version == "v1"


def test_unknown_method_is_unimplemented(client: Client) -> None:
    error = client.refused(b"", "RepositoryIndex")
    assert error.code() is Code.UNIMPLEMENTED
    assert "RepositoryIndex" in error.details()


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_request_is_read(server: Server, algorithm: grpc.Compression) -> None:
    with connected(server.grpc, compression=algorithm) as client:
        answer = client.infer(matrix_request(cancer_rows(64)))
        assert len(read_output(answer, "label")) == 64


def test_compressed_request_that_grows_too_large_is_refused(server: Server) -> None:
    with connected(server.grpc, compression=grpc.Compression.Gzip) as client:
        error = client.refused(b"\0" * (9 * 1024 * 1024))
    assert error.code() is Code.RESOURCE_EXHAUSTED
    assert "decompressed" in error.details()


def test_large_message_is_read_and_a_larger_one_refused(server: Server) -> None:
    rows = np.tile(cancer_rows(500), (2, 1))
    with connected(server.grpc) as client:
        assert len(read_output(client.infer(matrix_request(rows)), "label")) == 1000
        error = client.refused(b"\0" * (9 * 1024 * 1024))
        assert error.code() is Code.RESOURCE_EXHAUSTED
        assert "8388608" in error.details()
        # The connection goes on.
        assert client.call("ServerLive", pb.ServerLiveRequest()).live


def test_each_error_is_counted_like_one_of_http(server: Server, client: Client) -> None:
    before = server.metrics()
    client.refused(matrix_request(cancer_rows(1), model="nope"))
    client.refused(b"\xff\xff")
    after = server.metrics()
    assert before != after
    assert counted(after, 404) == counted(before, 404) + 1
    assert counted(after, 400) == counted(before, 400) + 1


def counted(metrics: str, status: int) -> float:
    lines = [line for line in metrics.splitlines() if f'="{status}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_call_is_counted_once_and_its_rows_are_sketched(server: Server, client: Client) -> None:
    before = server.sync()
    client.infer(matrix_request(cancer_rows(7)))
    after = server.sync()
    assert after["requests"] == before["requests"] + 1
    assert after["rows"] == before["rows"] + 7


def test_freshly_compiled_stubs_are_answered(server: Server, tmp_path: Path) -> None:
    """A client of its own process that knows nothing of us but the proto file."""
    source = (ROOT / "serving/mooring_serving/grpc/proto/open_inference.proto").read_text()
    (tmp_path / "oip.proto").write_text(source)
    compiler = ["-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=."]
    subprocess.run([sys.executable, *compiler, "oip.proto"], cwd=tmp_path, check=True)
    script = f"""
    import grpc, oip_pb2, oip_pb2_grpc
    stub = oip_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel("127.0.0.1:{server.grpc}"))
    assert stub.ServerLive(oip_pb2.ServerLiveRequest()).live
    assert stub.ServerReady(oip_pb2.ServerReadyRequest()).ready
    assert stub.ModelReady(oip_pb2.ModelReadyRequest(name="cancer")).ready
    assert stub.ServerMetadata(oip_pb2.ServerMetadataRequest()).name == "mooring"
    assert len(stub.ModelMetadata(oip_pb2.ModelMetadataRequest(name="cancer")).inputs) == 30
    request = oip_pb2.ModelInferRequest(model_name="cancer")
    tensor = request.inputs.add(name="input", datatype="FP32", shape=[1, 30])
    tensor.contents.fp32_contents.extend([1.0] * 30)
    answer = stub.ModelInfer(request)
    assert len(answer.outputs[1].contents.fp64_contents) == 1
    """
    environment = {"PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        check=True,
        env=environment,
        timeout=30,
    )
