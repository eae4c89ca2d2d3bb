"""The HTTP API keeps what its OpenAPI document promises, whatever it is asked.

Schemathesis makes requests of /openapi.json, good ones and bad ones, and looks at every answer: none may be the server's
failure, and each must be one that the document has. A run repeats with the seed that the report's head prints.
"""

import subprocess

import pytest

import bed
from clientlib import produce_all, producer
from httpapi import Api

SCHEMATHESIS = bed.TESTBED / "schemathesis/bin/schemathesis"
SECONDS = 20

# Without names of what is there, nearly all requests would end at "unknown topic"; with nothing but them, none would.
# What waits, waits for no more than a moment, or there would be no time for anything else.
CONFIG = """
request-timeout = 20

[dictionaries.topics]
values = ["fuzzed", "transacted", "fuzzed-empty"]
[dictionaries.groups]
values = ["readers"]
[dictionaries.numbers]
values = ["0", "1", "2", "10"]
[dictionaries.places]
values = ["earliest", "latest", "0", "3", "@0", "@2026-07-01T12:00:00Z"]

[checks]
enabled = false
not_a_server_error.enabled = true
status_code_conformance.enabled = true
content_type_conformance.enabled = true
response_headers_conformance.enabled = true
response_schema_conformance.enabled = true

[parameters]
"path.topic" = { dictionary = "topics", probability = 0.8 }
"path.group" = { dictionary = "groups", probability = 0.7 }
"path.partition" = { dictionary = "numbers", probability = 0.7 }
"path.offset" = { dictionary = "numbers", probability = 0.7 }
"query.wait" = 0.1
"query.from" = { dictionary = "places", probability = 0.7 }

[[operations]]
include-path = "/v1/topics/{topic}/events"
request-timeout = 0.5
max-stream-events = 3
# OpenAPI 3.1 can say of a stream only that it is text; Schemathesis takes that for the form of an event.
checks = { response_schema_conformance = { enabled = false } }

# They would take away what the others are asked about.
[[operations]]
include-name = "DELETE /v1/topics/{topic}"
parameters = { "path.topic" = "fuzzed-away" }
[[operations]]
include-name = "DELETE /v1/groups/{group}"
parameters = { "path.group" = "nobody" }
"""


def fill(node):
    """Something of every kind to be asked about."""
    api = Api(node)
    for topic in ("fuzzed", "transacted", "fuzzed-empty"):
        api.create(topic, 3, **{"retention.ms": "-1"})
    produce_all(node, "fuzzed", [(None, b"text"), (b"k", None), (b"\xff", b"\xfe"), (None, b'{"a":1}')] * 20)
    client = producer(node, transactional_id="fuzzed")
    client.init_transactions(30)
    for end in (client.commit_transaction, client.abort_transaction):
        client.begin_transaction()
        client.produce("transacted", b"value", headers=[("h", b"\xff")], partition=0)
        end(30)
    api("PUT", "/v1/groups/readers/offsets", 204, json={"offsets": [{"topic": "fuzzed", "partition": 0, "offset": 1}]})


@pytest.mark.timeout(240)
def test_it_is_what_it_says(make_store, start_node, tmp_path):
    node = start_node(make_store("memory"))
    fill(node)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    argv = [
        SCHEMATHESIS, "--config-file", config, "--no-color", "run", f"http://{node.http}/openapi.json",
        "--seed", bed.SEED, "--max-time", SECONDS, "--phases", "examples,coverage,fuzzing",
        "--generation-database", "none", "--continue-on-failure", "--warnings", "off",
    ]  # fmt: skip
    # It keeps things in its working folder. Text that it prints is for people, so its form is not looked at.
    environment = bed.clean_environment({"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis"), "NO_PROXY": "*"})
    done = subprocess.run([str(arg) for arg in argv], cwd=tmp_path, env=environment, capture_output=True, timeout=200)
    said = done.stdout.decode(errors="replace")
    print(said)
    assert done.returncode == 0, f"STRANDLINE_SEED={bed.SEED} repeats it\n{said[-20_000:]}\n{done.stderr.decode(errors='replace')[-2_000:]}"
    assert node.healthy() and not node.panics()
    assert [topic["name"] for topic in Api(node).get("/v1/topics", prefix="transacted")["topics"]] == ["transacted"], "it serves as before"
