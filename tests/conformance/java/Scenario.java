import java.util.List;
import java.util.Properties;
import java.util.function.Consumer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers.RocksDBDslStoreSuppliers;
import org.apache.kafka.streams.state.DslStoreSuppliers;

/** One topology, the topics it writes and the kind of store its operators get. */
record Scenario(
        Consumer<StreamsBuilder> definition,
        List<String> outputs,
        Class<? extends DslStoreSuppliers> stores) {

    static Scenario of(final Consumer<StreamsBuilder> definition, final String... outputs) {
        return new Scenario(definition, List.of(outputs), InMemoryDslStoreSuppliers.class);
    }

    /**
     * The same over RocksDB, which is slower by far and only wanted where the order of a scan shows
     * and the two kinds of store differ in it.
     */
    Scenario onRocksDb() {
        return new Scenario(definition, outputs, RocksDBDslStoreSuppliers.class);
    }

    Topology topology(final Properties config) {
        final StreamsBuilder builder = new StreamsBuilder();
        definition.accept(builder);
        return builder.build(config);
    }
}
