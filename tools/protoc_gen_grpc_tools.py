"""A protoc plugin that writes messages, gRPC classes and the type stubs of both in one pass.

grpcio-tools keeps its gRPC generator inside its own protoc, so no stand-alone plugin program exists; this script is one.
It reads a CodeGeneratorRequest from standard input, hands the descriptors to that protoc, and answers with the files.
mypy-protobuf adds what protoc has no generator for: the types of the stubs and servicers.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from grpc_tools import protoc


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Generated Python files for every file the request names; only files with a service get a gRPC module."""
    response = _grpc_types(request)
    response.supported_features = plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    with_service = {file.name for file in request.proto_file if file.service}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        descriptors = Path(folder, "descriptors.binpb")
        descriptors.write_bytes(descriptor_pb2.FileDescriptorSet(file=request.proto_file).SerializeToString())
        outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
        status = protoc.main(["protoc", f"--descriptor_set_in={descriptors}", *outputs, *request.file_to_generate])
        if status != 0:
            response.error = f"protoc ended with status {status}"
            return response
        for path in sorted(out.rglob("*")):
            if not path.is_file():
                continue
            response.file.add(name=path.relative_to(out).as_posix(), content=path.read_text())
    kept = [file for file in response.file if not _without_service(file.name, with_service)]
    del response.file[:]
    response.file.extend(sorted(kept, key=lambda file: file.name))
    return response


def _grpc_types(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """The types of stubs and servicers for asyncio; the mesh has no synchronous caller or server."""
    program = Path(sys.executable).with_name("protoc-gen-mypy_grpc")
    asked = plugin_pb2.CodeGeneratorRequest()
    asked.CopyFrom(request)
    asked.parameter = "only_async,quiet"
    ran = subprocess.run([program], input=asked.SerializeToString(), stdout=subprocess.PIPE, check=True)
    return plugin_pb2.CodeGeneratorResponse.FromString(ran.stdout)


def _without_service(name: str, with_service: set[str]) -> bool:
    stem, marked, _ = name.partition("_pb2_grpc.py")
    return bool(marked) and f"{stem}.proto" not in with_service


if __name__ == "__main__":
    asked = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(asked).SerializeToString())
