"""Compactors at work while the store fails and they are killed: everything that was acknowledged stays where it was.

They take all that is decided into chunks, again and again, two of them at once, each through a proxy that loses, delays,
repeats and refuses. Readers, old and new, must find one log.
"""

import subprocess
import threading

import pytest

import bed
from bed import run_command
from campaign import Campaign
from test_store_faults import KINDS, MENU


class Compactor(threading.Thread):
    """`strandline compact --once --all`, started anew whenever it ends, and killed now and then."""

    def __init__(self, cluster, number):
        super().__init__(name=f"compactor {number}", daemon=True)
        self.cluster, self.dice, self.stopping = cluster, bed.seeded(f"compactor/{number}"), threading.Event()
        self.done = self.killed = self.failed = 0
        self.env = bed.clean_environment({**cluster.store.env, "AWS_ENDPOINT_URL": cluster.proxies[number].url})

    def run(self):
        argv = [str(bed.BINARY), "compact", self.cluster.store.url, "--once", "--all"]
        while not self.stopping.wait(self.dice.random() * 0.5):
            patience = self.dice.choice([0.05, 0.3, 1, 20, 20, 20])
            child = subprocess.Popen(argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                _, errors = child.communicate(timeout=patience)
                assert not any(word in errors.decode() for word in bed.PANIC), errors
                if child.returncode == 0:
                    self.done += 1
                else:
                    self.failed += 1
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
                self.killed += 1

    def stop(self):
        self.stopping.set()
        self.join(30)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("menu", [[], MENU], ids=["quiet", "menu"])
def test_compactors_die_and_the_store_fails(cluster, menu):
    compactors = [Compactor(cluster, number) for number in range(2)]
    with Campaign(cluster) as campaign:
        cluster.set(*menu)
        for compactor in compactors:
            compactor.start()
        campaign.run(15)
        if menu:
            cluster.await_fired(*KINDS)
        for compactor in compactors:
            compactor.stop()
        told = {compactor.name: (compactor.done, compactor.killed, compactor.failed) for compactor in compactors}
        print(f"compactors: done, killed, failed: {told}")
        assert sum(compactor.killed for compactor in compactors) > 0
        assert any(key.startswith("chunk/") for key in chunks(cluster.store)), "nothing was ever compacted"
        campaign.judge()
    # In good weather, all that is left goes into chunks, and everything is there.
    run_command(["compact", cluster.store.url, "--once", "--all"], cluster.store)
    run_command(["scrub", cluster.store.url], cluster.store)


def chunks(store):
    return [key.removeprefix(f"{store.prefix}/") for key in store.server.keys(store.prefix)]
