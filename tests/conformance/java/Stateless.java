import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Repartitioned;

/** Operators on one record at a time, and what moves records between streams, tables and topics. */
final class Stateless {
    static void register(final Map<String, Scenario> all) {
        all.put("filter", simple(in -> in.filter(Functions::isEven)));
        all.put("filter_not", simple(in -> in.filterNot(Functions::isEven)));
        all.put("map", simple(in -> in.map(Functions::swap)));
        all.put("map_values", simple(in -> in.mapValues(Functions::markOrNull)));
        all.put("flat_map", simple(in -> in.flatMap(Stateless::copies)));
        all.put("flat_map_values", simple(in -> in.flatMapValues(Stateless::valueCopies)));
        all.put("select_key", simple(in -> in.selectKey((key, value) -> value)));
        all.put("peek", simple(in -> in.peek((key, value) -> {})));
        all.put("merge", Scenario.of(Stateless::merge, "out"));
        all.put("merge_with_itself", simple(in -> in.merge(in.filter(Functions::isEven))));
        all.put("merge_of_branches", Scenario.of(Stateless::mergeOfBranches, "out"));
        all.put("fan_out", Scenario.of(Stateless::fanOut, "out"));
        all.put("branches", Scenario.of(Stateless::branches, "even", "rest", "third"));
        all.put("branches_no_default", Scenario.of(Stateless::branchesNoDefault, "even", "third"));
        all.put("chosen_topics", Scenario.of(Stateless::chosenTopics, "even", "out"));
        all.put("extracted_times", Scenario.of(Stateless::extractedTimes, "out"));
        all.put("repartition", simple(in -> in.repartition(Repartitioned.as("shuffle"))));
        all.put("repartition_new_key", simple(Stateless::repartitionNewKey));
        all.put("to_table", Scenario.of(Stateless::toTable, "out"));
        all.put("to_table_new_key", Scenario.of(Stateless::toTableNewKey, "out"));
    }

    private interface Operator {
        KStream<String, String> apply(KStream<String, String> in);
    }

    private static Scenario simple(final Operator operator) {
        return Scenario.of(b -> operator.apply(b.<String, String>stream("in")).to("out"), "out");
    }

    private static List<KeyValue<String, String>> copies(final String key, final String value) {
        final List<KeyValue<String, String>> copies = new ArrayList<>();
        for (int i = 0; i < Functions.code(value) % 3; i++) {
            copies.add(KeyValue.pair(Oracle.text(key) + i, Oracle.text(value) + i));
        }
        return copies;
    }

    private static List<String> valueCopies(final String key, final String value) {
        final List<String> copies = new ArrayList<>();
        for (int i = 0; i < Functions.code(value) % 3; i++) {
            copies.add(Functions.mark(key, value) + i);
        }
        return copies;
    }

    private static void merge(final StreamsBuilder b) {
        final KStream<String, String> in = b.stream("in");
        final KStream<String, String> other = b.stream("other");
        in.merge(other).to("out");
    }

    private static void mergeOfBranches(final StreamsBuilder b) {
        final KStream<String, String> in = b.stream("in");
        final KStream<String, String> kept = in.filter(Functions::isEven);
        final KStream<String, String> marked = in.mapValues(Functions::mark);
        marked.merge(kept).to("out");
    }

    private static void fanOut(final StreamsBuilder b) {
        final KStream<String, String> in = b.stream("in");
        in.mapValues(Functions::mark).to("out");
        in.filter(Functions::isEven).to("out");
        in.map(Functions::swap).to("out");
    }

    private static void branches(final StreamsBuilder b) {
        b.<String, String>stream("in")
                .split(Named.as("s"))
                .branch(Functions::isEven, Branched.withConsumer(s -> s.to("even")))
                .branch(Functions::isThird, Branched.withConsumer(s -> s.to("third")))
                .defaultBranch(Branched.withConsumer(s -> s.to("rest")));
    }

    private static void branchesNoDefault(final StreamsBuilder b) {
        b.<String, String>stream("in")
                .split(Named.as("s"))
                .branch(Functions::isEven, Branched.withConsumer(s -> s.to("even")))
                .branch(Functions::isThird, Branched.withConsumer(s -> s.to("third")))
                .noDefaultBranch();
    }

    private static void chosenTopics(final StreamsBuilder b) {
        b.<String, String>stream("in")
                .to((key, value, context) -> Functions.isEven(key, value) ? "even" : "out");
    }

    private static void extractedTimes(final StreamsBuilder b) {
        final Consumed<String, String> timed =
                Consumed.with(
                        (record, highest) ->
                                record.timestamp() + Functions.code((String) record.value()) % 20);
        Functions.emit(b.stream("in", timed).toTable(Materialized.as("store")));
    }

    private static KStream<String, String> repartitionNewKey(final KStream<String, String> in) {
        return in.selectKey((key, value) -> value).repartition(Repartitioned.as("shuffle"));
    }

    private static void toTable(final StreamsBuilder b) {
        Functions.emit(b.<String, String>stream("in").toTable(Materialized.as("store")));
    }

    private static void toTableNewKey(final StreamsBuilder b) {
        final KStream<String, String> moved =
                b.<String, String>stream("in").map(Functions::swap);
        Functions.emit(moved.toTable(Named.as("moved"), Materialized.as("store")));
    }

    private Stateless() {}
}
