//! SCRAM of RFC 5802 and RFC 7677: a password is proved without being sent, and by both sides.
//!
//! Names and passwords are taken as the UTF-8 that they are, as Java's clients and librdkafka do:
//! the tools that store them for the brokers do not prepare them (RFC 4013) either. For ASCII it is
//! the same.
//!
//! # Invariants
//!
//! - The broker's nonce begins with ours and is longer, so that no old answer serves again.
//! - The password is hashed often enough to be safe, and not so often that a worker is held up.
//! - The broker's signature is compared in constant time.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::{Credentials, SaslError, ScramHash, Secret, shown};

/// How often a broker may ask for the password to be hashed.
const ITERATIONS: RangeInclusive<u32> = 4_096..=1_000_000;

/// No channel is bound, nor could be.
const HEADER: &str = "n,,";

const NONCE_BYTES: usize = 24;

/// A nonce that nobody can guess, without commas.
pub(super) fn nonce() -> Result<String, SaslError> {
    let mut bytes = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SaslError::NoRandomness)?;
    Ok(STANDARD.encode(bytes))
}

/// The client's side of one exchange.
pub(super) struct Scram {
    mechanism: &'static str,
    hash: Hash,
    password: Secret,
    nonce: String,
    /// The first message without its header.
    first: Secret,
    /// What the broker has to sign, and the key for it; none before it was asked to.
    signed: Option<(hmac::Key, Secret)>,
}

impl Scram {
    pub(super) fn begin(
        mechanism: &'static str,
        hash: ScramHash,
        Credentials { username, password }: &Credentials,
        nonce: String,
    ) -> Result<Self, SaslError> {
        let texts = [("the user's name", username), ("the password", password)];
        if let Some((what, _)) = texts.iter().find(|(_, text)| text.reveal().is_empty()) {
            return Err(SaslError::Unusable { what, why: "it is empty" });
        }
        let name = Zeroizing::new(username.reveal().replace('=', "=3D").replace(',', "=2C"));
        let first = Secret::new(format!("n={},r={nonce}", *name));
        let hash = Hash::of(hash);
        Ok(Self { mechanism, hash, password: password.clone(), nonce, first, signed: None })
    }

    pub(super) fn first(&self) -> Vec<u8> {
        [HEADER, self.first.reveal()].concat().into_bytes()
    }

    /// The proof on the broker's first message, and none on its second, if that holds.
    pub(super) fn answer(&mut self, from_broker: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        let message = std::str::from_utf8(from_broker).map_err(|_| self.malformed("no text"))?;
        if let Some(why) = message.strip_prefix("e=") {
            return Err(SaslError::Refused { why: shown(why.as_bytes()) });
        }
        match self.signed.take() {
            None => self.prove(message).map(Some),
            Some((key, text)) => self.verify(&key, &text, message).map(|()| None),
        }
    }

    fn malformed(&self, why: &'static str) -> SaslError {
        SaslError::Malformed { mechanism: self.mechanism, why }
    }

    fn prove(&mut self, challenge: &str) -> Result<Vec<u8>, SaslError> {
        let Challenge { nonce, salt, iterations } =
            Challenge::read(challenge, &self.nonce).map_err(|why| self.malformed(why))?;
        let bare = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let text = Secret::new(format!("{},{challenge},{bare}", self.first.reveal()));
        let salted = self.hash.salted(&self.password, &salt, iterations);
        let client_key = self.hash.sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest, client_key.as_ref());
        let signature = self.hash.sign(stored_key.as_ref(), text.reveal().as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = self.hash.sign(&salted, b"Server Key");
        self.signed = Some((hmac::Key::new(self.hash.hmac, server_key.as_ref()), text));
        Ok(format!("{bare},p={}", STANDARD.encode(proof)).into_bytes())
    }

    fn verify(&self, key: &hmac::Key, text: &Secret, message: &str) -> Result<(), SaslError> {
        let signature = attribute(message.split(',').next(), "v=")
            .and_then(|signature| STANDARD.decode(signature).ok())
            .ok_or_else(|| self.malformed("no signature"))?;
        hmac::verify(key, text.reveal().as_bytes(), &signature).map_err(|_| SaslError::Forged)
    }
}

/// The broker's first message.
#[derive(Debug, PartialEq, Eq)]
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    /// What comes behind the three known attributes is left alone, as the RFC wants it.
    fn read(message: &'a str, our_nonce: &str) -> Result<Self, &'static str> {
        let mut attributes = message.split(',');
        let nonce = attribute(attributes.next(), "r=").ok_or("no nonce first")?;
        match nonce.strip_prefix(our_nonce) {
            None => return Err("a nonce that does not begin with ours"),
            Some("") => return Err("a nonce that adds nothing to ours"),
            Some(_) => {}
        }
        let salt = attribute(attributes.next(), "s=").ok_or("no salt")?;
        let salt = STANDARD.decode(salt).map_err(|_| "a salt that is not base64")?;
        let iterations = attribute(attributes.next(), "i=").ok_or("no number of iterations")?;
        let iterations = iterations.parse().map_err(|_| "a number of iterations that is none")?;
        let iterations = Some(iterations).filter(|count| ITERATIONS.contains(count));
        let iterations = iterations.and_then(NonZeroU32::new);
        let iterations = iterations.ok_or("fewer than 4096 iterations, or more than a million")?;
        Ok(Self { nonce, salt, iterations })
    }
}

fn attribute<'a>(part: Option<&'a str>, name: &str) -> Option<&'a str> {
    part?.strip_prefix(name)
}

/// The algorithms of one hash.
struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Hash {
    fn of(hash: ScramHash) -> Self {
        match hash {
            ScramHash::Sha256 => Self {
                digest: &digest::SHA256,
                hmac: hmac::HMAC_SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            },
            ScramHash::Sha512 => Self {
                digest: &digest::SHA512,
                hmac: hmac::HMAC_SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            },
        }
    }

    fn sign(&self, key: &[u8], text: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac, key), text)
    }

    fn salted(&self, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Zeroizing<Vec<u8>> {
        let mut salted = Zeroizing::new(vec![0; self.digest.output_len()]);
        pbkdf2::derive(self.pbkdf2, iterations, salt, password.reveal().as_bytes(), &mut salted);
        salted
    }
}
