"""Real nodes and real clients while the store loses, delays, repeats, refuses and damages: nothing acknowledged is lost,
nothing is there twice or out of its order, and when the store is well again everything goes on.

On MinIO, each node behind a proxy of its own. Every test prints its seed.
"""

import pytest

import proxy as p
from campaign import Campaign
from proxy import READS, WRITES, Fault

MENU = [
    Fault(p.DROP_RESPONSE, 0.02, WRITES + READS),
    Fault(p.DROP_REQUEST, 0.02, WRITES + READS),
    Fault(p.DELAY, 0.03, WRITES + READS, seconds=(0.005, 3)),
    Fault(p.DELAY, 0.001, WRITES, seconds=(11, 14)),
    Fault(p.SLOW_DOWN, 0.02, WRITES + READS),
    Fault(p.ERROR_AFTER, 0.02),
    Fault(p.CONFLICT, 0.03),
    Fault(p.TOO_MANY, 0.01, WRITES + READS),
    Fault(p.LATE, 0.01, seconds=(0.05, 4)),
    Fault(p.TWICE, 0.02),
    Fault(p.CUT_REQUEST, 0.02),
    Fault(p.CUT_RESPONSE, 0.02, READS),
    Fault(p.SLOW_REQUEST, 0.01, seconds=(0.05, 2)),
    Fault(p.SLOW_RESPONSE, 0.01, READS, seconds=(0.05, 2)),
]
KINDS = [fault.kind for fault in MENU]


@pytest.mark.timeout(240)
def test_the_whole_menu_at_once(cluster):
    with Campaign(cluster) as campaign:
        cluster.set(*MENU)
        campaign.run(18)
        cluster.await_fired(*KINDS)
        campaign.judge()


@pytest.mark.timeout(240)
def test_bits_that_flip_on_the_way(cluster):
    """What a node reads is damaged, what lies in the bucket is not: nobody is given a wrong byte, and nobody remembers."""
    with Campaign(cluster) as campaign:
        cluster.set(Fault(p.FLIP, 0.05, READS))
        campaign.run(8)
        cluster.await_fired(p.FLIP)
        campaign.judge()


@pytest.mark.timeout(240)
def test_answers_about_slots_are_lost(cluster):
    """A third of all slots that are written are written without their writer hearing of it."""
    with Campaign(cluster) as campaign:
        cluster.set(
            Fault(p.DROP_RESPONSE, 0.35, prefix="journal/"),
            Fault(p.CONFLICT, 0.1, prefix="journal/"),
            Fault(p.LATE, 0.04, prefix="journal/", seconds=(0.05, 1)),
        )
        campaign.run(10)
        cluster.await_fired(p.DROP_RESPONSE, p.CONFLICT, p.LATE, "landed late")
        campaign.judge()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "unanswered"])
def test_one_node_is_cut_off(cluster, silent):
    """The others go on, its clients hear nothing final, and it comes back by itself."""
    with Campaign(cluster) as campaign:
        campaign.run(2)
        cluster.proxies[0].cut_off(silent)
        campaign.run(1)
        before = campaign.progress()
        campaign.run(7)
        assert campaign.progress() > before, "nobody was served while one node of two was cut off"
        cluster.proxies[0].heal()
        campaign.run(2)
        cluster.await_fired(p.CUT_OFF)
        campaign.judge()


@pytest.mark.timeout(240)
def test_reads_go_on_while_nothing_can_be_written(cluster):
    with Campaign(cluster) as campaign:
        campaign.run(3)
        cluster.set(Fault(p.SLOW_DOWN, 1.0))
        campaign.run(2)
        newcomer, there = campaign.add_reader(), campaign.progress()
        campaign.run(8)
        assert sum(newcomer.at) >= there, f"somebody who came while nothing could be written got {newcomer.at} of {there} records"
        cluster.await_fired(p.SLOW_DOWN)
        campaign.judge()
