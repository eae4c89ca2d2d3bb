"""Classic groups and committed offsets, by error codes: Apache Kafka and Strandline must answer the same."""

import time

import bed
import messages
import pytest
import wire

from behaviour import Member, alone, assignment, error, errors, subscription, together

OFFSETS = ["topics", "partitions"]


# --- joining ---


def test_first_join_of_a_dynamic_member(broker):
    group = broker.fresh("group")
    protocols = Member(broker, group).protocols
    old = broker.ask("JoinGroup", 3, group=group, protocols=protocols)
    broker.same("JoinGroup v3 without a member id", old["error"], 0)
    broker.same("generation of the first join", old["generation"], 1)
    broker.same("leader of one member", old["leader"], old["member"])
    group = broker.fresh("group")
    new = broker.ask("JoinGroup", 9, group=group, protocols=protocols)
    broker.same("JoinGroup v9 without a member id", new["error"], 79)
    broker.same("a member id comes with error 79", new["member"] != "", True)
    again = broker.ask("JoinGroup", 9, group=group, member=new["member"], protocols=protocols)
    broker.same("JoinGroup with the id that was given", (again["error"], again["member"]), (0, new["member"]))
    broker.same("JoinGroup v9 names type and protocol", (again["type"], again["protocol"]), ("consumer", "range"))


def test_first_join_of_a_static_member(broker):
    member = Member(broker, broker.fresh("group"), instance="one")
    answer = broker.ask("JoinGroup", 9, group=member.group, instance="one", protocols=member.protocols)
    broker.same("JoinGroup of a static member without a member id", answer["error"], 0)


@pytest.mark.parametrize(
    "what,changes,expected",
    [
        ("an empty group id", {"group": ""}, 24),
        ("a session shorter than group.min.session.timeout.ms", {"session": 5_999}, 26),
        ("the shortest session", {"session": 6_000}, 79),
        ("a session longer than group.max.session.timeout.ms", {"session": 1_800_001}, 26),
        ("the longest session", {"session": 1_800_000}, 79),
        ("a member id that nobody gave", {"member": "stranger"}, 25),
        ("no protocols", {"protocols": []}, 23),
        ("no protocol type", {"type": ""}, 23),
    ],
)
def test_join_of_a_new_group(broker, what, changes, expected):
    member = Member(broker, broker.fresh("group"))
    fields = {"group": member.group, "protocols": member.protocols, **changes}
    broker.same(f"JoinGroup with {what}", broker.ask("JoinGroup", 9, **fields)["error"], expected)


def test_join_of_a_group_with_a_member(broker):
    first = alone(broker)
    other = [{"name": "other", "metadata": b""}]
    broker.same("JoinGroup with protocols that no member has", Member(broker, first.group).join(protocols=other)["error"], 23)
    broker.same("JoinGroup with another protocol type", Member(broker, first.group).join(type="connect")["error"], 23)
    broker.same("JoinGroup with a member id that nobody gave", Member(broker, first.group).join(member="stranger")["error"], 25)
    broker.same("the member was not disturbed", first.heartbeat(), 0)


def test_any_protocol_type_and_bytes(broker):
    """Connect, Schema Registry and others have bytes of their own, that nobody looks at."""
    member = Member(broker, broker.fresh("group"), kind="connect")
    member.protocols = [{"name": "sessioned", "metadata": b"\xff\x00 not a subscription"}]
    assert member.join()["error"] == 0, member.answer
    broker.same("the leader sees the metadata", [m["metadata"] for m in member.answer["members"]], [b"\xff\x00 not a subscription"])
    answer = member.sync(assignments=[{"member": member.id, "assignment": b"\x80\x81"}])
    broker.same("SyncGroup of a foreign protocol", (answer["error"], answer["assignment"]), (0, b"\x80\x81"))
    broker.same("SyncGroup v5 names type and protocol", (answer["type"], answer["protocol"]), ("connect", "sessioned"))
    (described,) = broker.ask("DescribeGroups", 5, groups=[member.group])["groups"]
    broker.same("DescribeGroups of a foreign type", (described["type"], described["protocol"], described["state"]), ("connect", "sessioned", "Stable"))


def test_join_of_a_member_that_is_there(broker):
    """A follower that joins again with the same protocols changes nothing; the leader starts a generation."""
    leader = alone(broker)
    generation = leader.generation
    broker.same("the leader joins again", (leader.join()["error"], leader.generation), (0, generation + 1))
    leader.sync(assignments=[{"member": leader.id, "assignment": assignment()}])
    leader.protocols[0]["metadata"] = subscription("another topic")
    broker.same("a member joins with another subscription", (leader.join()["error"], leader.generation), (0, generation + 2))


