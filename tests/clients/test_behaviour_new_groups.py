"""Groups by the protocol of KIP-848, by error codes: Apache Kafka and Strandline must answer the same."""

import bed
import pytest

from behaviour import Member, NewMember, alone, assigned, assignment, subscription


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


# --- members of both protocols in one group ---


def of_classic(broker, group, topic, owned=None, **options):
    """A member of the classic protocol that is cooperative if it says what it owns."""
    member = Member(broker, group, **options)
    return subscribe(member, topic, owned)


def subscribe(member, topic, owned=None):
    owned = None if owned is None else {topic: owned}
    member.protocols = [{"name": "range", "metadata": subscription(topic, owned=owned)}]
    return member


def stable_classic(broker, topic, count, **options):
    """A group of one member of the classic protocol that has so many partitions."""
    member = of_classic(broker, broker.fresh("group"), topic, [], **options)
    assert member.join()["error"] == 0, member.answer
    everything = [{"member": member.id, "assignment": assignment(topic, partitions=range(count))}]
    assert member.sync(assignments=everything)["error"] == 0
    return member


def rejoin(member, topic, owned):
    """What it is told to have after it said what it has."""
    answer = subscribe(member, topic, owned).join()
    assert answer["error"] == 0, answer
    return assigned(member.sync()["assignment"]).get(topic, [])


def types(broker, group):
    return sorted((m["member"], m["type"], m["epoch"]) for m in describe(broker, group)["members"])


def test_classic_members_of_new_groups(broker):
    """Who subscribes as a consumer may join a group of the other protocol; anything else may not."""
    topic = broker.topic(2)
    member = settled(broker, topic, 2)
    group, epoch = member.group, member.epoch
    broker.same("JoinGroup of another type", Member(broker, group, kind="connect").join()["error"], 23)
    damaged = Member(broker, group, instance="damaged")
    damaged.protocols = [{"name": "range", "metadata": b"\0"}]
    broker.same("JoinGroup of a consumer whose subscription cannot be read", damaged.join()["error"], -1)
    classic = of_classic(broker, group, topic, [])
    answer = classic.join()
    said = (answer["error"], answer["generation"], answer["type"], answer["protocol"], answer["leader"], answer["members"])
    broker.same("JoinGroup of a consumer", said, (0, epoch + 1, "consumer", "range", "", []))
    broker.same("the members", types(broker, group), sorted([(member.id, 1, epoch), (classic.id, 0, epoch + 1)]))
    broker.same("SyncGroup while the other one has all", assigned(classic.sync()["assignment"]), {})
    broker.same("SyncGroup of a generation that is not", classic.sync(generation=epoch + 2)["error"], 22)
    broker.same("SyncGroup of a protocol that is not", classic.sync(protocol="roundrobin")["error"], 23)
    broker.same("Heartbeat of a generation that is not", classic.heartbeat(generation=epoch), 22)
    broker.same("Heartbeat of a member of the new protocol", classic.heartbeat(member=member.id, generation=epoch), 25)
    broker.same("Heartbeat while the other one has all", classic.heartbeat(), 0)
    topic_id = broker.topic_id(topic)
    left = owned(member.beat(topics=[{"topic_id": topic_id, "partitions": [0, 1]}])["assignment"])[topic_id]
    member.beat(topics=[{"topic_id": topic_id, "partitions": left}])
    broker.same("Heartbeat when there is something to have", classic.heartbeat(), 27)
    mine = rejoin(classic, topic, [])
    broker.same("it has the rest", sorted(mine + left), [0, 1])
    broker.same("in the same generation", (classic.generation, classic.heartbeat()), (epoch + 1, 0))
    codes = [classic.commit(topic, version=v, generation=g) for v in (8, 9) for g in (epoch + 1, epoch, epoch + 2)]
    broker.same("commits of it", codes, [0, 22, 22] * 2)
    other = Member(broker, group, protocols=["roundrobin"], topics=[topic])
    broker.same("JoinGroup without a common protocol", other.join()["error"], 23)
    broker.same("LeaveGroup", [m["error"] for m in classic.leave()["members"]], [0])
    broker.same("Heartbeat after it", classic.heartbeat(), 25)
    broker.same("the group's epoch", describe(broker, group)["epoch"], epoch + 2)


def test_a_classic_group_is_upgraded_and_downgraded(broker):
    topic = broker.topic(4)
    classic = stable_classic(broker, topic, 4)
    group, before = classic.group, classic.generation
    new = NewMember(broker, group, [topic])
    answer = new.beat()
    found = (answer["error"], answer["epoch"], answer["assignment"]["topics"])
    broker.same("first heartbeat in a group of a classic consumer", found, (0, before + 1, []))
    broker.same("the members", types(broker, group), sorted([(classic.id, 0, before), (new.id, 1, before + 1)]))
    listed = [(g["protocol_type"], g["type"]) for g in broker.ask("ListGroups", 5)["groups"] if g["group"] == group]
    broker.same("ListGroups", listed, [("consumer", "consumer")])
    (old,) = broker.ask("DescribeGroups", 6, groups=[group])["groups"]
    broker.same("DescribeGroups", (old["error"], old["state"]), (69, "Dead"))
    broker.same("Heartbeat, SyncGroup, commit", (classic.heartbeat(), classic.sync()["error"], classic.commit(topic)), (27, 27, 0))
    kept = rejoin(classic, topic, [0, 1, 2, 3])
    broker.same("it is to give two up", (len(kept), classic.generation, classic.heartbeat()), (2, before, 27))
    broker.same("and has not yet", new.beat()["assignment"], None)
    broker.same("it did", (rejoin(classic, topic, kept), classic.generation, classic.heartbeat()), (kept, before + 1, 0))
    rest = owned(new.beat()["assignment"])[broker.topic_id(topic)]
    broker.same("the other one has them", sorted(kept + rest), [0, 1, 2, 3])
    new.beat(topics=[{"topic_id": broker.topic_id(topic), "partitions": rest}])
    broker.same("the new one leaves", new.beat(epoch=-1)["error"], 0)
    broker.same("ConsumerGroupDescribe after it", describe(broker, group)["error"], 69)
    (old,) = broker.ask("DescribeGroups", 6, groups=[group])["groups"]
    ids = [member["member"] for member in old["members"]]
    broker.same("DescribeGroups after it", (old["error"], old["state"], old["type"], ids), (0, "PreparingRebalance", "consumer", [classic.id]))
    broker.same("Heartbeat and commit after it", (classic.heartbeat(), classic.commit(topic)), (27, 0))
    answer = subscribe(classic, topic, kept).join()
    found = (answer["error"], answer["generation"], answer["leader"], len(answer["members"]))
    broker.same("JoinGroup after it", found, (0, before + 2, classic.id, 1))


