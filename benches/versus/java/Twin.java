import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;

/**
 * What runs on the side of Kafka Streams? One application, until its input ends.
 *
 * <p>Arguments: the class of the workload, then settings as name=value.
 */
public final class Twin {
    public static void main(final String[] arguments) throws Exception {
        final Settings settings = new Settings(arguments, 1);
        final Properties properties = properties(settings);
        final StreamsBuilder builder = new StreamsBuilder();
        final Pipeline pipeline =
                (Pipeline) Class.forName(arguments[0]).getDeclaredConstructor().newInstance();
        pipeline.build(builder, settings);
        final KafkaStreams streams = new KafkaStreams(builder.build(properties), properties);
        streams.setUncaughtExceptionHandler(
                problem -> {
                    problem.printStackTrace();
                    Runtime.getRuntime().halt(1);
                    return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
                            .SHUTDOWN_CLIENT;
                });
        streams.start();
        while (System.in.read() >= 0) {
            // What is written here has no meaning; its end does.
        }
        // As on our side: who stays in the group makes the next start wait for the session's end.
        final CloseOptions leaving =
                CloseOptions.timeout(Duration.ofSeconds(60))
                        .withGroupMembershipOperation(
                                CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
        Runtime.getRuntime().halt(streams.close(leaving) ? 0 : 2);
    }

    private static Properties properties(final Settings settings) {
        final boolean exactlyOnce = settings.text("guarantee").equals("exactly-once");
        final Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, settings.text("brokers"));
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, settings.text("application"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, settings.text("state"));
        properties.put(
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, settings.text("commit-ms"));
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, settings.text("threads"));
        properties.put(
                StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, settings.text("cache-bytes"));
        properties.put("auto.offset.reset", "earliest");
        Rocks.memoryBytes = settings.number("memory-bytes");
        properties.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, Rocks.class);
        properties.putAll(settings.client());
        return properties;
    }
}
