//! The text beside a committed offset, which any client of the group can write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream::fuzzing::commit_metadata;

use crate::frugal::frugal;

pub(crate) fn run(data: &[u8]) {
    stable(&STANDARD.encode(data));
    if let Ok(text) = std::str::from_utf8(data) {
        stable(text);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "AgAAAAAAAAARAAAAAAAAAAphcHAtMTIzNC0w",
        "AgAAAAAAAAARAAAAAQAAAAFuAAAAAAAAAAUAAAAKYXBwLTEyMzQtMA==",
        "AQAAAAAAAAAJ",
        "AgAAAAAAAAAJf////w==",
    ];
    let bytes = texts.map(|text| STANDARD.decode(text).expect("it is Base64"));
    let texts = texts.map(|text| text.as_bytes().to_vec());
    [texts, bytes].concat()
}

/// Whatever it says, what was understood is kept when it is written again.
fn stable(text: &str) {
    let once = frugal(text.len(), (32, 1_024), || commit_metadata(text));
    assert_eq!(commit_metadata(&once), once);
}