# --- the barrier ---


def test_a_second_member(broker):
    """The first hears of it by heartbeat, may still commit, and both meet in the next generation."""
    topic = broker.topic()
    first = alone(broker)
    second = Member(broker, first.group)

    def rejoin():
        bed.wait_until(lambda: first.heartbeat() == 27, 10, "the heartbeat to tell of the rebalance")
        broker.same("OffsetCommit while a rebalance is prepared", first.commit(topic), 0)
        return first.join()

    mine, theirs = together(rejoin, second.join)
    broker.same("both join", (mine["error"], theirs["error"]), (0, 0))
    broker.same("generation with the second member", (mine["generation"], theirs["generation"]), (2, 2))
    broker.same("the leader stays", (mine["leader"], theirs["leader"]), (first.id, first.id))
    broker.same("only the leader sees the members", (len(mine["members"]), len(theirs["members"])), (2, 0))
    broker.same("OffsetCommit while the assignment is awaited", first.commit(topic), 27)
    broker.same("Heartbeat while the assignment is awaited", second.heartbeat(), 0)
    shares = [{"member": first.id, "assignment": b"one"}, {"member": second.id, "assignment": b"two"}]
    ours = together(second.sync, lambda: first.sync(assignments=shares))
    broker.same("each gets its own bytes", [answer["assignment"] for answer in ours], [b"two", b"one"])
    broker.same("OffsetCommit of a stale generation", first.commit(topic, generation=1), 22)
    broker.same("Heartbeat of a stale generation", first.heartbeat(generation=1), 22)
    broker.same("SyncGroup of a stale generation", first.sync(generation=1)["error"], 22)
    broker.same("SyncGroup in a stable group", second.sync()["assignment"], b"two")
    left = second.leave()
    broker.same("LeaveGroup", (left["error"], [m["error"] for m in left["members"]]), (0, [0]))
    broker.same("Heartbeat after somebody left", first.heartbeat(), 27)


def test_the_protocol_that_all_members_know(broker):
    first = Member(broker, broker.fresh("group"), protocols=("mine", "ours"))
    first.join()
    broker.same("protocol of one member: its first", first.answer["protocol"], "mine")
    first.sync()
    second = Member(broker, first.group, protocols=("yours", "ours"))

    def rejoin():
        bed.wait_until(lambda: first.heartbeat() == 27, 10, "the heartbeat to tell of the rebalance")
        return first.join()

    both = together(rejoin, second.join)
    broker.same("protocol of two members: the one that both have", [answer["protocol"] for answer in both], ["ours", "ours"])


def test_who_does_not_join_again_in_time(broker):
    """Heartbeats keep a session, not a place in the next generation."""
    first = Member(broker, broker.fresh("group"))
    first.join(rebalance=1_000)
    first.sync()
    second = Member(broker, first.group)
    began = time.monotonic()
    answer = second.join(rebalance=1_000)
    broker.same("the join of the second", (answer["error"], answer["generation"], answer["leader"]), (0, 2, second.id))
    broker.same("it waited for the rebalance time-out", 0.5 < time.monotonic() - began < 5, True)
    broker.same("Heartbeat of who was left out", first.heartbeat(), 25)


def test_somebody_leaves_while_others_wait(broker):
    first = alone(broker)
    second = Member(broker, first.group)

    def leave():
        bed.wait_until(lambda: first.heartbeat() == 27, 10, "the heartbeat to tell of the rebalance")
        return first.leave()["error"]

    began = time.monotonic()
    answer, left = together(second.join, leave)
    broker.same("the join that waited for nobody any more", (answer["error"], answer["leader"], left), (0, second.id, 0))
    broker.same("it did not wait for a time-out", time.monotonic() - began < 5, True)


def test_a_leader_that_never_assigns(broker):
    """Who does not sync in time is removed, and the others are told to join again."""
    leader, follower = Member(broker, broker.fresh("group")), None
    leader.join(rebalance=1_500)
    follower = Member(broker, leader.group)
    leader.sync()

    def rejoin():
        bed.wait_until(lambda: leader.heartbeat() == 27, 10, "the heartbeat to tell of the rebalance")
        return leader.join(rebalance=1_500)

    together(rejoin, lambda: follower.join(rebalance=1_500))
    began = time.monotonic()
    broker.same("SyncGroup when the leader never comes", follower.sync()["error"], 27)
    broker.same("it waited for the rebalance time-out", 1 < time.monotonic() - began < 6, True)
    broker.same("Heartbeat of the leader that never came", leader.heartbeat(), 25)


