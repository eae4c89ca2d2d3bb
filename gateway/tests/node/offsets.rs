//! Committed offsets and the administration of groups, asked over TCP of the real gateway. Members are put into the journal
//! directly, as a coordinator would once they have agreed.

use bytes::Bytes;
use strandline_core::env::Env;
use strandline_core::manifest::{Change, GroupKind, GroupMember, Outcome, UpdateGroup};
use strandline_core::store::Store;
use strandline_kafka::messages::{
    Response, consumer_group_heartbeat, delete_groups, describe_groups, join_group, leave_group, list_groups,
    offset_commit, offset_delete, offset_fetch, sync_group,
};

use crate::support::{Client, Node, node, stranger_on};

/// Unwraps the response of one API.
macro_rules! answer {
    ($Api:ident, $call:expr) => {
        match $call.await {
            Response::$Api(response) => response,
            other => panic!("{other:?}"),
        }
    };
}

/// Partition, offset, metadata.
type Committed<'a> = (i32, i64, Option<&'a str>);

fn commit(group: &str, topic: &str, partitions: &[Committed<'_>]) -> offset_commit::Request {
    let partition = |(index, offset, metadata): &Committed<'_>| offset_commit::RequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        committed_leader_epoch: -1,
        committed_metadata: metadata.map(str::to_owned),
        ..Default::default()
    };
    let partitions = partitions.iter().map(partition).collect();
    let topic = offset_commit::RequestTopic { name: topic.to_owned(), partitions };
    offset_commit::Request { group_id: group.to_owned(), topics: vec![topic], ..Default::default() }
}

fn as_member(member: &str, epoch: i32, offset: i64) -> offset_commit::Request {
    let (member_id, generation_id_or_member_epoch) = (member.to_owned(), epoch);
    offset_commit::Request {
        member_id,
        generation_id_or_member_epoch,
        ..commit("g", "t", &[(0, offset, None)])
    }
}

async fn committed(client: &mut Client, version: i16, request: offset_commit::Request) -> Vec<i16> {
    let response = answer!(OffsetCommit, client.call(version, request));
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|of| of.error_code).collect()
}

