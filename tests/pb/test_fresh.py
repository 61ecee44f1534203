"""What is committed in authz/pb is what protos/ makes."""

import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "authz" / "pb"
GENERATED = sorted(path.name for path in COMMITTED.glob("*_pb2*.py*"))
MODULES = [name for name in GENERATED if name.endswith("_pb2.py")]
STUB = COMMITTED / "external_auth_pb2_grpc.py"


def generator() -> str:
    """The version of grpcio-tools that made what is committed."""
    found = re.search(r"^GRPC_GENERATED_VERSION = '(.+)'$", STUB.read_text(), re.MULTILINE)
    assert found
    return found[1]


def descriptor(module: Path) -> FileDescriptorProto:
    """The descriptor inside a generated module, read without importing it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".AddSerializedFile"):
            return FileDescriptorProto.FromString(ast.literal_eval(node.args[0]))
    raise AssertionError(f"{module.name} holds no descriptor")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what protos/ makes now."""
    target = tmp_path_factory.mktemp("generated")
    subprocess.run([sys.executable, ROOT / "protos" / "generate.py", target], check=True)
    return target / "authz" / "pb"


def test_the_same_files_are_there(fresh: Path) -> None:
    kept = {path.name for path in COMMITTED.iterdir() if path.name != "__pycache__"}
    assert kept == {path.name for path in fresh.iterdir()} | {"__init__.py"}


@pytest.mark.parametrize("name", MODULES)
def test_the_descriptors_agree(fresh: Path, name: str) -> None:
    assert descriptor(COMMITTED / name) == descriptor(fresh / name)


@pytest.mark.skipif(version("grpcio-tools") != generator(), reason="made by another grpcio-tools")
@pytest.mark.parametrize("name", GENERATED)
def test_the_sources_agree(fresh: Path, name: str) -> None:
    assert (COMMITTED / name).read_text() == (fresh / name).read_text()
