import java.util.Map;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.WriteBufferManager;

/**
 * RocksDB as the documentation of Kafka Streams advises for bounded memory: one cache that all
 * stores share, which also counts write buffers, indexes and filters.
 */
public final class Rocks implements RocksDBConfigSetter {
    /** Set before the first store opens. */
    static long memoryBytes;

    private static Cache cache;
    private static WriteBufferManager buffers;

    private static synchronized Cache shared() {
        if (cache == null) {
            cache = new LRUCache(memoryBytes);
            buffers = new WriteBufferManager(memoryBytes / 2, cache);
        }
        return cache;
    }

    @Override
    public void setConfig(
            final String store, final Options options, final Map<String, Object> configs) {
        final BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
        table.setBlockCache(shared());
        table.setCacheIndexAndFilterBlocks(true);
        table.setCacheIndexAndFilterBlocksWithHighPriority(true);
        table.setPinTopLevelIndexAndFilter(true);
        table.setFilterPolicy(new BloomFilter(10));
        options.setWriteBufferManager(buffers);
        options.setWriteBufferSize(32L << 20);
        options.setTableFormatConfig(table);
    }

    @Override
    public void close(final String store, final Options options) {
        // The cache and the buffers are shared, and end with the process.
    }
}
