import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/** Keeps the last value of each key, of two topics. */
public final class Restored implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        builder.stream(settings.text("input-0"), Settings.lines())
                .merge(builder.stream(settings.text("wake"), Settings.lines()))
                .groupByKey(Settings.grouped())
                .reduce(
                        (kept, value) -> value,
                        Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("rows")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.BYTES))
                .toStream()
                .to(settings.text("output"), Produced.with(Settings.TEXT, Settings.BYTES));
    }
}
