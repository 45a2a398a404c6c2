//! Rows on disk: the only file that names RocksDB.
//!
//! One database per task. A store's rows are a column family named by kind and store, such as
//! `key-value counts`; the changelog offsets of all stores are in the default one.
//!
//! # Invariants
//!
//! - There is no write-ahead log. Data and offset are flushed to disk together (*atomic flush*),
//!   so a crash loses the latest writes, all of them from some moment on, and never tears a batch.
//! - [`load`](Backend::load) makes rows durable before the offset behind them. A crash in between
//!   leaves rows ahead of the offset; the same records are then loaded again over them. Where there
//!   was no offset before, there is none afterwards, and a store with a changelog whose rows have
//!   no offset is emptied when it is opened.

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, FlushOptions, IngestExternalFileOptions, LogLevel, Options, ReadOptions,
    SstFileWriter, WriteBufferManager, WriteOptions,
};

use super::{
    Backend, ByteRange, Direction, StateError, StoreIndex, StoreSize, WriteBatch, is_void,
};
use crate::state::MemoryBudget;
use crate::topology::{StoreKind, StoreSpec};

/// Holds the offsets, by the names of the stores' column families.
const OFFSETS: &str = "default";
/// Bytes of a write buffer of one store; the manager's bound is on all of them.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// What a write buffer takes at a time, and is charged with once it holds anything. By default that
/// is 1 MiB, of which a hundred small stores would fill every budget and be flushed all the time.
const ARENA_BYTES: usize = 64 * 1024;
const BLOCK_BYTES: usize = 16 * 1024;
const OPEN_FILES_MAX: i32 = 256;
/// A file is compacted at once in which so many of so many rows one after the other are deletions.
/// Windows that are over leave little else: they would stay on disk, and in the way of every scan,
/// until four files of a write buffer each have come together.
const DELETIONS_MAX: usize = 512;
const DELETIONS_AMONG: usize = 1_024;
/// The same for a whole file that has fewer rows.
const DELETIONS_RATIO_MAX: f64 = 0.5;
/// How RocksDB says that a file is not there.
const MISSING: &str = "No such file";
const INFO_LOG_BYTES_MAX: usize = 1024 * 1024;
/// Each flush adds to the manifest, however little it writes. Beyond that size, or a multiple of
/// what is necessary, the manifest is written anew; by default it grows to 1 GiB.
const MANIFEST_BYTES_MAX: usize = 16 * 1024;

/// What all databases of a process share.
#[derive(Clone)]
pub(in crate::state) struct SharedCaches {
    blocks: Cache,
    write_buffers: WriteBufferManager,
}

impl SharedCaches {
    pub(in crate::state) fn new(budget: MemoryBudget) -> Self {
        let blocks = Cache::new_lru_cache(budget.disk_cache_bytes());
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            budget.write_buffer_bytes(),
            false,
            blocks.clone(),
        );
        Self { blocks, write_buffers }
    }

    /// What they take; write buffers are charged to the cache of blocks.
    pub(in crate::state) fn bytes(&self) -> usize {
        self.blocks.get_usage()
    }
}

/// The stores of one task on disk.
pub(in crate::state) struct RocksBackend {
    db: DB,
    path: PathBuf,
    options: Options,
    write_options: WriteOptions,
    /// By store index: the store's column family; `None` where the store is not held here.
    families: Vec<Option<String>>,
    /// Whether a read or a write has met damage.
    is_damaged: Cell<bool>,
}

fn family_of(spec: &StoreSpec) -> String {
    let kind = match spec.kind {
        StoreKind::KeyValue => "key-value",
        StoreKind::Window { .. } => "window",
        StoreKind::Session { .. } => "session",
    };
    format!("{kind} {}", spec.name)
}

impl RocksBackend {
    /// Opens, or creates, the database of a task. Stores that are held in memory are left out;
    /// those that the task does not have any more are dropped.
    pub(in crate::state) fn open(
        path: &Path,
        stores: &[StoreSpec],
        caches: &SharedCaches,
    ) -> Result<Self, StateError> {
        let options = options(caches);
        let families: Vec<_> =
            stores.iter().map(|spec| (!spec.in_memory).then(|| family_of(spec))).collect();
        let known = if path.join("CURRENT").exists() {
            DB::list_cf(&options, path).map_err(|error| damaged(&error))?
        } else {
            Vec::new()
        };
        let wanted = families.iter().flatten().map(String::as_str);
        let mut all: Vec<&str> = wanted.chain([OFFSETS]).collect();
        all.extend(known.iter().map(String::as_str));
        all.sort_unstable();
        all.dedup();
        let descriptors =
            all.into_iter().map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let db = DB::open_cf_descriptors(&options, path, descriptors)
            .map_err(|error| damaged(&error))?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let path = path.to_owned();
        let mut backend =
            Self { db, path, options, write_options, families, is_damaged: Cell::new(false) };
        backend.drop_unknown(&known)?;
        backend.empty_unfinished(stores)?;
        Ok(backend)
    }

