"""Nodes that stop for a while, or die and come back, in the middle of everything.

A node that sleeps does not know it: when it wakes, its requests of long ago are still under way, others have gone on,
and what it believes is old. One that dies leaves requests behind that may yet be applied. On MinIO, behind proxies.
"""

import signal
import time

import pytest

import bed
import proxy as p
from campaign import Campaign
from proxy import READS, WRITES, Fault

NAPS = 3
DEATHS = 6
# Milder than the menu, so that a node can start.
ROUGH = [
    Fault(p.LATE, 0.03, prefix="journal/", seconds=(0.3, 3)),
    Fault(p.DROP_RESPONSE, 0.03, WRITES + READS),
    Fault(p.CONFLICT, 0.03),
    Fault(p.DELAY, 0.05, WRITES + READS, seconds=(0.01, 1)),
]


@pytest.mark.timeout(240)
def test_nodes_fall_asleep(cluster):
    """SIGSTOP for some seconds, then SIGCONT, one node after the other; the first time for longer than a slot's attempt."""
    rng = bed.seeded("naps")
    with Campaign(cluster) as campaign:
        # Writes are under way when the node stops.
        cluster.set(Fault(p.DELAY, 0.3, prefix="journal/", seconds=(0.01, 0.2)))
        campaign.run(1)
        hit = 0
        for nap in range(NAPS):
            campaign.run(rng.uniform(0.5, 1.5))
            sleeper = rng.choice(cluster.nodes)
            before = campaign.progress()
            hit += any(writer.in_flight() for writer in campaign.writers)
            sleeper.child.send_signal(signal.SIGSTOP)
            try:
                campaign.run(rng.uniform(11, 13) if nap == 0 else rng.uniform(2, 6))
            finally:
                sleeper.child.send_signal(signal.SIGCONT)
            assert campaign.progress() > before, "nobody was served while one node of two was asleep"
        campaign.run(2)
        campaign.judge()
    assert hit >= NAPS // 2, f"only {hit} of {NAPS} naps hit records in flight: this test proves little"


@pytest.mark.timeout(240)
def test_nodes_die_and_come_back_during_faults(cluster):
    """`kill -9` and a start at once, while the store misbehaves: what the dead left under way may be applied after it."""
    rng = bed.seeded("deaths")
    with Campaign(cluster) as campaign:
        cluster.set(*ROUGH)
        hit = 0
        for _ in range(DEATHS):
            campaign.run(rng.uniform(0.5, 2))
            victim = rng.choice(cluster.nodes)
            hit += any(writer.in_flight() for writer in campaign.writers)
            victim.kill9()
            time.sleep(rng.choice([0, 0.5]))
            start_in_bad_weather(victim)
        cluster.await_fired(*(fault.kind for fault in ROUGH))
        campaign.judge()
    assert hit >= DEATHS // 2, f"only {hit} of {DEATHS} kills hit records in flight: this test proves little"


def start_in_bad_weather(node, attempts=5):
    """A node whose start meets too many faults gives up and says so; its supervisor starts it again."""
    for attempt in range(attempts):
        try:
            return node.start(timeout=30)
        except bed.BedError as error:
            if node.running() or attempt == attempts - 1:
                raise
            print(str(error).splitlines()[0])
    return None
