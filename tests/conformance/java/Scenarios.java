import java.util.Map;
import java.util.TreeMap;

/** Every scenario by name. */
final class Scenarios {
    private static final Map<String, Scenario> ALL = new TreeMap<>();

    static {
        Stateless.register(ALL);
        Aggregations.register(ALL);
        Tables.register(ALL);
        Windows.register(ALL);
        StreamJoins.register(ALL);
        TableJoins.register(ALL);
        Processors.register(ALL);
        ProcessorStores.register(ALL);
        ProcessorTimers.register(ALL);
    }

    static Map<String, Scenario> all() {
        return ALL;
    }

    private Scenarios() {}
}
