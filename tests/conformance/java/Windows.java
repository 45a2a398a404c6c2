import java.time.Duration;
import java.util.Map;
import java.util.function.Function;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.CogroupedKStream;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindowedKStream;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindowedKStream;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;

/** Windowed aggregations: kind of window x aggregation x grace x when a result comes out. */
final class Windows {
    static final Duration SIZE = Duration.ofMillis(10);
    static final Duration ADVANCE = Duration.ofMillis(4);
    static final Duration GRACE = Duration.ofMillis(7);

    /** With timestamps that are even, no session ends exactly gap and grace before another time. */
    private static final Duration GAP_WITHOUT_GRACE = Duration.ofMillis(11);

    /** Long enough to hide nothing. Otherwise results are lost where time jumps. */
    static final Duration RETENTION = Duration.ofMillis(10_000_000_000_000L);

    /** Longer than size and grace, so that rows stay which take no more records. */
    private static final Duration KEPT = Duration.ofMillis(40);

    static void register(final Map<String, Scenario> all) {
        for (final String grace : new String[] {"no_grace", "grace"}) {
            final Duration allowed = grace.equals("grace") ? GRACE : Duration.ZERO;
            for (final String aggregation : new String[] {"count", "reduce", "aggregate"}) {
                for (final String kind : new String[] {"tumbling", "hopping", "sliding"}) {
                    registerTime(all, kind, aggregation, grace, allowed);
                }
                registerSession(all, aggregation, grace, allowed);
            }
            for (final String kind : new String[] {"tumbling", "hopping", "sliding"}) {
                all.put(
                        kind + "_count_" + grace + "_suppress",
                        Scenario.of(
                                b ->
                                        Functions.emitWindowed(
                                                untilClose(
                                                        time(grouped(b), kind, allowed)
                                                                .count(store(false)))),
                                "out"));
            }
            all.put(
                    "session_count_" + grace + "_suppress",
                    Scenario.of(
                            b ->
                                    Functions.emitWindowed(
                                            untilClose(
                                                    grouped(b)
                                                            .windowedBy(sessions(allowed))
                                                            .count(sessionStore(false)))),
                            "out"));
        }
        for (final String kind : new String[] {"tumbling", "hopping"}) {
            all.put(
                    kind + "_count_kept",
                    Scenario.of(
                            b ->
                                    Functions.emitWindowed(
                                            time(grouped(b), kind, GRACE)
                                                    .count(
                                                            Windows.<Long>store(false)
                                                                    .withRetention(KEPT))),
                            "out"));
        }
        registerViews(all, "tumbling", b -> reducedTumbling(b), b -> countedTumbling(b));
        registerViews(all, "session", b -> reducedSessions(b), b -> countedSessions(b));
        all.put("cogroup_tumbling", Scenario.of(Windows::cogroupTumbling, "out"));
        all.put("cogroup_sliding", Scenario.of(Windows::cogroupSliding, "out"));
        all.put("cogroup_session", Scenario.of(Windows::cogroupSession, "out"));
    }

    private static void registerViews(
            final Map<String, Scenario> all,
            final String kind,
            final Function<StreamsBuilder, KTable<Windowed<String>, String>> reduced,
            final Function<StreamsBuilder, KTable<Windowed<String>, Long>> counted) {
        all.put(
                kind + "_reduce_filter",
                Scenario.of(
                        b ->
                                Functions.emitWindowed(
                                        reduced.apply(b)
                                                .filter((k, v) -> Functions.isEven(null, v))),
                        "out"));
        all.put(
                kind + "_reduce_map_values",
                Scenario.of(
                        b ->
                                Functions.emitWindowed(
                                        reduced.apply(b)
                                                .mapValues(
                                                        (k, v) ->
                                                                Functions.mark(
                                                                        Oracle.text(k), v))),
                        "out"));
        all.put(
                kind + "_reduce_grouped",
                Scenario.of(b -> Functions.emit(regrouped(reduced.apply(b))), "out"));
        all.put(
                kind + "_count_filter",
                Scenario.of(
                        b -> Functions.emitWindowed(counted.apply(b).filter((k, v) -> v % 2 == 0)),
                        "out"));
    }

    private static KTable<Windowed<String>, String> reducedTumbling(final StreamsBuilder b) {
        return time(grouped(b), "tumbling", GRACE)
                .reduce(Functions::plus, Windows.<String>store(false));
    }

    private static KTable<Windowed<String>, Long> countedTumbling(final StreamsBuilder b) {
        return time(grouped(b), "tumbling", GRACE).count(Windows.<Long>store(false));
    }

    private static KTable<Windowed<String>, String> reducedSessions(final StreamsBuilder b) {
        return grouped(b)
                .windowedBy(sessions(GRACE))
                .reduce(Functions::plus, Windows.<String>sessionStore(false));
    }

    private static KTable<Windowed<String>, Long> countedSessions(final StreamsBuilder b) {
        return grouped(b)
                .windowedBy(sessions(GRACE))
                .count(Windows.<Long>sessionStore(false));
    }

    /** All windows of a key in one row, so that the old and new values of each change show. */
    private static KTable<String, String> regrouped(final KTable<Windowed<String>, String> table) {
        final Materialized<String, String, KeyValueStore<Bytes, byte[]>> store =
                Materialized.as("store-grouped");
        return table.groupBy(
                        (windowed, total) -> KeyValue.pair(windowed.key(), total),
                        Grouped.as("regrouped"))
                .aggregate(Functions::initial, Functions::add, Functions::subtract, store);
    }

