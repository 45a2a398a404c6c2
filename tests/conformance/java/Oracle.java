import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.state.DslStoreSuppliers;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.TimestampedKeyValueStore;
import org.apache.kafka.streams.state.TimestampedWindowStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;
import org.apache.kafka.streams.test.TestRecord;

/**
 * Answers, over stdin and stdout, what Kafka Streams does with a sequence of records.
 *
 * <p>A case is {@code case SCENARIO}, then any number of {@code in TOPIC TIMESTAMP KEY VALUE} and
 * {@code tick MILLISECONDS}, then {@code end}. The answer has one line {@code step} for every input
 * or tick, followed by what it put out, as {@code out TOPIC TIMESTAMP KEY VALUE}: topic by topic in
 * the order of their names, in order of arrival within each. Behind the last step come the
 * scenario's stores, sorted, as {@code store NAME KEY VALUE TIMESTAMP} ({@code -} where the store
 * keeps no timestamp), and {@code done}. A case that throws answers {@code error ..} and
 * {@code done}. Null is written {@code ~}.
 *
 * <p>{@code list} answers the names of all scenarios. The process ends with its input.
 */
public final class Oracle {
    static final String NULL = "~";

    public static void main(final String[] args) throws IOException {
        final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        final BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        final Path directory = Files.createTempDirectory("oracle");
        String line;
        while ((line = in.readLine()) != null) {
            final String[] words = line.trim().split(" ");
            if (words[0].equals("list")) {
                Scenarios.all().keySet().forEach(name -> out.println("scenario " + name));
            } else if (words[0].equals("case")) {
                final List<String[]> steps = readSteps(in);
                answer(words[1], steps, directory, out);
            }
            out.println("done");
            out.flush();
        }
        Files.deleteIfExists(directory);
    }

    private static List<String[]> readSteps(final BufferedReader in) throws IOException {
        final List<String[]> steps = new ArrayList<>();
        String line;
        while ((line = in.readLine()) != null && !line.equals("end")) {
            steps.add(line.split(" "));
        }
        return steps;
    }

    private static void answer(
            final String name,
            final List<String[]> steps,
            final Path directory,
            final PrintStream out) {
        final Scenario scenario = Scenarios.all().get(name);
        if (scenario == null) {
            out.println("error unknown scenario " + name);
            return;
        }
        final Properties config = config(scenario, directory);
        try (TopologyTestDriver driver =
                new TopologyTestDriver(scenario.topology(config), config, Instant.EPOCH)) {
            final Inputs inputs = new Inputs(driver);
            for (final String[] step : steps) {
                out.println("step");
                inputs.apply(step);
                drain(driver, scenario, out);
            }
            dumpStores(driver, out);
        } catch (final RuntimeException e) {
            Throwable cause = e;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            out.println("error " + cause.toString().replace('\n', ' '));
        }
    }

    private static Properties config(final Scenario scenario, final Path directory) {
        final Class<? extends DslStoreSuppliers> stores = scenario.stores();
        final Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "conformance");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "unused:9092");
        config.put(StreamsConfig.STATE_DIR_CONFIG, directory.toString());
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // A join of streams looks for records without a match once a second of the wall clock.
        config.put("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", 0);
        config.put(StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG, stores);
        // Both throttle by the wall clock, which stands still here: nothing would be emitted.
        config.put(
                StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, 0L);
        config.put(
                StreamsConfig.InternalConfig
                        .EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX,
                0L);
        return config;
    }

    /** The input topics of one driver, opened at their first record. */
    private record Inputs(TopologyTestDriver driver, Map<String, TestInputTopic<String, String>> topics) {
        Inputs(final TopologyTestDriver driver) {
            this(driver, new java.util.HashMap<>());
        }

        void apply(final String[] step) {
            if (step[0].equals("tick")) {
                driver.advanceWallClockTime(Duration.ofMillis(Long.parseLong(step[1])));
                return;
            }
            topics.computeIfAbsent(
                            step[1],
                            topic ->
                                    driver.createInputTopic(
                                            topic, new StringSerializer(), new StringSerializer()))
                    .pipeInput(parse(step[3]), parse(step[4]), Long.parseLong(step[2]));
        }
    }

    private static void drain(
            final TopologyTestDriver driver, final Scenario scenario, final PrintStream out) {
        for (final String topic : new TreeSet<>(scenario.outputs())) {
            final TestOutputTopic<String, String> records =
                    driver.createOutputTopic(
                            topic, new StringDeserializer(), new StringDeserializer());
            while (!records.isEmpty()) {
                final TestRecord<String, String> record = records.readRecord();
                out.println(
                        String.join(
                                " ",
                                "out",
                                topic,
                                Long.toString(record.timestamp()),
                                text(record.key()),
                                text(record.value())));
            }
        }
    }

    private static void dumpStores(final TopologyTestDriver driver, final PrintStream out) {
        final List<String> lines = new ArrayList<>();
        for (final Map.Entry<String, StateStore> store : driver.getAllStateStores().entrySet()) {
            if (store.getKey().startsWith("store")) {
                dump(store.getKey(), store.getValue(), lines);
            }
        }
        Collections.sort(lines);
        lines.forEach(out::println);
    }

    @SuppressWarnings("unchecked")
    private static void dump(final String name, final StateStore store, final List<String> lines) {
        if (store instanceof TimestampedKeyValueStore<?, ?>) {
            final var rows = (TimestampedKeyValueStore<Object, Object>) store;
            collect(name, rows.all(), lines);
        } else if (store instanceof TimestampedWindowStore<?, ?>) {
            final var rows = (TimestampedWindowStore<Object, Object>) store;
            collect(name, rows.all(), lines);
        } else if (store instanceof SessionStore<?, ?>) {
            final var rows = (SessionStore<Object, Object>) store;
            collect(name, rows.fetch(null, null), lines);
        } else if (store instanceof KeyValueStore<?, ?>) {
            final var rows = (KeyValueStore<Object, Object>) store;
            collect(name, rows.all(), lines);
        }
    }

    private static <K, V> void collect(
            final String name, final KeyValueIterator<K, V> rows, final List<String> lines) {
        try (rows) {
            while (rows.hasNext()) {
                final KeyValue<K, V> row = rows.next();
                final boolean timed = row.value instanceof ValueAndTimestamp<?>;
                final Object value =
                        timed ? ((ValueAndTimestamp<?>) row.value).value() : row.value;
                final String timestamp =
                        timed ? Long.toString(((ValueAndTimestamp<?>) row.value).timestamp()) : "-";
                lines.add(String.join(" ", "store", name, text(row.key), text(value), timestamp));
            }
        }
    }

    static String parse(final String word) {
        return word.equals(NULL) ? null : word;
    }

    /** How a key or value is printed: null as {@code ~}, a windowed key as {@code key@start/end}. */
    static String text(final Object value) {
        if (value instanceof Windowed<?> windowed) {
            return text(windowed.key())
                    + "@"
                    + windowed.window().start()
                    + "/"
                    + windowed.window().end();
        }
        return value == null ? NULL : value.toString();
    }

    private Oracle() {}
}
