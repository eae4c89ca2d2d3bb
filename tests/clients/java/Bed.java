import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What a scenario works with: its clients, topics of its own, and ways to wait and to complain. */
final class Bed {
    static final Duration SHORT = Duration.ofMillis(100);
    private static final long PATIENCE_SECONDS = 20;

    final String bootstrap;
    /** Says what was going on when it fails. */
    volatile String doing = "starting";
    private final String unique = UUID.randomUUID().toString().substring(0, 8);
    private final List<AutoCloseable> open = Collections.synchronizedList(new ArrayList<>());
    private Admin admin;

    Bed(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    /** A promise that was not kept, said in a sentence. */
    static final class Wrong extends RuntimeException {
        Wrong(String message) {
            super(message);
        }
    }

    static void same(Object expected, Object found, String what) {
        if (!expected.equals(found)) {
            throw new Wrong(what + ": expected " + expected + ", found " + found);
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new Wrong(otherwise);
        }
    }

    /** Fails unless the action does, with this error of Kafka's. */
    static void fails(Class<? extends Exception> with, Callable<?> action, String what) throws Exception {
        Throwable found;
        try {
            action.call();
            throw new Wrong(what + " succeeded, and should fail with " + with.getSimpleName());
        } catch (ExecutionException e) {
            found = e.getCause();
        } catch (Wrong e) {
            throw e;
        } catch (Exception e) {
            found = e;
        }
        check(with.isInstance(found), what + " should fail with " + with.getSimpleName() + ", and failed with " + found);
    }

    void until(Callable<Boolean> holds, Callable<String> otherwise) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!holds.call()) {
            if (System.nanoTime() > end) {
                throw new Wrong("not in " + PATIENCE_SECONDS + " s: " + otherwise.call());
            }
            Thread.sleep(20);
        }
    }

    String name(String what) {
        return what + "-" + unique;
    }

    synchronized Admin admin() {
        if (admin == null) {
            admin = keep(Admin.create(settings("default.api.timeout.ms", "20000", "request.timeout.ms", "15000")));
        }
        return admin;
    }

    Map<String, Object> settings(Object... pairs) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            config.put((String) pairs[i], pairs[i + 1]);
        }
        return config;
    }

    KafkaProducer<String, String> producer(Object... pairs) {
        return keep(new KafkaProducer<>(settings(pairs), new StringSerializer(), new StringSerializer()));
    }

    KafkaConsumer<String, String> consumer(Object... pairs) {
        Map<String, Object> config = settings("auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "heartbeat.interval.ms", "300", "session.timeout.ms", "10000", "fetch.max.wait.ms", "100", "metadata.max.age.ms", "1000",
            "default.api.timeout.ms", "20000", "request.timeout.ms", "15000");
        config.putAll(settings(pairs));
        if ("consumer".equals(config.get("group.protocol"))) {
            // The server decides these.
            config.keySet().removeAll(List.of("heartbeat.interval.ms", "session.timeout.ms", "partition.assignment.strategy"));
        }
        return keep(new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer()));
    }

    <T extends AutoCloseable> T keep(T closeable) {
        open.add(closeable);
        return closeable;
    }

    /** Ends what the scenario left open, the newest first, without waiting long for any of it. */
    void closeQuietly() {
        List<AutoCloseable> left = new ArrayList<>(open);
        Collections.reverse(left);
        for (AutoCloseable one : left) {
            try {
                if (one instanceof KafkaConsumer) {
                    ((KafkaConsumer<?, ?>) one).close(Duration.ofSeconds(2));
                } else if (one instanceof KafkaProducer) {
                    ((KafkaProducer<?, ?>) one).close(Duration.ofSeconds(2));
                } else if (one instanceof Admin) {
                    ((Admin) one).close(Duration.ofSeconds(2));
                } else {
                    one.close();
                }
            } catch (Exception ignored) {
                // A consumer that hangs belongs to the thread that hangs.
            }
        }
    }

    String topic(String what, int partitions, String... configs) throws Exception {
        doing = "creating a topic";
        Map<String, String> map = new HashMap<>();
        for (int i = 0; i < configs.length; i += 2) {
            map.put(configs[i], configs[i + 1]);
        }
        NewTopic topic = new NewTopic(name(what), partitions, (short) -1).configs(map);
        admin().createTopics(List.of(topic)).all().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        return topic.name();
    }

    /** The method has another name since 3.1, and lost the old one in 4.0. */
    @SuppressWarnings("unchecked")
    TopicDescription describe(String topic) throws Exception {
        Object result = admin().describeTopics(List.of(topic));
        Map<String, KafkaFuture<TopicDescription>> futures;
        try {
            futures = (Map<String, KafkaFuture<TopicDescription>>) result.getClass().getMethod("topicNameValues").invoke(result);
        } catch (NoSuchMethodException e) {
            futures = (Map<String, KafkaFuture<TopicDescription>>) result.getClass().getMethod("values").invoke(result);
        }
        return futures.get(topic).get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    /** {@code count} records, "first", "first + 1", ..., to the partitions in turn; all of them acknowledged when it returns. */
    void fill(String topic, int partitions, int first, int count) throws Exception {
        try (KafkaProducer<String, String> producer = producer("acks", "all")) {
            List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = first; i < first + count; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, i % partitions, null, Integer.toString(i))));
            }
            for (java.util.concurrent.Future<RecordMetadata> one : sent) {
                one.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
            }
        }
    }

    static List<TopicPartition> partitions(String topic, int count) {
        return IntStream.range(0, count).mapToObj(p -> new TopicPartition(topic, p)).collect(Collectors.toList());
    }

    /** Everything that is in a topic now, by partition. */
    Map<Integer, List<ConsumerRecord<String, String>>> read(String topic, int partitions) throws Exception {
        Map<Integer, List<ConsumerRecord<String, String>>> found = new TreeMap<>();
        try (KafkaConsumer<String, String> consumer = consumer("isolation.level", "read_committed")) {
            Collection<TopicPartition> all = partitions(topic, partitions);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            until(() -> {
                consumer.poll(SHORT).forEach(r -> found.computeIfAbsent(r.partition(), p -> new ArrayList<>()).add(r));
                return all.stream().allMatch(p -> consumer.position(p) >= ends.get(p));
            }, () -> "read to the ends " + ends);
        }
        return found;
    }
}
