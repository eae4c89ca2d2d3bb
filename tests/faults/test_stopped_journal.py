"""A node whose journal cannot go on ends, so that clients go to another and whoever supervises it hears why.

On a folder, where a slot can be filled with something that no node can fold.
"""

import pathlib

import bed
from clientlib import create_topic, producer


def test_a_node_whose_journal_stopped_ends_and_says_why(make_store, start_node):
    store = make_store("file")
    node = start_node(store)
    create_topic(node, "before", 1)
    journal = pathlib.Path(store.url.removeprefix("file://")) / "journal"
    last = max(int(slot.name) for slot in journal.iterdir())
    (journal / f"{last + 1:020}").write_bytes(b"no commit of anybody's")
    # Nobody hears of the slot before somebody wants to write there.
    client = producer([node], message_timeout_ms=3_000)
    client.produce("before", b"record")
    client.flush(4)
    bed.wait_until(lambda: not node.running(), 20, "the node to end")
    log = node.log.read_text()
    assert node.child.returncode == 1, log
    assert "the journal stopped" in log and f"{last + 1:020}" in log, log
