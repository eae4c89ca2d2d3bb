"""Groups by the protocol of KIP-848, by error codes: Apache Kafka and Strandline must answer the same."""

import bed
import pytest

from behaviour import Member, NewMember, alone


def owned(assignment):
    """{topic id: partitions} of an answer."""
    return {t["topic_id"]: sorted(t["partitions"]) for t in assignment["topics"]}


def joined(broker, topics, **options):
    """A member that has joined, and its first answer."""
    member = NewMember(broker, options.pop("group", None) or broker.fresh("group"), topics, **options)
    answer = member.beat()
    assert answer["error"] == 0, answer
    return member, answer


def settled(broker, topic, count, **options):
    """A member that has so many partitions of a topic, at an epoch that stays. A Kafka whose coordinator has not heard of a new
    topic yet gives it out in an epoch of its own."""
    member, answer = joined(broker, [topic], **options)
    take(broker, member, topic, count, answer)
    return member


def take(broker, member, topic, count, answer=None):
    """Beats until the member has so many partitions, saying each time what it has."""
    topic_id = broker.topic_id(topic)
    found = {} if answer is None else owned(answer["assignment"])

    def complete():
        mine = [{"topic_id": topic_id, "partitions": found[topic_id]}] if topic_id in found else None
        answer = member.beat(topics=mine)
        if answer["assignment"]:
            found.clear()
            found.update(owned(answer["assignment"]))
        return answer["assignment"] is None and len(found.get(topic_id, [])) == count

    bed.wait_until(complete, 15, f"{count} partitions of {topic}", every=0.05)
    return found[topic_id]


def describe(broker, group):
    return broker.ask("ConsumerGroupDescribe", 1, groups=[group])["groups"][0]


# --- joining ---


def test_the_first_member(broker):
    topic = broker.topic(3)
    member, answer = joined(broker, [topic])
    broker.same("the first heartbeat", (answer["member"], answer["epoch"], answer["interval"]), (member.id, 1, 5_000))
    broker.same("its assignment", take(broker, member, topic, 3, answer), [0, 1, 2])
    epoch = member.epoch
    quiet = member.beat()
    broker.same("a heartbeat without news", (quiet["error"], quiet["epoch"], quiet["assignment"]), (0, epoch, None))
    mine = [{"topic_id": broker.topic_id(topic), "partitions": [0, 1, 2]}]
    broker.same("a heartbeat with everything", member.beat(names=[topic], rebalance=10_000, topics=mine)["error"], 0)


def test_v0_gives_out_member_ids(broker):
    topic = broker.topic()
    first = {"group": broker.fresh("group"), "member": "", "epoch": 0, "names": [topic], "rebalance": 10_000, "topics": []}
    answer = broker.ask("ConsumerGroupHeartbeat", 0, **first)
    broker.same("heartbeat v0 without a member id", (answer["error"], answer["member"] not in ("", None)), (0, True))
    broker.same("heartbeat v1 without a member id", broker.ask("ConsumerGroupHeartbeat", 1, **first)["error"], 42)


@pytest.mark.parametrize(
    "what,changes,expected",
    [
        ("no group id", {"group": ""}, 42),
        ("no rebalance time-out", {"rebalance": -1}, 42),
        ("no subscription", {"names": None}, 42),
        ("an empty subscription", {"names": []}, 0),
        ("topics that are not there", {"names": ["not-there"]}, 0),
        ("partitions although it is new", {"topics": [{"topic_id": b"0123456789abcdef", "partitions": [1]}]}, 42),
        ("no list of partitions", {"topics": None}, 42),
        ("an assignor that is not there", {"assignor": "no-such"}, 112),
        ("the assignor range", {"assignor": "range"}, 0),
        ("the assignor uniform", {"assignor": "uniform"}, 0),
        ("an empty instance id", {"instance": ""}, 42),
        ("an empty rack", {"rack": ""}, 42),
        ("a regular expression that is none", {"names": None, "regex": "("}, 128),
        ("a regular expression", {"names": None, "regex": "fo+"}, 0),
        ("a member epoch of -3", {"epoch": -3}, 42),
        ("a member epoch of a group that is not there", {"epoch": 5}, 69),
    ],
)
def test_first_heartbeat(broker, what, changes, expected):
    topic = broker.topic()
    fields = {"group": broker.fresh("group"), "member": "m", "epoch": 0, "names": [topic], "rebalance": 10_000, "topics": [], **changes}
    answer = broker.ask("ConsumerGroupHeartbeat", 1, **fields)
    broker.same(f"first heartbeat with {what}", answer["error"], expected)


