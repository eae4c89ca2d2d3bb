import java.io.PrintStream;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs scenarios of the Java client against one cluster: {@code Matrix BOOTSTRAP SCENARIO...}, or {@code Matrix} alone, which lists
 * them. A few run side by side, since most of their time is waiting. Each ends in one line of JSON on the standard output, and
 * one that hangs is given up. The same sources are compiled against every version of the client, from 2.8 on.
 */
public final class Matrix {
    private static final int SIDE_BY_SIDE = 3;
    private static final long LIMIT_SECONDS = 60;
    private static final PrintStream OUT = System.out;

    /** What a scenario does; it fails by throwing, with a sentence. */
    interface Scenario {
        void run(Bed bed) throws Exception;
    }

    private static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("rebalance", bed -> Groups.rebalance(bed, "range", "classic"));
        all.put("rebalance, cooperative", bed -> Groups.rebalance(bed, "cooperative", "classic"));
        all.put("static membership", Groups::staticMembership);
        all.put("group consume", Groups::consume);
        all.put("commit and resume", bed -> Groups.commitAndResume(bed, "classic"));
        all.put("produce", Records::produce);
        all.put("large batches", Records::largeBatches);
        all.put("idempotence", Records::idempotence);
        all.put("offsets by time", Records::offsetsByTime);
        all.put("auto-created topic", Records::autoCreated);
        all.put("admin", Administration::topics);
        all.put("admin of groups", Administration::groups);
        all.put("transactions", Transactions::copy);
        all.put("a transaction that takes too long", Transactions::tooLong);
        all.put("KIP-848", bed -> Groups.rebalance(bed, "server", "consumer"));
        all.put("KIP-848, commit and resume", bed -> Groups.commitAndResume(bed, "consumer"));
        all.put("KIP-848, regular expression", Groups::pattern);
        all.put("KIP-848, both protocols in one group", Groups::bothProtocols);
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Scenario> all = scenarios();
        if (arguments.length == 0) {
            all.keySet().forEach(OUT::println);
            return;
        }
        ExecutorService pool = Executors.newFixedThreadPool(SIDE_BY_SIDE);
        for (int i = 1; i < arguments.length; i++) {
            String name = arguments[i];
            if (!all.containsKey(name)) {
                throw new IllegalArgumentException("no scenario is called " + name);
            }
            pool.submit(() -> judge(name, all.get(name), arguments[0]));
        }
        pool.shutdown();
        pool.awaitTermination(1, TimeUnit.HOURS);
        OUT.flush();
        // Whatever hung holds threads that nobody ends.
        Runtime.getRuntime().halt(0);
    }

    private static void judge(String name, Scenario scenario, String bootstrap) {
        ExecutorService one = Executors.newSingleThreadExecutor();
        long began = System.nanoTime();
        Bed bed = new Bed(bootstrap);
        String failure = null;
        Future<?> running = one.submit(() -> {
            scenario.run(bed);
            return null;
        });
        try {
            running.get(LIMIT_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            failure = "not done after " + LIMIT_SECONDS + " s; it was busy with: " + bed.doing;
        } catch (Exception e) {
            failure = "while " + bed.doing + ": " + sentence(e);
        }
        running.cancel(true);
        one.shutdownNow();
        bed.closeQuietly();
        long millis = (System.nanoTime() - began) / 1_000_000;
        synchronized (OUT) {
            OUT.println("{\"scenario\": " + quoted(name) + ", \"ok\": " + (failure == null)
                + ", \"detail\": " + quoted(failure == null ? "" : failure) + ", \"millis\": " + millis + "}");
            OUT.flush();
        }
    }

    /** The innermost reason: what wraps it (ExecutionException and the like) says nothing. */
    static String sentence(Throwable e) {
        while (e.getCause() != null && (e instanceof java.util.concurrent.ExecutionException
            || e instanceof java.lang.reflect.InvocationTargetException || e.getMessage() == null)) {
            e = e.getCause();
        }
        String kind = e instanceof Bed.Wrong ? "" : e.getClass().getSimpleName() + ": ";
        return kind + e.getMessage();
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(' ');
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
