import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/** Keeps the last value of each key. */
public final class Latest implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        builder.stream(settings.text("input-0"), Settings.lines())
                .groupByKey(Settings.grouped())
                .reduce(
                        (kept, value) -> value,
                        Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("latest")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.BYTES))
                .toStream()
                .to(settings.text("output"), Produced.with(Settings.TEXT, Settings.BYTES));
    }
}
