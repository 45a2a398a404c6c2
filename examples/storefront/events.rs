//! What happens in the shop, what is made of it, and the topics that hold either.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millstream::serde::{Canonical, Json};
use millstream::window::key::TimeWindowedCodec;
use millstream::{BoxError, ErrorPolicy, Topic, Windowed};
use serde::{Deserialize, Serialize};

/// Revenue is added up by the minute.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// How far a visitor has come; later variants are nearer to a sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    #[default]
    Looked,
    Chose,
    WentToPay,
    Bought,
}

impl Stage {
    pub(crate) const ALL: [Self; 4] = [Self::Looked, Self::Chose, Self::WentToPay, Self::Bought];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Looked => "looked",
            Self::Chose => "chose",
            Self::WentToPay => "went to pay",
            Self::Bought => "bought",
        })
    }
}

/// A visitor has opened a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Click {
    pub(crate) stage: Stage,
    pub(crate) agent: String,
}

/// A visitor has ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) visitor: u64,
    pub(crate) product: String,
    pub(crate) quantity: u64,
}

impl Order {
    /// The rule that an order must keep to be a sale.
    pub(crate) fn checked(self) -> Result<Self, BoxError> {
        if self.quantity == 0 {
            return Err(format!("visitor {} ordered nothing", self.visitor).into());
        }
        Ok(self)
    }
}

/// A card was charged for an order, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) card: String,
    pub(crate) is_accepted: bool,
}

/// What the shop sells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) category: String,
    pub(crate) cents: u64,
}

/// An order with what the catalogue says about its product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sale {
    pub(crate) category: String,
    pub(crate) cents: u64,
}

impl Sale {
    pub(crate) fn new(order: Order, product: Product) -> Self {
        Self { category: product.category, cents: product.cents * order.quantity }
    }
}

/// The sales of one category in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revenue {
    pub(crate) sales: u64,
    pub(crate) cents: u64,
}

impl Revenue {
    pub(crate) fn add(&mut self, sale: &Sale) {
        self.sales += 1;
        self.cents += sale.cents;
    }
}

/// A card was declined too often since `since_ms`, milliseconds after the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) since_ms: i64,
    pub(crate) declined: i64,
}

/// Clicks by visitor. What is no click goes to the dead letters.
pub(crate) fn clicks() -> Topic<u64, Click> {
    Topic::json("storefront-clicks").on_error(ErrorPolicy::dead_letter(dead_letters().name()))
}

/// Orders by number.
pub(crate) fn orders() -> Topic<u64, Order> {
    Topic::json("storefront-orders")
}

/// Payments by the number of the order.
pub(crate) fn payments() -> Topic<u64, Payment> {
    Topic::json("storefront-payments")
}

/// Products by name.
pub(crate) fn catalogue() -> Topic<String, Product> {
    Topic::json("storefront-catalogue")
}

/// Revenue by category and minute.
pub(crate) fn revenue() -> Topic<Windowed<String>, Revenue> {
    let key = TimeWindowedCodec::new(MINUTE, Arc::new(Canonical));
    Topic::new("storefront-revenue", key, Json)
}

/// How many visits ended at each stage, by its name.
pub(crate) fn funnel() -> Topic<String, i64> {
    Topic::plain("storefront-funnel")
}

/// Alerts by card.
pub(crate) fn alerts() -> Topic<String, Alert> {
    Topic::json("storefront-alerts")
}

/// Events that could not be used, as they were read.
pub(crate) fn dead_letters() -> Topic<Vec<u8>, Vec<u8>> {
    Topic::plain("storefront-dead-letters")
}
