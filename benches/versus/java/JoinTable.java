import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/** Joins each record of a stream with the row of its key. */
public final class JoinTable implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        final KTable<String, byte[]> rows =
                builder.table(
                        settings.text("input-1"),
                        Settings.lines(),
                        Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("rows")
                                .withKeySerde(Settings.TEXT)
                                .withValueSerde(Settings.BYTES));
        builder.stream(settings.text("input-0"), Settings.lines())
                .join(
                        rows,
                        JoinStreams::both,
                        Joined.with(Settings.TEXT, Settings.BYTES, Settings.BYTES))
                .to(settings.text("output"), Produced.with(Settings.TEXT, Settings.BYTES));
    }
}
