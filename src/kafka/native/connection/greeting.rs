//! What are the first words on a connection? Which versions the broker speaks, and who comes.
//!
//! # Invariants
//!
//! - The versions come first, since what follows depends on them.
//! - Somebody who has to show who it is asks for nothing before the broker believes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Broken, Connection};
use crate::kafka::native::api::{Api, read_versions};
use crate::kafka::native::errors;
use crate::kafka::native::sasl::{Exchange, SaslError, SaslSettings};
use crate::kafka::native::wire::{Reader, Writer};
use crate::time::Instant;

/// How far the first words are.
#[derive(Debug)]
pub(super) enum Greeting {
    /// The versions were asked for; then this is shown.
    Versions(Option<Arc<SaslSettings>>),
    /// The broker was told how it will be shown who comes.
    Mechanism(Exchange),
    /// It is being shown.
    Proof(Exchange),
    Over,
    /// Nothing more is asked.
    Farewell,
}

impl From<SaslError> for Broken {
    fn from(error: SaslError) -> Self {
        Self::Unauthenticated(error.to_string())
    }
}

impl<P> Connection<P> {
    /// Says one of the first words.
    pub(super) fn greet(&mut self, api: Api, write: impl FnOnce(&mut Writer)) {
        let version = *api.spoken().end();
        self.say(api, version, None, self.setup_deadline, |mut out, _| {
            write(&mut out);
            vec![Bytes::from(out.bytes)]
        });
    }

    /// Takes the answer to one of the first words, and says the next.
    pub(super) fn greeted(&mut self, reader: &mut Reader<'_>, now: Instant) -> Result<(), Broken> {
        match std::mem::replace(&mut self.greeting, Greeting::Farewell) {
            Greeting::Versions(sasl) => {
                let (code, versions) = read_versions(reader)?;
                if code != 0 {
                    return Err(Broken::Refused(errors::name(code)));
                }
                self.versions = Some(versions?);
                let Some(settings) = sasl else {
                    self.greeting = Greeting::Over;
                    return Ok(());
                };
                let exchange = Exchange::begin(&settings)?;
                let mechanism = exchange.mechanism();
                self.greet(Api::SaslHandshake, |out| out.old_text(mechanism));
                self.greeting = Greeting::Mechanism(exchange);
            }
            Greeting::Mechanism(mut exchange) => {
                let code = reader.i16()?;
                if code != 0 {
                    let (name, mechanism) = (errors::name(code), exchange.mechanism());
                    return Err(Broken::Refused(format!("{name}: it does not know {mechanism}")));
                }
                self.prove(&exchange.first());
                self.greeting = Greeting::Proof(exchange);
            }
            Greeting::Proof(exchange) => self.proved(exchange, reader, now)?,
            Greeting::Over | Greeting::Farewell => return Err(Broken::Unasked),
        }
        Ok(())
    }

    fn prove(&mut self, bytes: &[u8]) {
        self.greet(Api::SaslAuthenticate, |out| {
            out.bytes(bytes);
            out.no_tags();
        });
    }

    fn proved(
        &mut self,
        mut exchange: Exchange,
        reader: &mut Reader<'_>,
        now: Instant,
    ) -> Result<(), Broken> {
        let (code, text) = (reader.i16()?, reader.text_or_null()?.unwrap_or_default());
        if code != 0 {
            return Err(Broken::Unauthenticated(format!("{}: {text}", errors::name(code))));
        }
        let from_broker = reader.bytes()?.to_vec();
        let lifetime_ms = u64::try_from(reader.i64()?).unwrap_or(0);
        if let Some(next) = exchange.answer(&from_broker)? {
            self.prove(&next);
            self.greeting = Greeting::Proof(exchange);
            return Ok(());
        }
        // A new connection takes its place well before the broker ends this one.
        let lifetime = Duration::from_millis(lifetime_ms / 10 * 8);
        self.expires = (lifetime_ms > 0).then(|| now + lifetime);
        self.greeting = Greeting::Over;
        Ok(())
    }
}