def test_an_eager_member_gives_up_everything(broker):
    topic = broker.topic(4)
    classic = stable_classic(broker, topic, 4)
    new = NewMember(broker, classic.group, [topic])
    new.beat()
    broker.same("Heartbeat", classic.heartbeat(), 27)
    mine = rejoin(classic, topic, None)
    broker.same("it has half of them at once", (len(mine), classic.heartbeat()), (2, 0))
    rest = owned(new.beat()["assignment"])[broker.topic_id(topic)]
    broker.same("and the other one the rest", sorted(mine + rest), [0, 1, 2, 3])


def test_a_member_that_lags_behind_when_the_group_becomes_classic(broker):
    topic = broker.topic(2)
    first = settled(broker, topic, 2)
    classic = of_classic(broker, first.group, topic, [])
    assert classic.join()["error"] == 0 and classic.sync()["error"] == 0
    second, _ = joined(broker, [topic], group=first.group)
    first.beat(epoch=-1)
    broker.same("Heartbeat while others come and go", classic.heartbeat(), 27)
    second.beat(epoch=-1)
    broker.same("Heartbeat of a generation long gone", (classic.heartbeat(), classic.commit(topic)), (22, 22))
    broker.same("JoinGroup", (classic.join()["error"], classic.answer["leader"]), (0, classic.id))


def test_new_members_that_classic_groups_refuse(broker):
    topic = broker.topic()

    def refused(what, expected, sync=None, **options):
        member = Member(broker, broker.fresh("group"), topics=[topic], **options)
        if sync == "subscription":
            member.protocols[0]["metadata"] = b"\0"
        assert member.join()["error"] == 0, member.answer
        data = assignment(topic) if sync in (None, "subscription") else sync
        assert member.sync(assignments=[{"member": member.id, "assignment": data}])["error"] == 0
        broker.same(what, NewMember(broker, member.group, [topic]).beat()["error"], expected)
        broker.same(f"{what}: the others", member.heartbeat(), 0 if expected else 27)

    refused("first heartbeat in a group of another type", 69, kind="connect")
    refused("first heartbeat beside a subscription that cannot be read", 69, sync="subscription")
    refused("first heartbeat beside an assignment that cannot be read", 69, sync=b"\0\1\2")
    refused("first heartbeat beside an assignor that keeps something for itself", 69, sync=assignment(topic, user_data=b"x"))
    refused("first heartbeat beside an assignor that keeps nothing", 0, sync=assignment(topic, user_data=b""))
    refused("first heartbeat beside an assignment of a topic that is gone", 0, sync=assignment("not-there"))
    refused("first heartbeat beside no assignment", 0, sync=b"")
    classic = alone(broker, topics=[topic])
    broker.same("a later heartbeat in a classic group", NewMember(broker, classic.group).beat(epoch=3)["error"], 69)


def test_static_members_of_both_protocols(broker):
    topic = broker.topic(2)
    new = settled(broker, topic, 2)
    first = of_classic(broker, new.group, topic, [], instance="one")
    assert first.join()["error"] == 0 and first.sync()["error"] == 0
    back = of_classic(broker, new.group, topic, [], instance="one")
    broker.same("the instance comes back", (back.join()["error"], back.generation), (0, first.generation))
    broker.same("its old self", (first.heartbeat(), first.sync()["error"], first.join()["error"]), (82, 82, 82))
    left = [m["error"] for m in first.leave()["members"]]
    broker.same("its old self leaves", left, [82])
    stranger = of_classic(broker, new.group, topic, [], instance="two")
    stranger.id = "stranger"
    broker.same("a member id with an instance that is not there", stranger.join()["error"], 25)
    took = NewMember(broker, new.group, [topic], instance="one")
    broker.same("the instance comes by the new protocol", (took.beat()["error"], took.epoch), (0, back.generation))
    broker.same("its classic self", back.heartbeat(), 82)
    again = of_classic(broker, new.group, topic, [], instance="one")
    broker.same("and back", (again.join()["error"], again.generation), (0, back.generation))
    by_instance = broker.ask("LeaveGroup", 4, group=new.group, members=[{"member": "", "instance": "one"}, {"member": new.id, "instance": None}])
    broker.same("LeaveGroup by instance, and of a member of the new protocol", [m["error"] for m in by_instance["members"]], [0, 0])
