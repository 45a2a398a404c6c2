//! Whom does a TLS connection trust, and as whom does it come? From settings to a configuration of
//! rustls.
//!
//! # Invariants
//!
//! - A broker's certificate is always checked against the authorities, and its key against what it
//!   signed; only whom it was made out to may be left out.
//! - No error shows what is in a PEM text: it names the file or the property, and the fix.

#[cfg(test)]
pub(super) mod pems;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use zeroize::Zeroizing;

use super::secret::Secret;

/// Encryption, whose certificates are trusted, and whose is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsSettings {
    /// The system's, if there are none.
    pub(super) authorities: Vec<Pem>,
    pub(super) identity: Option<Identity>,
    /// Whether a trusted certificate may be made out to any host.
    pub(super) takes_any_host: bool,
}

/// Whom a certificate makes this application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) chain: Pem,
    pub(super) key: Pem,
}

/// Certificates or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pem {
    File(PathBuf),
    Text { property: &'static str, text: Secret },
}

/// Where a PEM text is; what it says is not shown.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Text { property, .. } => write!(f, "the text of `{property}`"),
        }
    }
}

impl Pem {
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, TlsError> {
        let text = match self {
            Self::Text { text, .. } => Ok(text.reveal().as_bytes().to_vec()),
            Self::File(path) => std::fs::read(path),
        };
        let unreadable = |source| TlsError::Unreadable { pem: self.to_string(), source };
        text.map(Zeroizing::new).map_err(unreadable)
    }
}

/// Why there is no TLS with these settings.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{pem} cannot be read; name a PEM file that this user may read")]
    Unreadable { pem: String, source: io::Error },
    #[error("{pem} is not PEM text all through; write it anew")]
    Malformed { pem: String },
    #[error("{pem} holds no certificate; it needs a `CERTIFICATE` section")]
    NoCertificate { pem: String },
    #[error("{pem} holds a certificate that cannot be trusted for others; name an authority's")]
    NotAnAuthority { pem: String, source: rustls::Error },
    #[error("{pem} holds no private key; it needs a `PRIVATE KEY` section")]
    NoKey { pem: String },
    #[error("the key in {pem} is encrypted, which only librdkafka reads; decrypt it")]
    EncryptedKey { pem: String },
    #[error("the certificate in {chain} and the key in {key} cannot be used together")]
    Mismatch { chain: String, key: String, source: rustls::Error },
    #[error("the system has no certificate authorities; install them, or set `ssl.ca.location`")]
    NoSystemAuthorities,
}

impl TlsError {
    /// Whether librdkafka can do what was asked for.
    pub(super) fn is_unsupported(&self) -> bool {
        matches!(self, Self::EncryptedKey { .. })
    }
}

/// What every connection of a process uses.
pub(super) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for every version")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let (certificates, private) = (certificates(chain)?, private_key(key)?);
            builder.with_client_auth_cert(certificates, private).map_err(|source| {
                TlsError::Mismatch { chain: chain.to_string(), key: key.to_string(), source }
            })?
        }
    };
    Ok(Arc::new(config))
}

fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let authorities = Arc::new(authorities(&settings.authorities)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(authorities, Arc::clone(provider))
        .build()
        .expect("there are authorities, and no revocation lists");
    Ok(if settings.takes_any_host { Arc::new(AnyHost(verifier)) } else { verifier })
}

/// Never none.
fn authorities(pems: &[Pem]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for pem in pems {
        for certificate in certificates(pem)? {
            let refuse = |source| TlsError::NotAnAuthority { pem: pem.to_string(), source };
            store.add(certificate).map_err(refuse)?;
        }
    }
    if pems.is_empty() {
        // Some systems have one among many that cannot be read; it is trusted for nothing then.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(TlsError::NoSystemAuthorities);
        }
    }
    assert!(!store.is_empty(), "a PEM has a certificate at least");
    Ok(store)
}

/// Never none.
fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = pem.read()?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|_| TlsError::Malformed { pem: pem.to_string() })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { pem: pem.to_string() });
    }
    Ok(certificates)
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    let text = pem.read()?;
    if is_encrypted(&text) {
        return Err(TlsError::EncryptedKey { pem: pem.to_string() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        Error::NoItemsFound => TlsError::NoKey { pem: pem.to_string() },
        _ => TlsError::Malformed { pem: pem.to_string() },
    })
}

/// Whether a key in it needs a password: as PKCS#8 says so, or as OpenSSL did before.
fn is_encrypted(pem: &[u8]) -> bool {
    pem.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        line == b"-----BEGIN ENCRYPTED PRIVATE KEY-----" || line == b"Proc-Type: 4,ENCRYPTED"
    })
}

/// Takes a trusted certificate whatever host it was made out to.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    /// The verifier compares the name last, so that a wrong one means that all else was right.
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
