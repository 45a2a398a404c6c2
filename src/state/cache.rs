//! Which keys are live in memory? A hash index over a slab of slots, and who must leave it.
//!
//! A slot's place does not change while its key is cached, so lists of changed keys are lists of
//! small numbers: no key is cloned to remember that it changed.
//!
//! # Invariants
//!
//! - A pinned slot (its content is not in the backend yet) is never evicted.
//! - While the cache is *complete* it holds every row of the store: a key that is not here is
//!   nowhere. An eviction ends that.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};
use std::hint::black_box;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::BytesLimit;

/// Where a key's slot is.
pub(crate) type SlotId = u32;

/// Slots that one insertion looks at, at most, to make room.
const STEPS_PER_INSERT: usize = 8;
/// Slots below which empty ones are not worth giving back.
const SLOTS_MIN: usize = 64;
/// Bytes of a row that has never been serialised, before there is an average.
const ROW_BYTES_GUESS: usize = 32;
/// One of so many changed rows is serialised when it changes, so that what is uncommitted is known
/// before the commit.
pub(super) const ROWS_PER_SAMPLE: usize = 64;

/// A cached key.
pub(super) struct Slot<K, P> {
    pub(super) key: K,
    pub(super) payload: P,
    /// Serialised bytes of the key and its rows, when they were last known.
    pub(super) bytes: u32,
    /// How many of its changes have not reached the backend.
    pub(super) pins: u32,
    /// Set by a use, cleared when the clock's hand passes.
    referenced: bool,
}

/// How many bytes a row mostly has: a moving average of those that were serialised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TypicalBytes(Option<usize>);

impl TypicalBytes {
    pub(super) fn bytes(self) -> usize {
        self.0.unwrap_or(ROW_BYTES_GUESS)
    }

    pub(super) fn note(&mut self, bytes: usize) {
        self.0 = Some(self.0.map_or(bytes, |average| average - average / 8 + bytes / 8));
    }
}

/// What a cache holds and has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheCounts {
    /// Look-ups that were answered from memory.
    pub(crate) hits: u64,
    /// Look-ups that had to read the backend.
    pub(crate) misses: u64,
    pub(crate) keys: usize,
    pub(crate) bytes: usize,
    /// What `bytes` may be.
    pub(crate) bytes_max: usize,
}

/// The live keys of a store.
pub(super) struct Cache<K, P> {
    index: HashTable<SlotId>,
    hasher: DefaultHashBuilder,
    slots: Vec<Option<Slot<K, P>>>,
    free: Vec<SlotId>,
    /// The slot that the clock looks at next.
    hand: usize,
    bytes: usize,
    limit: BytesLimit,
    /// The serialised bytes of a slot.
    typical: TypicalBytes,
    complete: bool,
    lookups: Cell<u64>,
    misses: u64,
}

impl<K: Eq + Hash, P> Cache<K, P> {
    pub(super) fn new(limit: BytesLimit, complete: bool) -> Self {
        Self {
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            limit,
            typical: TypicalBytes::default(),
            complete,
            lookups: Cell::new(0),
            misses: 0,
        }
    }

    /// Notes that a look-up has to read the backend.
    pub(super) fn missed(&mut self) {
        self.misses += 1;
    }

    pub(super) fn counts(&self) -> CacheCounts {
        let hits = self.lookups.get() - self.misses;
        let (keys, bytes, bytes_max) = (self.len(), self.bytes, self.limit.bytes());
        CacheCounts { hits, misses: self.misses, keys, bytes, bytes_max }
    }

    /// Whether a key that is not cached is known to be nowhere.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many keys are cached.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    #[inline]
    pub(super) fn find(&self, key: &K) -> Option<SlotId> {
        self.lookups.set(self.lookups.get() + 1);
        self.id_of(key)
    }

    #[inline]
    fn id_of(&self, key: &K) -> Option<SlotId> {
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        self.index.find(hash, |id| slot_of(slots, *id).key == *key).copied()
    }

