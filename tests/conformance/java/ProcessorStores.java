import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.internals.SessionWindow;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.TimestampedKeyValueStore;
import org.apache.kafka.streams.state.TimestampedWindowStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;
import org.apache.kafka.streams.state.WindowStoreIterator;

/** Processors with stores of each kind, several outputs, and a look at what surrounds a record. */
final class ProcessorStores {
    private static final Duration RETENTION = Duration.ofMillis(30);

    static void register(final Map<String, Scenario> all) {
        all.put("processor_values", Scenario.of(ProcessorStores::values, "out"));
        all.put("processor_shared_store", Scenario.of(ProcessorStores::shared, "out"));
        all.put("processor_outputs", Scenario.of(ProcessorStores::outputs, "even", "out", "third"));
        all.put("processor_table", Scenario.of(ProcessorStores::table, "out"));
        all.put("processor_windows", Scenario.of(ProcessorStores::windows, "out"));
        all.put("processor_sessions", Scenario.of(ProcessorStores::sessions, "out"));
        all.put("processor_headers", Scenario.of(ProcessorStores::headers, "beside", "out"));
        all.put("processor_context", Scenario.of(ProcessorStores::context, "out"));
    }

    private static void addStore(final StreamsBuilder b, final String name) {
        b.addStateStore(
                Stores.keyValueStoreBuilder(
                        Stores.inMemoryKeyValueStore(name), Serdes.String(), Serdes.String()));
    }

    /** Appends each value to the row of its key, which it forwards; null deletes the row. */
    private static String append(
            final KeyValueStore<String, String> store, final String key, final String value) {
        if (value == null) {
            store.delete(key);
            return null;
        }
        final String row = store.get(key);
        final String next = row == null ? value : row + "+" + value;
        store.put(key, next);
        return next;
    }

    private static void values(final StreamsBuilder b) {
        addStore(b, "store");
        final KStream<String, String> rows =
                b.<String, String>stream("in").processValues(Append::new, "store");
        rows.groupByKey().count(Materialized.as("store-counts"));
        rows.to("out");
    }

    private static final class Append
            extends ContextualFixedKeyProcessor<String, String, String> {
        private KeyValueStore<String, String> store;

        @Override
        public void init(final FixedKeyProcessorContext<String, String> context) {
            super.init(context);
            store = context.getStateStore("store");
        }

        @Override
        public void process(final FixedKeyRecord<String, String> record) {
            context().forward(record.withValue(append(store, record.key(), record.value())));
        }
    }

    /** "in" writes, "other" forwards what it finds and moves the row to the key of its value. */
    private static void shared(final StreamsBuilder b) {
        addStore(b, "store");
        b.<String, String>stream("in")
                .process(
                        of(
                                (context, record) -> {
                                    final KeyValueStore<String, String> store =
                                            context.getStateStore("store");
                                    append(store, record.key(), record.value());
                                }),
                        "store");
        b.<String, String>stream("other")
                .process(
                        of(
                                (context, record) -> {
                                    final KeyValueStore<String, String> store =
                                            context.getStateStore("store");
                                    final String row = store.delete(record.key());
                                    context.forward(record.withValue(row));
                                    if (row != null && record.value() != null) {
                                        store.put(record.value(), row);
                                    }
                                }),
                        "store")
                .to("out");
    }

    private static void outputs(final StreamsBuilder b) {
        final KStream<String, String> all =
                b.<String, String>stream("in")
                        .process(of(ProcessorStores::sort), Named.as("sort"));
        all.peek((key, value) -> {}, Named.as("rest")).to("out");
        all.peek((key, value) -> {}, Named.as("sort-even")).to("even");
        all.peek((key, value) -> {}, Named.as("sort-third")).to("third");
    }

    private static void sort(
            final ProcessorContext<String, String> context, final Record<String, String> record) {
        final boolean even = Functions.isEven(record.key(), record.value());
        final boolean third = Functions.isThird(record.key(), record.value());
        if (even) {
            context.forward(record, "sort-even");
        }
        if (third) {
            context.forward(record.withKey(record.value()), "sort-third");
        }
        if (!even && !third) {
            context.forward(record, "rest");
        }
    }

    /** Looks up the row of a table that is kept from "other". */
    private static void table(final StreamsBuilder b) {
        b.table("other", Materialized.as("store"));
        b.<String, String>stream("in")
                .process(
                        of(
                                (context, record) -> {
                                    final TimestampedKeyValueStore<String, String> store =
                                            context.getStateStore("store");
                                    final ValueAndTimestamp<String> row = store.get(record.key());
                                    final String value = row == null ? null : row.value();
                                    context.forward(
                                            record.withValue(
                                                    Functions.pair(record.value(), value)));
                                }),
                        "store")
                .to("out");
    }

