"""What every Python test shares: the servers (one of each a session), fresh stores, nodes that are always stopped.

Run through tests/run, or by hand once that has run: ~/.cache/strandline-testbed/clients/bin/pytest tests/clients
"""

import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "clients"))

import bed
import behaviour
import oracle

_numbers = itertools.count()

ALL_STORES = ["memory", "file", "localstack", "minio"]


def pytest_report_header():
    return [f"strandline: {bed.BINARY}", f"test bed: {bed.TESTBED}", f"seed: {bed.SEED} (STRANDLINE_SEED={bed.SEED} repeats it)"]


def pytest_configure(config):
    config.addinivalue_line("markers", "no_node: a test of the command line, beside which no node runs")


def pytest_sessionstart():
    if lacking := bed.missing():
        pytest.exit(f"the test bed lacks {', '.join(lacking)}: run tests/run, which installs and builds it", 3)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the last lines of the log of each node that it used; a fixture may look at how its test ended."""
    outcome = yield
    report = outcome.get_result()
    item.report = report if call.when == "call" else getattr(item, "report", None)
    if report.failed:
        for node in {n for f in item.funcargs.values() for n in nodes_of(f)}:
            report.sections.append((f"log of {node.name} on {node.store}", bed.tail(node.log)))


def nodes_of(value):
    if isinstance(value, (bed.Node, oracle.Kafka)):
        return [value]
    if isinstance(value, behaviour.Broker):
        return nodes_of(value.node)
    if isinstance(value, NodeFactory):
        return value.started
    return []


class NodeFactory:
    """Starts nodes and remembers them, so that they are stopped and their logs looked at, whatever the test does."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = []

    def __call__(self, store, node_id=1, flags=(), env=None):
        node = bed.Node(store, self.folder, node_id, flags, env)
        self.started.append(node)
        node.start()
        return node

    def close(self):
        for node in self.started:
            if node.running():
                node.kill9()
        panics = [line for node in self.started if node.log.exists() for line in node.panics()]
        assert not panics, "a node panicked: " + "\n".join(panics)


def _factory(tmp_path_factory):
    factory = NodeFactory(tmp_path_factory.mktemp("nodes"))
    yield factory
    factory.close()


@pytest.fixture
def start_node(tmp_path_factory):
    """`start_node(store, node_id=1, flags=[...])`: a ready node that lives as long as the test."""
    yield from _factory(tmp_path_factory)


@pytest.fixture(scope="module")
def start_module_node(tmp_path_factory):
    """The same for a whole file of tests."""
    yield from _factory(tmp_path_factory)


def _server(kind, tmp_path_factory):
    server = kind(tmp_path_factory.mktemp(kind.__name__.lower()))
    try:
        server.start()
        server.create_bucket()
        yield server
    finally:
        if server.running():
            server.kill9()


@pytest.fixture(scope="session")
def minio(tmp_path_factory):
    yield from _server(bed.MinIO, tmp_path_factory)


@pytest.fixture(scope="session")
def localstack(tmp_path_factory):
    yield from _server(bed.LocalStack, tmp_path_factory)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """Apache Kafka itself, the oracle of the tests that run against both."""
    broker = oracle.Kafka(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker
    finally:
        if broker.running():
            broker.kill9()


@pytest.fixture(scope="module", params=["kafka", "strandline"])
def broker(request, make_store, start_module_node):
    """Each of the two in turn, for tests that hold both to the same."""
    node = request.getfixturevalue("kafka") if request.param == "kafka" else start_module_node(make_store("minio"))
    return behaviour.Broker(request.param, node)


@pytest.fixture(scope="session")
def make_store(request, tmp_path_factory):
    """`make_store("minio")`: an empty store of that kind; its server is started when first asked for."""

    def make(kind):
        server = request.getfixturevalue(kind) if kind in ("minio", "localstack") else None
        return bed.new_store(kind, tmp_path_factory.mktemp("store"), server)

    return make


@pytest.fixture(scope="module", params=ALL_STORES)
def node_on_each_store(request, make_store, start_module_node):
    """One node on each kind of store in turn, with the settings that a user gets who sets none."""
    return start_module_node(make_store(request.param))


@pytest.fixture(scope="module", params=["file", "minio"])
def node(request, make_store, start_module_node):
    """A node with default settings, on a store that flushes at once and on one that paces its flushes."""
    return start_module_node(make_store(request.param))


@pytest.fixture
def name():
    """A topic name that no other test uses."""
    return f"topic-{next(_numbers)}"
