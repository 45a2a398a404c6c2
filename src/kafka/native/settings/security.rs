//! Which properties protect connections, and what do they say together?

use std::path::Path;

use super::Refusal;
use crate::kafka::native::sasl::{Credentials, SaslSettings, ScramHash};
use crate::kafka::native::secret::Secret;
use crate::kafka::native::tls::{Identity, Pem, TlsSettings};

/// What is around Kafka's own protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    has_tls: bool,
    has_sasl: bool,
}

impl Protocol {
    /// Nothing, if the property is not set or not known, which is refused elsewhere.
    pub(super) fn of(security_protocol: Option<&str>) -> Self {
        let protocol = security_protocol.and_then(Self::named);
        protocol.unwrap_or(Self { has_tls: false, has_sasl: false })
    }

    fn named(security_protocol: &str) -> Option<Self> {
        let (has_tls, has_sasl) = match security_protocol.to_ascii_lowercase().as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => return None,
        };
        Some(Self { has_tls, has_sasl })
    }
}

/// What the properties say one by one.
pub(super) struct SecurityDraft {
    protocol: Protocol,
    authorities_file: Option<Pem>,
    authorities_text: Option<Pem>,
    chain: Option<Pem>,
    key: Option<Pem>,
    takes_any_host: bool,
    mechanism: Option<String>,
    username: Option<Secret>,
    password: Option<Secret>,
}

impl SecurityDraft {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            authorities_file: None,
            authorities_text: None,
            chain: None,
            key: None,
            takes_any_host: false,
            mechanism: None,
            username: None,
            password: None,
        }
    }

    /// Whether this property speaks of a protection that is not asked for.
    pub(super) fn is_beside_the_point(&self, name: &str) -> bool {
        let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
        let Protocol { has_tls, has_sasl } = self.protocol;
        begins(&["ssl.", "ssl_", "enable.ssl."]) && !has_tls
            || begins(&["sasl.", "enable.sasl."]) && !has_sasl
    }

    pub(super) fn put_protocol(&mut self, value: &str) -> Result<(), String> {
        let protocol = Protocol::named(value).ok_or("it is no protocol of Kafka's")?;
        assert_eq!(protocol, self.protocol, "it was read before");
        Ok(())
    }

    pub(super) fn put_authorities_file(&mut self, value: &str) -> Result<(), String> {
        if Path::new(value).is_dir() {
            return Err("it is a directory".to_owned());
        }
        self.authorities_file = file(value).filter(|_| value != "probe");
        Ok(())
    }

    pub(super) fn put_authorities_text(&mut self, value: &str) {
        self.authorities_text = text("ssl.ca.pem", value);
    }

    pub(super) fn put_chain_file(&mut self, value: &str) {
        self.chain = file(value).or(self.chain.take());
    }

    pub(super) fn put_chain_text(&mut self, value: &str) {
        self.chain = text("ssl.certificate.pem", value).or(self.chain.take());
    }

    pub(super) fn put_key_file(&mut self, value: &str) {
        self.key = file(value).or(self.key.take());
    }

    pub(super) fn put_key_text(&mut self, value: &str) {
        self.key = text("ssl.key.pem", value).or(self.key.take());
    }

    pub(super) fn put_host_check(&mut self, value: &str) -> Result<(), String> {
        self.takes_any_host = match value.to_ascii_lowercase().as_str() {
            "https" => false,
            "none" => true,
            _ => return Err("it is neither `https` nor `none`".to_owned()),
        };
        Ok(())
    }

    pub(super) fn put_mechanism(&mut self, value: &str) {
        self.mechanism = Some(value.trim().to_ascii_uppercase());
    }

    pub(super) fn put_username(&mut self, value: &str) {
        self.username = secret(value);
    }

    pub(super) fn put_password(&mut self, value: &str) {
        self.password = secret(value);
    }

    /// What all of it says together; none if something is refused.
    pub(super) fn finish(
        self,
        refusals: &mut Vec<Refusal>,
    ) -> Option<(Option<TlsSettings>, Option<SaslSettings>)> {
        let Protocol { has_tls, has_sasl } = self.protocol;
        let sasl = has_sasl.then(|| self.sasl()).transpose();
        let tls = has_tls.then(|| self.tls()).transpose();
        let refused = [tls.as_ref().err(), sasl.as_ref().err()].into_iter().flatten();
        refusals.extend(refused.map(|(property, why)| Refusal::of(property, why)));
        Some((tls.ok()?, sasl.ok()?))
    }

    fn tls(self) -> Result<TlsSettings, (&'static str, &'static str)> {
        let identity = match (self.chain, self.key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(Identity { chain, key }),
            (Some(_), None) => return Err(("ssl.key.location", "a certificate has no key")),
            (None, Some(_)) => {
                return Err(("ssl.certificate.location", "a key has no certificate"));
            }
        };
        let authorities = self.authorities_file.into_iter().chain(self.authorities_text);
        let takes_any_host = self.takes_any_host;
        Ok(TlsSettings { authorities: authorities.collect(), identity, takes_any_host })
    }

    fn sasl(&self) -> Result<SaslSettings, (&'static str, &'static str)> {
        const MECHANISM: &str = "sasl.mechanism";
        let Some(mechanism) = self.mechanism.as_deref() else {
            return Err((MECHANISM, "it is not set, which stands for GSSAPI"));
        };
        let make: fn(Credentials) -> SaslSettings = match mechanism {
            "PLAIN" => SaslSettings::Plain,
            "SCRAM-SHA-256" => |user| SaslSettings::Scram(ScramHash::Sha256, user),
            "SCRAM-SHA-512" => |user| SaslSettings::Scram(ScramHash::Sha512, user),
            "OAUTHBEARER" => {
                return Err((MECHANISM, "OAUTHBEARER needs somebody to ask for tokens"));
            }
            "GSSAPI" => return Err((MECHANISM, "GSSAPI needs a Kerberos library")),
            _ => return Err((MECHANISM, "it is not known")),
        };
        let missing = "it is not set";
        let username = self.username.clone().ok_or(("sasl.username", missing))?;
        let password = self.password.clone().ok_or(("sasl.password", missing))?;
        Ok(make(Credentials { username, password }))
    }
}

/// None if it is empty.
fn file(value: &str) -> Option<Pem> {
    (!value.is_empty()).then(|| Pem::File(value.into()))
}

/// None if it is empty.
fn text(property: &'static str, value: &str) -> Option<Pem> {
    secret(value).map(|text| Pem::Text { property, text })
}

/// None if it is empty.
fn secret(value: &str) -> Option<Secret> {
    (!value.is_empty()).then(|| Secret::new(value))
}
