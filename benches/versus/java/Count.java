import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/** Counts the records of each key. */
public final class Count implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        builder.stream(settings.text("input-0"), Settings.lines())
                .groupByKey(Settings.grouped())
                .count(
                        Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.COUNT))
                .toStream()
                .to(settings.text("output"), Produced.with(Settings.TEXT, Settings.COUNT));
    }
}
