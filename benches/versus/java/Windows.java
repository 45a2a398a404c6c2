import java.time.Duration;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.WindowStore;

/** Counts the records of each key by tumbling or hopping windows. */
public final class Windows implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        final Duration size = Duration.ofMillis(settings.number("size-ms"));
        final Duration grace = Duration.ofMillis(settings.number("grace-ms"));
        final TimeWindows windows =
                TimeWindows.ofSizeAndGrace(size, grace)
                        .advanceBy(Duration.ofMillis(settings.number("advance-ms")));
        final Serde<Windowed<String>> key =
                WindowedSerdes.timeWindowedSerdeFrom(String.class, size.toMillis());
        builder.stream(settings.text("input-0"), Settings.lines())
                .groupByKey(Settings.grouped())
                .windowedBy(windows)
                .count(
                        Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("windows")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.COUNT))
                .toStream()
                .to(settings.text("output"), Produced.with(key, Settings.COUNT));
    }
}
