import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Windowed;

/**
 * What the scenarios compute. Results are readable concatenations, so that the order of every call
 * shows; {@code functions.rs} has the same functions by the same names.
 */
final class Functions {
    /** The sum of the bytes, 0 for null: what predicates and repetitions are decided by. */
    static int code(final String text) {
        return text == null ? 0 : text.chars().sum();
    }

    static boolean isEven(final String key, final String value) {
        return code(value) % 2 == 0;
    }

    static boolean isThird(final String key, final String value) {
        return code(value) % 3 == 0;
    }

    static String mark(final String key, final String value) {
        return Oracle.text(key) + ":" + Oracle.text(value);
    }

    /** Null for every fourth value, so that mappers make tombstones too. */
    static String markOrNull(final String key, final String value) {
        return code(value) % 4 == 0 ? null : mark(key, value);
    }

    static KeyValue<String, String> swap(final String key, final String value) {
        return KeyValue.pair(value, key);
    }

    static String pair(final String left, final String right) {
        return Oracle.text(left) + "," + Oracle.text(right);
    }

    static String initial() {
        return "0";
    }

    static String add(final String key, final String value, final String total) {
        return total + "+" + Oracle.text(value);
    }

    static String subtract(final String key, final String value, final String total) {
        return total + "-" + Oracle.text(value);
    }

    static String plus(final String total, final String value) {
        return Oracle.text(total) + "+" + Oracle.text(value);
    }

    static String minus(final String total, final String value) {
        return Oracle.text(total) + "-" + Oracle.text(value);
    }

    static String mergeSessions(final String key, final String left, final String right) {
        return left + "|" + right;
    }

    /** Sends every change of the table to {@code out}, tombstones included. */
    static <V> void emit(final KTable<String, V> table) {
        table.toStream().mapValues(Functions::printed).to("out");
    }

    /** The same with the window in the key. */
    static <V> void emitWindowed(final KTable<Windowed<String>, V> table) {
        final KStream<String, V> stream = table.toStream((key, value) -> Oracle.text(key));
        stream.mapValues(Functions::printed).to("out");
    }

    private static <V> String printed(final V value) {
        return value == null ? null : value.toString();
    }

    private Functions() {}
}