    private static void registerTime(
            final Map<String, Scenario> all,
            final String kind,
            final String aggregation,
            final String grace,
            final Duration allowed) {
        final String name = kind + "_" + aggregation + "_" + grace;
        all.put(
                name + "_each_update",
                Scenario.of(b -> emitTime(time(grouped(b), kind, allowed), aggregation, false), "out"));
        all.put(
                name + "_on_close",
                Scenario.of(
                        b ->
                                emitTime(
                                        time(grouped(b), kind, allowed)
                                                .emitStrategy(EmitStrategy.onWindowClose()),
                                        aggregation,
                                        true),
                        "out"));
    }

    private static void registerSession(
            final Map<String, Scenario> all,
            final String aggregation,
            final String grace,
            final Duration allowed) {
        final String name = "session_" + aggregation + "_" + grace;
        all.put(
                name + "_each_update",
                Scenario.of(
                        b ->
                                emitSession(
                                        grouped(b).windowedBy(sessions(allowed)),
                                        aggregation,
                                        false),
                        "out"));
        // Sessions that close together come out by (end, start, key) from RocksDB, by
        // (end, key, start) from memory; the first is what an application gets unless it asks.
        all.put(
                name + "_on_close",
                Scenario.of(
                                b ->
                                        emitSession(
                                                grouped(b)
                                                        .windowedBy(sessions(allowed))
                                                        .emitStrategy(EmitStrategy.onWindowClose()),
                                                aggregation,
                                                true),
                                "out")
                        .onRocksDb());
    }

    private static KGroupedStream<String, String> grouped(final StreamsBuilder b) {
        return b.<String, String>stream("in")
                .groupByKey(Grouped.with("grouped", Serdes.String(), Serdes.String()));
    }

    private static TimeWindowedKStream<String, String> time(
            final KGroupedStream<String, String> grouped,
            final String kind,
            final Duration allowed) {
        return switch (kind) {
            case "tumbling" -> grouped.windowedBy(TimeWindows.ofSizeAndGrace(SIZE, allowed));
            case "hopping" ->
                    grouped.windowedBy(
                            TimeWindows.ofSizeAndGrace(SIZE, allowed).advanceBy(ADVANCE));
            default ->
                    grouped.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(SIZE, allowed));
        };
    }

    private static SessionWindows sessions(final Duration allowed) {
        return SessionWindows.ofInactivityGapAndGrace(
                allowed.isZero() ? GAP_WITHOUT_GRACE : SIZE, allowed);
    }

    private static <V> Materialized<String, V, WindowStore<Bytes, byte[]>> store(
            final boolean onClose) {
        final Materialized<String, V, WindowStore<Bytes, byte[]>> store =
                Materialized.as("store");
        return onClose ? store.withRetention(RETENTION) : store;
    }

    private static <V> Materialized<String, V, SessionStore<Bytes, byte[]>> sessionStore(
            final boolean onClose) {
        final Materialized<String, V, SessionStore<Bytes, byte[]>> store =
                Materialized.as("store");
        return onClose ? store.withRetention(RETENTION) : store;
    }

    private static void emitTime(
            final TimeWindowedKStream<String, String> windowed,
            final String aggregation,
            final boolean onClose) {
        switch (aggregation) {
            case "count" ->
                    Functions.emitWindowed(windowed.count(Windows.<Long>store(onClose)));
            case "reduce" ->
                    Functions.emitWindowed(
                            windowed.reduce(Functions::plus, Windows.<String>store(onClose)));
            default ->
                    Functions.emitWindowed(
                            windowed.aggregate(
                                    Functions::initial,
                                    Functions::add,
                                    Windows.<String>store(onClose)));
        }
    }

    private static void emitSession(
            final SessionWindowedKStream<String, String> windowed,
            final String aggregation,
            final boolean onClose) {
        switch (aggregation) {
            case "count" ->
                    Functions.emitWindowed(windowed.count(Windows.<Long>sessionStore(onClose)));
            case "reduce" ->
                    Functions.emitWindowed(
                            windowed.reduce(
                                    Functions::plus, Windows.<String>sessionStore(onClose)));
            default ->
                    Functions.emitWindowed(
                            windowed.aggregate(
                                    Functions::initial,
                                    Functions::add,
                                    Functions::mergeSessions,
                                    Windows.<String>sessionStore(onClose)));
        }
    }

    private static <V> KTable<Windowed<String>, V> untilClose(
            final KTable<Windowed<String>, V> table) {
        return table.suppress(
                Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()));
    }

    private static CogroupedKStream<String, String> cogrouped(
            final StreamsBuilder b) {
        final KGroupedStream<String, String> other =
                b.<String, String>stream("other").groupByKey(Grouped.as("other-grouped"));
        return grouped(b).<String>cogroup(Functions::add).cogroup(other, Functions::subtract);
    }

    private static void cogroupTumbling(final StreamsBuilder b) {
        Functions.emitWindowed(
                cogrouped(b)
                        .windowedBy(TimeWindows.ofSizeAndGrace(SIZE, GRACE))
                        .aggregate(Functions::initial, Windows.<String>store(false)));
    }

    private static void cogroupSliding(final StreamsBuilder b) {
        Functions.emitWindowed(
                cogrouped(b)
                        .windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(SIZE, GRACE))
                        .aggregate(Functions::initial, Windows.<String>store(false)));
    }

    private static void cogroupSession(final StreamsBuilder b) {
        Functions.emitWindowed(
                cogrouped(b)
                        .windowedBy(sessions(GRACE))
                        .aggregate(
                                Functions::initial,
                                Functions::mergeSessions,
                                Windows.<String>sessionStore(false)));
    }

    private Windows() {}
}
