import java.time.Duration;
import java.util.Map;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.StreamJoined;

/** Joins in which at least one side is a stream. */
final class StreamJoins {
    private static final Duration SIDE = Duration.ofMillis(10);
    private static final Duration SHORT_SIDE = Duration.ofMillis(4);

    static void register(final Map<String, Scenario> all) {
        for (final String kind : new String[] {"inner", "left", "outer"}) {
            for (final String grace : new String[] {"no_grace", "grace"}) {
                final Duration allowed =
                        grace.equals("grace") ? Windows.GRACE : Duration.ZERO;
                final JoinWindows both = JoinWindows.ofTimeDifferenceAndGrace(SIDE, allowed);
                put(all, kind + "_" + grace, kind, both);
                put(all, kind + "_" + grace + "_short_before", kind, both.before(SHORT_SIDE));
                put(all, kind + "_" + grace + "_short_after", kind, both.after(SHORT_SIDE));
            }
        }
        all.put("stream_stream_self", Scenario.of(StreamJoins::self, "out"));
        all.put(
                "stream_stream_new_keys",
                Scenario.of(StreamJoins::newKeys, "out"));
        all.put("stream_table_inner", Scenario.of(b -> streamTable(b, false), "out"));
        all.put("stream_table_left", Scenario.of(b -> streamTable(b, true), "out"));
        all.put("stream_table_new_key", Scenario.of(StreamJoins::streamTableNewKey, "out"));
        all.put("stream_table_of_itself", Scenario.of(StreamJoins::streamTableOfItself, "out"));
        all.put("stream_table_filtered", Scenario.of(StreamJoins::streamTableFiltered, "out"));
        all.put("stream_global_inner", Scenario.of(b -> global(b, false), "out"));
        all.put("stream_global_left", Scenario.of(b -> global(b, true), "out"));
    }

    private static void put(
            final Map<String, Scenario> all,
            final String name,
            final String kind,
            final JoinWindows windows) {
        all.put(
                "stream_stream_" + name,
                Scenario.of(
                        b -> {
                            final KStream<String, String> in = b.stream("in");
                            join(kind, in, b.stream("other"), windows).to("out");
                        },
                        "out"));
    }

    private static KStream<String, String> join(
            final String kind,
            final KStream<String, String> left,
            final KStream<String, String> right,
            final JoinWindows windows) {
        final StreamJoined<String, String, String> options =
                StreamJoined.<String, String, String>as("join").withStoreName("join");
        return switch (kind) {
            case "inner" -> left.join(right, Functions::pair, windows, options);
            case "left" -> left.leftJoin(right, Functions::pair, windows, options);
            default -> left.outerJoin(right, Functions::pair, windows, options);
        };
    }

    private static void self(final StreamsBuilder b) {
        final KStream<String, String> in = b.stream("in");
        join("inner", in, in, JoinWindows.ofTimeDifferenceAndGrace(SIDE, Windows.GRACE))
                .to("out");
    }

    private static void newKeys(final StreamsBuilder b) {
        final KStream<String, String> left =
                b.<String, String>stream("in").map(Functions::swap);
        final KStream<String, String> right =
                b.<String, String>stream("other").map(Functions::swap);
        join("inner", left, right, JoinWindows.ofTimeDifferenceAndGrace(SIDE, Windows.GRACE))
                .to("out");
    }

    private static void streamTable(final StreamsBuilder b, final boolean left) {
        final KTable<String, String> table = b.table("other");
        final KStream<String, String> in = b.stream("in");
        (left ? in.leftJoin(table, Functions::pair) : in.join(table, Functions::pair)).to("out");
    }

    private static void streamTableNewKey(final StreamsBuilder b) {
        final KTable<String, String> table = b.table("other");
        b.<String, String>stream("in")
                .map(Functions::swap)
                .leftJoin(table, Functions::pair)
                .to("out");
    }

    private static void streamTableOfItself(final StreamsBuilder b) {
        final KStream<String, String> in = b.stream("in");
        in.leftJoin(in.toTable(), Functions::pair).to("out");
    }

    private static void streamTableFiltered(final StreamsBuilder b) {
        final KTable<String, String> table =
                b.<String, String>table("other").filter(Functions::isEven);
        final KStream<String, String> in = b.stream("in");
        in.leftJoin(table, Functions::pair).to("out");
    }

    private static void global(final StreamsBuilder b, final boolean left) {
        final var table = b.<String, String>globalTable("other");
        final KStream<String, String> in = b.stream("in");
        (left
                        ? in.leftJoin(table, (key, value) -> value, Functions::pair)
                        : in.join(table, (key, value) -> value, Functions::pair))
                .to("out");
    }

    private StreamJoins() {}
}
