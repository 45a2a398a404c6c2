import java.util.Arrays;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/** Counts words of lines, behind a repartition. */
public final class Words implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        builder.stream(settings.text("input-0"), Consumed.with(Settings.TEXT, Settings.TEXT))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .selectKey((key, word) -> word)
                .groupByKey(Grouped.with("by-word", Settings.TEXT, Settings.TEXT))
                .count(
                        Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("words")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.COUNT))
                .toStream()
                .to(settings.text("output"), Produced.with(Settings.TEXT, Settings.COUNT));
    }
}
