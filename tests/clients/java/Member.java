import java.time.Duration;
import java.util.Collection;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/** A member of a group in a thread of its own: polls until it is told to leave, and commits what it read before it loses a partition. */
final class Member implements Runnable, ConsumerRebalanceListener, AutoCloseable {
    /** How it subscribes: it gets itself as the listener. */
    interface Subscription {
        void apply(KafkaConsumer<String, String> consumer, ConsumerRebalanceListener listener) throws Exception;
    }

    final String name;
    /** Values that it read, in order; several members may share one queue. */
    final ConcurrentLinkedQueue<String> values;
    final Set<TopicPartition> owned = ConcurrentHashMap.newKeySet();
    /** Partitions that were taken from it, one by one, while it was a member. */
    final AtomicInteger revoked = new AtomicInteger();
    /** How often it was given an assignment, be it an empty one. */
    final AtomicInteger assignments = new AtomicInteger();
    volatile Throwable failure;
    private final KafkaConsumer<String, String> consumer;
    private final Thread thread;
    private volatile boolean leaving;

    Member(Bed bed, String name, ConcurrentLinkedQueue<String> values, Subscription subscription, Object... settings) throws Exception {
        this.name = name;
        this.values = values;
        this.consumer = bed.consumer(settings);
        subscription.apply(consumer, this);
        this.thread = new Thread(this, "member " + name);
        thread.setDaemon(true);
        thread.start();
        bed.keep(this);
    }

    @Override
    public void run() {
        try {
            while (!leaving) {
                for (ConsumerRecord<String, String> record : consumer.poll(Bed.SHORT)) {
                    values.add(record.value());
                }
                consumer.commitAsync();
            }
        } catch (WakeupException e) {
            // Told to leave.
        } catch (Throwable e) {
            failure = e;
        }
        try {
            consumer.close(Duration.ofSeconds(5));
        } catch (Throwable e) {
            failure = failure == null ? e : failure;
        }
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        owned.removeAll(partitions);
        if (!leaving) {
            revoked.addAndGet(partitions.size());
        }
        if (!partitions.isEmpty()) {
            consumer.commitSync(Duration.ofSeconds(5));
        }
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        owned.removeAll(partitions);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        owned.addAll(partitions);
        assignments.incrementAndGet();
    }

    int count() {
        if (failure != null) {
            throw new Bed.Wrong("member " + name + " failed: " + Matrix.sentence(failure));
        }
        return owned.size();
    }

    /** Leaves the group (a static member only stops), and waits until that is done. */
    void leave() throws Exception {
        leaving = true;
        thread.join(10_000);
        Bed.check(!thread.isAlive(), "member " + name + " did not stop in 10 s");
    }

    @Override
    public void close() throws Exception {
        leaving = true;
        consumer.wakeup();
        thread.join(3_000);
    }

    @Override
    public String toString() {
        return name + " has " + new TreeSet<>(Set.copyOf(owned.stream().map(TopicPartition::toString).collect(java.util.stream.Collectors.toSet())))
            + (failure == null ? "" : " and failed: " + Matrix.sentence(failure));
    }
}