    /**
     * Appends values in windows of ten, which are kept for thirty; null deletes the window. Forwards
     * the key's windows of the last twenty.
     */
    private static void windows(final StreamsBuilder b) {
        b.addStateStore(
                Stores.timestampedWindowStoreBuilder(
                        Stores.inMemoryWindowStore(
                                "store", RETENTION, Duration.ofMillis(10), false),
                        Serdes.String(),
                        Serdes.String()));
        b.<String, String>stream("in").process(of(ProcessorStores::window), "store").to("out");
    }

    private static void window(
            final ProcessorContext<String, String> context, final Record<String, String> record) {
        final TimestampedWindowStore<String, String> store = context.getStateStore("store");
        final long time = record.timestamp();
        final long start = time - time % 10;
        final ValueAndTimestamp<String> row = store.fetch(record.key(), start);
        final String value = record.value();
        final String next = row == null || value == null ? value : row.value() + "+" + value;
        store.put(record.key(), ValueAndTimestamp.make(next, time), start);
        try (WindowStoreIterator<ValueAndTimestamp<String>> found =
                store.fetch(record.key(), Math.max(0, time - 20), time)) {
            while (found.hasNext()) {
                final KeyValue<Long, ValueAndTimestamp<String>> entry = found.next();
                context.forward(new Record<>(record.key(), entry.value.value(), entry.key));
            }
        }
    }

    /** Sessions of five, merged by hand and kept for thirty; null deletes what it overlaps. */
    private static void sessions(final StreamsBuilder b) {
        b.addStateStore(
                Stores.sessionStoreBuilder(
                        Stores.inMemorySessionStore("store", RETENTION),
                        Serdes.String(),
                        Serdes.String()));
        b.<String, String>stream("in").process(of(ProcessorStores::session), "store").to("out");
    }

    private static void session(
            final ProcessorContext<String, String> context, final Record<String, String> record) {
        final SessionStore<String, String> store = context.getStateStore("store");
        long start = record.timestamp();
        long end = record.timestamp() + 5;
        String value = record.value() == null ? "" : record.value();
        final List<Windowed<String>> overlapped = new ArrayList<>();
        try (KeyValueIterator<Windowed<String>, String> found =
                store.findSessions(record.key(), start, end)) {
            while (found.hasNext()) {
                final KeyValue<Windowed<String>, String> entry = found.next();
                overlapped.add(entry.key);
                start = Math.min(start, entry.key.window().start());
                end = Math.max(end, entry.key.window().end());
                value = entry.value + "+" + value;
            }
        }
        overlapped.forEach(store::remove);
        if (record.value() != null) {
            store.put(new Windowed<>(record.key(), new SessionWindow(start, end)), value);
        }
        context.forward(new Record<>(record.key(), start + "/" + end + "=" + value, start));
    }

    /** Adds a header, which a processor behind it prints and one beside it does not see. */
    private static void headers(final StreamsBuilder b) {
        final KStream<String, String> input = b.stream("in");
        input.process(
                        of(
                                (context, record) -> {
                                    context.forward(record);
                                    final RecordHeaders more = new RecordHeaders(record.headers());
                                    more.add("seen", Oracle.text(record.value()).getBytes());
                                    context.forward(record.withHeaders(more));
                                }))
                .process(of(ProcessorStores::printHeader))
                .to("out");
        input.process(of(ProcessorStores::printHeader)).to("beside");
    }

    private static void printHeader(
            final ProcessorContext<String, String> context, final Record<String, String> record) {
        final Header seen = record.headers().lastHeader("seen");
        context.forward(record.withValue(seen == null ? "none" : new String(seen.value())));
    }

    private static void context(final StreamsBuilder b) {
        b.<String, String>stream("in")
                .process(
                        of(
                                (context, record) -> {
                                    final var place = context.recordMetadata().get();
                                    context.forward(
                                            record.withValue(
                                                    String.join(
                                                            "/",
                                                            place.topic(),
                                                            Integer.toString(place.partition()),
                                                            Long.toString(place.offset()),
                                                            Long.toString(
                                                                    context.currentStreamTimeMs()),
                                                            Long.toString(
                                                                    context
                                                                            .currentSystemTimeMs()))));
                                }))
                .to("out");
    }

    private interface Each {
        void process(ProcessorContext<String, String> context, Record<String, String> record);
    }

    /** A processor of one function. */
    private static org.apache.kafka.streams.processor.api.ProcessorSupplier<
                    String, String, String, String>
            of(final Each each) {
        final Supplier<Processor<String, String, String, String>> supplier =
                () ->
                        new ContextualProcessor<>() {
                            @Override
                            public void process(final Record<String, String> record) {
                                each.process(context(), record);
                            }
                        };
        return supplier::get;
    }

    private ProcessorStores() {}
}
