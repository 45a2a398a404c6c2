import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;

/** What a twin is told: names and values on its command line, the same ones on both sides. */
final class Settings {
    static final Serde<String> TEXT = Serdes.String();
    static final Serde<byte[]> BYTES = Serdes.ByteArray();
    static final Serde<Long> COUNT = Serdes.Long();

    private final Map<String, String> values = new TreeMap<>();

    Settings(final String[] arguments, final int first) {
        for (int i = first; i < arguments.length; i++) {
            final String[] pair = arguments[i].split("=", 2);
            values.put(pair[0], pair[1]);
        }
    }

    String text(final String name) {
        final String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("the twin is not told `" + name + "`");
        }
        return value;
    }

    long number(final String name) {
        return Long.parseLong(text(name));
    }

    /** What is handed through to Kafka Streams, by its own names. */
    Map<String, String> client() {
        final Map<String, String> client = new TreeMap<>();
        values.forEach((name, value) -> {
            if (name.startsWith("client.")) {
                client.put(name.substring("client.".length()), value);
            }
        });
        return client;
    }

    static Consumed<String, byte[]> lines() {
        return Consumed.with(TEXT, BYTES);
    }

    static Grouped<String, byte[]> grouped() {
        return Grouped.with(TEXT, BYTES);
    }
}
