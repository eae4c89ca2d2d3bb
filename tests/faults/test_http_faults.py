"""The HTTP API while the store does not answer, or answers wrongly: what is said then, and that asking again is safe.

Two nodes on MinIO, each behind a proxy of its own.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import bed
import proxy as p
from clientlib import consume_all
from httpapi import NDJSON, Api, problem_of
from proxy import READS, WRITES, Fault


@pytest.mark.timeout(240)
def test_a_store_that_does_not_answer_is_said_so(cluster):
    """`unavailable`, and when to try again; tried again with its key, a request is written once, whatever became of the first."""
    api = Api(cluster.nodes[0])
    api.create("t")
    api.append("t", {"value": "before"})
    cluster.proxies[0].cut_off(silent=True)
    ask = lambda: api.ask("POST", "/v1/topics/t/records", json={"value": "once"}, headers={"Idempotency-Key": "k"}, timeout=90)
    answer = ask()
    problem_of(answer, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    cluster.await_fired(p.CUT_OFF)
    # Whoever reads hears of it too, unless what they ask for is at hand.
    answer = api.ask("GET", api.records("t", 0), timeout=90)
    if answer.status_code == 200:
        assert [record["value"] for record in answer.json()["records"]][:1] == ["before"]
    else:
        problem_of(answer, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    cluster.proxies[0].heal()
    bed.wait_until(lambda: ask().status_code == 200, 60, "the store to be back", every=0.5)
    assert [read.value for read in consume_all(cluster.nodes[1], "t", 1)] == [b"before", b"once"]


@pytest.mark.timeout(240)
def test_asking_again_until_it_is_answered_writes_once(cluster):
    """Answers of the store are lost, late and wrong, nodes are changed between attempts: each request is there once, where it was said to be."""
    Api(cluster.nodes[0]).create("t", 3)
    cluster.set(
        Fault(p.DROP_RESPONSE, 0.15, WRITES + READS),
        Fault(p.CONFLICT, 0.05),
        Fault(p.ERROR_AFTER, 0.05),
        Fault(p.SLOW_DOWN, 0.05, WRITES + READS),
        Fault(p.LATE, 0.02, seconds=(0.05, 2)),
    )

    def write(writer):
        dice, written = bed.seeded(f"http writer {writer}"), {}
        until, number = time.monotonic() + 15, 0
        while time.monotonic() < until:
            number += 1
            records = [{"key": f"{writer} {dice.random()}", "value": f"{writer} {number} {n}"} for n in range(dice.randrange(1, 30))]
            form = dice.choice([NDJSON, "application/json"])
            body = "".join(f"{json.dumps(record)}\n" for record in records) if form == NDJSON else json.dumps(records)
            answer = send(dice, body, {"Content-Type": form, "Idempotency-Key": f"{writer} {number}"})
            places = [(run["partition"], run["offset"] + n) for run in answer["appended"] for n in range(run["records"])]
            values = {record["value"].encode() for record in records}
            assert len(places) == len(values)
            written[number] = places, values
        return written

    def send(dice, body, headers):
        while True:
            try:
                answer = Api(dice.choice(cluster.nodes)).ask("POST", "/v1/topics/t/records", data=body, headers=headers, timeout=60)
            except requests.ConnectionError:
                continue
            if answer.status_code == 200:
                return answer.json()
            problem_of(answer, "unavailable")
            time.sleep(0.1)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(write, range(4)))
    cluster.await_fired(p.DROP_RESPONSE, p.CONFLICT, p.ERROR_AFTER, p.SLOW_DOWN)
    cluster.heal()
    there = {(read.partition, read.offset): read.value for read in consume_all(cluster.nodes[0], "t", 3)}
    said = {}
    for places, values in (request for written in outcomes for request in written.values()):
        assert {there[place] for place in places} == values
        said.update(dict.fromkeys(places))
    assert said.keys() == there.keys(), "what is there was acknowledged, and nothing is there twice"
