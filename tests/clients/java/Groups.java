import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;

/** Consumer groups of both protocols. */
final class Groups {
    private static final int PARTITIONS = 4;

    private Groups() {
    }

    /** The settings of a member: its group, its protocol, its assignor. */
    private static Object[] member(String group, String protocol, String assignor, Object... more) {
        List<Object> all = new ArrayList<>(List.of("group.id", group));
        if (protocol.equals("consumer")) {
            all.addAll(List.of("group.protocol", "consumer"));
        } else {
            String kind = assignor.equals("cooperative") ? "CooperativeStickyAssignor" : "RangeAssignor";
            all.addAll(List.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + kind));
        }
        all.addAll(Arrays.asList(more));
        return all.toArray();
    }

    private static Member.Subscription to(String topic) {
        return (consumer, listener) -> consumer.subscribe(List.of(topic), listener);
    }

    /** Waits until the members have so many partitions each, in any order, no partition twice and none missing. */
    private static void shared(Bed bed, List<Member> members, Integer... counts) throws Exception {
        List<Integer> wanted = Arrays.stream(counts).sorted().collect(Collectors.toList());
        int all = wanted.stream().mapToInt(n -> n).sum();
        bed.doing = "sharing " + all + " partitions as " + wanted;
        bed.until(() -> {
            Set<TopicPartition> different = members.stream().flatMap(m -> m.owned.stream()).collect(Collectors.toSet());
            return members.stream().map(Member::count).sorted().collect(Collectors.toList()).equals(wanted) && different.size() == all;
        }, members::toString);
    }

    private static void arrived(Bed bed, ConcurrentLinkedQueue<String> values, int count) throws Exception {
        bed.doing = "waiting for " + count + " records";
        bed.until(() -> values.size() >= count, () -> values.size() + " of " + count + " records came");
    }

    private static void eachOnce(ConcurrentLinkedQueue<String> values, int count) {
        List<Integer> found = values.stream().map(Integer::valueOf).sorted().collect(Collectors.toList());
        List<Integer> sent = IntStream.range(0, count).boxed().collect(Collectors.toList());
        if (!found.equals(sent)) {
            Set<Integer> missing = new TreeSet<>(sent);
            missing.removeAll(found);
            throw new Bed.Wrong(found.size() + " records came where " + count + " were sent; missing: " + missing);
        }
    }

    /** Members join and leave while records come in; each record is read once, by one of them. */
    static void rebalance(Bed bed, String assignor, String protocol) throws Exception {
        String topic = bed.topic("rebalance", PARTITIONS);
        Object[] settings = member(bed.name("group"), protocol, assignor);
        ConcurrentLinkedQueue<String> values = new ConcurrentLinkedQueue<>();
        Member a = new Member(bed, "a", values, to(topic), settings);
        shared(bed, List.of(a), 4);
        bed.fill(topic, PARTITIONS, 0, 100);
        Member b = new Member(bed, "b", values, to(topic), settings);
        shared(bed, List.of(a, b), 2, 2);
        if (!assignor.equals("range")) {
            Bed.same(2, a.revoked.get(), "partitions that a lost when b joined (what stays is not revoked)");
        }
        bed.fill(topic, PARTITIONS, 100, 100);
        Member c = new Member(bed, "c", values, to(topic), settings);
        shared(bed, List.of(a, b, c), 2, 1, 1);
        bed.fill(topic, PARTITIONS, 200, 100);
        a.leave();
        shared(bed, List.of(b, c), 2, 2);
        bed.fill(topic, PARTITIONS, 300, 100);
        b.leave();
        shared(bed, List.of(c), 4);
        bed.fill(topic, PARTITIONS, 400, 100);
        arrived(bed, values, 500);
        c.leave();
        bed.doing = "looking at what was read";
        eachOnce(values, 500);
        Map<TopicPartition, OffsetAndMetadata> offsets =
            bed.admin().listConsumerGroupOffsets(bed.name("group")).partitionsToOffsetAndMetadata().get();
        for (TopicPartition partition : Bed.partitions(topic, PARTITIONS)) {
            Bed.check(offsets.containsKey(partition), "nothing is committed for " + partition);
            Bed.same(125L, offsets.get(partition).offset(), "what the last member committed for " + partition);
        }
    }

    /** A static member that comes back within its session gets what it had, and nobody notices; a second one fences the first. */
    static void staticMembership(Bed bed) throws Exception {
        String topic = bed.topic("static", PARTITIONS);
        String group = bed.name("group");
        ConcurrentLinkedQueue<String> values = new ConcurrentLinkedQueue<>();
        Member a = new Member(bed, "a", values, to(topic), member(group, "classic", "range", "group.instance.id", "a"));
        Member b = new Member(bed, "b", values, to(topic), member(group, "classic", "range", "group.instance.id", "b"));
        shared(bed, List.of(a, b), 2, 2);
        Set<TopicPartition> had = Set.copyOf(b.owned);
        int noticed = a.assignments.get();
        b.leave();
        Member again = new Member(bed, "b again", values, to(topic), member(group, "classic", "range", "group.instance.id", "b"));
        shared(bed, List.of(a, again), 2, 2);
        Bed.same(had, Set.copyOf(again.owned), "the partitions of the member that came back");
        Bed.same(noticed, a.assignments.get(), "assignments that the other member was given");

        bed.doing = "fencing a static member with a second one of its name";
        Member second = new Member(bed, "b twice", values, to(topic), member(group, "classic", "range", "group.instance.id", "b"));
        bed.until(() -> again.failure != null, () -> "the first member was not fenced; " + again);
        Bed.check(again.failure instanceof FencedInstanceIdException, "the first member should be fenced, and failed with " + again.failure);
        shared(bed, List.of(a, second), 2, 2);

        second.leave();
        bed.doing = "removing a static member by its name";
        bed.admin().removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("b")))).all().get();
        shared(bed, List.of(a), 4);
    }

    /** One consumer reads a topic through a group: in order, all of it, with its lag known. */
    static void consume(Bed bed) throws Exception {
        String topic = bed.topic("consume", PARTITIONS);
        bed.fill(topic, PARTITIONS, 0, 400);
        KafkaConsumer<String, String> consumer = bed.consumer("group.id", bed.name("group"), "max.poll.records", "50");
        consumer.subscribe(List.of(topic));
        bed.doing = "reading 400 records";
        List<List<Integer>> found = new ArrayList<>(Collections.nCopies(PARTITIONS, null));
        found.replaceAll(nothing -> new ArrayList<>());
        bed.until(() -> {
            for (ConsumerRecord<String, String> record : consumer.poll(Bed.SHORT)) {
                List<Integer> part = found.get(record.partition());
                Bed.same((long) part.size(), record.offset(), "offset in partition " + record.partition());
                part.add(Integer.valueOf(record.value()));
            }
            return found.stream().mapToInt(List::size).sum() == 400;
        }, () -> "read " + found.stream().map(List::size).collect(Collectors.toList()));
        for (int p = 0; p < PARTITIONS; p++) {
            int first = p;
            Bed.same(IntStream.range(0, 100).map(i -> first + i * PARTITIONS).boxed().collect(Collectors.toList()), found.get(p), "partition " + p);
        }
        bed.doing = "committing everything";
        consumer.commitSync();
        Set<TopicPartition> all = Set.copyOf(Bed.partitions(topic, PARTITIONS));
        consumer.committed(all).forEach((p, o) -> Bed.same(100L, o.offset(), "committed for " + p));
        String group = bed.name("group");
        Bed.same("range", bed.admin().describeConsumerGroups(List.of(group)).all().get().get(group).partitionAssignor(), "the assignor");
    }

    /** What one consumer committed, with its metadata, is where the next one goes on. */
    static void commitAndResume(Bed bed, String protocol) throws Exception {
        String topic = bed.topic("resume", 1);
        TopicPartition only = new TopicPartition(topic, 0);
        bed.fill(topic, 1, 0, 100);
        Object[] settings = member(bed.name("group"), protocol, "range", "max.poll.records", "10");
        bed.doing = "reading the first half";
        KafkaConsumer<String, String> first = bed.consumer(settings);
        first.subscribe(List.of(topic));
        List<Long> offsets = new ArrayList<>();
        bed.until(() -> {
            first.poll(Bed.SHORT).forEach(record -> offsets.add(record.offset()));
            return offsets.size() >= 30;
        }, () -> offsets.size() + " records came");
        bed.doing = "committing";
        first.commitSync(Map.of(only, new OffsetAndMetadata(30, "at thirty")));
        first.close();

        bed.doing = "reading on";
        KafkaConsumer<String, String> second = bed.consumer(settings);
        second.subscribe(List.of(topic));
        offsets.clear();
        bed.until(() -> {
            second.poll(Bed.SHORT).forEach(record -> offsets.add(record.offset()));
            return offsets.size() >= 70;
        }, () -> offsets.size() + " of 70 records came");
        Bed.same(IntStream.range(30, 100).mapToObj(i -> (long) i).collect(Collectors.toList()), offsets, "offsets that the second one read");
        Bed.same("at thirty", second.committed(Set.of(only)).get(only).metadata(), "the metadata of the commit");
        second.commitSync();
        second.close();

        bed.doing = "committing without being a member";
        KafkaConsumer<String, String> simple = bed.consumer("group.id", bed.name("group"));
        simple.assign(List.of(only));
        Bed.same(100L, simple.committed(Set.of(only)).get(only).offset(), "what the second one committed");
        simple.commitSync(Map.of(only, new OffsetAndMetadata(7)));
        Bed.same(7L, simple.committed(Set.of(only)).get(only).offset(), "what a simple consumer committed");
        KafkaConsumer<String, String> stranger = bed.consumer("group.id", bed.name("another group"));
        Bed.same(true, stranger.committed(Set.of(only)).get(only) == null, "nothing is committed in another group");
    }

    /** A subscription by a regular expression that the server evaluates: topics that come later are found too. */
    static void pattern(Bed bed) throws Exception {
        String one = bed.topic("pattern-one", 2);
        bed.topic("other", 2);
        ConcurrentLinkedQueue<String> values = new ConcurrentLinkedQueue<>();
        String expression = "pattern-(one|two)-" + one.substring(one.length() - 8);
        Class<?> kind = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern");
        Object wanted = kind.getConstructor(String.class).newInstance(expression);
        Member member = new Member(bed, "m", values, (consumer, listener) -> KafkaConsumer.class
            .getMethod("subscribe", kind, ConsumerRebalanceListener.class).invoke(consumer, wanted, listener),
            member(bed.name("group"), "consumer", "server"));
        shared(bed, List.of(member), 2);
        bed.fill(one, 2, 0, 10);
        arrived(bed, values, 10);
        bed.topic("pattern-two", 3);
        shared(bed, List.of(member), 5);
        Bed.check(member.owned.stream().allMatch(p -> Pattern.matches(expression, p.topic())), "a topic that does not match: " + member);
    }

    /** A group moves from the classic protocol to the new one while it works, and back. */
    static void bothProtocols(Bed bed) throws Exception {
        String topic = bed.topic("both", PARTITIONS);
        String group = bed.name("group");
        ConcurrentLinkedQueue<String> values = new ConcurrentLinkedQueue<>();
        Member old = new Member(bed, "classic", values, to(topic), member(group, "classic", "cooperative"));
        shared(bed, List.of(old), 4);
        bed.fill(topic, PARTITIONS, 0, 100);
        arrived(bed, values, 100);
        Member young = new Member(bed, "consumer", values, to(topic), member(group, "consumer", "server"));
        shared(bed, List.of(old, young), 2, 2);
        bed.fill(topic, PARTITIONS, 100, 100);
        arrived(bed, values, 200);
        old.leave();
        shared(bed, List.of(young), 4);
        Member back = new Member(bed, "classic again", values, to(topic), member(group, "classic", "cooperative"));
        shared(bed, List.of(young, back), 2, 2);
        young.leave();
        shared(bed, List.of(back), 4);
        bed.fill(topic, PARTITIONS, 200, 100);
        arrived(bed, values, 300);
        eachOnce(values, 300);
    }
}