def test_generations_go_on(broker):
    """Over the time without members too, so that nothing of before is taken for something of now."""
    first = alone(broker)
    first.leave()
    second = alone(broker, first.group)
    broker.same("generation after all have left", second.generation, 3)
    broker.same("commit of who left", first.commit(broker.topic()), 25)


def test_a_member_that_the_leader_forgot(broker):
    """Whom the leader assigns nothing gets nothing, but no error."""
    member = Member(broker, broker.fresh("group"))
    member.join()
    answer = member.sync(assignments=[])
    broker.same("SyncGroup of a member without an assignment", (answer["error"], answer["assignment"]), (0, b""))


def test_who_is_not_a_member(broker):
    topic = broker.topic()
    stable = alone(broker)
    missing = Member(broker, broker.fresh("group"))
    missing.id, missing.generation = "stranger", 1
    stranger = Member(broker, stable.group)
    stranger.id, stranger.generation = "stranger", 1
    broker.same("Heartbeat of a group that is not there", missing.heartbeat(), 25)
    broker.same("Heartbeat of a stranger", stranger.heartbeat(), 25)
    broker.same("Heartbeat without a group id", broker.ask("Heartbeat", 4, group="", member="m")["error"], 24)
    broker.same("SyncGroup of a group that is not there", missing.sync()["error"], 25)
    broker.same("SyncGroup of a stranger", stranger.sync()["error"], 25)
    broker.same("SyncGroup with another protocol", stable.sync(protocol="other")["error"], 23)
    broker.same("OffsetCommit of a group that is not there", missing.commit(topic), 22)
    broker.same("OffsetCommit of a stranger", stranger.commit(topic), 25)
    old = broker.ask("LeaveGroup", 2, group=stable.group, member="stranger")
    broker.same("LeaveGroup v2 of a stranger", old["error"], 25)
    new = stranger.leave()
    broker.same("LeaveGroup v4 of a stranger", (new["error"], [m["error"] for m in new["members"]]), (0, [25]))
    gone = missing.leave()
    broker.same("LeaveGroup v4 of a group that is not there", (gone["error"], [m["error"] for m in gone["members"]]), (0, [25]))


def test_a_silent_member_is_removed(broker):
    member = Member(broker, broker.fresh("group"))
    assert member.join(session=6_000)["error"] == 0
    member.sync()
    began = time.monotonic()

    def state():
        return broker.ask("DescribeGroups", 5, groups=[member.group])["groups"][0]["state"]

    broker.same("state of a stable group", state(), "Stable")
    bed.wait_until(lambda: state() == "Empty", 15, "the silent member to be removed", every=0.2)
    broker.same("a session lasts as long as it was asked for", 5 < time.monotonic() - began < 9, True)
    broker.same("Heartbeat after the session", member.heartbeat(), 25)


# --- static members ---


def test_a_static_member_comes_back(broker):
    first = alone(broker, instance="one")
    again = Member(broker, first.group, instance="one")
    answer = again.join()
    broker.same("a static member comes back into the same generation", (answer["error"], answer["generation"]), (0, first.generation))
    broker.same("it has another member id", answer["member"] != first.id, True)
    broker.same("skip_assignment when the leader comes back", answer["skip_assignment"], True)
    broker.same("its assignment is kept", again.sync()["assignment"], assignment())
    topic = broker.topic()
    broker.same("Heartbeat of the first of two with one instance id", first.heartbeat(), 82)
    broker.same("OffsetCommit of the first of two", first.commit(topic), 82)
    broker.same("SyncGroup of the first of two", first.sync()["error"], 82)
    broker.same("JoinGroup of the first of two", first.join()["error"], 82)
    left = first.leave()
    broker.same("LeaveGroup of the first of two", [m["error"] for m in left["members"]], [82])
    by_name = broker.ask("LeaveGroup", 4, group=first.group, members=[{"instance": "nobody"}, {"instance": "one"}])
    broker.same("LeaveGroup by instance id", [m["error"] for m in by_name["members"]], [25, 0])


# --- offsets ---


