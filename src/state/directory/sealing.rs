//! With which key is a directory sealed, if with any?

#[cfg(feature = "encryption")]
use std::sync::Arc;

use crate::security::StateEncryption;
use crate::state::StateError;
#[cfg(feature = "encryption")]
use crate::state::backend::RowCipher;

/// Stands in the stamp where there is no key.
const UNSEALED: &str = "none";

/// With what a directory is sealed.
pub(super) struct Sealing {
    /// Tells keys apart.
    pub(super) fingerprint: String,
    #[cfg(feature = "encryption")]
    pub(super) cipher: Option<Arc<RowCipher>>,
}

#[cfg(feature = "encryption")]
impl Sealing {
    pub(super) fn of(encryption: Option<&StateEncryption>) -> Result<Self, StateError> {
        let Some(encryption) = encryption else {
            return Ok(Self { fingerprint: UNSEALED.to_owned(), cipher: None });
        };
        let key = encryption.key().map_err(|error| {
            StateError::Occupied(format!("there is no key for the state directory: {error}"))
        })?;
        let cipher = RowCipher::new(&key);
        let fingerprint = cipher.fingerprint();
        Ok(Self { fingerprint, cipher: Some(Arc::new(cipher)) })
    }
}

#[cfg(not(feature = "encryption"))]
impl Sealing {
    pub(super) fn of(encryption: Option<&StateEncryption>) -> Result<Self, StateError> {
        match encryption {
            None => Ok(Self { fingerprint: UNSEALED.to_owned() }),
            Some(_) => Err(StateError::Occupied(
                "a state directory can be sealed only if the crate is built with its feature \
                 `encryption`"
                    .to_owned(),
            )),
        }
    }
}
