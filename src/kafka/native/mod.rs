//! The data plane on Kafka's own protocol.
//!
//! - `settings`: what it is to do, from the properties of a process.
//! - `stream`: how bytes reach a broker; `tls`: inside of what; `sasl`: from whom.
//! - `compression`: how the records of a batch are packed.
#![cfg_attr(not(test), expect(dead_code, reason = "nothing drives these parts in this module"))]

mod compression;
mod sasl;
mod secret;
mod settings;
mod stream;
mod tls;
