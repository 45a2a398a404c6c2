import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;

/** Joins of two tables, by key and by foreign key. */
final class TableJoins {
    static void register(final Map<String, Scenario> all) {
        for (final String kind : new String[] {"inner", "left", "outer"}) {
            final String name = "table_table_" + kind;
            all.put(name, Scenario.of(b -> Functions.emit(join(b, kind, false)), "out"));
            all.put(name + "_store", Scenario.of(b -> Functions.emit(join(b, kind, true)), "out"));
            all.put(
                    name + "_filter",
                    Scenario.of(
                            b -> Functions.emit(join(b, kind, false).filter(Functions::isEven)),
                            "out"));
        }
        all.put("table_table_of_itself", Scenario.of(TableJoins::ofItself, "out"));
        all.put("table_table_chain", Scenario.of(TableJoins::chain, "out"));
        all.put("foreign_key_inner", Scenario.of(b -> foreignKey(b, false), "out"));
        all.put("foreign_key_left", Scenario.of(b -> foreignKey(b, true), "out"));
    }

    private static KTable<String, String> join(
            final StreamsBuilder b, final String kind, final boolean stored) {
        final KTable<String, String> left = b.table("in");
        final KTable<String, String> right = b.table("other");
        if (!stored) {
            return switch (kind) {
                case "inner" -> left.join(right, Functions::pair);
                case "left" -> left.leftJoin(right, Functions::pair);
                default -> left.outerJoin(right, Functions::pair);
            };
        }
        final Materialized<String, String, KeyValueStore<Bytes, byte[]>> store =
                Materialized.as("store");
        return switch (kind) {
            case "inner" -> left.join(right, Functions::pair, store);
            case "left" -> left.leftJoin(right, Functions::pair, store);
            default -> left.outerJoin(right, Functions::pair, store);
        };
    }

    private static void ofItself(final StreamsBuilder b) {
        final KTable<String, String> table = Tables.stored(b);
        Functions.emit(table.outerJoin(table.mapValues(Functions::mark), Functions::pair));
    }

    private static void chain(final StreamsBuilder b) {
        final KTable<String, String> left = b.table("in");
        final KTable<String, String> right = b.table("other");
        final KTable<String, String> third = b.table("third");
        Functions.emit(
                left.join(right, Functions::pair).leftJoin(third, Functions::pair));
    }

    /** A row's value is the key of the row that it refers to. */
    private static void foreignKey(final StreamsBuilder b, final boolean left) {
        final KTable<String, String> rows = b.table("in");
        final KTable<String, String> referred = b.table("other");
        final java.util.function.Function<String, String> key = TableJoins::reference;
        Functions.emit(
                left
                        ? rows.leftJoin(referred, key, Functions::pair)
                        : rows.join(referred, key, Functions::pair));
    }

    /** None for every fourth value, the first letter otherwise. */
    private static String reference(final String value) {
        return Functions.code(value) % 4 == 0 ? null : value.substring(0, 1);
    }

    private TableJoins() {}
}