    /// Reads the slots of keys that are soon to be found. `touch` reads what a payload points to
    /// and makes a number of it, so that the reading is not left out.
    #[inline]
    pub(super) fn warm<'k>(&self, keys: impl Iterator<Item = &'k K>, touch: impl Fn(&P) -> u64)
    where
        K: 'k,
    {
        let slots = keys.filter_map(|key| self.id_of(key)).map(|id| self.slot(id));
        black_box(slots.fold(0, |sum, slot| sum ^ u64::from(slot.bytes) ^ touch(&slot.payload)));
    }

    #[inline]
    pub(super) fn slot(&self, id: SlotId) -> &Slot<K, P> {
        slot_of(&self.slots, id)
    }

    /// The slot for a use, which keeps it from being evicted soon.
    #[inline]
    pub(super) fn slot_mut(&mut self, id: SlotId) -> &mut Slot<K, P> {
        let slot = self.slots[id as usize].as_mut().expect("an id names a filled slot");
        slot.referenced = true;
        slot
    }

    /// Adds a key that is not cached; `bytes` are those of its rows, if they are known.
    pub(super) fn insert(&mut self, key: K, payload: P, bytes: Option<usize>) -> SlotId {
        self.evict(STEPS_PER_INSERT);
        let bytes = bytes.unwrap_or(self.typical.bytes()) as u32;
        self.bytes += Self::cost(bytes);
        let hash = self.hasher.hash_one(&key);
        let slot = Some(Slot { key, payload, bytes, pins: 0, referenced: false });
        let id = if let Some(id) = self.free.pop() {
            self.slots[id as usize] = slot;
            id
        } else {
            self.slots.push(slot);
            SlotId::try_from(self.slots.len() - 1).expect("fewer than 2^32 keys are cached")
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, id, |id| hasher.hash_one(&slot_of(slots, *id).key));
        id
    }

    /// Notes the serialised bytes of a slot, now that they are known.
    pub(super) fn measured(&mut self, id: SlotId, bytes: usize) {
        self.charge(id, bytes);
        self.typical.note(bytes);
    }

    /// Takes a slot for no smaller than the others: its row is new, and not serialised yet.
    pub(super) fn assumed_typical(&mut self, id: SlotId) {
        let typical = self.typical.bytes();
        if (self.slot(id).bytes as usize) < typical {
            self.charge(id, typical);
        }
    }

    fn charge(&mut self, id: SlotId, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let slot = self.slots[id as usize].as_mut().expect("an id names a filled slot");
        self.bytes = self.bytes + bytes as usize - slot.bytes as usize;
        slot.bytes = bytes;
    }

    /// Evicts until the bound is kept or only pinned keys are left.
    pub(super) fn evict_all_due(&mut self) {
        self.evict(self.slots.len().saturating_mul(2));
        if self.slots.len() > SLOTS_MIN && self.index.len() < self.slots.len() / 4 {
            self.compact();
        }
    }

    /// Gives back the memory of empty slots, unless a pinned slot must keep its place.
    fn compact(&mut self) {
        if self.slots.iter().flatten().any(|slot| slot.pins > 0) {
            return;
        }
        self.slots.retain(Option::is_some);
        self.slots.shrink_to_fit();
        self.free = Vec::new();
        self.hand = 0;
        self.index = HashTable::with_capacity(self.slots.len());
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |id: &SlotId| hasher.hash_one(&slot_of(slots, *id).key);
        for id in 0..slots.len() as SlotId {
            self.index.insert_unique(hash_of(&id), id, hash_of);
        }
    }

    /// Moves the clock's hand by so many slots at most, as long as the bound is exceeded.
    fn evict(&mut self, steps: usize) {
        let bytes_max = self.limit.bytes();
        for _ in 0..steps {
            if self.bytes <= bytes_max || self.slots.is_empty() {
                return;
            }
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            self.pass(self.hand);
        }
    }

    fn pass(&mut self, place: usize) {
        let Some(slot) = &mut self.slots[place] else { return };
        if slot.pins > 0 || std::mem::take(&mut slot.referenced) {
            return;
        }
        let hash = self.hasher.hash_one(&slot.key);
        let id = place as SlotId;
        let entry = self.index.find_entry(hash, |other| *other == id);
        entry.expect("a filled slot is indexed").remove();
        self.bytes -= Self::cost(slot.bytes);
        self.slots[place] = None;
        self.free.push(id);
        self.complete = false;
    }

    /// What a slot takes in memory, roughly.
    pub(super) const fn cost(bytes: u32) -> usize {
        size_of::<Option<Slot<K, P>>>() + size_of::<SlotId>() + bytes as usize
    }
}

#[inline]
fn slot_of<K, P>(slots: &[Option<Slot<K, P>>], id: SlotId) -> &Slot<K, P> {
    slots[id as usize].as_ref().expect("an id names a filled slot")
}