# --- epochs ---


def test_epochs(broker):
    topic = broker.topic(2)
    topic_id = broker.topic_id(topic)
    first = settled(broker, topic, 2)
    stale = first.epoch
    broker.same("an epoch that is ahead", first.beat(epoch=stale + 5)["error"], 110)
    broker.same("a member that is not there", NewMember(broker, first.group).beat(epoch=1)["error"], 25)
    second, answer = joined(broker, [topic], group=first.group)
    broker.same("epoch of the second member", answer["epoch"], stale + 1)
    broker.same("it waits for what the first one has", owned(answer["assignment"]), {})
    told = first.beat(topics=[{"topic_id": topic_id, "partitions": [0, 1]}])
    left = owned(told["assignment"])[topic_id]
    broker.same("the first one must give one up", (told["epoch"], len(left)), (stale, 1))
    done = first.beat(topics=[{"topic_id": topic_id, "partitions": left}])
    broker.same("it did, and has the new epoch", done["epoch"], stale + 1)
    broker.same("the second one gets the other", len(take(broker, second, topic, 1, answer)), 1)
    broker.same("the epoch before, with no more than it owns", first.beat(epoch=stale, topics=[])["error"], 0)
    more = [{"topic_id": topic_id, "partitions": [0, 1]}]
    broker.same("the epoch before, with more than it owns", first.beat(epoch=stale, topics=more)["error"], 110)
    broker.same("who comes again at epoch 0", first.beat(epoch=0, **first.first)["error"], 0)


def test_leaving(broker):
    topic = broker.topic()
    member, _ = joined(broker, [topic])
    answer = member.beat(epoch=-1)
    broker.same("leaving", (answer["error"], answer["epoch"]), (0, -1))
    broker.same("a heartbeat after it", member.beat(epoch=1)["error"], 25)
    broker.same("leaving twice", member.beat(epoch=-1)["error"], 25)
    broker.same("the group without members", describe(broker, member.group)["state"], "Empty")


def test_static_members(broker):
    topic = broker.topic()
    first = settled(broker, topic, 1, instance="one")
    epoch = first.epoch
    twin = NewMember(broker, first.group, [topic], instance="one")
    broker.same("an instance id that is in use", twin.beat()["error"], 111)
    broker.same("leaving for a moment", (first.beat(epoch=-2, instance="one")["error"], first.epoch), (0, -2))
    back = twin.beat()
    broker.same("the instance comes back with another id", (back["error"], back["epoch"]), (0, epoch))
    broker.same("and has what it had", owned(back["assignment"]), {broker.topic_id(topic): [0]})
    broker.same("the old id of the instance", first.beat(epoch=epoch, instance="one")["error"], 82)
    broker.same("leaving for a moment without an instance id", NewMember(broker, first.group).beat(epoch=-2)["error"], 42)


def test_a_topic_that_grows(broker):
    topic = broker.topic()
    member = settled(broker, topic, 1)
    broker.ask("CreatePartitions", 3, topics=[{"name": topic, "count": 3}])
    broker.same("new partitions are assigned", take(broker, member, topic, 3), [0, 1, 2])


# --- offsets ---


