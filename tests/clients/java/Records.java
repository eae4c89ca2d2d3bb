import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.utils.AppInfoParser;

/** Writing records and reading them back, without groups. */
final class Records {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private Records() {
    }

    /** Every codec with every kind of acknowledgement; keys, headers and time stamps are what they were. */
    static void produce(Bed bed) throws Exception {
        String topic = bed.topic("produce", 1);
        List<String> sent = new ArrayList<>();
        for (String codec : CODECS) {
            for (String acks : List.of("all", "1", "0")) {
                bed.doing = "producing with " + codec + " and acks=" + acks;
                produceSome(bed, topic, codec, acks, sent);
            }
        }
        bed.doing = "reading it back";
        List<ConsumerRecord<String, String>> found = bed.read(topic, 1).get(0);
        Bed.same(sent, found.stream().map(Records::text).collect(Collectors.toList()), "the records");
        for (int i = 0; i < found.size(); i++) {
            Bed.same((long) i, found.get(i).offset(), "offset");
        }
    }

    private static void produceSome(Bed bed, String topic, String codec, String acks, List<String> sent) throws Exception {
        long before = sent.size();
        try (KafkaProducer<String, String> producer = bed.producer("compression.type", codec, "acks", acks, "enable.idempotence", "false",
            "linger.ms", "5", "max.in.flight.requests.per.connection", "1")) {
            Future<RecordMetadata> last = null;
            for (int i = 0; i < 20; i++) {
                String key = i % 5 == 0 ? null : "key " + i;
                String value = i % 7 == 3 ? null : codec + " " + acks + " " + i + " " + "x".repeat(100);
                ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, key, value);
                record.headers().add("h", new byte[] {(byte) i}).add("h", null);
                sent.add(key + "/" + value + "/" + (1_700_000_000_000L + i) + "/[" + i + "]null");
                last = producer.send(record);
            }
            RecordMetadata place = last.get(20, TimeUnit.SECONDS);
            if (!acks.equals("0")) {
                Bed.same(before + 19, place.offset(), "the offset of the last record");
            }
        }
        // Without acknowledgements only the partition's end says that they are there.
        try (KafkaConsumer<String, String> consumer = bed.consumer()) {
            TopicPartition only = new TopicPartition(topic, 0);
            bed.until(() -> consumer.endOffsets(Set.of(only)).get(only) == before + 20, () -> "the end is " + consumer.endOffsets(Set.of(only)));
        }
    }

    private static String text(ConsumerRecord<String, String> record) {
        StringBuilder headers = new StringBuilder();
        record.headers().headers("h").forEach(h -> headers.append(h.value() == null ? "null" : java.util.Arrays.toString(h.value())));
        return record.key() + "/" + record.value() + "/" + record.timestamp() + "/" + headers;
    }

    /**
     * A batch that is too large for the topic is split by the client and comes through; a record that is too large does not. Before
     * 4.0 a client splits a batch that is not compressed into batches of the same size, for ever: it is only given what fits.
     */
    static void largeBatches(Bed bed) throws Exception {
        boolean splits = Integer.parseInt(AppInfoParser.getVersion().split("\\.")[0]) >= 4;
        String topic = bed.topic("large", 1, "max.message.bytes", "100000");
        try (KafkaProducer<String, String> producer = bed.producer("acks", "all", "batch.size", splits ? "1000000" : "90000",
            "linger.ms", "300")) {
            bed.doing = "sending large batches";
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, i + "x".repeat(30_000))));
            }
            for (int i = 0; i < 20; i++) {
                Bed.same((long) i, sent.get(i).get(20, TimeUnit.SECONDS).offset(), "the offset of record " + i);
            }
            Bed.fails(RecordTooLargeException.class,
                () -> producer.send(new ProducerRecord<>(topic, "x".repeat(200_000))).get(20, TimeUnit.SECONDS), "a record of 200 kB");
        }
        bed.doing = "reading it back";
        Bed.same(20, bed.read(topic, 1).get(0).size(), "records");
    }

    /** Small batches, five requests in flight, two producers: each one's order stands, nothing is doubled. */
    static void idempotence(Bed bed) throws Exception {
        String topic = bed.topic("idempotence", 1);
        for (String who : List.of("a", "b")) {
            bed.doing = "producing as " + who;
            try (KafkaProducer<String, String> producer = bed.producer("enable.idempotence", "true", "acks", "all", "batch.size", "200",
                "max.in.flight.requests.per.connection", "5")) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int i = 0; i < 500; i++) {
                    sent.add(producer.send(new ProducerRecord<>(topic, who + i)));
                }
                for (int i = 0; i < 500; i++) {
                    long expected = (who.equals("a") ? 0 : 500) + i;
                    Bed.same(expected, sent.get(i).get(20, TimeUnit.SECONDS).offset(), "the offset of " + who + i);
                }
            }
        }
        bed.doing = "reading it back";
        List<String> wanted = IntStream.range(0, 1000).mapToObj(i -> (i < 500 ? "a" : "b") + i % 500).collect(Collectors.toList());
        Bed.same(wanted, bed.read(topic, 1).get(0).stream().map(ConsumerRecord::value).collect(Collectors.toList()), "the records");
    }

    /** beginningOffsets, endOffsets, offsetsForTimes. */
    static void offsetsByTime(Bed bed) throws Exception {
        String topic = bed.topic("times", 2);
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition empty = new TopicPartition(topic, 1);
        bed.doing = "producing";
        long start = 1_700_000_000_000L;
        try (KafkaProducer<String, String> producer = bed.producer("acks", "all")) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(topic, 0, start + i * 1000, null, "v" + i)).get(20, TimeUnit.SECONDS);
            }
        }
        bed.doing = "asking for offsets";
        try (KafkaConsumer<String, String> consumer = bed.consumer()) {
            Bed.same(Map.of(first, 0L, empty, 0L), consumer.beginningOffsets(Set.of(first, empty)), "the beginnings");
            Bed.same(Map.of(first, 10L, empty, 0L), consumer.endOffsets(Set.of(first, empty)), "the ends");
            Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(Map.of(first, start + 2500, empty, start));
            Bed.same(3L, found.get(first).offset(), "the first record at or after the time");
            Bed.same(start + 3000, found.get(first).timestamp(), "its time");
            Bed.same(true, found.get(empty) == null, "an empty partition has no such record");
            Bed.same(true, consumer.offsetsForTimes(Map.of(first, start + 60_000)).get(first) == null, "none is later than the last");
        }
    }

    /** Producing to a topic that is not there makes it, with as many partitions as the cluster's default says. */
    static void autoCreated(Bed bed) throws Exception {
        String topic = bed.name("auto");
        bed.doing = "producing to a topic that is not there";
        try (KafkaProducer<String, String> producer = bed.producer("acks", "all")) {
            producer.send(new ProducerRecord<>(topic, "key", "value"))
                .get(20, TimeUnit.SECONDS);
            Bed.same(4, producer.partitionsFor(topic).size(), "partitions");
        }
    }
}
