"""Generate the Python package `authz.pb` from the .proto files beside this script.

Usage: python protos/generate.py [DIRECTORY]     (default: the repository's root)
Needs grpcio-tools; a test says whether the committed result is still what this makes.
"""

import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
SERVICE = "authz/pb/external_auth.proto"


def generate(target: Path) -> None:
    """Write authz/pb/*_pb2.py, *_pb2.pyi and the service's *_pb2_grpc.py below `target`."""
    files = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    protoc(f"--python_out={target}", f"--pyi_out={target}", *files)
    # Alone: for a file without a service the plug-in writes a module with nothing in it.
    protoc(f"--grpc_python_out={target}", SERVICE)


def protoc(*arguments: str) -> None:
    """Run the compiler that grpcio-tools bundles; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}", *arguments]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOS.parent)
