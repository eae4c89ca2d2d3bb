import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What the Admin client asks. */
final class Administration {
    private Administration() {
    }

    static void topics(Bed bed) throws Exception {
        Admin admin = bed.admin();
        String topic = bed.topic("admin", 2, "retention.ms", "86400000", "cleanup.policy", "delete");
        bed.doing = "describing the cluster";
        Collection<?> nodes = admin.describeCluster().nodes().get();
        Bed.check(!nodes.isEmpty() && admin.describeCluster().controller().get() != null, "a cluster of " + nodes);
        bed.doing = "creating a topic twice";
        Bed.fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) -1))).all().get(), "the second creation");
        bed.doing = "listing and describing topics";
        Bed.check(admin.listTopics().names().get().contains(topic), "the topic is not listed");
        Bed.same(2, bed.describe(topic).partitions().size(), "partitions");
        configs(bed, topic);
        bed.doing = "adding partitions";
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        bed.until(() -> bed.describe(topic).partitions().size() == 5, () -> "five partitions; there are " + bed.describe(topic).partitions().size());
        Bed.fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get(), "taking partitions away");
        records(bed, topic);
        bed.doing = "listing reassignments";
        Bed.check(admin.listPartitionReassignments().reassignments().get().isEmpty(), "nothing is being reassigned");
        bed.doing = "describing log directories";
        int node = ((org.apache.kafka.common.Node) nodes.iterator().next()).id();
        Object found = admin.describeLogDirs(List.of(node));
        ((org.apache.kafka.common.KafkaFuture<?>) found.getClass().getMethod(hasMethod(found, "allDescriptions") ? "allDescriptions" : "all").invoke(found)).get();
        bed.doing = "deleting the topic";
        admin.deleteTopics(List.of(topic)).all().get();
        bed.until(() -> !admin.listTopics().names().get().contains(topic), () -> "the topic is gone");
        Bed.fails(UnknownTopicOrPartitionException.class, () -> bed.describe(topic), "describing a deleted topic");
    }

    private static boolean hasMethod(Object object, String name) {
        for (java.lang.reflect.Method method : object.getClass().getMethods()) {
            if (method.getName().equals(name)) {
                return true;
            }
        }
        return false;
    }

    private static void configs(Bed bed, String topic) throws Exception {
        Admin admin = bed.admin();
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        bed.doing = "describing configs";
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Bed.same("86400000", config.get("retention.ms").value(), "retention.ms");
        Bed.same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms").source(), "where retention.ms comes from");
        Bed.same("1048588", config.get("max.message.bytes").value(), "max.message.bytes");
        Bed.same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config.get("max.message.bytes").source(), "where max.message.bytes comes from");
        bed.doing = "altering configs";
        alter(admin, resource, "retention.ms", "3600000", AlterConfigOp.OpType.SET);
        alter(admin, resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        bed.until(() -> {
            Config now = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            return now.get("retention.ms").value().equals("3600000") && now.get("cleanup.policy").value().equals("delete,compact");
        }, () -> "retention.ms 3600000 and cleanup.policy delete,compact; " + admin.describeConfigs(List.of(resource)).all().get());
        alter(admin, resource, "cleanup.policy", "compact", AlterConfigOp.OpType.SUBTRACT);
        alter(admin, resource, "retention.ms", "", AlterConfigOp.OpType.DELETE);
        bed.until(() -> {
            Config now = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            return now.get("retention.ms").value().equals("604800000") && now.get("cleanup.policy").value().equals("delete");
        }, () -> "the default of retention.ms and cleanup.policy delete; " + admin.describeConfigs(List.of(resource)).all().get());
        Bed.fails(InvalidConfigurationException.class, () -> alter(admin, resource, "no.such.config", "1", AlterConfigOp.OpType.SET), "a config that is not known");
    }

    private static Object alter(Admin admin, ConfigResource resource, String name, String value, AlterConfigOp.OpType how) throws Exception {
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), how)))).all().get();
    }

    private static void records(Bed bed, String topic) throws Exception {
        Admin admin = bed.admin();
        TopicPartition first = new TopicPartition(topic, 0);
        bed.fill(topic, 1, 0, 10);
        bed.doing = "deleting records";
        Bed.same(4L, admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(first).get().lowWatermark(), "the low watermark");
        Bed.same(4L, admin.listOffsets(Map.of(first, OffsetSpec.earliest())).partitionResult(first).get().offset(), "the first offset");
        Bed.same(10L, admin.listOffsets(Map.of(first, OffsetSpec.latest())).partitionResult(first).get().offset(), "the end");
        Bed.fails(OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(11))).all().get(), "deleting beyond the end");
        Bed.same(4L, bed.read(topic, 1).get(0).get(0).offset(), "the first record that is read");
    }

    static void groups(Bed bed) throws Exception {
        Admin admin = bed.admin();
        String topic = bed.topic("admin-groups", 3);
        String group = bed.name("group");
        TopicPartition first = new TopicPartition(topic, 0);
        bed.fill(topic, 3, 0, 30);
        ConcurrentLinkedQueue<String> values = new ConcurrentLinkedQueue<>();
        Member member = new Member(bed, "m", values, (consumer, listener) -> consumer.subscribe(List.of(topic), listener),
            "group.id", group, "client.id", "the member", "group.instance.id", "one");
        bed.doing = "reading as a member";
        bed.until(() -> member.count() == 3 && values.size() == 30, () -> values.size() + " of 30 records came");
        bed.doing = "describing a group";
        ConsumerGroupDescription stable = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        Bed.same("Stable", stable.state().toString(), "the state of the group");
        Bed.same("range", stable.partitionAssignor(), "its assignor");
        Bed.same(1, stable.members().size(), "its members");
        stable.members().forEach(one -> {
            Bed.same("the member", one.clientId(), "the client id");
            Bed.same(Optional.of("one"), one.groupInstanceId(), "the instance id");
            Bed.same(Set.copyOf(Bed.partitions(topic, 3)), one.assignment().topicPartitions(), "the assignment");
        });
        bed.doing = "changing a group that has members";
        Bed.fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get(), "deleting a group with members");
        Bed.fails(UnknownMemberIdException.class, () -> admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(1))).all().get(), "altering offsets under a member");
        member.leave();
        admin.removeMembersFromConsumerGroup(group, new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions(
            List.of(new org.apache.kafka.clients.admin.MemberToRemove("one")))).all().get();
        emptyGroup(bed, admin, group, first);
    }

    private static void emptyGroup(Bed bed, Admin admin, String group, TopicPartition first) throws Exception {
        bed.doing = "listing groups";
        Collection<ConsumerGroupListing> listed = admin.listConsumerGroups().all().get();
        Bed.same(1L, listed.stream().filter(g -> g.groupId().equals(group)).count(), "how often the group is listed");
        Bed.same("Empty", admin.describeConsumerGroups(List.of(group)).all().get().get(group).state().toString(), "the state without members");
        bed.doing = "altering and deleting offsets";
        admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(5, "five"))).all().get();
        Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Bed.same(new OffsetAndMetadata(5, "five"), new OffsetAndMetadata(offsets.get(first).offset(), offsets.get(first).metadata()), "the altered offset");
        Bed.same(3, offsets.size(), "partitions with offsets");
        admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
        List<Integer> left = new ArrayList<>(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet().stream()
            .filter(e -> e.getValue() != null).map(e -> e.getKey().partition()).sorted().collect(Collectors.toList()));
        Bed.same(List.of(1, 2), left, "partitions that have offsets still");
        bed.doing = "deleting the group";
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Bed.check(admin.listConsumerGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "the group is listed after its deletion");
        Bed.fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get(), "deleting it again");
    }
}
