import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The application of takeover/twin.rs, on Kafka Streams. Runs until its input ends.
 *
 * <p>Arguments: brokers, application id, processing guarantee, state directory, further settings
 * as name=value.
 */
public final class Takeover {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Serde<Long> COUNT = Serdes.Long();
    private static final Duration MINUTE = Duration.ofSeconds(60);
    private static final Duration GRACE = Duration.ofSeconds(3600);

    /** Final results are sent once a second; until then their windows must not be dropped. */
    private static final Duration KEPT = Duration.ofSeconds(7200);

    private final StreamsBuilder builder = new StreamsBuilder();
    private final String app;

    private Takeover(final String app) {
        this.app = app;
    }

    public static void main(final String[] args) throws Exception {
        final Properties settings = settings(args);
        final Takeover twin = new Takeover(args[1]);
        twin.build();
        final KafkaStreams streams = new KafkaStreams(twin.builder.build(settings), settings);
        streams.setUncaughtExceptionHandler(
                problem -> {
                    problem.printStackTrace();
                    Runtime.getRuntime().halt(1);
                    return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
                            .SHUTDOWN_CLIENT;
                });
        streams.start();
        while (System.in.read() >= 0) {
            // What is written here has no meaning; its end does.
        }
        Runtime.getRuntime().halt(streams.close(Duration.ofSeconds(60)) ? 0 : 2);
    }

    private static Properties settings(final String[] args) {
        final Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[2]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        // Every update leaves, as it does with `Emit::EachUpdate`.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        // The test reads repartition topics when all is done.
        settings.put("repartition.purge.interval.ms", "3600000");
        settings.put("auto.offset.reset", "earliest");
        for (int i = 4; i < args.length; i++) {
            final String[] setting = args[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        return settings;
    }

    private void build() {
        final KStream<String, String> input =
                builder.stream(app + "-in", Consumed.with(TEXT, TEXT));
        final KTable<String, String> names =
                builder.table(app + "-rows", Consumed.with(TEXT, TEXT), rows("names"));
        byWord(input);
        byLetter(input);
        byKey(input.groupByKey(Grouped.with(TEXT, TEXT)));
        pair(input, builder.stream(app + "-clicks", Consumed.with(TEXT, TEXT)));
        input.toTable(rows("latest")).toStream().to(app + "-latest", Produced.with(TEXT, TEXT));
        input.join(names, (word, name) -> word + "/" + name, Joined.with(TEXT, TEXT, TEXT))
                .to(app + "-joined", Produced.with(TEXT, TEXT));
        names.groupBy((key, name) -> KeyValue.pair(name, key), Grouped.with("by-name", TEXT, TEXT))
                .count(counts("holders"))
                .toStream()
                .to(app + "-holders", Produced.with(TEXT, COUNT));
    }

    private void pair(final KStream<String, String> left, final KStream<String, String> right) {
        final JoinWindows near =
                JoinWindows.ofTimeDifferenceAndGrace(
                        Duration.ofSeconds(3), Duration.ofSeconds(30));
        final ValueJoiner<String, String, String> join = (one, other) -> one + "+" + other;
        left.join(right, join, near, joined("pairs"))
                .to(app + "-pairs", Produced.with(TEXT, TEXT));
        left.leftJoin(right, join, near, joined("perhaps"))
                .to(app + "-perhaps", Produced.with(TEXT, TEXT));
        left.outerJoin(right, join, near, joined("either"))
                .to(app + "-either", Produced.with(TEXT, TEXT));
    }

    private static StreamJoined<String, String, String> joined(final String name) {
        return StreamJoined.with(TEXT, TEXT, TEXT).withName(name).withStoreName(name);
    }

    private void byWord(final KStream<String, String> input) {
        input.selectKey((key, word) -> word)
                .groupByKey(Grouped.with("by-word", TEXT, TEXT))
                .count(counts("words"))
                .toStream()
                .to(app + "-words", Produced.with(TEXT, COUNT));
    }

    private void byLetter(final KStream<String, String> input) {
        input.selectKey((key, word) -> word.substring(0, 1))
                .repartition(
                        Repartitioned.with(TEXT, TEXT)
                                .withName("by-letter")
                                .withNumberOfPartitions(2))
                .groupByKey(Grouped.with(TEXT, TEXT))
                .aggregate(
                        () -> 0L,
                        (key, word, total) ->
                                total + word.getBytes(StandardCharsets.UTF_8).length,
                        counts("lengths"))
                .toStream()
                .to(app + "-lengths", Produced.with(TEXT, COUNT));
    }

    private void byKey(final KGroupedStream<String, String> input) {
        final TimeWindows minutes = TimeWindows.ofSizeAndGrace(MINUTE, GRACE);
        write(input.windowedBy(minutes).count(windows("minutes")), "minutes");
        final TimeWindows hops = minutes.advanceBy(Duration.ofSeconds(20));
        write(input.windowedBy(hops).count(windows("hops")), "hops");
        final SlidingWindows slides =
                SlidingWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), GRACE);
        write(input.windowedBy(slides).count(windows("slides")), "slides");
        final TimeWindows closing = TimeWindows.ofSizeAndGrace(MINUTE, Duration.ofSeconds(30));
        write(
                input.windowedBy(closing)
                        .emitStrategy(EmitStrategy.onWindowClose())
                        .count(windows("closed").withRetention(KEPT)),
                "closed");
        final Duration gap = Duration.ofSeconds(5);
        final SessionWindows visits = SessionWindows.ofInactivityGapAndGrace(gap, GRACE);
        writeSessions(input.windowedBy(visits).count(sessions("visits")), "visits");
        final SessionWindows ending =
                SessionWindows.ofInactivityGapAndGrace(gap, Duration.ofSeconds(30));
        writeSessions(
                input.windowedBy(ending)
                        .emitStrategy(EmitStrategy.onWindowClose())
                        .count(sessions("ended").withRetention(KEPT)),
                "ended");
    }

    private void writeSessions(final KTable<Windowed<String>, Long> table, final String topic) {
        final Serde<Windowed<String>> key = new WindowedSerdes.SessionWindowedSerde<>(TEXT);
        table.toStream().to(app + "-" + topic, Produced.with(key, COUNT));
    }

    private void write(final KTable<Windowed<String>, Long> table, final String topic) {
        final Serde<Windowed<String>> key =
                new WindowedSerdes.TimeWindowedSerde<>(TEXT, MINUTE.toMillis());
        table.toStream().to(app + "-" + topic, Produced.with(key, COUNT));
    }

    private static Materialized<String, String, KeyValueStore<Bytes, byte[]>> rows(
            final String name) {
        return Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as(name)
                .withKeySerde(TEXT)
                .withValueSerde(TEXT);
    }

    private static Materialized<String, Long, KeyValueStore<Bytes, byte[]>> counts(
            final String name) {
        return Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as(name)
                .withKeySerde(TEXT)
                .withValueSerde(COUNT);
    }

    private static Materialized<String, Long, SessionStore<Bytes, byte[]>> sessions(
            final String name) {
        return Materialized.<String, Long, SessionStore<Bytes, byte[]>>as(name)
                .withKeySerde(TEXT)
                .withValueSerde(COUNT);
    }

    private static Materialized<String, Long, WindowStore<Bytes, byte[]>> windows(
            final String name) {
        return Materialized.<String, Long, WindowStore<Bytes, byte[]>>as(name)
                .withKeySerde(TEXT)
                .withValueSerde(COUNT);
    }
}