    fn drop_unknown(&mut self, known: &[String]) -> Result<(), StateError> {
        for name in known {
            if name == OFFSETS || self.families.iter().flatten().any(|family| family == name) {
                continue;
            }
            let path = self.path.display();
            tracing::info!(store = name, %path, "store dropped: not in the pipeline");
            self.db.drop_cf(name).map_err(|error| self.failed(&error))?;
            let offsets = family(&self.db, OFFSETS);
            let deleted = self.db.delete_cf_opt(offsets, name, &self.write_options);
            deleted.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Empties stores whose first load did not come to its end.
    fn empty_unfinished(&mut self, stores: &[StoreSpec]) -> Result<(), StateError> {
        for (index, spec) in stores.iter().enumerate() {
            let store = StoreIndex(index as u32);
            if spec.in_memory || !spec.changelog || self.changelog_offset(store)?.is_some() {
                continue;
            }
            let mut rows = self.db.raw_iterator_cf(self.rows(store));
            rows.seek_to_first();
            let has_rows = rows.valid();
            drop(rows);
            if has_rows {
                self.clear(store)?;
            }
        }
        Ok(())
    }

    /// An error of a database that is open. A file that has gone is damage, too.
    #[cold]
    fn failed(&self, error: &rocksdb::Error) -> StateError {
        let text = error.to_string();
        if error.kind() == rocksdb::ErrorKind::Corruption || text.contains(MISSING) {
            self.distrust();
            return StateError::Corrupt(text);
        }
        StateError::Io(text)
    }

    fn family_name(&self, store: StoreIndex) -> &str {
        let name = self.families.get(store.0 as usize).and_then(Option::as_ref);
        name.expect("a store is asked for where it is held")
    }

    fn rows(&self, store: StoreIndex) -> &ColumnFamily {
        family(&self.db, self.family_name(store))
    }

    /// Puts all that was written into files.
    pub(in crate::state) fn flush(&self) -> Result<(), StateError> {
        let names = self.families.iter().flatten().map(String::as_str).chain([OFFSETS]);
        let families: Vec<_> = names.map(|name| family(&self.db, name)).collect();
        let flushed = self.db.flush_cfs_opt(&families, &FlushOptions::default());
        flushed.map_err(|error| self.failed(&error))
    }

    /// Waits until there is nothing left to compact.
    #[cfg(test)]
    pub(in crate::state) fn settle(&self) {
        self.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
    }

    /// Writes a file of rows; false if there was none to write.
    fn write_file(
        &self,
        path: &Path,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
    ) -> Result<bool, StateError> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(false);
        }
        // A crash may have left a link to a file that the database has taken: written through, it
        // would be destroyed.
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(StateError::Io(format!("{}: {error}", path.display())));
        }
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(path).map_err(|error| self.failed(&error))?;
        for (key, value) in rows {
            let written = match value {
                Some(value) => writer.put(key, value),
                None => writer.delete(key),
            };
            written.map_err(|error| self.failed(&error))?;
        }
        writer.finish().map_err(|error| self.failed(&error))?;
        Ok(true)
    }
}