fn ask(group: &str, topics: Option<&[(&str, &[i32])]>) -> offset_fetch::RequestGroup {
    let topic = |(name, partitions): &(&str, &[i32])| offset_fetch::RequestTopic {
        name: (*name).to_owned(),
        partition_indexes: partitions.to_vec(),
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    offset_fetch::RequestGroup { group_id: group.to_owned(), topics, ..Default::default() }
}

/// In any version; the error code of the group and `topic/partition offset metadata code` for each partition.
async fn fetched(client: &mut Client, version: i16, asked: offset_fetch::RequestGroup) -> (i16, Vec<String>) {
    let request = match version >= 8 {
        true => offset_fetch::Request { groups: vec![asked], ..Default::default() },
        false => {
            offset_fetch::Request { group_id: asked.group_id, topics: asked.topics, ..Default::default() }
        }
    };
    let mut response = answer!(OffsetFetch, client.call(version, request));
    let (code, topics) = match response.groups.pop() {
        Some(group) => (group.error_code, group.topics),
        None => (response.error_code, response.topics),
    };
    let show = |topic: &str, of: offset_fetch::PartitionResponse| {
        let (index, offset, metadata) = (of.partition_index, of.committed_offset, of.metadata.unwrap());
        format!("{topic}/{index} {offset} {metadata:?} {}", of.error_code)
    };
    let shown = topics.into_iter().flat_map(|topic| {
        let offset_fetch::TopicResponse { name, partitions } = topic;
        partitions.into_iter().map(|of| show(&name, of)).collect::<Vec<_>>()
    });
    (code, shown.collect())
}

/// What a member of the protocol type `consumer` says, version 0: topics, no user data.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// The members of a group from here on.
async fn set(node: &Node, group: &str, kind: GroupKind, protocol_type: &str, members: &[(&str, i32, Bytes)]) {
    node.journal.catch_up().await.unwrap();
    let seen = node.journal.view(|m| m.group(group).map_or((0, 0), |group| (group.version, group.epoch)));
    let member = |(id, epoch, subscription): &(&str, i32, Bytes)| GroupMember {
        id: (*id).to_owned(),
        epoch: *epoch,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 300_000,
        rebalance_timeout_ms: 300_000,
        subscription: subscription.clone(),
        assignment: Bytes::from_static(b"assigned"),
        ..GroupMember::default()
    };
    let update = UpdateGroup {
        group: group.to_owned(),
        seen_version: seen.0,
        kind,
        protocol_type: protocol_type.to_owned(),
        protocol: "range".to_owned(),
        epoch: seen.1 + 1,
        leader: members.first().map_or(String::new(), |(id, ..)| (*id).to_owned()),
        state: Bytes::new(),
        replace: true,
        put: members.iter().map(member).collect(),
        remove: Vec::new(),
    };
    let outcomes = node.journal.propose(vec![Change::UpdateGroup(update)]).await.unwrap();
    assert!(matches!(outcomes.as_slice(), [Outcome::GroupVersion(_)]), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_fetched_in_every_version() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 3).await;
    for version in 1..=9 {
        let (group, offset) = (format!("g{version}"), i64::from(version) * 100);
        let request = commit(&group, "t", &[(0, offset, Some("näher")), (2, -5, None)]);
        assert_eq!(committed(&mut client, version, request).await, [0, 0], "{version}");
        let some = ask(&group, Some(&[("t", &[1, 0]), ("nowhere", &[0])]));
        let expected = ["t/1 -1 \"\" 0", &format!("t/0 {offset} \"näher\" 0"), "nowhere/0 -1 \"\" 0"];
        assert_eq!(fetched(&mut client, version, some).await, (0, expected.map(str::to_owned).to_vec()));
        if version > 1 {
            let expected = [format!("t/0 {offset} \"näher\" 0"), "t/2 -5 \"\" 0".to_owned()];
            assert_eq!(fetched(&mut client, version, ask(&group, None)).await, (0, expected.to_vec()));
            assert_eq!(fetched(&mut client, version, ask("none", None)).await, (0, vec![]), "no such group");
        }
    }
    let mut with_epoch = commit("g9", "t", &[(1, 7, None)]);
    with_epoch.topics[0].partitions[0].committed_leader_epoch = 4;
    assert_eq!(committed(&mut client, 6, with_epoch).await, [0]);
    // Several groups at once; one that is named twice, or a partition, is answered once.
    let groups = vec![ask("g9", Some(&[("t", &[1, 1]), ("t", &[1])])), ask("g8", None), ask("g9", None)];
    let request = offset_fetch::Request { groups, require_stable: true, ..Default::default() };
    let response = answer!(OffsetFetch, client.call(9, request));
    let counts = |of: &offset_fetch::GroupResponse| {
        (of.group_id.clone(), of.topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>())
    };
    let shown: Vec<_> = response.groups.iter().map(counts).collect();
    assert_eq!(shown, [("g9".to_owned(), vec![1, 0]), ("g8".to_owned(), vec![2])]);
    assert_eq!(response.groups[0].topics[0].partitions[0].committed_leader_epoch, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_of_a_commit_has_its_own_code() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 2).await;
    let (long, longest) = ("m".repeat(4_097), "m".repeat(4_096));
    let mut request =
        commit("g", "t", &[(0, 1, Some(&long)), (1, 2, Some(&longest)), (2, 3, None), (-1, 4, None)]);
    request.topics.extend(commit("g", "nowhere", &[(0, 5, None)]).topics);
    assert_eq!(committed(&mut client, 8, request).await, [12, 0, 3, 3, 3]);
    let (code, found) = fetched(&mut client, 8, ask("g", None)).await;
    assert_eq!((code, found), (0, vec![format!("t/1 2 {longest:?} 0")]), "what could be stored is");
    for group in [String::new(), "g".repeat(1_025)] {
        assert_eq!(
            committed(&mut client, 8, commit(&group, "t", &[(0, 1, None), (1, 1, None)])).await,
            [24, 24]
        );
    }
    assert_eq!(committed(&mut client, 8, commit("g", "nowhere", &[(0, 5, None)])).await, [3]);
    assert!(committed(&mut client, 8, commit("g", "t", &[])).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_of_the_current_generation_commit() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    assert_eq!(committed(&mut client, 8, as_member("a", 1, 1)).await, [22], "no such group");
    assert_eq!(committed(&mut client, 8, as_member("", -1, 1)).await, [0], "nobody's, while nobody is there");
    set(&node, "g", GroupKind::Classic, "consumer", &[("a", 1, subscription(&["t"]))]).await;
    for (member, epoch, code) in [("", -1, 25), ("b", 1, 25), ("a", 0, 22), ("a", 2, 22), ("a", 1, 0)] {
        let done = committed(&mut client, 8, as_member(member, epoch, 10)).await;
        assert_eq!(done, [code], "{member} {epoch}");
    }
    let named = |member: &str| offset_commit::Request {
        group_instance_id: Some("one".to_owned()),
        ..as_member(member, 1, 11)
    };
    assert_eq!(committed(&mut client, 7, named("a")).await, [25], "nobody has this instance id");
    assert_eq!(fetched(&mut client, 5, ask("g", None)).await, (0, vec!["t/0 10 \"\" 0".to_owned()]));
    set(&node, "g", GroupKind::Classic, "consumer", &[]).await;
    assert_eq!(committed(&mut client, 8, as_member("a", 1, 12)).await, [25], "it is gone");
    assert_eq!(committed(&mut client, 8, as_member("", -1, 13)).await, [0]);
}

/// Two nodes that do not know of each other: both believe that they look after the group.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_acknowledged_every_node_tells() {
    let store = Store::open("memory:", Env::system()).unwrap();
    let (one, two) = (stranger_on(store.clone()).await, stranger_on(store).await);
    let (mut first, mut second) = (one.client().await, two.client().await);
    first.create("t", 1).await;
    for offset in 1..20 {
        let (to, from) = if offset % 2 == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        assert_eq!(committed(to, 8, commit("g", "t", &[(0, offset, None)])).await, [0], "{offset}");
        let found = fetched(from, 8, ask("g", None)).await;
        assert_eq!(found, (0, vec![format!("t/0 {offset} \"\" 0")]));
    }
    // A topic and a generation that only the other node has seen so far.
    second.create("u", 1).await;
    assert_eq!(committed(&mut first, 8, commit("g", "u", &[(0, 1, None)])).await, [0]);
    set(&two, "g", GroupKind::Classic, "consumer", &[("a", 1, subscription(&["t"]))]).await;
    assert_eq!(committed(&mut first, 8, commit("g", "t", &[(0, 99, None)])).await, [25], "the fold knows");
}

async fn forget(client: &mut Client, group: &str, topics: &[&str]) -> (i16, Vec<i16>) {
    let partitions = vec![offset_delete::RequestPartition { partition_index: 0 }];
    let topic = |name: &&str| offset_delete::RequestTopic {
        name: (*name).to_owned(),
        partitions: partitions.clone(),
    };
    let topics = topics.iter().map(topic).collect();
    let request = offset_delete::Request { group_id: group.to_owned(), topics };
    let response = answer!(OffsetDelete, client.call(0, request));
    let codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|of| of.error_code);
    (response.error_code, codes.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_what_is_not_read_are_deleted() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in ["t", "u"] {
        client.create(topic, 1).await;
        assert_eq!(committed(&mut client, 8, commit("g", topic, &[(0, 5, None)])).await, [0]);
    }
    assert_eq!(forget(&mut client, "none", &["t"]).await, (69, vec![]));
    set(&node, "g", GroupKind::Consumer, "consumer", &[("a", 1, Bytes::from_static(b"?"))]).await;
    assert_eq!(forget(&mut client, "g", &["t"]).await, (0, vec![86]), "who knows what it reads");
    set(&node, "g", GroupKind::Classic, "connect", &[("a", 2, Bytes::new())]).await;
    assert_eq!(forget(&mut client, "g", &["t"]).await, (68, vec![]));
    set(&node, "g", GroupKind::Classic, "consumer", &[]).await;
    assert_eq!(forget(&mut client, "g", &["t", "nowhere", "t"]).await, (0, vec![0, 3, 0]));
    assert_eq!(fetched(&mut client, 8, ask("g", None)).await, (0, vec!["u/0 5 \"\" 0".to_owned()]));
}

/// The first half of a generation: the group has its member, and waits for what it is assigned. Member id, generation.
async fn join(client: &mut Client, topics: &[&str]) -> (String, i32) {
    let protocol = join_group::Protocol { name: "range".to_owned(), metadata: subscription(topics) };
    let request = join_group::Request {
        group_id: "g".to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let response = answer!(JoinGroup, client.call(3, request));
    assert_eq!(response.error_code, 0, "{response:?}");
    (response.member_id, response.generation_id)
}

async fn sync(client: &mut Client, member_id: &str, generation_id: i32) {
    let assignment = sync_group::Assignment {
        member_id: member_id.to_owned(),
        assignment: Bytes::from_static(b"assigned"),
    };
    let request = sync_group::Request {
        group_id: "g".to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        assignments: vec![assignment],
        ..Default::default()
    };
    assert_eq!(answer!(SyncGroup, client.call(3, request)).error_code, 0);
}

/// What the coordinator holds in memory counts, too: a group between two generations, and what its member reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_group_is_seen_as_it_is() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in ["t", "u"] {
        client.create(topic, 1).await;
        assert_eq!(committed(&mut client, 8, commit("g", topic, &[(0, 5, None)])).await, [0]);
    }
    let (member, generation) = join(&mut client, &["t"]).await;
    let between = described(&mut client, 6, "g").await;
    assert_eq!((between.group_state.as_str(), between.members.len()), ("CompletingRebalance", 1));
    assert_eq!(between.members[0].member_metadata, Bytes::new());
    assert_eq!(listed(&mut client, 5, &["completingrebalance"], &[]).await.len(), 1);
    assert_eq!(committed(&mut client, 8, as_member(&member, generation, 6)).await, [27]);
    sync(&mut client, &member, generation).await;

    let stable = described(&mut client, 6, "g").await;
    assert_eq!((stable.group_state.as_str(), stable.protocol_data.as_str()), ("Stable", "range"));
    assert_eq!(
        (&stable.members[0].member_metadata, stable.members[0].client_id.as_str()),
        (&subscription(&["t"]), "test")
    );
    assert_eq!(stable.members[0].member_assignment.as_ref(), b"assigned");
    assert_eq!(committed(&mut client, 8, as_member(&member, generation, 6)).await, [0]);
    assert_eq!(committed(&mut client, 8, as_member("", -1, 7)).await, [25]);
    assert_eq!(forget(&mut client, "g", &["t", "u"]).await, (0, vec![86, 0]));
    let request = delete_groups::Request { groups_names: vec!["g".to_owned()] };
    assert_eq!(answer!(DeleteGroups, client.call(2, request)).results[0].error_code, 68);
    assert_eq!(fetched(&mut client, 8, ask("g", None)).await, (0, vec!["t/0 6 \"\" 0".to_owned()]));

    let leave =
        leave_group::Request { group_id: "g".to_owned(), member_id: member.clone(), ..Default::default() };
    assert_eq!(answer!(LeaveGroup, client.call(1, leave)).error_code, 0);
    assert_eq!(committed(&mut client, 8, as_member(&member, generation, 8)).await, [25]);
    assert_eq!(listed(&mut client, 5, &["Empty"], &[]).await, ["g \"consumer\" Empty classic"]);
    let request = delete_groups::Request { groups_names: vec!["g".to_owned()] };
    assert_eq!(answer!(DeleteGroups, client.call(2, request)).results[0].error_code, 0);
    // The coordinator begins anew with the group that was deleted.
    let (member, generation) = join(&mut client, &["t"]).await;
    sync(&mut client, &member, generation).await;
    assert_eq!(committed(&mut client, 8, as_member(&member, generation, 9)).await, [0]);
}