def test_commits_of_simple_consumers(broker):
    topic = broker.topic()
    group = broker.fresh("group")
    broker.same("a simple commit makes the group", broker.commit(group, topic, 5, metadata="five"), 0)
    broker.same("what was committed", broker.committed(group, topic), (5, "five", 0))
    (described,) = broker.ask("DescribeGroups", 5, groups=[group])["groups"]
    broker.same("a group of offsets alone", (described["error"], described["state"], described["type"]), (0, "Empty", ""))
    broker.same("a simple commit of an unknown topic", broker.commit(group, broker.fresh("nothing")), 3)
    broker.same("a simple commit with a generation", broker.commit(group, topic, generation=3), 25)
    member = alone(broker, group)
    broker.same("a simple commit while there are members", broker.commit(group, topic), 25)
    broker.same("a member commits", member.commit(topic, offset=6), 0)
    member.leave()
    broker.same("a simple commit when they are gone", broker.commit(group, topic, 7), 0)
    broker.same("the last commit stands", broker.committed(group, topic), (7, "", 0))


def test_what_one_client_says_keeps_its_order(broker):
    """Sent without waiting for answers: commits, every other one with a topic that must be looked for, and what comes behind."""
    topic, nothing = broker.topic(), broker.fresh("nothing")
    member = alone(broker)
    known = lambda offset: {"name": topic, "partitions": [{"partition": 0, "offset": offset}]}  # noqa: E731
    unknown = {"name": nothing, "partitions": [{"partition": 0, "offset": 1}]}
    who = dict(group=member.group, member=member.id, generation=member.generation)
    commits = [("OffsetCommit", 8, dict(who, topics=[known(n), unknown] if n % 2 else [known(n)])) for n in range(1, 9)]
    asked = ("OffsetFetch", 7, dict(group=member.group, topics=[{"name": topic, "partitions": [0]}]))
    leaves = ("LeaveGroup", 4, dict(group=member.group, members=[{"member": member.id}]))
    with wire.Connection(broker.node) as connection:
        *committed, found, left = messages.pipeline(connection, *commits, asked, leaves)
    found_codes = [sorted(errors(answer, *OFFSETS)) for answer in committed]
    broker.same("commits behind each other", found_codes, [[0, 3], [0]] * 4)
    broker.same("OffsetFetch behind commits", found["topics"][0]["partitions"][0]["offset"], 8)
    broker.same("LeaveGroup behind commits", left["error"], 0)
    broker.same("the last commit of one client", broker.committed(member.group, topic)[0], 8)


def test_what_one_client_says_of_its_membership_keeps_its_order(broker):
    """A leader that joins again begins the next generation; what was sent before belongs to the last one, what comes behind to the new."""
    member = alone(broker)
    who = dict(group=member.group, member=member.id)
    for generation in range(member.generation, member.generation + 10):
        with wire.Connection(broker.node) as connection:
            answers = messages.pipeline(
                connection,
                ("Heartbeat", 4, dict(who, generation=generation)),
                ("JoinGroup", 9, dict(who, type="consumer", protocols=member.protocols)),
                ("SyncGroup", 5, dict(who, generation=generation + 1, type="consumer", protocol="range")),
                ("Heartbeat", 4, dict(who, generation=generation + 1)),
            )
        found = [answer["error"] for answer in answers]
        broker.same("Heartbeat, JoinGroup, SyncGroup, Heartbeat behind each other", found, [0, 0, 0, 0])


@pytest.mark.parametrize("what,metadata,expected", [("as much metadata as may be", "x" * 4096, 0), ("too much metadata", "x" * 4097, 12), ("null metadata", None, 0)])
def test_metadata_of_commits(broker, what, metadata, expected):
    topic, group = broker.topic(), broker.fresh("group")
    broker.same(f"OffsetCommit with {what}", broker.commit(group, topic, metadata=metadata), expected)
    if expected == 0:
        broker.same(f"OffsetFetch after {what}", broker.committed(group, topic)[1], metadata or "")


@pytest.mark.parametrize("version", [2, 5, 7])
def test_offsets_of_nobody(broker, version):
    topic, group = broker.topic(), broker.fresh("group")
    answer = broker.ask("OffsetFetch", version, group=group, topics=[{"name": topic, "partitions": [0, 99]}])
    found = [(p["offset"], p["metadata"], p["error"]) for p in answer["topics"][0]["partitions"]]
    broker.same(f"OffsetFetch v{version} of an unknown group", (answer["error"], sorted(found)), (0, [(-1, "", 0), (-1, "", 0)]))
    nothing = broker.ask("OffsetFetch", version, group=group, topics=None)
    broker.same(f"OffsetFetch v{version} of everything of an unknown group", (nothing["error"], nothing["topics"]), (0, []))


