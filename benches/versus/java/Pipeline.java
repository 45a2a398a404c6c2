import org.apache.kafka.streams.StreamsBuilder;

/** A workload on Kafka Streams: reads, writes and keeps the same as its twin in ../workloads/. */
interface Pipeline {
    void build(StreamsBuilder builder, Settings settings);
}