impl Backend for RocksBackend {
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        let row =
            self.db.get_pinned_cf(self.rows(store), key).map_err(|error| self.failed(&error))?;
        row.iter().for_each(|row| value.extend_from_slice(row));
        Ok(row.is_some())
    }

    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        if is_void(range) {
            return Ok(());
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.rows(store), read_options(range));
        match direction {
            Direction::Ascending => rows.seek_to_first(),
            Direction::Descending => rows.seek_to_last(),
        }
        while let Some((key, value)) = rows.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            match direction {
                Direction::Ascending => rows.next(),
                Direction::Descending => rows.prev(),
            }
        }
        rows.status().map_err(|error| self.failed(&error))
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError> {
        let mut out = rocksdb::WriteBatch::default();
        for (store, key, value) in batch.rows() {
            let rows = self.rows(store);
            match value {
                Some(value) => out.put_cf(rows, key, value),
                None => out.delete_cf(rows, key),
            }
        }
        let offsets = family(&self.db, OFFSETS);
        for (store, offset) in batch.offsets() {
            out.put_cf(offsets, self.family_name(*store), offset.to_be_bytes());
        }
        self.db.write_opt(out, &self.write_options).map_err(|error| self.failed(&error))
    }

    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError> {
        let offsets = family(&self.db, OFFSETS);
        let found = self.db.get_pinned_cf(offsets, self.family_name(store));
        let Some(bytes) = found.map_err(|error| self.failed(&error))? else { return Ok(None) };
        let bytes = bytes.as_ref().try_into();
        let bytes = bytes.map_err(|_| {
            self.distrust();
            StateError::Corrupt("an offset has no eight bytes".into())
        })?;
        Ok(Some(i64::from_be_bytes(bytes)))
    }

    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError> {
        let file = self.path.join("loading.sst");
        if self.write_file(&file, rows)? {
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            let ingested = self.db.ingest_external_file_cf_opts(
                self.rows(store),
                &options,
                vec![file.as_path()],
            );
            ingested.map_err(|error| self.failed(&error))?;
        }
        let mut batch = WriteBatch::default();
        batch.set_offset(store, offset);
        self.write(&batch)?;
        self.flush()
    }

    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError> {
        let name = self.family_name(store).to_owned();
        // The offset goes first: rows without an offset are emptied again when they are opened.
        let offsets = family(&self.db, OFFSETS);
        let deleted = self.db.delete_cf_opt(offsets, &name, &self.write_options);
        deleted.map_err(|error| self.failed(&error))?;
        self.flush()?;
        self.db.drop_cf(&name).map_err(|error| self.failed(&error))?;
        self.db.create_cf(&name, &self.options).map_err(|error| self.failed(&error))
    }

    fn distrust(&self) {
        self.is_damaged.set(true);
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged.get()
    }

    fn size(&self, store: StoreIndex) -> StoreSize {
        let number = |property: &str| {
            let found = self.db.property_int_value_cf(self.rows(store), property);
            found.ok().flatten().unwrap_or_default()
        };
        let bytes =
            number("rocksdb.total-sst-files-size") + number("rocksdb.cur-size-all-mem-tables");
        StoreSize { rows: number("rocksdb.estimate-num-keys"), bytes }
    }

    fn close(self: Box<Self>) -> Result<(), StateError> {
        if self.is_damaged() { Ok(()) } else { self.flush() }
    }
}

fn family<'a>(db: &'a DB, name: &str) -> &'a ColumnFamily {
    db.cf_handle(name).expect("every store's column family is opened with the database")
}

fn options(caches: &SharedCaches) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&caches.blocks);
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(10.0, false);
    // In parts, since the filter of a whole file is too large to come and go for one look-up.
    table.set_partition_filters(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_keep_log_file_num(1);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_max_manifest_file_size(MANIFEST_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_write_buffer_manager(&caches.write_buffers);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_arena_block_size(ARENA_BYTES);
    options.add_compact_on_deletion_collector_factory(
        DELETIONS_AMONG,
        DELETIONS_MAX,
        DELETIONS_RATIO_MAX,
    );
    options
}

/// RocksDB's bounds include the lower and exclude the upper one.
fn read_options((from, to): ByteRange<'_>) -> ReadOptions {
    let behind = |key: &[u8]| [key, &[0]].concat();
    let mut options = ReadOptions::default();
    match from {
        Bound::Unbounded => {}
        Bound::Included(from) => options.set_iterate_lower_bound(from),
        Bound::Excluded(from) => options.set_iterate_lower_bound(behind(from)),
    }
    match to {
        Bound::Unbounded => {}
        Bound::Included(to) => options.set_iterate_upper_bound(behind(to)),
        Bound::Excluded(to) => options.set_iterate_upper_bound(to),
    }
    options
}

/// An error of opening a database: what misses a file, or holds another, is damaged.
#[cold]
fn damaged(error: &rocksdb::Error) -> StateError {
    let text = error.to_string();
    match error.kind() {
        rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::InvalidArgument => {
            StateError::Corrupt(text)
        }
        _ if text.contains(MISSING) => StateError::Corrupt(text),
        _ if text.contains("lock") => StateError::Occupied(text),
        _ => StateError::Io(text),
    }
}
