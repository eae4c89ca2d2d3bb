"""What the campaigns share: two nodes on MinIO, each behind a proxy of its own."""

import pytest

from campaign import Cluster


@pytest.fixture
def cluster(make_store, start_node):
    with Cluster(make_store("minio"), start_node) as cluster:
        yield cluster
