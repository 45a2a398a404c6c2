import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;

/** Aggregations of streams that know no windows. */
final class Aggregations {
    static void register(final Map<String, Scenario> all) {
        all.put("group_by_key_count", Scenario.of(b -> emit(count(byKey(b))), "out"));
        all.put("group_by_key_reduce", Scenario.of(b -> emit(reduce(byKey(b))), "out"));
        all.put("group_by_key_aggregate", Scenario.of(b -> emit(aggregate(byKey(b))), "out"));
        all.put("group_by_count", Scenario.of(b -> emit(count(byValue(b))), "out"));
        all.put("group_by_reduce", Scenario.of(b -> emit(reduce(byValue(b))), "out"));
        all.put("group_by_aggregate", Scenario.of(b -> emit(aggregate(byValue(b))), "out"));
        all.put("group_by_key_after_select_key", Scenario.of(Aggregations::afterSelectKey, "out"));
        all.put("two_aggregations", Scenario.of(Aggregations::twoAggregations, "out", "counts"));
        all.put("cogroup", Scenario.of(Aggregations::cogroup, "out"));
        all.put("cogroup_same_stream", Scenario.of(Aggregations::cogroupSameStream, "out"));
        all.put("count_filter", Scenario.of(Aggregations::countFilter, "out"));
        all.put("count_map_values", Scenario.of(Aggregations::countMapValues, "out"));
        all.put("count_of_counts", Scenario.of(Aggregations::countOfCounts, "out"));
    }

    static <V> Materialized<String, V, KeyValueStore<Bytes, byte[]>> store() {
        return Materialized.as("store");
    }

    private static <V> void emit(final KTable<String, V> table) {
        Functions.emit(table);
    }

    static KGroupedStream<String, String> byKey(final StreamsBuilder b) {
        return b.<String, String>stream("in").groupByKey(Grouped.as("grouped"));
    }

    private static KGroupedStream<String, String> byValue(final StreamsBuilder b) {
        return b.<String, String>stream("in")
                .groupBy((key, value) -> value, Grouped.as("grouped"));
    }

    private static KTable<String, Long> count(final KGroupedStream<String, String> grouped) {
        return grouped.count(Aggregations.<Long>store());
    }

    private static KTable<String, String> reduce(final KGroupedStream<String, String> grouped) {
        return grouped.reduce(Functions::plus, Aggregations.<String>store());
    }

    private static KTable<String, String> aggregate(final KGroupedStream<String, String> grouped) {
        return grouped.aggregate(
                Functions::initial, Functions::add, Aggregations.<String>store());
    }

    private static void afterSelectKey(final StreamsBuilder b) {
        emit(
                aggregate(
                        b.<String, String>stream("in")
                                .selectKey((key, value) -> value)
                                .groupByKey(Grouped.as("grouped"))));
    }

    private static void twoAggregations(final StreamsBuilder b) {
        final KGroupedStream<String, String> grouped = byKey(b);
        emit(aggregate(grouped));
        final Materialized<String, Long, KeyValueStore<Bytes, byte[]>> counts =
                Materialized.as("store-counts");
        grouped.count(counts).toStream().mapValues(v -> v.toString()).to("counts");
    }

    private static void cogroup(final StreamsBuilder b) {
        final KGroupedStream<String, String> other =
                b.<String, String>stream("other").groupByKey(Grouped.as("other-grouped"));
        emit(
                byKey(b).<String>cogroup(Functions::add)
                        .cogroup(other, Functions::subtract)
                        .aggregate(Functions::initial, Aggregations.<String>store()));
    }

    private static void cogroupSameStream(final StreamsBuilder b) {
        final KGroupedStream<String, String> grouped = byKey(b);
        emit(
                grouped.<String>cogroup(Functions::add)
                        .cogroup(grouped, Functions::subtract)
                        .aggregate(Functions::initial, Aggregations.<String>store()));
    }

    private static void countFilter(final StreamsBuilder b) {
        emit(count(byKey(b)).filter((key, count) -> count % 2 == 0));
    }

    private static void countMapValues(final StreamsBuilder b) {
        emit(count(byKey(b)).mapValues(count -> "c" + count));
    }

    private static void countOfCounts(final StreamsBuilder b) {
        final Materialized<String, Long, KeyValueStore<Bytes, byte[]>> outer =
                Materialized.as("store-outer");
        emit(
                count(byKey(b))
                        .groupBy(
                                (key, count) ->
                                        org.apache.kafka.streams.KeyValue.pair("c" + count, key),
                                Grouped.as("regrouped"))
                        .count(outer));
    }

    private Aggregations() {}
}
