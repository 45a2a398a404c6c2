import java.time.Duration;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.SessionStore;

/** Counts the records of each key by sessions. */
public final class Sessions implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        final SessionWindows windows =
                SessionWindows.ofInactivityGapAndGrace(
                        Duration.ofMillis(settings.number("gap-ms")),
                        Duration.ofMillis(settings.number("grace-ms")));
        builder.stream(settings.text("input-0"), Settings.lines())
                .groupByKey(Settings.grouped())
                .windowedBy(windows)
                .count(
                        Materialized.<String, Long, SessionStore<Bytes, byte[]>>as("sessions")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.COUNT))
                .toStream()
                .to(
                        settings.text("output"),
                        Produced.with(
                                WindowedSerdes.sessionWindowedSerdeFrom(String.class),
                                Settings.COUNT));
    }
}
