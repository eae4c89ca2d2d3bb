"""The HTTP API: what it takes Kafka's clients read, what they write it gives out, and what goes wrong is said in one form.

`requests` asks as a script would, librdkafka is the other side. Each test is a rule that the API's user may rely on.
"""

import collections
import gzip
import json
import re
import shutil
import subprocess
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import ResourceType

import bed
from clientlib import (
    Acks,
    consume_all,
    consume_committed,
    consumer,
    create_topic,
    delete_topic,
    describe_configs,
    end_offsets,
    produce_all,
    producer,
    take,
    topics,
    watermarks,
)
from httpapi import ARROW, JSON, NDJSON, Api, Events, by_place, bytes_of, encoded, problem_of, quoted, send_half
from test_compaction import PARTITIONS, compact, read, write
from test_export import columns

OCTETS = "application/octet-stream"
# A moment: what somebody waits for must be there so soon after it was acknowledged.
MOMENT = 1.0


@pytest.fixture(scope="module")
def memory_node(make_store, start_module_node):
    return start_module_node(make_store("memory"))


@pytest.fixture
def api(memory_node):
    return Api(memory_node)


@pytest.fixture
def everywhere(node_on_each_store):
    """The API on each kind of store in turn."""
    return Api(node_on_each_store)


@pytest.fixture(params=["file", "minio"])
def kept(request, make_store):
    """A store that outlives its nodes."""
    return make_store(request.param)


@pytest.fixture
def two(make_store, start_node):
    """Two nodes of one cluster."""
    store = make_store("minio")
    return [start_node(store, node_id=1), start_node(store, node_id=2)]


