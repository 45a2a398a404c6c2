//! How are connections to the brokers protected, as whom does the application come, and how is what
//! it leaves on disk sealed?
//!
//! # Invariants
//!
//! - No secret is shown: `Debug` prints that there is one, and not which.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{BoxError, ConfigError};

/// How connections to the brokers are protected. Default: not at all.
///
/// ```
/// use millstream::{Config, Sasl, Security, Tls};
///
/// let security = Security::tls(Tls::new()).sasl(Sasl::scram_sha_512("clicks", "a password"));
/// let config = Config::builder("clicks", "broker.example:9093").security(security).build()?;
/// assert!(!format!("{config:?}").contains("a password"));
/// # Ok::<(), millstream::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    tls: Option<Tls>,
    sasl: Option<Sasl>,
}

impl Security {
    /// Everybody on the way can read and change what is sent.
    pub fn plaintext() -> Self {
        Self::default()
    }

    /// Connections are encrypted, and brokers have to show who they are.
    pub fn tls(tls: Tls) -> Self {
        Self { tls: Some(tls), sasl: None }
    }

    /// The application shows who it is by a name and a password.
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// The properties of a client that stand for this.
    pub(crate) fn properties(&self) -> Vec<(&'static str, String)> {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => return Vec::new(),
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        let mut properties = vec![("security.protocol", protocol.to_owned())];
        properties.extend(self.tls.iter().flat_map(Tls::properties));
        properties.extend(self.sasl.iter().flat_map(Sasl::properties));
        properties
    }

    /// Notes files that are not there.
    pub(crate) fn check(&self, problems: &mut Vec<ConfigError>) {
        let pems = self.tls.iter().flat_map(|tls| {
            let identity = tls.identity.iter().flat_map(|Identity { chain, key, .. }| [chain, key]);
            tls.authorities.iter().chain(identity)
        });
        for pem in pems {
            if let Pem::File(path) = pem
                && let Err(error) = std::fs::File::open(path)
            {
                problems.push(ConfigError::Invalid {
                    setting: "security",
                    value: format!("`{}`: {error}", path.display()),
                    fix: "name a PEM file that this user may read",
                });
            }
        }
    }
}

/// Encryption, and whose certificates are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    authorities: Option<Pem>,
    identity: Option<Identity>,
    takes_any_host: bool,
}

impl Tls {
    /// Trusts the certificate authorities of the system; brokers' certificates have to bear their
    /// host's name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts only the certificate authorities of this PEM file. Kafka: `ssl.truststore.location`.
    #[must_use]
    pub fn authorities_file(mut self, path: impl AsRef<Path>) -> Self {
        self.authorities = Some(Pem::File(path.as_ref().to_owned()));
        self
    }

    /// Trusts only these certificate authorities, in PEM. Kafka: `ssl.truststore.certificates`.
    #[must_use]
    pub fn authorities_pem(mut self, pem: impl Into<String>) -> Self {
        self.authorities = Some(Pem::Text(Secret(pem.into())));
        self
    }

    /// Shows this certificate, with its chain, and proves it by its key: PEM files.
    /// Kafka: `ssl.keystore.location`.
    #[must_use]
    pub fn identity_files(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let (chain, key) = (chain.as_ref().to_owned(), key.as_ref().to_owned());
        self.identity =
            Some(Identity { chain: Pem::File(chain), key: Pem::File(key), password: None });
        self
    }

    /// As [`identity_files`](Self::identity_files), with the PEM texts themselves.
    /// Kafka: `ssl.keystore.certificate.chain`, `ssl.keystore.key`.
    #[must_use]
    pub fn identity_pem(mut self, chain: impl Into<String>, key: impl Into<String>) -> Self {
        let [chain, key] = [chain.into(), key.into()].map(|text| Pem::Text(Secret(text)));
        self.identity = Some(Identity { chain, key, password: None });
        self
    }

    /// The password of the key that was named before. Kafka: `ssl.key.password`.
    #[must_use]
    pub fn key_password(mut self, password: impl Into<String>) -> Self {
        if let Some(identity) = &mut self.identity {
            identity.password = Some(Secret(password.into()));
        }
        self
    }

    /// Takes a trusted certificate whatever host it was made out to: whoever has one can pretend to
    /// be a broker. Kafka: an empty `ssl.endpoint.identification.algorithm`.
    #[must_use]
    pub fn any_host(mut self) -> Self {
        self.takes_any_host = true;
        self
    }

    fn properties(&self) -> Vec<(&'static str, String)> {
        let host = if self.takes_any_host { "none" } else { "https" };
        let mut properties = vec![
            ("enable.ssl.certificate.verification", "true".to_owned()),
            ("ssl.endpoint.identification.algorithm", host.to_owned()),
        ];
        if let Some(authorities) = &self.authorities {
            properties.push(authorities.property("ssl.ca.location", "ssl.ca.pem"));
        }
        if let Some(Identity { chain, key, password }) = &self.identity {
            properties.push(chain.property("ssl.certificate.location", "ssl.certificate.pem"));
            properties.push(key.property("ssl.key.location", "ssl.key.pem"));
            properties.extend(password.iter().map(|p| ("ssl.key.password", p.0.clone())));
        }
        properties
    }
}

/// A name and a password, and how the password is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    mechanism: &'static str,
    username: String,
    password: Secret,
}

impl Sasl {
    /// Sends the password itself: only over TLS.
    pub fn plain(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::of("PLAIN", username.into(), password.into())
    }

    /// Proves the password without sending it.
    pub fn scram_sha_256(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::of("SCRAM-SHA-256", username.into(), password.into())
    }

