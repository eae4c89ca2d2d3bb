"""Exactly once on real processes: copiers that read, process and write are killed, stopped and succeeded while they live,
nodes die, sleep and lose their store, and the store does what it likes. What committed is there whole, once; nothing
else is ever seen; in the end nothing is open and everything has gone through.

On MinIO, two nodes, each behind a proxy. Every test prints its seed.
"""

import signal

import pytest

import bed
import proxy as p
from campaign import Cluster
from proxy import Fault
from test_pauses import start_in_bad_weather
from test_store_faults import KINDS, MENU
from transaction_campaign import TIMEOUT_MS, Campaign

# Who leaves a classic group without a word holds it up for his session; a static member is succeeded at once.
ROUNDS = {"classic": 2, "static": 5}


@pytest.fixture
def cluster(make_store, start_node):
    with Cluster(make_store("minio"), start_node, alone=False) as cluster:
        yield cluster


def zombie(campaign):
    """Stops a copier within a transaction and lets an heir begin under its id, or at least wait to."""
    sleeper = campaign.caught_inside()
    inside = sleeper.inside()
    sleeper.suspend()
    heir = campaign.follow(sleeper.producer)
    return sleeper, heir, inside


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", list(ROUNDS))
def test_copiers_die_and_rise_again(cluster, tmp_path, protocol):
    """kill -9 of copiers, zombies that wake when their heirs are at work, kill -9 of nodes, answers about slots that are lost."""
    rng, rounds = bed.seeded(f"copiers {protocol}"), ROUNDS[protocol]
    with Campaign(cluster, tmp_path, protocol) as campaign:
        cluster.set(
            Fault(p.DROP_RESPONSE, 0.1, prefix="journal/"),
            Fault(p.LATE, 0.03, prefix="journal/", seconds=(0.05, 2)),
            Fault(p.CONFLICT, 0.05),
        )
        campaign.wait_until(lambda: campaign.progress() > 0, 60, "the first output")
        hit = 0
        for number in range(rounds):
            campaign.run(rng.uniform(0.2, 1))
            victim = campaign.caught_inside()
            hit += victim.inside()
            victim.kill9()
            sleeper, heir, inside = zombie(campaign)
            hit += inside
            node = cluster.nodes[number % 2]
            node.kill9()
            start_in_bad_weather(node)
            if number:
                campaign.wait_until(lambda: heir.is_ready() or not heir.running(), 60, f"{heir.name} to begin")
            sleeper.wake()
        campaign.abandon()
        cluster.await_fired(p.DROP_RESPONSE, p.CONFLICT, p.LATE)
        campaign.judge()
    assert hit >= rounds, f"only {hit} of {2 * rounds} blows hit an open transaction: this test proves little"


@pytest.mark.timeout(400)
def test_the_whole_menu_while_nodes_sleep_and_are_cut_off(cluster, tmp_path):
    """All that a store can do, a node that sleeps for longer than transactions live, and one that is out of reach of the store.

    The group is one of KIP-848.
    """
    rng = bed.seeded("menu")
    with Campaign(cluster, tmp_path, "consumer") as campaign:
        campaign.wait_until(lambda: campaign.progress() > 0, 60, "the first output")
        cluster.set(*MENU)
        campaign.run(3)
        sleeper, _, _ = zombie(campaign)
        campaign.abandon()
        node = rng.choice(cluster.nodes)
        node.child.send_signal(signal.SIGSTOP)
        try:
            campaign.run(TIMEOUT_MS / 1000 + 2)
        finally:
            node.child.send_signal(signal.SIGCONT)
        sleeper.wake()
        campaign.run(1)
        cluster.proxies[0].cut_off(silent=rng.random() < 0.5)
        campaign.run(6)
        cluster.proxies[0].heal()
        campaign.run(2)
        cluster.await_fired(*KINDS, p.CUT_OFF)
        campaign.judge()
