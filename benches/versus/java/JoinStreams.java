import java.time.Duration;
import java.util.Arrays;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/** Joins the records of two streams that are near in time. */
public final class JoinStreams implements Pipeline {
    @Override
    public void build(final StreamsBuilder builder, final Settings settings) {
        final JoinWindows near =
                JoinWindows.ofTimeDifferenceAndGrace(
                        Duration.ofMillis(settings.number("within-ms")),
                        Duration.ofMillis(settings.number("grace-ms")));
        final KStream<String, byte[]> left =
                builder.stream(settings.text("input-0"), Settings.lines());
        final KStream<String, byte[]> right =
                builder.stream(settings.text("input-1"), Settings.lines());
        left.join(
                        right,
                        JoinStreams::both,
                        near,
                        StreamJoined.with(Settings.TEXT, Settings.BYTES, Settings.BYTES)
                                .withName("join")
                                .withStoreName("join"))
                .to(settings.text("output"), Produced.with(Settings.TEXT, Settings.BYTES));
    }

    /** The first eight bytes of each. */
    static byte[] both(final byte[] left, final byte[] right) {
        final byte[] joined = Arrays.copyOf(left, 16);
        System.arraycopy(right, 0, joined, 8, 8);
        return joined;
    }
}