def test_offsets_by_epoch(broker):
    topic = broker.topic()
    member = settled(broker, topic, 1)
    group = member.group

    def commit(**changes):
        return broker.commit(group, topic, **{"version": 9, "member": member.id, "generation": member.epoch, **changes})

    def fetch(member_id, epoch):
        asked = [{"group": group, "member": member_id, "epoch": epoch, "topics": [{"name": topic, "partitions": [0]}]}]
        answer = broker.ask("OffsetFetch", 9, groups=asked)["groups"][0]
        return answer["error"]

    broker.same("OffsetCommit at the member's epoch", commit(), 0)
    broker.same("OffsetCommit ahead of it", commit(generation=member.epoch + 1), 113)
    broker.same("OffsetCommit of a stranger", commit(member="stranger"), 25)
    broker.same("OffsetCommit of a simple consumer", commit(member="", generation=-1), 25)
    broker.same("OffsetCommit v8 at the member's epoch", commit(version=8), 35)
    broker.same("OffsetCommit v8 ahead of it", commit(version=8, generation=member.epoch + 1), 35)
    broker.same("OffsetFetch at the member's epoch", fetch(member.id, member.epoch), 0)
    broker.same("OffsetFetch ahead of it", fetch(member.id, member.epoch + 1), 113)
    broker.same("OffsetFetch of a stranger", fetch("stranger", 1), 25)
    broker.same("OffsetFetch of nobody", fetch(None, -1), 0)
    member.beat(epoch=-1)
    broker.same("OffsetCommit of a simple consumer when they are gone", commit(member="", generation=-1), 0)


# --- administration ---


def test_descriptions(broker):
    topic, group = broker.topic(2), broker.fresh("group")
    broker.same("ConsumerGroupDescribe of an unknown group", describe(broker, group)["error"], 69)
    classic = alone(broker)
    broker.same("ConsumerGroupDescribe of a classic group", describe(broker, classic.group)["error"], 69)
    member = settled(broker, topic, 2, group=group, assignor="range", rack="r1")
    found = describe(broker, group)
    broker.same("ConsumerGroupDescribe", (found["error"], found["state"], found["assignor"]), (0, "Stable", "range"))
    broker.same("its epochs", (found["epoch"], found["assignment_epoch"]), (member.epoch, member.epoch))
    (one,) = found["members"]
    broker.same("its member", (one["member"], one["rack"], one["client_id"], one["names"], one["type"]), (member.id, "r1", "raw", [topic], 1))
    named = {t["name"]: sorted(t["partitions"]) for t in one["target"]["topics"]}
    broker.same("its target", named, {topic: [0, 1]})
    listed = [(g["state"], g["type"]) for g in broker.ask("ListGroups", 5, types=["consumer"])["groups"] if g["group"] == group]
    broker.same("ListGroups by type", listed, [("Stable", "consumer")])
    (other,) = broker.ask("DescribeGroups", 6, groups=[group])["groups"]
    broker.same("DescribeGroups of a group of the new protocol", (other["error"], other["state"]), (69, "Dead"))
    deleted = broker.ask("DeleteGroups", 2, groups=[group])["results"][0]["error"]
    broker.same("DeleteGroups of a group of the new protocol with a member", deleted, 68)


def test_classic_members_of_new_groups(broker):
    """Who subscribes as a consumer may join a group of the other protocol; anything else may not."""
    topic = broker.topic(2)
    member, _ = joined(broker, [topic])
    broker.same("JoinGroup of another type", Member(broker, member.group, kind="connect").join()["error"], 23)
    broker.same("JoinGroup of a consumer", Member(broker, member.group, topics=[topic]).join()["error"], 0)
    stable = alone(broker, topics=[topic])
    broker.same("first heartbeat in a group of a classic consumer", NewMember(broker, stable.group, [topic]).beat()["error"], 0)
    foreign = alone(broker, kind="connect")
    broker.same("first heartbeat in a group of another type", NewMember(broker, foreign.group, [topic]).beat()["error"], 69)