/// The same where the coordinator assigns (KIP-848).
#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_assigned_to_commit_by_their_epoch() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in ["t", "u"] {
        client.create(topic, 1).await;
        assert_eq!(committed(&mut client, 9, commit("g", topic, &[(0, 5, None)])).await, [0]);
    }
    let beat = consumer_group_heartbeat::Request {
        group_id: "g".to_owned(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let joined = answer!(ConsumerGroupHeartbeat, client.call(1, beat));
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let epoch = joined.member_epoch;
    for (version, member, epoch, code) in [
        (9, "m", epoch + 1, 113),
        (8, "m", epoch, 35),
        (9, "x", epoch, 25),
        (9, "", -1, 25),
        (9, "m", epoch, 0),
    ] {
        let done = committed(&mut client, version, as_member(member, epoch, 6)).await;
        assert_eq!(done, [code], "{version} {member} {epoch}");
    }
    for (member, epoch, code) in
        [(Some("m"), epoch, 0), (Some("m"), epoch - 1, 113), (Some("x"), epoch, 25), (None, -1, 0)]
    {
        let mut asked = ask("g", Some(&[("t", &[0])]));
        (asked.member_id, asked.member_epoch) = (member.map(str::to_owned), epoch);
        let found = fetched(&mut client, 9, asked).await;
        assert_eq!((found.0, found.1.len()), (code, usize::from(code == 0)), "{member:?} {epoch}");
    }
    assert_eq!(forget(&mut client, "g", &["t", "u"]).await, (0, vec![86, 0]));
    assert_eq!(described(&mut client, 6, "g").await.error_code, 69);
    assert_eq!(listed(&mut client, 5, &[], &["consumer"]).await.len(), 1);
    let request = delete_groups::Request { groups_names: vec!["g".to_owned()] };
    assert_eq!(answer!(DeleteGroups, client.call(2, request)).results[0].error_code, 68);
    let (reads, state) = node.journal.view(|manifest| {
        (strandline_gateway::group_reads("g", manifest), strandline_gateway::group_state("g", manifest))
    });
    assert_eq!(reads.into_iter().filter_map(|read| read.member).collect::<Vec<_>>(), ["m"]);
    assert_eq!(state, Some("Stable"));
}

async fn listed(client: &mut Client, version: i16, states: &[&str], types: &[&str]) -> Vec<String> {
    let filter = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let request = list_groups::Request { states_filter: filter(states), types_filter: filter(types) };
    let response = answer!(ListGroups, client.call(version, request));
    assert_eq!(response.error_code, 0);
    let show = |of: list_groups::Group| {
        format!("{} {:?} {} {}", of.group_id, of.protocol_type, of.group_state, of.group_type)
    };
    response.groups.into_iter().map(show).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_by_state_and_type() {
    let node = node().await;
    let mut client = node.client().await;
    assert!(listed(&mut client, 5, &[], &[]).await.is_empty());
    client.create("t", 1).await;
    committed(&mut client, 8, commit("simple", "t", &[(0, 1, None)])).await;
    set(&node, "connect", GroupKind::Classic, "connect", &[("a", 1, Bytes::new())]).await;
    set(&node, "newer", GroupKind::Consumer, "consumer", &[]).await;
    let (connect, newer, simple) = (
        "connect \"connect\" Stable classic",
        "newer \"consumer\" Empty consumer",
        "simple \"\" Empty classic",
    );
    assert_eq!(listed(&mut client, 5, &[], &[]).await, [connect, newer, simple]);
    assert_eq!(listed(&mut client, 5, &["empty"], &[]).await, [newer, simple]);
    assert_eq!(listed(&mut client, 5, &["Stable", "Dead"], &[]).await, [connect]);
    assert_eq!(listed(&mut client, 5, &["Empty"], &["Classic"]).await, [simple]);
    assert_eq!(listed(&mut client, 4, &["Stable"], &[]).await, ["connect \"connect\" Stable "]);
    assert_eq!(listed(&mut client, 0, &[], &[]).await.len(), 3);
}

async fn described(client: &mut Client, version: i16, group: &str) -> describe_groups::Group {
    let groups = vec![group.to_owned(), group.to_owned()];
    let request = describe_groups::Request { groups, include_authorized_operations: version >= 3 };
    let mut response = answer!(DescribeGroups, client.call(version, request));
    assert_eq!(response.groups.len(), 1, "a repeated name is answered once");
    response.groups.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_described() {
    let node = node().await;
    let mut client = node.client().await;
    set(&node, "g", GroupKind::Classic, "connect", &[("a", 1, Bytes::new()), ("b", 1, Bytes::new())]).await;
    for version in 0..=6 {
        let group = described(&mut client, version, "g").await;
        assert_eq!((group.error_code, group.group_state.as_str(), group.members.len()), (0, "Stable", 2));
        assert_eq!((group.protocol_type.as_str(), group.protocol_data.as_str()), ("connect", "range"));
        let member = &group.members[1];
        assert_eq!((member.member_id.as_str(), member.client_id.as_str()), ("b", "client"));
        assert_eq!(
            (member.client_host.as_str(), member.member_assignment.as_ref()),
            ("/127.0.0.1", &b"assigned"[..])
        );
        assert_eq!(group.authorized_operations, if version < 3 { i32::MIN } else { 3_400 });
        let gone = described(&mut client, version, "none").await;
        let (code, says) = if version < 6 { (0, None) } else { (69, Some("Group none not found.")) };
        assert_eq!((gone.error_code, gone.group_state.as_str()), (code, "Dead"));
        assert_eq!((gone.error_message.as_deref(), gone.group_id.as_str()), (says, "none"));
    }
    set(&node, "newer", GroupKind::Consumer, "consumer", &[]).await;
    let newer = described(&mut client, 6, "newer").await;
    assert_eq!(newer.error_message.as_deref(), Some("Group newer is not a classic group."));
    assert_eq!((newer.error_code, newer.group_state.as_str()), (69, "Dead"));
    set(&node, "g", GroupKind::Classic, "connect", &[]).await;
    let empty = described(&mut client, 5, "g").await;
    assert_eq!((empty.group_state.as_str(), empty.protocol_data.as_str()), ("Empty", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_empty_groups_are_deleted() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    committed(&mut client, 8, commit("simple", "t", &[(0, 1, None)])).await;
    set(&node, "busy", GroupKind::Classic, "connect", &[("a", 1, Bytes::new())]).await;
    let delete = |names: &[&str]| delete_groups::Request {
        groups_names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    for version in 0..=2 {
        let request = delete(&["busy", "simple", "none", "simple"]);
        let response = answer!(DeleteGroups, client.call(version, request));
        let codes: Vec<_> = response.results.iter().map(|of| (of.group_id.as_str(), of.error_code)).collect();
        let simple = if version == 0 { 0 } else { 69 };
        assert_eq!(codes, [("busy", 68), ("simple", simple), ("none", 69)]);
    }
    assert_eq!(fetched(&mut client, 8, ask("simple", None)).await, (0, vec![]));
    set(&node, "busy", GroupKind::Classic, "connect", &[]).await;
    assert_eq!(answer!(DeleteGroups, client.call(2, delete(&["busy"]))).results[0].error_code, 0);
    assert!(listed(&mut client, 5, &[], &[]).await.is_empty());
}
