"""A protoc plugin that writes messages, type stubs and gRPC classes in one pass.

grpcio-tools keeps its gRPC generator inside its own protoc, so no stand-alone plugin program exists; this script is one.
It reads a CodeGeneratorRequest from standard input, hands the descriptors to that protoc, and answers with the files.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from grpc_tools import protoc


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Generated Python files for every file the request names; only files with a service get a gRPC module."""
    response = plugin_pb2.CodeGeneratorResponse()
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
            name = path.relative_to(out).as_posix()
            source = name.removesuffix("_pb2_grpc.py") + ".proto"
            if name.endswith("_pb2_grpc.py") and source not in with_service:
                continue
            response.file.add(name=name, content=path.read_text())
    return response


if __name__ == "__main__":
    asked = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(asked).SerializeToString())
