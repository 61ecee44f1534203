"""The official descriptors, apart from ours: both use the same full names."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

OFFICIAL = Path(__file__).parents[1] / "vectors" / "envoy" / "ext_authz_1.40.fds"


@pytest.fixture(scope="session")
def official() -> DescriptorPool:
    """Envoy 1.40.0's own descriptors, in a pool that knows nothing of ours."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(OFFICIAL.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool
