//! The shop: visits at a steady rate, the same for the same seed.

use std::collections::BTreeMap;

use millstream::Timestamp;

use crate::events::{Click, Order, Payment, Product, Stage};

/// A visit begins whenever so many milliseconds of the shop's time have passed.
const VISIT_EVERY_MS: i64 = 60;
const VISITORS: u64 = 3_000;
const PRODUCTS: [(&str, &str, u64); 8] = [
    ("atlas", "books", 3_900),
    ("novel", "books", 1_250),
    ("spade", "garden", 2_495),
    ("seeds", "garden", 349),
    ("kettle", "kitchen", 4_550),
    ("tea", "kitchen", 620),
    ("drum", "music", 12_900),
    ("strings", "music", 1_180),
];

/// What the shop sells, by name.
pub(crate) fn catalogue() -> impl Iterator<Item = (String, Product)> {
    PRODUCTS.into_iter().map(|(name, category, cents)| {
        (name.to_owned(), Product { category: category.to_owned(), cents })
    })
}

/// Something that happened, under the key of its topic.
#[derive(Debug)]
pub(crate) enum Event {
    Click(u64, Click),
    /// A click whose bytes were cut off on their way.
    BrokenClick(u64, Vec<u8>),
    Order(u64, Order),
    Payment(u64, Payment),
}

/// Makes events in the order of their time.
pub(crate) struct Shop {
    random: Random,
    next_visit: Timestamp,
    next_order: u64,
    /// Events of visits that have begun, by time and a number that tells equal times apart.
    planned: BTreeMap<(Timestamp, u64), Event>,
    planned_so_far: u64,
}

impl Shop {
    /// A shop that opens then. Orders are numbered from that time on, so that no two runs on one
    /// log share a number.
    pub(crate) fn open(seed: u64, at: Timestamp) -> Self {
        Self {
            random: Random(seed),
            next_visit: at,
            next_order: at.as_millis() as u64 * 1_000,
            planned: BTreeMap::new(),
            planned_so_far: 0,
        }
    }

    /// What has happened before `now` and was not told yet.
    pub(crate) fn events_before(&mut self, now: Timestamp) -> BTreeMap<(Timestamp, u64), Event> {
        while self.next_visit < now {
            self.plan_visit(self.next_visit);
            self.next_visit = self.next_visit.plus_millis(VISIT_EVERY_MS);
        }
        let later = self.planned.split_off(&(now, 0));
        std::mem::replace(&mut self.planned, later)
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.planned_so_far += 1;
        self.planned.insert((at, self.planned_so_far), event);
    }

    fn plan_visit(&mut self, begins: Timestamp) {
        let visitor = self.random.below(VISITORS);
        let click = |stage, agent: &str| Click { stage, agent: agent.to_owned() };
        if self.random.one_in(40) {
            for page in 0..20 {
                let crawl = Event::Click(visitor, click(Stage::Looked, "crawler"));
                self.plan(begins.plus_millis(page * 500), crawl);
            }
            return;
        }
        if self.random.one_in(100) {
            let broken = b"{\"stage\":\"Look".to_vec();
            self.plan(begins, Event::BrokenClick(visitor, broken));
        }
        let mut at = begins;
        for _ in 0..=self.random.below(4) {
            self.plan(at, Event::Click(visitor, click(Stage::Looked, "browser")));
            at = self.later(at);
        }
        // Of a hundred visitors who have come so far, so many go on.
        for (stage, percent) in [(Stage::Chose, 50), (Stage::WentToPay, 60), (Stage::Bought, 80)] {
            if self.random.below(100) >= percent {
                return;
            }
            self.plan(at, Event::Click(visitor, click(stage, "browser")));
            at = self.later(at);
        }
        self.plan_order(visitor, at);
    }

    fn plan_order(&mut self, visitor: u64, at: Timestamp) {
        let number = self.next_order;
        self.next_order += 1;
        let (product, ..) = PRODUCTS[self.random.below(PRODUCTS.len() as u64) as usize];
        let quantity = if self.random.one_in(50) { 0 } else { 1 + self.random.below(3) };
        let order = Order { visitor, product: product.to_owned(), quantity };
        self.plan(at, Event::Order(number, order));
        let card = format!("card-{visitor}");
        let mut pay = |at, is_accepted| {
            let payment = Payment { card: card.clone(), is_accepted };
            self.plan(at, Event::Payment(number, payment));
        };
        let mut at = at.plus_millis(2_000);
        if visitor.is_multiple_of(25) {
            // A card that is never accepted is tried five times.
            for _ in 0..5 {
                pay(at, false);
                at = at.plus_millis(10_000);
            }
            return;
        }
        if visitor % 10 == 1 {
            pay(at, false);
            at = at.plus_millis(15_000);
        }
        pay(at, true);
    }

    /// When a visitor opens the next page.
    fn later(&mut self, at: Timestamp) -> Timestamp {
        at.plus_millis(5_000 + self.random.below(35_000) as i64)
    }
}

/// The splitmix64 generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_seed_is_a_story_however_it_is_cut() {
        let whole: Vec<_> = Shop::open(1, at(0)).events_before(at(100)).into_iter().collect();
        let mut shop = Shop::open(1, at(0));
        let cut: Vec<_> = (1..=100).flat_map(|second| shop.events_before(at(second))).collect();
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        assert!(whole.len() > 1_000);
        assert!(whole.is_sorted_by_key(|((at, _), _)| *at));
    }

    #[test]
    fn a_few_minutes_hold_every_kind_of_event() {
        let events = Shop::open(1, at(0)).events_before(at(300));
        let count = |wanted: fn(&Event) -> bool| events.values().filter(|e| wanted(e)).count();
        assert!(count(|event| matches!(event, Event::BrokenClick(..))) > 10);
        assert!(count(|event| matches!(event, Event::Order(_, o) if o.quantity == 0)) > 10);
        assert!(count(|event| matches!(event, Event::Payment(_, p) if !p.is_accepted)) > 10);
    }
}
