//! How does the application prove who it is? The client's side of SASL, as an exchange of bytes.
//!
//! The bytes travel in `SaslAuthenticate` requests: [`Exchange::first`] in the first of them, and
//! whatever [`Exchange::answer`] gives in the next, until it gives none.
//!
//! # Invariants
//!
//! - With SCRAM an exchange ends well only if the broker has proved that it knows the password too.
//! - No secret is in a `Debug` or an error, and none is kept longer than the exchange.

mod scram;
#[cfg(test)]
mod tests;

use std::fmt;

use self::scram::Scram;
use super::secret::Secret;

/// As whom the application comes, and how it proves that.
#[derive(Clone, Debug)]
pub(super) enum SaslSettings {
    /// Sends the password itself.
    Plain(Credentials),
    /// Proves the password without sending it.
    Scram(ScramHash, Credentials),
}

impl SaslSettings {
    /// As in `sasl.mechanism`.
    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::Scram(ScramHash::Sha256, _) => "SCRAM-SHA-256",
            Self::Scram(ScramHash::Sha512, _) => "SCRAM-SHA-512",
        }
    }
}

/// A name, which may be as telling as a password, and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: Secret,
    pub(super) password: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScramHash {
    Sha256,
    Sha512,
}

/// Why nobody was authenticated.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaslError {
    #[error("the broker refuses: {why}")]
    Refused { why: String },
    #[error("the broker does not know the password itself: it may be someone else")]
    Forged,
    #[error("the broker answers what {mechanism} does not know: {why}")]
    Malformed { mechanism: &'static str, why: &'static str },
    #[error("{what} cannot be used: {why}")]
    Unusable { what: &'static str, why: &'static str },
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// One authentication of one connection.
pub(super) struct Exchange {
    mechanism: &'static str,
    step: Step,
}

enum Step {
    /// One message says it all; the broker's answer is empty.
    Single(Secret),
    Scram(Box<Scram>),
    Done,
}

/// What was exchanged is not shown.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Begins anew, with a nonce of its own.
    pub(super) fn begin(settings: &SaslSettings) -> Result<Self, SaslError> {
        let step = match settings {
            SaslSettings::Plain(credentials) => Step::Single(plain(credentials)?),
            SaslSettings::Scram(hash, credentials) => {
                let nonce = scram::nonce()?;
                let scram = Scram::begin(settings.mechanism(), *hash, credentials, nonce)?;
                Step::Scram(Box::new(scram))
            }
        };
        Ok(Self { mechanism: settings.mechanism(), step })
    }

    /// For the `SaslHandshake` request.
    pub(super) fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// The client's first bytes. To be called once, before any answer.
    pub(super) fn first(&mut self) -> Vec<u8> {
        match &self.step {
            Step::Single(message) => message.reveal().as_bytes().to_vec(),
            Step::Scram(scram) => scram.first(),
            Step::Done => Vec::new(),
        }
    }

    /// What is to be sent on these bytes of the broker; none if the application is authenticated.
    ///
    /// After an error, or after the end, there is only [`SaslError::Malformed`].
    pub(super) fn answer(&mut self, from_broker: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Single(_) if from_broker.is_empty() => Ok(None),
            Step::Single(_) => Err(SaslError::Refused { why: shown(from_broker) }),
            Step::Scram(mut scram) => {
                let answer = scram.answer(from_broker)?;
                if answer.is_some() {
                    self.step = Step::Scram(scram);
                }
                Ok(answer)
            }
            Step::Done => {
                let why = "the exchange has ended";
                Err(SaslError::Malformed { mechanism: self.mechanism, why })
            }
        }
    }
}

/// The message of RFC 4616.
fn plain(Credentials { username, password }: &Credentials) -> Result<Secret, SaslError> {
    let texts = [("the user's name", username), ("the password", password)];
    for (what, text) in texts {
        if text.reveal().is_empty() || text.reveal().contains('\0') {
            return Err(SaslError::Unusable { what, why: "it is empty or has a NUL in it" });
        }
    }
    Ok(Secret::new(format!("\0{}\0{}", username.reveal(), password.reveal())))
}

/// What the broker says, as far as it can be shown.
fn shown(from_broker: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(from_broker);
    text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