    /// Proves the password without sending it, with the longer hash.
    pub fn scram_sha_512(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::of("SCRAM-SHA-512", username.into(), password.into())
    }

    fn of(mechanism: &'static str, username: String, password: String) -> Self {
        Self { mechanism, username, password: Secret(password) }
    }

    fn properties(&self) -> Vec<(&'static str, String)> {
        vec![
            ("sasl.mechanism", self.mechanism.to_owned()),
            ("sasl.username", self.username.clone()),
            ("sasl.password", self.password.0.clone()),
        ]
    }
}

/// Whom a certificate makes this application.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    chain: Pem,
    key: Pem,
    password: Option<Secret>,
}

/// Certificates or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pem {
    File(PathBuf),
    Text(Secret),
}

impl Pem {
    fn property(&self, location: &'static str, text: &'static str) -> (&'static str, String) {
        match self {
            Self::File(path) => (location, path.display().to_string()),
            Self::Text(pem) => (text, pem.0.clone()),
        }
    }
}

/// What is not to be shown.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Local state on disk is sealed with a key. Default: it is not.
///
/// Values of rows are sealed by XChaCha20-Poly1305, each together with its key, its store and its
/// task, so that a value that was changed or put elsewhere is found out. The keys of rows and the
/// names of stores stay readable, since rows are found and ordered by them. Changelogs are not
/// sealed: they are in the brokers' care.
///
/// A directory keeps to one key. With another it is refused at the start; delete it, and state is
/// restored from the changelogs.
///
/// ```
/// use millstream::StateEncryption;
///
/// let encryption = StateEncryption::new(|| {
///     // Ask a key service, or read a file that was mounted for this process alone.
///     Ok([7; 32])
/// });
/// assert!(!format!("{encryption:?}").contains('7'));
/// ```
///
/// It needs the crate's feature `encryption`; `Config::builder(..).build()` says so where it is
/// missing.
#[derive(Clone)]
pub struct StateEncryption {
    key: Arc<dyn Fn() -> Result<[u8; 32], BoxError> + Send + Sync>,
}

impl StateEncryption {
    /// With the key that this gives, 32 bytes from a good source of randomness. It is called once
    /// at each start of an application; if it fails, so does the start.
    pub fn new(key: impl Fn() -> Result<[u8; 32], BoxError> + Send + Sync + 'static) -> Self {
        Self { key: Arc::new(key) }
    }

    #[cfg_attr(not(feature = "encryption"), expect(dead_code, reason = "nothing is sealed"))]
    pub(crate) fn key(&self) -> Result<[u8; 32], BoxError> {
        (self.key)()
    }
}

impl fmt::Debug for StateEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateEncryption([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn names(security: &Security) -> Vec<&'static str> {
        security.properties().into_iter().map(|(name, _)| name).collect()
    }

    fn protocol(security: &Security) -> Option<String> {
        security.properties().into_iter().next().map(|(_, value)| value)
    }

    #[test]
    fn the_protocol_follows_from_what_was_asked_for() {
        let sasl = || Sasl::scram_sha_256("name", "password");
        assert_eq!(protocol(&Security::plaintext()), None, "the client's own default");
        assert_eq!(protocol(&Security::tls(Tls::new())).as_deref(), Some("ssl"));
        let open = Security::plaintext().sasl(sasl());
        assert_eq!(protocol(&open).as_deref(), Some("sasl_plaintext"));
        let both = Security::tls(Tls::new()).sasl(sasl());
        assert_eq!(protocol(&both).as_deref(), Some("sasl_ssl"));
    }

    #[test]
    fn certificates_are_checked_unless_it_was_said_otherwise() {
        let host = |tls: Tls| {
            let properties = Security::tls(tls).properties();
            let wanted = "ssl.endpoint.identification.algorithm";
            properties.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        assert_eq!(host(Tls::new()).as_deref(), Some("https"));
        assert_eq!(host(Tls::new().any_host()).as_deref(), Some("none"));
    }

    #[test]
    fn files_and_texts_go_to_properties_of_their_own() {
        let files = Tls::new().authorities_file("ca.pem").identity_files("chain.pem", "key.pem");
        let found = names(&Security::tls(files.key_password("open")));
        for wanted in
            ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"]
        {
            assert!(found.contains(&wanted), "{wanted} in {found:?}");
        }
        let texts = Tls::new().authorities_pem("ca").identity_pem("chain", "key");
        let found = names(&Security::tls(texts));
        for wanted in ["ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"] {
            assert!(found.contains(&wanted), "{wanted} in {found:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let tls = Tls::new().identity_pem("my-chain", "my-key").key_password("my-password");
        let security = Security::tls(tls).sasl(Sasl::plain("me", "my-other-password"));
        let shown = format!("{security:?}");
        for secret in ["my-chain", "my-key", "my-password", "my-other-password"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("[redacted]") && shown.contains("PLAIN"), "{shown}");
    }

    #[test]
    fn a_setting_is_said_once_and_files_are_there() {
        let security = || Security::tls(Tls::new().authorities_file("/no/such/ca.pem"));
        let builder = Config::builder("clicks", "broker:9093").security(security());
        let errors = builder.client_property("ssl.ca.location", "ca.pem").build();
        let errors = errors.expect_err("it is said twice, and is not there").to_string();
        assert!(errors.contains("`ssl.ca.location`"), "{errors}");
        assert!(errors.contains("`security` says it already"), "{errors}");
        assert!(errors.contains("/no/such/ca.pem"), "{errors}");
        let alone = Config::builder("clicks", "broker:9093");
        assert!(alone.client_property("ssl.ca.location", "ca.pem").build().is_ok());
    }
}
