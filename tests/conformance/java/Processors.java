import java.time.Duration;
import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Processors with a store and punctuations. */
final class Processors {
    private static final Duration INTERVAL = Duration.ofMillis(10);

    static void register(final Map<String, Scenario> all) {
        put(all, "processor_store", null, false);
        put(all, "processor_stream_time", PunctuationType.STREAM_TIME, false);
        put(all, "processor_stream_time_scheduled_late", PunctuationType.STREAM_TIME, true);
        put(all, "processor_wall_clock", PunctuationType.WALL_CLOCK_TIME, false);
        put(all, "processor_wall_clock_scheduled_late", PunctuationType.WALL_CLOCK_TIME, true);
    }

    private static void put(
            final Map<String, Scenario> all,
            final String name,
            final PunctuationType punctuation,
            final boolean scheduledLate) {
        all.put(
                name,
                Scenario.of(
                        b -> {
                            b.addStateStore(
                                    Stores.keyValueStoreBuilder(
                                            Stores.inMemoryKeyValueStore("store"),
                                            Serdes.String(),
                                            Serdes.String()));
                            b.<String, String>stream("in")
                                    .process(
                                            () -> new Collect(punctuation, scheduledLate), "store")
                                    .to("out");
                        },
                        "out"));
    }

    /**
     * Appends values to the row of their key and forwards the row. A null value deletes the row; a
     * null key is forwarded only. A punctuation forwards every row at its own time, then a row
     * {@code time} with the time.
     */
    private static final class Collect implements Processor<String, String, String, String> {
        private final PunctuationType punctuation;
        private final boolean scheduledLate;
        private ProcessorContext<String, String> context;
        private KeyValueStore<String, String> store;
        private boolean scheduled;

        Collect(final PunctuationType punctuation, final boolean scheduledLate) {
            this.punctuation = punctuation;
            this.scheduledLate = scheduledLate;
        }

        @Override
        public void init(final ProcessorContext<String, String> context) {
            this.context = context;
            store = context.getStateStore("store");
            if (!scheduledLate) {
                schedule();
            }
        }

        @Override
        public void process(final Record<String, String> record) {
            if (record.key() == null) {
                context.forward(record);
            } else if (record.value() == null) {
                store.delete(record.key());
                context.forward(record);
            } else {
                final String row = store.get(record.key());
                final String next = row == null ? record.value() : row + "+" + record.value();
                store.put(record.key(), next);
                context.forward(record.withValue(next));
            }
            // The even value "b" schedules: the first one while it is being processed.
            if ("b".equals(record.value())) {
                schedule();
            }
        }

        private void schedule() {
            if (punctuation != null && !scheduled) {
                scheduled = true;
                context.schedule(INTERVAL, punctuation, this::punctuate);
            }
        }

        private void punctuate(final long timestamp) {
            try (KeyValueIterator<String, String> rows = store.all()) {
                while (rows.hasNext()) {
                    final var row = rows.next();
                    context.forward(new Record<>(row.key, row.value, timestamp));
                }
            }
            context.forward(new Record<>("time", Long.toString(timestamp), timestamp));
        }
    }

    private Processors() {}
}
