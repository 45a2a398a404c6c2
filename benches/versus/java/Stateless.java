import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/** Keeps the records whose first byte is below a number. */
public final class Stateless implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        final long kept = settings.number("kept-of-256");
        KStream<String, byte[]> records =
                builder.stream(settings.text("input-0"), Settings.lines());
        if (kept < 256) {
            records = records.filter((key, value) -> value.length > 0 && (value[0] & 0xff) < kept);
        }
        records.to(settings.text("output"), Produced.with(Settings.TEXT, Settings.BYTES));
    }
}
