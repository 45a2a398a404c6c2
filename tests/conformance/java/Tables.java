import java.time.Duration;
import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedTable;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.state.KeyValueStore;

/** Operators of tables on their own. */
final class Tables {
    static void register(final Map<String, Scenario> all) {
        all.put("table_source", Scenario.of(b -> emit(stored(b)), "out"));
        all.put("table_filter", Scenario.of(b -> emit(even(stored(b))), "out"));
        all.put("table_filter_not", Scenario.of(b -> emit(odd(stored(b))), "out"));
        all.put("table_filter_store", Scenario.of(Tables::filterStore, "out"));
        all.put("table_map_values", Scenario.of(b -> emit(marked(stored(b))), "out"));
        all.put("table_map_values_store", Scenario.of(Tables::mapValuesStore, "out"));
        all.put("table_filter_map_values", Scenario.of(b -> emit(marked(even(stored(b)))), "out"));
        all.put("table_map_values_filter", Scenario.of(b -> emit(even(marked(stored(b)))), "out"));
        all.put("table_fan_out", Scenario.of(Tables::fanOut, "out"));
        all.put("table_group_by_count", Scenario.of(b -> emit(count(regroup(stored(b)))), "out"));
        all.put("table_group_by_reduce", Scenario.of(b -> emit(reduce(regroup(stored(b)))), "out"));
        all.put(
                "table_group_by_aggregate",
                Scenario.of(b -> emit(aggregate(regroup(stored(b)))), "out"));
        all.put(
                "table_group_by_aggregate_of_filter",
                Scenario.of(b -> emit(aggregate(regroup(even(stored(b))))), "out"));
        all.put(
                "table_group_by_aggregate_of_map_values",
                Scenario.of(b -> emit(aggregate(regroup(marked(stored(b))))), "out"));
        all.put(
                "table_group_by_same_key",
                Scenario.of(
                        b ->
                                emit(
                                        aggregate(
                                                stored(b)
                                                        .groupBy(
                                                                KeyValue::pair,
                                                                Grouped.as("grouped")))),
                        "out"));
        all.put("suppress_time_limit", Scenario.of(Tables::suppressTimeLimit, "out"));
    }

    private static <V> void emit(final KTable<String, V> table) {
        Functions.emit(table);
    }

    static KTable<String, String> stored(final StreamsBuilder b) {
        return b.table("in", Materialized.as("store"));
    }

    private static KTable<String, String> even(final KTable<String, String> table) {
        return table.filter(Functions::isEven);
    }

    private static KTable<String, String> odd(final KTable<String, String> table) {
        return table.filterNot(Functions::isEven);
    }

    private static KTable<String, String> marked(final KTable<String, String> table) {
        return table.mapValues(Functions::mark);
    }

    private static void filterStore(final StreamsBuilder b) {
        emit(stored(b).filter(Functions::isEven, Materialized.as("store-even")));
    }

    private static void mapValuesStore(final StreamsBuilder b) {
        emit(stored(b).mapValues(Functions::mark, Materialized.as("store-marked")));
    }

    private static void fanOut(final StreamsBuilder b) {
        final KTable<String, String> table = stored(b);
        emit(even(table));
        emit(marked(table));
        emit(table);
    }

    /** Groups by the value's class, so that rows move between few groups. */
    private static KGroupedTable<String, String> regroup(final KTable<String, String> table) {
        return table.groupBy(
                (key, value) -> KeyValue.pair("g" + Functions.code(value) % 3, key + value),
                Grouped.as("grouped"));
    }

    private static Materialized<String, Long, KeyValueStore<Bytes, byte[]>> counts() {
        return Materialized.as("store-grouped");
    }

    private static Materialized<String, String, KeyValueStore<Bytes, byte[]>> totals() {
        return Materialized.as("store-grouped");
    }

    private static KTable<String, Long> count(final KGroupedTable<String, String> grouped) {
        return grouped.count(counts());
    }

    private static KTable<String, String> reduce(final KGroupedTable<String, String> grouped) {
        return grouped.reduce(Functions::plus, Functions::minus, totals());
    }

    private static KTable<String, String> aggregate(final KGroupedTable<String, String> grouped) {
        return grouped.aggregate(
                Functions::initial, Functions::add, Functions::subtract, totals());
    }

    private static void suppressTimeLimit(final StreamsBuilder b) {
        emit(
                stored(b)
                        .suppress(
                                Suppressed.untilTimeLimit(
                                        Duration.ofMillis(10),
                                        Suppressed.BufferConfig.unbounded())));
    }

    private Tables() {}
}
