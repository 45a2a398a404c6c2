//! The data plane on Kafka's own protocol.
#![cfg_attr(not(test), expect(dead_code, reason = "nothing drives these parts in this module"))]

mod compression;
mod sasl;
mod secret;
mod settings;
mod stream;
mod tls;