def lines(records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def places(answer):
    """Where records went, one by one, from the runs that an append is answered with."""
    found = [(run["partition"], run["offset"] + n) for run in answer["appended"] for n in range(run["records"])]
    assert len(found) == answer["records"] and len(set(found)) == len(found), answer
    if "offsets" in answer:
        assert sorted((place["partition"], place["offset"]) for place in answer["offsets"]) == sorted(found), answer
    return found


def seen_by_kafka(node, topic, partitions):
    """What librdkafka reads, in the form of `by_place`."""
    client = consumer(node)
    try:
        ends = [watermarks(client, topic, p)[1] for p in range(partitions)]
        client.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        messages = take(client, sum(ends)) if sum(ends) else []
        return {(m.partition(), m.offset()): (m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in messages}
    finally:
        client.close()


def in_background(action, *args):
    """Begins it in a thread; `.result(timeout)` is what it came to."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(action, *args)
    pool.shutdown(wait=False)
    return future


# --- append ---


def test_json_is_what_kafka_reads(everywhere, name):
    """Keys, values, headers and times to the byte; values that are no strings stay the JSON that they were sent as."""
    everywhere.create(name, 3)
    body = """[
        {"key": "text", "value": "gr\\u00fc\\u00dfe", "timestamp": 1700000000123,
         "headers": [{"key": "twice", "value": "1"}, {"key": "twice", "value": null},
                     {"key": "raw", "value": "//79", "value_encoding": "base64"}]},
        {"key": {"id": 1}, "value": { "price":1.50,  "list":[1e3,true,null] }, "partition": 2},
        {"key": "//79", "key_encoding": "base64", "value": "AAEC", "value_encoding": "base64"},
        {"key": "gone", "value": null}, {"key": "gone as well"}, {"value": ""}, {"value": 17}, {"value": false}
    ]"""
    before = time.time() * 1e3
    answer = everywhere.append(name, body.encode())
    found = seen_by_kafka(everywhere.node, name, 3)
    assert set(found) == set(places(answer))
    got = [found[place["partition"], place["offset"]] for place in answer["offsets"]]
    headers = [("twice", b"1"), ("twice", None), ("raw", b"\xff\xfe\xfd")]
    assert got[0] == (b"text", "grüße".encode(), headers, 1700000000123)
    assert [record[:2] for record in got[1:]] == [
        (b'{"id": 1}', b'{ "price":1.50,  "list":[1e3,true,null] }'),
        (b"\xff\xfe\xfd", b"\0\1\2"),
        (b"gone", None), (b"gone as well", None), (None, b""), (None, b"17"), (None, b"false"),
    ]  # fmt: skip
    assert answer["offsets"][1]["partition"] == 2
    assert all(before - 60_000 < at < time.time() * 1e3 + 60_000 and headers is None for _, _, headers, at in got[1:])
    # One object is a list of one.
    assert everywhere.append(name, {"value": "alone", "partition": 0})["records"] == 1


def test_a_key_goes_where_kafkas_clients_put_it(everywhere, name):
    """Otherwise the order of a key's records would depend on who wrote them."""
    everywhere.create(name, 7)
    dice = bed.seeded("partitions")
    keys = [b"", b"a", "schlüssel".encode(), b"x" * 5_000, *(dice.randbytes(dice.randrange(1, 40)) for _ in range(200))]
    home, client = {}, producer(everywhere.node, partitioner="murmur2_random")
    for key in keys:
        client.produce(name, b"kafka", key, on_delivery=lambda error, m: home.update({m.key() or b"": m.partition()}))
    assert client.flush(30) == 0
    answer = everywhere.append(name, [encoded({"key": key, "value": "http"}) for key in keys])
    assert [place["partition"] for place in answer["offsets"]] == [home[key] for key in keys]
    streamed = everywhere.append(name, lines(encoded({"key": key, "value": "lines"}) for key in keys), NDJSON)
    written = everywhere.read_all(name, 7)
    assert streamed["records"] == len(keys) and len(written) == 3 * len(keys)
    assert all(partition == home[key] for (partition, _), (key, *_) in written.items())
    key = keys[-1].hex()
    assert everywhere.append(name, b"raw", OCTETS, key=key)["appended"][0]["partition"] == (
        everywhere.append(name, {"key": key})["appended"][0]["partition"]
    )


def test_records_without_a_key_of_one_request_stay_together(api, name):
    api.create(name, 8)
    homes = [{place[0] for place in places(api.append(name, [{"value": str(n)} for n in range(50)]))} for _ in range(20)]
    assert all(len(home) == 1 for home in homes)
    assert len(set.union(*homes)) > 1, "twenty requests, one partition"
    assert {place[0] for place in places(api.append(name, [{"value": "x"}, {"key": "k"}], partition=5))} == {5}


def test_any_other_body_is_one_value(everywhere, name):
    everywhere.create(name, 2)
    everything = bytes(range(256)) * 40
    answer = everywhere.append(name, everything, OCTETS, key="ü", partition=1, timestamp=1700000000001)
    assert places(answer) == [(1, 0)]
    everywhere.append(name, b"{not json", "text/plain", partition=1)
    everywhere.append(name, b"", "image/png", partition=1)
    found = seen_by_kafka(everywhere.node, name, 2)
    assert found[1, 0] == ("ü".encode(), everything, None, 1700000000001)
    assert [found[1, n][:2] for n in (1, 2)] == [(None, b"{not json"), (None, b"")]
    one = everywhere("GET", f"{everywhere.records(name, 1)}/0", headers={"Accept": OCTETS})
    assert one.content == everything and one.headers["Content-Type"] == OCTETS


def test_a_line_is_seen_while_the_upload_is_open(everywhere, name):
    """A device may keep one request open for as long as it lives."""
    everywhere.create(name, 1)
    client = consumer(everywhere.node)
    client.assign([TopicPartition(name, 0, 0)])
    seen = []

    def upload():
        for part in range(3):
            yield lines({"value": f"{part} {n}"} for n in range(10))
            seen.extend(m.value().decode() for m in take(client, 10, timeout=20))

    answer = everywhere.append(name, upload(), NDJSON)
    client.close()
    assert seen == [f"{part} {n}" for part in range(3) for n in range(10)]
    assert places(answer) == [(0, n) for n in range(30)]


def test_lines_keep_their_order(everywhere, name):
    """Many lines in pieces that end anywhere, the last one without an end; what is answered is where they are."""
    everywhere.create(name, 3)
    sent = [{"key": f"k{n % 50}", "value": f"{n}"} for n in range(20_000)]
    body, dice = lines(sent)[:-1], bed.seeded("pieces")

    def pieces(at=0):
        while at < len(body):
            size = dice.randrange(1, 30_000)
            yield body[at : at + size]
            at += size

    answer = everywhere.append(name, pieces(), NDJSON)
    reads = consume_all(everywhere.node, name, 3)
    assert sorted(places(answer)) == sorted((read.partition, read.offset) for read in reads)
    by_key = collections.defaultdict(list)
    for read_one in reads:
        by_key[read_one.key].append(int(read_one.value))
    assert sum(map(len, by_key.values())) == len(sent)
    assert all(numbers == list(range(numbers[0], len(sent), 50)) for numbers in by_key.values())
    assert everywhere.append(name, b"", NDJSON)["records"] == 0


def test_a_million_lines_in_bounded_memory(make_store, start_node):
    node = start_node(make_store("file"), flags=["--cache-bytes", "16MiB"])
    api = Api(node)
    api.create("t", 4)

    def upload(count, piece=2_000):
        for at in range(0, count, piece):
            yield b"".join(b'{"key":"%d","value":"record number %d of very many"}\n' % (n % 1_000, n) for n in range(at, at + piece))

    # What a node needs once it works at all.
    assert api.append("t", upload(200_000), NDJSON)["records"] == 200_000
    before = node.memory_mib("VmHWM")
    assert api.append("t", upload(1_000_000), NDJSON)["records"] == 1_000_000
    assert sum(end_offsets(node, "t", 4)) == 1_200_000
    assert node.memory_mib("VmHWM") - before < 64, "memory grows with the length of an upload"


def test_a_line_that_is_none_ends_the_upload(everywhere, name):
    """What stands before it is written, said and no more; what stands behind it is not."""
    everywhere.create(name, 1)
    good = [{"value": f"{n}"} for n in range(100)]
    broken = [b"{\n", b"[]\n", b'{"value": "\\ud800"}\n', b'{"value": 1, "colour": "red"}\n', b'{"value": "?", "value_encoding": "base64"}\n']
    for number, line in enumerate(broken):
        body = lines(good[:50]) + line + lines(good[50:])
        problem = everywhere.refused("invalid-record", "POST", f"/v1/topics/{name}/records", data=body, headers={"Content-Type": NDJSON})
        assert (problem["line"], problem["appended"]) == (51, 50), line
        assert end_offsets(everywhere.node, name, 1) == [50 * (number + 1)], line
    assert everywhere.values(name) == [b"%d" % n for n in range(50)] * len(broken)


def test_a_list_is_written_whole_or_not_at_all(api, name):
    api.create(name, 2)
    path = f"/v1/topics/{name}/records"
    for bad in ({"value": "x", "key_encoding": "hex", "key": "00"}, {"headers": [{"value": "no name"}]}, {"timestamp": "noon"}, 17, {"offzet": 1}):
        problem = api.refused("invalid-record", "POST", path, json=[{"value": "fine"}, {"value": "fine"}, bad, {"value": "fine"}])
        assert problem.get("record") == 2, (bad, problem)
    problem = api.refused("invalid-record", "POST", path, json=[{"value": "fine"}, {"value": "x", "partition": 2}])
    assert problem["record"] == 1
    for body in (b"", b"[", b"[{}", b'{"value": 1} {"value": 2}', b"\xff"):
        answer = api.ask("POST", path, data=body, headers={"Content-Type": JSON})
        problem_of(answer, {400: "invalid-request", 422: "invalid-record"}[answer.status_code])
    assert api.append(name, [])["records"] == 0
    assert api.values(name, 0) == api.values(name, 1) == []


def test_an_upload_that_is_cut_off_leaves_no_half_record(api, name):
    api.create(name, 1)
    send_half(api.node, name, NDJSON, b'{"value":"1"}\n{"value":"2"}\n{"value":"thre')
    send_half(api.node, name, OCTETS, b"half of it", length=20)
    send_half(api.node, name, OCTETS, b"a chunk, and no end")
    send_half(api.node, name, JSON, b'[{"value":"3"},{"value":"4"}')
    send_half(api.node, name, JSON, b'[{"value":"3"},{"value":"4"}]', length=300)
    api.append(name, {"value": "after"})
    *before, last = api.values(name)
    assert before == [b"1", b"2"][: len(before)] and last == b"after"


def test_what_is_too_large_is_refused(api, name):
    api.create(name, 1, **{"max.message.bytes": "100000"})
    path = f"/v1/topics/{name}/records"
    large = "x" * 100_001
    api.refused("record-too-large", "POST", path, json=[{"value": "fine"}, {"value": large}])
    api.refused("record-too-large", "POST", path, data=large, headers={"Content-Type": OCTETS})
    api.refused("body-too-large", "POST", path, json=[{"value": "x" * 90_000}] * 100)
    api.refused("body-too-large", "POST", path, json=[{"value": "x"}] * 10_001)
    assert api.values(name) == []
    # Together they may be more than one batch holds.
    assert api.append(name, [{"value": "x" * 90_000}] * 50 + [{"value": "y"}] * 9_000)["records"] == 9_050
    problem = api.refused("record-too-large", "POST", path, data=lines([{"value": "z"}, {"value": large}]), headers={"Content-Type": NDJSON})
    assert problem["line"] == 2 and api.values(name)[9_050:] == [b"z"]


def test_a_topic_is_not_created_by_the_way(api, name):
    api.refused("unknown-topic", "POST", f"/v1/topics/{name}/records", json={"value": "x"})
    assert name not in topics(api.node)


def test_a_topic_that_stamps_its_records_does(api, name):
    api.create(name, 1, **{"message.timestamp.type": "LogAppendTime"})
    api.append(name, {"value": "x", "timestamp": 1_000})
    [record] = api.read(name)["records"]
    assert abs(record["timestamp"] - time.time() * 1e3) < 60_000


# --- once ---


IDEMPOTENT = {
    "json": (JSON, b'[{"key":"a","value":"1"},{"key":"b","value":"2"},{"value":"3"}]', 3),
    "lines": (NDJSON, lines({"key": f"k{n}", "value": f"{n}"} for n in range(2_000)), 2_000),
    "binary": (OCTETS, b"\0\xff", 1),
}


@pytest.mark.parametrize("form", IDEMPOTENT)
def test_a_request_with_a_key_is_written_once(everywhere, name, form):
    everywhere.create(name, 3)
    content_type, body, count = IDEMPOTENT[form]
    first = everywhere.append(name, body, content_type, {"Idempotency-Key": "order 17"})
    assert len(places(first)) == count
    for _ in range(3):
        again = everywhere.append(name, body, content_type, {"Idempotency-Key": "order 17"})
        assert places(again) == places(first) and again.get("offsets") == first.get("offsets")
    assert sum(end_offsets(everywhere.node, name, 3)) == count
    other = everywhere.append(name, body, content_type, {"Idempotency-Key": "order 18"})
    assert not set(places(other)) & set(places(first)), "another key is another request"
    assert sum(end_offsets(everywhere.node, name, 3)) == 2 * count


@pytest.mark.parametrize("form", IDEMPOTENT)
def test_a_key_outlives_the_node(kept, start_node, form):
    """Somebody who lost the answer asks again, and it is another node that hears them."""
    first = start_node(kept, node_id=1)
    api = Api(first)
    api.create("t", 3)
    content_type, body, count = IDEMPOTENT[form]
    answer = api.append("t", body, content_type, {"Idempotency-Key": "once"})
    first.kill9()
    second = start_node(kept, node_id=2)
    again = Api(second).append("t", body, content_type, {"Idempotency-Key": "once"})
    assert places(again) == places(answer) and again.get("offsets") == answer.get("offsets")
    assert sum(end_offsets(second, "t", 3)) == count


def test_a_key_with_another_body_hides_nothing(api, name):
    """It may be refused or written, but not answered with where something else is."""
    api.create(name, 1)
    headers = {"Idempotency-Key": "k"}
    first = api.append(name, {"value": "first"}, headers=headers)
    answer = api.ask("POST", f"/v1/topics/{name}/records", json={"value": "second"}, headers=headers)
    if answer.status_code == 200:
        assert answer.json()["appended"] != first["appended"] and api.values(name) == [b"first", b"second"]
    else:
        assert 400 <= answer.status_code < 500 and answer.json()["type"].startswith("urn:strandline:problem:")
        assert api.values(name) == [b"first"]


def test_a_key_belongs_to_its_topic(api, name):
    for topic in (api.create(name), api.create(f"{name}-other")):
        api.append(topic, {"value": "x"}, headers={"Idempotency-Key": "k"})
        assert api.values(topic) == [b"x"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(api, name, key):
    api.create(name)
    api.refused("invalid-request", "POST", f"/v1/topics/{name}/records", json={}, headers={"Idempotency-Key": key})
    api.append(name, {}, headers={"Idempotency-Key": "x" * 255})
    assert api.values(name) == [None]


def test_the_same_request_at_two_nodes_at_once_is_written_once(two):
    Api(two[0]).create("t", 3)
    wait_for_topic(two[1], "t")

    def send(number):
        key, api = number // 6, Api(two[number % 2])
        records = [{"key": f"{n}", "value": f"{key} {n}"} for n in range(5)]
        while True:
            answer = api.ask("POST", "/v1/topics/t/records", json=records, headers={"Idempotency-Key": f"k{key}"})
            if answer.status_code == 200:
                return key, json.dumps(answer.json(), sort_keys=True)
            assert answer.status_code in (409, 503), answer.text
            time.sleep(0.1)

    with ThreadPoolExecutor(12) as pool:
        answers = set(pool.map(send, range(60)))
    assert len(answers) == 10, "one answer a key"
    values = [read_one.value for read_one in consume_all(two[0], "t", 3)]
    assert sorted(values) == sorted(b"%d %d" % (key, n) for key in range(10) for n in range(5))


def wait_for_topic(node, topic):
    bed.wait_until(lambda: bed.http_get(f"http://{node.http}/v1/topics/{topic}")[0] == 200, 10, f"{topic} on {node.name}")


# --- read ---


@pytest.mark.parametrize("archive", ["batches", "parquet"])
@pytest.mark.parametrize("kind", ["file", "minio"])
def test_every_form_has_what_kafka_wrote(make_store, start_node, tmp_path, kind, archive):
    """All codecs, headers twice, null values, bytes that are no text; just written, and archived."""
    node = start_node(make_store(kind), flags=["--inline-max", "8KiB", "--compact", "off"])
    api = Api(node)
    api.create("t", PARTITIONS, **{"strandline.archive.format": archive})
    write(node, "t", "http", 600)
    produce_all(node, "t", [(None, None), (b"", b""), (b"k", None), (b"\xff", b"\xc3\x28"), (b"text", "ü\u2028\0\"\\".encode())])
    for _ in range(2):
        there = read(node, "t")
        plain = {place: (key, value, headers, at) for place, (key, value, headers, (_, at)) in there.items()}
        assert api.read_all("t", PARTITIONS, max_bytes=100_000) == plain
        assert from_lines(api, "t", limit=70) == plain
        assert from_arrow(api, "t", tmp_path, limit=120) == there
        compact(node, "--all")
    texts = [record for record in api.read("t", plain_partition(plain))["records"] if record.get("key") == "text"]
    assert [(record["value"], "value_encoding" in record) for record in texts] == [("ü\u2028\0\"\\", False)], "text is text"
    one = next(iter(plain))
    assert by_place([api.get(f"{api.records('t', one[0])}/{one[1]}")]) == {one: plain[one]}


def plain_partition(records):
    return next(place[0] for place, record in records.items() if record[0] == b"text")


def from_lines(api, topic, **params):
    found = []
    for partition in range(PARTITIONS):
        for page in api.pages(topic, partition, NDJSON, **params):
            assert page.headers["Content-Type"].split(";")[0] == NDJSON
            found += map(json.loads, page.content.split(b"\n")[:-1])
    return by_place(found)


def from_arrow(api, topic, folder, **params):
    """Pages as files, as pyarrow, Polars and DuckDB read them."""
    files = []
    for partition in range(PARTITIONS):
        for number, page in enumerate(api.pages(topic, partition, ARROW, **params)):
            assert page.headers["Content-Type"] == ARROW
            files.append(folder / f"{partition}-{number:04}.arrows")
            files[-1].write_bytes(page.content)
    return columns("stream", *files)


@pytest.mark.parametrize("form", [JSON, NDJSON])
def test_what_was_read_can_be_written_as_it_is(everywhere, name, form):
    """A topic is copied with two requests a page, to the byte and to the millisecond."""
    original, copy = everywhere.create(f"{name}-a", PARTITIONS), everywhere.create(f"{name}-b", PARTITIONS)
    write(everywhere.node, original, name, 300)
    everywhere.append(original, [{"key": "k", "value": {"a": [1, 2.50]}, "headers": [{"key": "h", "value": "v"}]}, {"value": "x"}])
    for partition in range(PARTITIONS):
        for page in everywhere.pages(original, partition, form, limit=100):
            body = page.content if form == NDJSON else json.dumps(page.json()["records"]).encode()
            everywhere.append(copy, body, form)
    assert seen_by_kafka(everywhere.node, copy, PARTITIONS) == seen_by_kafka(everywhere.node, original, PARTITIONS)


def test_pages_follow_one_another(everywhere, name):
    everywhere.create(name)
    produce_all(everywhere.node, name, [(None, b"%d" % n) for n in range(500)], linger_ms=5)
    pages = [page.json() for page in everywhere.pages(name, limit=37)]
    assert [len(page["records"]) for page in pages] == [37] * 13 + [19]
    assert [record["offset"] for page in pages for record in page["records"]] == list(range(500))
    for accept in (JSON, NDJSON, ARROW):
        answer = everywhere("GET", everywhere.records(name, 0), params={"from": 100, "limit": 10}, headers={"Accept": accept})
        assert (answer.headers["Strandline-Next-Offset"], answer.headers["Strandline-High-Watermark"]) == ("110", "500")
        assert "from=110" in answer.links["next"]["url"] and "limit=10" in answer.links["next"]["url"]
    assert {key: pages[0][key] for key in ("next_offset", "high_watermark", "last_stable", "log_start")} == {
        "next_offset": 37, "high_watermark": 500, "last_stable": 500, "log_start": 0,
    }  # fmt: skip


def test_where_a_read_begins(everywhere, name):
    everywhere.create(name)
    day = 1_700_000_000_000
    everywhere.append(name, [{"value": f"{n}", "timestamp": day + 1_000 * n} for n in range(10)])
    begins = lambda start: [record["offset"] for record in everywhere.read(name, start=start)["records"]][:1]
    assert begins("earliest") == begins(0) == begins(f"@{day - 5}") == [0]
    assert begins(7) == begins(f"@{day + 7_000}") == begins(f"@{day + 6_001}") == begins("@2023-11-14T22:13:27Z") == [7]
    assert begins("@2023-11-14T23:13:26.5+01:00") == [7]
    assert begins("latest") == begins(10) == begins(f"@{day + 99_000}") == []
    assert everywhere.read(name, start="latest")["next_offset"] == 10
    for beyond in (11, 1 << 40):
        problem = everywhere.refused("offset-out-of-range", "GET", everywhere.records(name, 0), params={"from": beyond})
        assert (problem["log_start"], problem["high_watermark"]) == (0, 10)


def test_an_answer_stays_within_its_bytes(api, name):
    api.create(name)
    produce_all(api.node, name, [(None, b"x" * 1_000)] * 100 + [(None, b"y" * 500_000)], linger_ms=50)
    found = api.read(name, max_bytes=10_000)["records"]
    assert 1 <= len(found) <= 10
    # A record larger than that comes alone; otherwise nobody came past it.
    pages = [page.json()["records"] for page in api.pages(name, max_bytes=20_000)]
    assert sum(map(len, pages)) == 101 and [len(pages[-1]), pages[-1][0]["offset"]] == [1, 100]


def test_one_record(api, name):
    api.create(name, 2)
    api.append(name, [{"key": "k", "value": "v", "partition": 1}, {"key": "k", "partition": 1}])
    path = api.records(name, 1)
    first, second = api.get(f"{path}/0"), api.get(f"{path}/1")
    assert (first["topic"], first["partition"], first["offset"], first["value"]) == (name, 1, 0, "v") and second["value"] is None
    assert api("GET", f"{path}/0", headers={"Accept": OCTETS}).content == b"v"
    assert api("GET", f"{path}/1", 204, headers={"Accept": OCTETS}).content == b""
    api.refused("unknown-record", "GET", f"{path}/2")
    api.refused("unknown-partition", "GET", f"{api.records(name, 2)}/0")


def test_a_record_that_was_compacted_away_is_unknown(make_store, start_node):
    node = start_node(make_store("file"), flags=["--compact", "off"])
    api = Api(node)
    api.create("t", 1, **{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"})
    api.append("t", [{"key": f"k{n % 3}", "value": f"{n}"} for n in range(30)])
    compact(node, "--all")
    # What is there a node shows as it last knew it; whoever asks for the topic has it look.
    assert api.get("/v1/topics/t")["partitions"][0]["high_watermark"] == 30
    first = f"{api.records('t', 0)}/0"
    api.refused("unknown-record", "GET", first)
    assert api.values("t", limit=1)[-3:] == [b"27", b"28", b"29"]
    problem = api.refused("invalid-record", "POST", "/v1/topics/t/records", json=[{"key": "k"}, {"value": "a record without a key"}])
    assert problem["record"] == 1


# --- waiting ---


def test_a_reader_that_waits_is_woken(everywhere, name):
    """By another HTTP client and by a Kafka client, a moment after the record was acknowledged."""
    everywhere.create(name)

    def wait(start):
        return Api(everywhere.node).read(name, start=start, wait=30)["records"], time.monotonic()

    for number, write_one in enumerate((
        lambda: everywhere.append(name, {"value": "http"}),
        lambda: produce_all(everywhere.node, name, [(None, b"kafka")], linger_ms=0),
    )):  # fmt: skip
        waiting = in_background(wait, number)
        time.sleep(0.5)
        assert not waiting.done()
        write_one()
        acknowledged = time.monotonic()
        records, woken = waiting.result(20)
        assert [record["offset"] for record in records] == [number] and woken - acknowledged < MOMENT


def test_a_reader_waits_no_longer_than_it_said(api, name):
    api.create(name)
    began = time.monotonic()
    answer = api.read(name, wait=1)
    assert answer["records"] == [] and answer["next_offset"] == 0 and 0.9 < time.monotonic() - began < 5
    api.append(name, {"value": "x"})
    began = time.monotonic()
    assert len(api.read(name, wait=30)["records"]) == 1 and time.monotonic() - began < 5


# --- transactions ---


def test_records_of_transactions_are_seen_when_they_are_committed(everywhere, name):
    everywhere.create(name)
    everywhere.append(name, {"value": "before"})
    client = producer(everywhere.node, transactional_id=name)
    client.init_transactions(30)

    def begin(value):
        client.begin_transaction()
        client.produce(name, value, partition=0)
        assert client.flush(30) == 0

    begin(b"first")
    answer = everywhere.read(name)
    assert [record["value"] for record in answer["records"]] == ["before"]
    assert answer["next_offset"] == answer["last_stable"] == 1 and answer["high_watermark"] == 2
    assert everywhere.values(name, isolation="read-uncommitted") == [b"before", b"first"]

    # Who waits, waits for the end of the transaction, and not for its records.
    waiting = in_background(lambda: (Api(everywhere.node).read(name, start=1, wait=30)["records"], time.monotonic()))
    time.sleep(0.5)
    assert not waiting.done()
    client.commit_transaction(30)
    committed = time.monotonic()
    records, woken = waiting.result(20)
    assert [record["value"] for record in records] == ["first"] and woken - committed < MOMENT

    begin(b"never")
    client.abort_transaction(30)
    everywhere.append(name, {"value": "after"})
    assert everywhere.values(name) == [b"before", b"first", b"after"]
    assert everywhere.values(name) == [read_one.value for read_one in consume_committed(everywhere.node, name, 1)]
    assert everywhere.values(name, isolation="read-uncommitted") == [b"before", b"first", b"never", b"after"]
    assert everywhere.values(name, limit=1) == [b"before", b"first", b"after"], "past what was aborted, page by page"
    with Events(everywhere.node, name, start="earliest") as events:
        assert [event["value"] for event in events.take(3)] == ["before", "first", "after"]


# --- follow ---


def test_events_come_as_records_do(everywhere, name):
    """From now on unless asked otherwise; from all partitions, or one; whoever wrote them."""
    everywhere.create(name, 3)
    everywhere.append(name, [{"value": "old", "partition": p} for p in range(3)])
    with (
        Events(everywhere.node, name) as live,
        Events(everywhere.node, name, start="earliest") as all_of_it,
        Events(everywhere.node, name, start="earliest", partition=1) as one,
    ):
        assert [event["value"] for event in all_of_it.take(3)] == ["old"] * 3
        for number in range(5):
            everywhere.append(name, {"value": f"http {number}", "partition": 1, "key": "k"})
            acknowledged = time.monotonic()
            [event] = live.take(1)
            assert time.monotonic() - acknowledged < MOMENT
            # The same as a read says of it.
            assert event == everywhere.read(name, 1, start=number + 1)["records"][0]
        produce_all(everywhere.node, name, [(b"k", b"kafka")])
        assert [event["value"] for event in live.take(1)] == ["kafka"]
        assert [event["value"] for event in one.take(6)][:6] == ["old", *(f"http {n}" for n in range(5))]
        assert {event["partition"] for event in one.take_what_is_there(0.3)} <= {1}


def take_and_come_back(node, topic, last, seen, count):
    """Some events, and the cursor from which the rest is to be had."""
    start = {} if last else {"start": "earliest"}
    with Events(node, topic, last, **start) as events:
        seen += events.take(count)
        return events.last


def assert_each_once_in_order(seen, ends):
    offsets = collections.defaultdict(list)
    for event in seen:
        offsets[event["partition"]].append(event["offset"])
    assert {p: found for p, found in offsets.items()} == {p: list(range(end)) for p, end in enumerate(ends) if end}


def test_a_stream_goes_on_where_it_was_left(everywhere, name):
    """Connections end all the time: nothing is lost and nothing comes twice, while three partitions are written to."""
    everywhere.create(name, 3)
    dice, seen, last = bed.seeded("streams"), [], None
    writing = in_background(paced, everywhere.node, name, 1_500)
    while len(seen) < 1_500:
        last = take_and_come_back(everywhere.node, name, last, seen, min(dice.randrange(1, 200), 1_500 - len(seen)))
    writing.result(30)
    assert_each_once_in_order(seen, end_offsets(everywhere.node, name, 3))


def paced(nodes, topic, count, purpose="paced"):
    """Writes in small batches, so that readers are never far from the end."""
    dice = bed.seeded(purpose)
    client, acks = producer(nodes, linger_ms=0, enable_idempotence=True), Acks()
    for number in range(count):
        client.produce(topic, b"%d" % number, partition=dice.randrange(3), on_delivery=acks)
        if dice.random() < 0.1:
            client.poll(0.005)
    assert client.flush(60) == 0 and not acks.errors


def test_a_stream_goes_on_at_another_node(kept, start_node):
    """The one that served it is killed; a cursor is good at every node of the store."""
    first = start_node(kept, node_id=1)
    Api(first).create("t", 3)
    dice, seen = bed.seeded("moves"), []
    paced(first, "t", 400, "one")
    with Events(first, "t", start="earliest") as events:
        seen += events.take(250)
        first.kill9()
        seen += events.take_what_is_there(10)
        assert events.ended(10) is False
        last = events.last
    second = start_node(kept, node_id=2)
    paced(second, "t", 400, "two")
    while len(seen) < 800:
        last = take_and_come_back(second, "t", last, seen, min(dice.randrange(1, 200), 800 - len(seen)))
    assert_each_once_in_order(seen, end_offsets(second, "t", 3))


def test_a_stream_of_very_many_partitions_names_one(api, name):
    api.create(name, 101)
    api.refused("invalid-request", "GET", f"/v1/topics/{name}/events")
    api.append(name, {"value": "x", "partition": 100})
    with Events(api.node, name, start="earliest", partition=100) as events:
        assert events.take(1)[0]["partition"] == 100
    api.refused("invalid-request", "GET", f"/v1/topics/{name}/events", headers={"Last-Event-ID": "made up"}, params={"partition": 0})
    api.refused("unknown-partition", "GET", f"/v1/topics/{name}/events", params={"partition": 101})
    api.refused("unknown-topic", "GET", "/v1/topics/nowhere/events")


def test_a_stream_ends_with_its_topic(api, name):
    api.create(name)
    with Events(api.node, name) as events:
        delete_topic(api.node, name)
        events.ended(20)


def test_a_node_that_stops_ends_what_waits(make_store, start_node):
    """Streams and long polls get a proper end, so that a client comes back at once, and the node is gone in its time."""
    node = start_node(make_store("file"))
    Api(node).create("t")
    with Events(node, "t") as events:
        polls = [in_background(lambda: Api(node).ask("GET", "/v1/topics/t/partitions/0/records", params={"wait": 60})) for _ in range(3)]
        time.sleep(0.5)
        began = time.monotonic()
        assert node.terminate(timeout=12) == 0 and time.monotonic() - began < 10
        assert events.ended(1) is True
        for poll in polls:
            answer = poll.result(5)
            assert (answer.status_code, answer.json().get("records")) in ((200, []), (503, None)), answer.text


# --- topics ---


def test_topics_are_created_changed_and_deleted(everywhere, name):
    """As Kafka's clients see it, too."""
    answer = everywhere("POST", "/v1/topics", 201, json={"name": name, "partitions": 2, "configs": {"retention.ms": "60000"}})
    assert answer.headers["Location"].endswith(f"/v1/topics/{name}")
    described = everywhere.get(f"/v1/topics/{name}")
    assert answer.json() == described
    assert described["configs"] == {"retention.ms": "60000"} and topics(everywhere.node)[name] == 2
    assert described["partitions"] == [{"partition": p, "log_start": 0, "high_watermark": 0, "last_stable": 0} for p in range(2)]
    changes = {"partitions": 5, "configs": {"retention.ms": None, "cleanup.policy": "compact"}}
    changed = everywhere("PATCH", f"/v1/topics/{name}", json=changes).json()
    assert changed == everywhere.get(f"/v1/topics/{name}")
    assert changed["configs"] == {"cleanup.policy": "compact"} and len(changed["partitions"]) == 5 and changed["id"] == described["id"]
    assert topics(everywhere.node)[name] == 5
    assert describe_configs(everywhere.node, ResourceType.TOPIC, name)["cleanup.policy"].value == "compact"
    everywhere.refused("topic-exists", "POST", "/v1/topics", json={"name": name})
    assert everywhere("DELETE", f"/v1/topics/{name}", 204).content == b""
    everywhere.refused("unknown-topic", "DELETE", f"/v1/topics/{name}")
    assert name not in topics(everywhere.node)
    everywhere("POST", "/v1/topics", 201, json={"name": name})
    again = everywhere.get(f"/v1/topics/{name}")
    assert len(again["partitions"]) == 4 and again["configs"] == {} and again["id"] != described["id"]


def test_topics_are_listed_page_by_page(api):
    made = sorted(api.create(f"list-{n:02}", 1 + n % 3) for n in range(25))
    create_topic(api.node, "list-by-kafka", 2)
    api.create("other-one")
    found, after = [], {}
    while True:
        page = api.get("/v1/topics", prefix="list-", limit=10, **after)
        assert len(page["topics"]) <= 10
        found += page["topics"]
        if page.get("next") is None:
            break
        after = {"after": page["next"]}
    assert [topic["name"] for topic in found] == [*made, "list-by-kafka"]
    assert [topic["partitions"] for topic in found] == [*(1 + n % 3 for n in range(25)), 2]
    assert all(topic["id"] for topic in found)
    assert api.get("/v1/topics", prefix="no-such-")["topics"] == []


def test_a_topic_that_cannot_be_is_refused(api, name):
    for bad in ("", ".", "..", "a b", "a/b", "ü", "x" * 250):
        api.refused("invalid-topic", "POST", "/v1/topics", json={"name": bad})
    for configs in ({"no.such.config": "1"}, {"retention.ms": "soon"}, {"cleanup.policy": "burn"}):
        api.refused("invalid-config", "POST", "/v1/topics", json={"name": name, "configs": configs})
    for body in ({}, {"name": name, "colour": "red"}, {"name": name, "partitions": "three"}, [], "x"):
        api.refused("invalid-request", "POST", "/v1/topics", json=body)
    assert name not in topics(api.node)
    api.create(name, 3)
    api.refused("invalid-config", "PATCH", f"/v1/topics/{name}", json={"partitions": 4, "configs": {"retention.ms": "soon"}})
    assert api.ask("PATCH", f"/v1/topics/{name}", json={"partitions": 2}).status_code in (400, 409, 422)
    assert len(api.get(f"/v1/topics/{name}")["partitions"]) == 3, "all of a change or nothing of it"


def test_offsets_by_time_are_those_that_kafka_says(everywhere, name):
    everywhere.create(name, 3)
    day, dice = 1_700_000_000_000, bed.seeded("times")
    times = [day + 10 * n for n in range(200)]
    everywhere.append(name, [{"value": "x", "timestamp": at, "partition": dice.randrange(2)} for at in times])
    client = consumer(everywhere.node)
    try:
        for at in (0, day, times[57], times[57] + 3, times[-1], times[-1] + 1):
            asked = [TopicPartition(name, p, at) for p in range(3)]
            told = {one.partition: one.offset if one.offset != OFFSET_END else None for one in client.offsets_for_times(asked, timeout=15)}
            assert offsets(everywhere, name, at=at) == told, at
            stamps = [one.get("timestamp") for one in everywhere.get(f"/v1/topics/{name}/offsets", at=at)["offsets"]]
            assert all(stamp is None or stamp >= at for stamp in stamps)
        ends = {p: watermarks(client, name, p) for p in range(3)}
    finally:
        client.close()
    assert offsets(everywhere, name, at="2023-11-14T22:13:20Z") == offsets(everywhere, name, at=day)
    assert offsets(everywhere, name, at="earliest") == {p: low for p, (low, _) in ends.items()}
    assert offsets(everywhere, name, at="latest") == {p: high for p, (_, high) in ends.items()}
    assert offsets(everywhere, name, at="max-timestamp") == {p: high - 1 if high else None for p, (_, high) in ends.items()}
    everywhere.refused("invalid-request", "GET", f"/v1/topics/{name}/offsets", params={"at": "noon"})


def offsets(api, topic, **params):
    return {one["partition"]: one["offset"] for one in api.get(f"/v1/topics/{topic}/offsets", **params)["offsets"]}


def test_the_latest_offset_ends_before_what_is_undecided(api, name):
    api.create(name)
    client = producer(api.node, transactional_id=name)
    client.init_transactions(30)
    client.begin_transaction()
    client.produce(name, b"open", partition=0)
    assert client.flush(30) == 0
    assert offsets(api, name, at="latest", isolation="read-committed") == {0: 0}
    assert offsets(api, name, at="latest", isolation="read-uncommitted") == {0: 1}
    client.abort_transaction(30)


# --- groups ---


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_and_how_far_it_is(everywhere, name, protocol):
    """Beside a real consumer: where it is, what it has still to read, and nobody moves it while it reads."""
    group = f"{name} group/of ü"
    path = f"/v1/groups/{quoted(group)}"
    everywhere.create(name, 2)
    everywhere.append(name, [{"value": f"{n}", "partition": n % 2} for n in range(20)])
    everywhere.refused("unknown-group", "GET", path)
    client = group_member(everywhere.node, group, protocol)
    client.subscribe([name])
    take(client, 20)
    client.commit(offsets=[TopicPartition(name, 0, 4), TopicPartition(name, 1, 10)], asynchronous=False)

    described = everywhere.get(path)
    assert (described["group"], described["state"].lower(), described["lag"]) == (group, "stable", 6)
    found = {(one["topic"], one["partition"]): one for one in described["offsets"]}
    assert {place: (one["offset"], one["lag"]) for place, one in found.items()} == {(name, 0): (4, 6), (name, 1): (10, 0)}
    assert all(one["member"] for one in found.values())
    everywhere.append(name, {"value": "more", "partition": 1})
    assert everywhere.get(path)["lag"] == 7
    [listed] = everywhere.get("/v1/groups", prefix=f"{name} ")["groups"]
    assert (listed["group"], listed["type"].lower()) == (group, protocol)

    moved = {"offsets": [{"topic": name, "partition": 0, "offset": 9, "metadata": "by hand"}, {"topic": name, "partition": 1, "offset": 11}]}
    everywhere.refused("group-not-empty", "PUT", f"{path}/offsets", json=moved)
    everywhere.refused("group-not-empty", "DELETE", path)
    client.close()
    # Its leaving is answered before it is in the log.
    bed.wait_until(lambda: everywhere.get(path)["state"].lower() == "empty", 10, "the group to be empty")
    assert everywhere.get(path)["lag"] == 7
    everywhere("PUT", f"{path}/offsets", 204, json=moved)
    described = everywhere.get(path)
    assert described["state"].lower() == "empty" and described["lag"] == 1
    assert {one["partition"]: one["metadata"] for one in described["offsets"]}[0] == "by hand"

    client = group_member(everywhere.node, group, protocol)
    client.subscribe([name])
    assert [(m.partition(), m.offset()) for m in take(client, 1)] == [(0, 9)]
    client.close()
    everywhere("DELETE", path, 204)
    everywhere.refused("unknown-group", "GET", path)
    everywhere.refused("unknown-group", "DELETE", path)


def group_member(node, group, protocol):
    settings = {"bootstrap.servers": node.kafka, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    return Consumer({**settings, "group.protocol": protocol})


def test_a_group_is_made_by_its_offsets(api, name):
    """So that a consumer's first start is where somebody wants it."""
    api.create(name)
    api.append(name, [{"value": f"{n}"} for n in range(10)])
    api("PUT", f"/v1/groups/{name}/offsets", 204, json={"offsets": [{"topic": name, "partition": 0, "offset": 7}]})
    client = group_member(api.node, name, "classic")
    client.subscribe([name])
    assert [m.offset() for m in take(client, 3)] == [7, 8, 9]
    client.close()


# --- on the wire ---


def test_bodies_are_compressed_both_ways(everywhere, name):
    everywhere.create(name)
    body = lines({"value": f"number {n}"} for n in range(5_000))
    for encoding, compress in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        for content_type, sent in ((NDJSON, body), (JSON, b"[%s]" % b",".join(body.split(b"\n")[:-1]))):
            answer = everywhere.append(name, compress(sent), content_type, {"Content-Encoding": encoding})
            assert answer["records"] == 5_000
    assert everywhere.values(name) == [b"number %d" % n for n in range(5_000)] * 4
    for accept, encoding in (("gzip", "gzip"), ("zstd", "zstd"), ("zstd;q=1, gzip;q=0.5", "zstd"), ("gzip;q=0", None), ("br", None), ("identity", None)):
        status, headers, content = raw_get(everywhere, f"{everywhere.records(name, 0)}?limit=5000", accept)
        assert (status, headers.get("Content-Encoding")) == (200, encoding), accept
        assert "accept-encoding" in headers.get("Vary", "").lower()
        if encoding == "zstd":
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        elif encoding == "gzip":
            content = gzip.decompress(content)
        assert len(json.loads(content)["records"]) == 5_000


def raw_get(api, path, accept_encoding):
    """The bytes as they came, whatever this client could have made of them."""
    answer = api.ask("GET", path, headers={"Accept-Encoding": accept_encoding}, stream=True)
    return answer.status_code, answer.headers, answer.raw.read(decode_content=False)


def swelling(encoding, first, mib):
    """A body that becomes very much more: spaces, which JSON passes over."""
    part = b" " * (1 << 20)
    if encoding == "zstd":
        small = zstandard.ZstdCompressor(level=1).compressobj()
    else:
        small = zlib.compressobj(9, wbits=31)
    return b"".join([small.compress(first), *(small.compress(part) for _ in range(mib)), small.flush()])


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_packed_body_may_have_several_members(api, name, pack):
    """As `cat a.gz b.gz` makes it (RFC 1952, section 2.2; RFC 8878, section 3): all of them are written."""
    api.create(name, 1)
    body = b"".join(pack(b'{"value":"%d"}\n' % n) for n in range(3))
    headers = {"Content-Type": NDJSON, "Content-Encoding": "gzip" if pack is gzip.compress else "zstd"}
    assert api("POST", f"/v1/topics/{name}/records", data=body, headers=headers).json()["records"] == 3
    assert api.values(name) == [b"0", b"1", b"2"]


def test_a_list_with_a_time_that_is_refused_is_not_written(api, name):
    """Microseconds in place of milliseconds, in one record of two partitions."""
    api.create(name, 2)
    now = int(time.time() * 1000)
    records = [{"value": "fine", "partition": 0, "timestamp": now}, {"value": "late", "partition": 1, "timestamp": now * 1000}]
    assert api.refused("invalid-record", "POST", f"/v1/topics/{name}/records", json=records)["record"] == 1
    assert api.values(name, 0) == api.values(name, 1) == []


def test_whoever_follows_knows_at_once_where(api, name):
    """An id comes before the first record: cut off by then, a client misses nothing."""
    api.create(name, 2)
    with api.ask("GET", f"/v1/topics/{name}/events", stream=True) as answer:
        first = next(line for line in answer.iter_lines() if line)
    assert first.startswith(b"id: ")
    api.append(name, [{"value": "meanwhile", "partition": 1}])
    headers = {"Last-Event-ID": first.removeprefix(b"id: ").decode()}
    with api.ask("GET", f"/v1/topics/{name}/events", headers=headers, stream=True) as answer:
        data = next(line for line in answer.iter_lines() if line.startswith(b"data:"))
    assert json.loads(data.removeprefix(b"data:"))["value"] == "meanwhile"


@pytest.mark.parametrize("content_type", [JSON, NDJSON, OCTETS])
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_unpacks_without_end_is_refused(api, name, encoding, content_type):
    api.create(name)
    bomb = swelling(encoding, b'{"value":', 600)
    before = api.node.memory_mib("VmHWM")
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}
    answer = api.ask("POST", f"/v1/topics/{name}/records", data=bomb, headers=headers)
    assert answer.status_code == 413 and answer.json()["type"].endswith("-too-large"), answer.text
    assert api.node.memory_mib("VmHWM") - before < 100
    assert api.values(name) == []
    half = gzip.compress(b'{"value":1}' * 100)[:40]
    problem_of(
        api.ask("POST", "/v1/topics", data=half, headers={"Content-Type": JSON, "Content-Encoding": "gzip"}), "invalid-request"
    )


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl(api, name):
    """What somebody types who has nothing else."""

    def curl(*args, input=None):
        done = subprocess.run(["curl", "-sS", "--fail-with-body", "--noproxy", "*", *args], input=input, capture_output=True, timeout=30)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    at = f"{api.url}/v1/topics"
    curl(at, "-H", "Content-Type: application/json", "-d", json.dumps({"name": name, "partitions": 1}))
    curl(f"{at}/{name}/records", "-H", "Content-Type: application/json", "-d", '{"key":"k","value":{"a":1}}')
    curl(f"{at}/{name}/records", "-X", "POST", "-H", f"Content-Type: {NDJSON}", "-T", "-", input=b'{"value":"1"}\n{"value":"2"}\n')
    curl(f"{at}/{name}/records?key=k", "-H", f"Content-Type: {OCTETS}", "--data-binary", "@-", input=b"\0\n\xff")
    page = curl(f"{at}/{name}/partitions/0/records", "-H", f"Accept: {NDJSON}", "--compressed")
    assert [bytes_of(json.loads(line), "value") for line in page.splitlines()] == [b'{"a":1}', b"1", b"2", b"\0\n\xff"]
    assert curl(f"{at}/{name}/partitions/0/records/3", "-H", f"Accept: {OCTETS}") == b"\0\n\xff"
    argv = ["curl", "-sSN", "--compressed", "--noproxy", "*", "--max-time", "2", f"{at}/{name}/events?from=earliest"]
    said = subprocess.run(argv, capture_output=True, timeout=30).stdout.decode()
    assert [json.loads(data)["offset"] for data in re.findall(r"(?m)^data: ?(.*)$", said)] == [0, 1, 2, 3]


# --- what is refused, and how ---


def test_every_refusal_is_a_problem_of_its_kind(api, name):
    api.create(name)
    api.append(name, {"value": "x"})
    topic, records, page = f"/v1/topics/{name}", f"/v1/topics/{name}/records", api.records(name, 0)
    for kind, method, path, options in (
        ("not-found", "GET", "/v1/nothing", {}),
        ("not-found", "GET", "/v2/topics", {}),
        ("unknown-topic", "GET", "/v1/topics/nowhere", {}),
        ("unknown-topic", "PATCH", "/v1/topics/nowhere", {"json": {"partitions": 2}}),
        ("unknown-topic", "GET", "/v1/topics/nowhere/offsets", {"params": {"at": "latest"}}),
        ("unknown-topic", "GET", "/v1/topics/nowhere/partitions/0/records", {}),
        ("unknown-partition", "GET", api.records(name, 1), {}),
        ("unknown-partition", "POST", records, {"params": {"partition": 1}, "json": {}}),
        ("unknown-group", "GET", "/v1/groups/nobody", {}),
        ("method-not-allowed", "PUT", "/v1/topics", {"json": {}}),
        ("method-not-allowed", "DELETE", page, {}),
        ("not-acceptable", "GET", page, {"headers": {"Accept": "text/csv"}}),
        ("unsupported-media-type", "POST", "/v1/topics", {"data": b"name=x", "headers": {"Content-Type": "text/plain"}}),
        ("unsupported-media-type", "POST", records, {"data": b"x", "headers": {"Content-Type": JSON, "Content-Encoding": "br"}}),
        ("invalid-request", "POST", "/v1/topics", {"data": b"{", "headers": {"Content-Type": JSON}}),
        *(("invalid-request", "GET", page, {"params": {key: value}}) for key, value in (
            ("limit", 0), ("limit", 10_001), ("limit", "x"), ("max_bytes", 0), ("max_bytes", (16 << 20) + 1), ("wait", 61), ("wait", -1),
            ("from", "x"), ("from", -1), ("from", "@noon"), ("isolation", "none"), ("offset", 1), ("From", 1),
        )),
        *(("invalid-request", "GET", path, {"params": {"colour": "red"}}) for path in (
            "/v1/topics", topic, f"{topic}/offsets?at=latest", f"{topic}/events", "/v1/groups", f"{page}/0",
        )),
        ("invalid-request", "POST", f"{records}?colour=red", {"json": {}}),
        ("invalid-request", "GET", "/v1/topics", {"params": {"limit": 10_001}}),
    ):  # fmt: skip
        api.refused(kind, method, path, **options)
        if kind == "method-not-allowed":
            assert "GET" in api.ask(method, path, **options).headers["Allow"]
    assert api.values(name) == [b"x"]
    # The connection is as good as before.
    assert api("GET", page, headers={"Accept": "text/html, */*;q=0.1"}).json()["records"]


def test_a_page_elsewhere_cannot_write(api, name):
    """It would do so from the browser of somebody who may."""
    api.create(name)
    group = f"/v1/groups/{name}"
    api("PUT", f"{group}/offsets", 204, json={"offsets": [{"topic": name, "partition": 0, "offset": 0}]})
    before = api.get(f"/v1/topics/{name}"), api.get(group)
    for method, path, body in (
        ("POST", f"/v1/topics/{name}/records", {"value": "x"}),
        ("POST", "/v1/topics", {"name": f"{name}-new"}),
        ("PATCH", f"/v1/topics/{name}", {"partitions": 2}),
        ("PUT", f"{group}/offsets", {"offsets": [{"topic": name, "partition": 0, "offset": 5}]}),
        ("DELETE", group, None),
        ("DELETE", f"/v1/topics/{name}", None),
    ):
        api.refused("cross-site", method, path, json=body, headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"})
    assert (api.get(f"/v1/topics/{name}"), api.get(group)) == before and f"{name}-new" not in topics(api.node)
    for site in ("same-origin", "none"):
        api.append(name, {"value": site}, headers={"Sec-Fetch-Site": site})
    answer = api("GET", f"/v1/topics/{name}", headers={"Sec-Fetch-Site": "cross-site"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_it_describes_itself(api):
    """To programs and to people; a page that is opened where nothing else can be reached is whole."""
    document = api.get("/openapi.json")
    assert document["openapi"].startswith("3.1") and document["info"]["version"]
    for path, methods in {
        "/v1/topics": {"get", "post"},
        "/v1/topics/{topic}": {"get", "patch", "delete"},
        "/v1/topics/{topic}/offsets": {"get"},
        "/v1/topics/{topic}/records": {"post"},
        "/v1/topics/{topic}/partitions/{partition}/records": {"get"},
        "/v1/topics/{topic}/partitions/{partition}/records/{offset}": {"get"},
        "/v1/topics/{topic}/events": {"get"},
        "/v1/groups": {"get"},
        "/v1/groups/{group}": {"get", "delete"},
        "/v1/groups/{group}/offsets": {"put"},
    }.items():
        assert methods <= set(document["paths"][path]), path
    page = api("GET", "/")
    assert page.headers["Content-Type"].startswith("text/html")
    outside = re.findall(r"""(?i)<(?:script|img|iframe|link)\b[^>]*?(?:src|href)\s*=\s*["']?(?:https?:)?//[^"'\s>]+|@import|url\(\s*["']?http""", page.text)
    assert not outside, outside


# --- several nodes ---


def test_nodes_of_one_store_are_one_log(two):
    """Written at one, read and followed at the other, as soon as it was acknowledged."""
    here, there = map(Api, two)
    here.create("t", 3)
    wait_for_topic(two[1], "t")
    with Events(two[1], "t") as events:
        for number in range(20):
            writer, reader = (here, there) if number % 2 else (there, here)
            [place] = writer.append("t", {"key": f"{number}", "value": f"{number}"})["offsets"]
            one = reader.get(f"{reader.records('t', place['partition'])}/{place['offset']}")
            assert one["value"] == f"{number}"
            # A page may be from a moment ago, unless somebody waits for more; what is there is never said to be unknown.
            answer = reader.read("t", place["partition"], start=place["offset"], wait=10)
            assert [record["value"] for record in answer["records"]][:1] == [f"{number}"]
        assert sorted(int(event["value"]) for event in events.take(20)) == list(range(20))
    assert here.read_all("t", 3) == there.read_all("t", 3) == seen_by_kafka(two[0], "t", 3)
