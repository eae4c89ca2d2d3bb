import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Transactions: consume, transform, produce. */
final class Transactions {
    private static final int PARTITIONS = 4;
    private static final int RECORDS = 200;

    private Transactions() {
    }

    private static KafkaProducer<String, String> producer(Bed bed, Object... more) {
        List<Object> all = new ArrayList<>(List.of("transactional.id", bed.name("copier"), "max.block.ms", "20000"));
        all.addAll(List.of(more));
        KafkaProducer<String, String> producer = bed.producer(all.toArray());
        producer.initTransactions();
        return producer;
    }

    /** Copies a topic, every third transaction aborted first; then a second producer fences the first. */
    static void copy(Bed bed) throws Exception {
        String from = bed.topic("from", PARTITIONS);
        String to = bed.topic("to", PARTITIONS);
        bed.fill(from, PARTITIONS, 0, RECORDS);
        KafkaConsumer<String, String> consumer =
            bed.consumer("group.id", bed.name("group"), "isolation.level", "read_committed", "max.poll.records", "20");
        consumer.subscribe(List.of(from));
        bed.doing = "initializing transactions";
        KafkaProducer<String, String> first = producer(bed);
        bed.doing = "copying in transactions";
        int[] done = new int[2];
        bed.until(() -> {
            List<ConsumerRecord<String, String>> records = new ArrayList<>();
            consumer.poll(Bed.SHORT).forEach(records::add);
            if (!records.isEmpty()) {
                if (done[1]++ % 3 == 0) {
                    transaction(first, consumer, records, to);
                    first.abortTransaction();
                }
                transaction(first, consumer, records, to);
                first.commitTransaction();
                done[0] += records.size();
            }
            return done[0] >= RECORDS;
        }, () -> done[0] + " of " + RECORDS + " records were copied");
        consumer.close();

        bed.doing = "fencing the first producer";
        KafkaProducer<String, String> second = producer(bed);
        first.beginTransaction();
        try {
            first.send(new ProducerRecord<>(to, 0, null, "of a producer that is fenced"));
            first.commitTransaction();
            throw new Bed.Wrong("the first producer was not fenced");
        } catch (ProducerFencedException | InvalidProducerEpochException expected) {
            bed.doing = "writing with the second producer";
        }
        second.beginTransaction();
        second.send(new ProducerRecord<>(to, 0, null, "" + RECORDS));
        second.commitTransaction();

        bed.doing = "reading what is committed";
        Map<Integer, List<ConsumerRecord<String, String>>> found = bed.read(to, PARTITIONS);
        for (int p = 0; p < PARTITIONS; p++) {
            int partition = p;
            List<Integer> expected = IntStream.rangeClosed(0, RECORDS).filter(n -> n % PARTITIONS == partition).boxed().collect(Collectors.toList());
            List<Integer> values = found.get(p).stream().map(r -> Integer.valueOf(r.value())).collect(Collectors.toList());
            Bed.same(expected, values, "what is committed in partition " + p);
        }
        Set<TopicPartition> all = Set.copyOf(Bed.partitions(from, PARTITIONS));
        bed.consumer("group.id", bed.name("group"), "isolation.level", "read_committed").committed(all)
            .forEach((p, o) -> Bed.same((long) RECORDS / PARTITIONS, o.offset(), "what is committed for " + p));
    }

    private static void transaction(
        KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer, List<ConsumerRecord<String, String>> records, String to) {
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            producer.send(new ProducerRecord<>(to, record.partition(), null, record.value()));
            ends.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(ends, consumer.groupMetadata());
    }

    /** A producer whose transaction was aborted because it took too long aborts, too, and goes on (KIP-588). */
    static void tooLong(Bed bed) throws Exception {
        String topic = bed.topic("late", 1);
        KafkaProducer<String, String> producer = producer(bed, "transaction.timeout.ms", "1500", "delivery.timeout.ms", "1500",
            "request.timeout.ms", "1000", "linger.ms", "0");
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, null, "too late")).get();
        bed.doing = "waiting for the abort";
        Map<TopicPartition, Long> before = Map.of(new TopicPartition(topic, 0), 1L);
        KafkaConsumer<String, String> reader = bed.consumer("isolation.level", "read_committed");
        bed.until(() -> reader.endOffsets(before.keySet()).get(new TopicPartition(topic, 0)) == 2, () -> "it was not aborted");
        bed.doing = "finding out that it was aborted";
        try {
            producer.send(new ProducerRecord<>(topic, 0, null, "too late, too")).get();
            throw new Bed.Wrong("a record was taken after the abort");
        } catch (java.util.concurrent.ExecutionException expected) {
            bed.doing = "aborting, after " + expected.getCause();
        }
        producer.abortTransaction();
        bed.doing = "going on";
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, null, "in time")).get();
        producer.commitTransaction();
        List<String> found = bed.read(topic, 1).get(0).stream().map(ConsumerRecord::value).collect(Collectors.toList());
        Bed.same(List.of("in time"), found, "what is committed");
    }
}