def test_offsets_of_everything(broker):
    group, topics = broker.fresh("group"), sorted([broker.topic(), broker.topic()])
    for topic in topics:
        broker.commit(group, topic, 3)
    every = broker.ask("OffsetFetch", 7, group=group, topics=None)
    broker.same("OffsetFetch of all topics", sorted(t["name"] for t in every["topics"]), topics)
    asked = [{"group": group}, {"group": broker.fresh("group"), "topics": [{"name": topics[0], "partitions": [0]}]}]
    several = broker.ask("OffsetFetch", 8, groups=asked)["groups"]
    broker.same("OffsetFetch of two groups", [(g["group"], g["error"], len(g["topics"])) for g in several], [(asked[0]["group"], 0, 2), (asked[1]["group"], 0, 1)])


def test_offsets_of_a_topic_that_was_deleted(broker):
    topic, group = broker.topic(), broker.fresh("group")
    broker.commit(group, topic, 5)
    assert errors(broker.ask("DeleteTopics", 5, names=[topic]), "topics") == [0]
    bed.wait_until(lambda: broker.committed(group, topic)[0] == -1, 10, "the offsets to go with their topic")


# --- administration ---


def test_delete_groups(broker):
    topic, empty = broker.topic(), broker.fresh("group")
    broker.commit(empty, topic)
    member = alone(broker)
    asked = [empty, member.group, broker.fresh("group"), ""]
    found = {r["group"]: r["error"] for r in broker.ask("DeleteGroups", 2, groups=asked)["results"]}
    broker.same("DeleteGroups: empty, with members, unknown, no name", [found[group] for group in asked], [0, 68, 69, 69])
    broker.same("offsets of a deleted group", broker.committed(empty, topic), (-1, "", 0))


def test_describe_and_list_groups(broker):
    group = broker.fresh("group")
    (old,) = broker.ask("DescribeGroups", 5, groups=[group])["groups"]
    broker.same("DescribeGroups v5 of an unknown group", (old["error"], old["state"]), (0, "Dead"))
    (new,) = broker.ask("DescribeGroups", 6, groups=[group])["groups"]
    broker.same("DescribeGroups v6 of an unknown group", (new["error"], new["state"]), (69, "Dead"))
    member = alone(broker, group, instance="one")
    (described,) = broker.ask("DescribeGroups", 5, groups=[group])["groups"]
    broker.same("DescribeGroups", (described["state"], described["type"], described["protocol"]), ("Stable", "consumer", "range"))
    (found,) = described["members"]
    broker.same("its member", (found["member"], found["instance"], found["client_id"], found["assignment"]), (member.id, "one", "raw", assignment()))
    broker.same("where the member is", found["client_host"], "/127.0.0.1")

    def listed(**filters):
        return [(g["state"], g["type"]) for g in broker.ask("ListGroups", 5, **filters)["groups"] if g["group"] == group]

    broker.same("ListGroups", listed(), [("Stable", "classic")])
    broker.same("ListGroups by state", (listed(states=["Stable", "Empty"]), listed(states=["Empty"])), ([("Stable", "classic")], []))
    broker.same("ListGroups by state, in capitals", listed(states=["STABLE"]), [("Stable", "classic")])
    broker.same("ListGroups by type", (listed(types=["classic"]), listed(types=["consumer"])), ([("Stable", "classic")], []))


def test_delete_offsets(broker):
    topic, other, group = broker.topic(), broker.topic(), broker.fresh("group")

    def delete(group, *topics):
        return broker.ask("OffsetDelete", 0, group=group, topics=[{"name": topic, "partitions": [{"partition": 0}]} for topic in topics])

    broker.same("OffsetDelete of an unknown group", delete(group, topic)["error"], 69)
    broker.commit(group, topic)
    broker.commit(group, other)
    member = alone(broker, group, topics=[topic])
    answer = delete(group, topic, other)
    found = {t["name"]: t["partitions"][0]["error"] for t in answer["topics"]}
    broker.same("OffsetDelete of a subscribed topic and of another one", (answer["error"], found), (0, {topic: 86, other: 0}))
    member.leave()
    broker.same("OffsetDelete without members", error(delete(group, topic), *OFFSETS), 0)
    broker.same("what is left", broker.committed(group, topic)[0], -1)


def test_find_coordinator(broker):
    one = broker.ask("FindCoordinator", 3, key="group")
    broker.same("FindCoordinator v3", (one["error"], one["port"]), (0, broker.node.address()[1]))
    several = broker.ask("FindCoordinator", 4, keys=["one", "two"])["coordinators"]
    broker.same("FindCoordinator v4", [(c["key"], c["error"]) for c in several], [("one", 0), ("two", 0)])
    broker.same("FindCoordinator of an unknown kind", broker.ask("FindCoordinator", 3, key="group", kind=9)["error"], 42)
