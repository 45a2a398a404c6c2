use super::*;

fn pem(text: &str) -> Pem {
    Pem::Text { property: "ssl.some.pem", text: Secret::new(text) }
}

fn trusting(authorities: &[&str]) -> TlsSettings {
    TlsSettings {
        authorities: authorities.iter().map(|text| pem(text)).collect(),
        ..TlsSettings::default()
    }
}

fn showing(chain: &str, key: &str) -> TlsSettings {
    TlsSettings {
        identity: Some(Identity { chain: pem(chain), key: pem(key) }),
        ..trusting(&[pems::CA])
    }
}

fn error(settings: &TlsSettings) -> TlsError {
    client_config(settings).expect_err("it is refused")
}

#[test]
fn authorities_come_from_texts_files_and_the_system() {
    let [one, both] = [pems::CA.to_owned(), [pems::CA, pems::OTHER_CA].concat()];
    assert_eq!(authorities(&[pem(&one)]).unwrap().len(), 1);
    assert_eq!(authorities(&[pem(&both)]).unwrap().len(), 2);
    assert_eq!(authorities(&[pem(&one), pem(pems::OTHER_CA)]).unwrap().len(), 2);

    let path = std::env::temp_dir().join(format!("millstream-tls-{}.pem", std::process::id()));
    std::fs::write(&path, both).unwrap();
    let from_file = authorities(&[Pem::File(path.clone())]);
    std::fs::remove_file(path).unwrap();
    assert_eq!(from_file.unwrap().len(), 2);

    // Whether this machine has some or not.
    match authorities(&[]) {
        Ok(store) => assert!(!store.is_empty()),
        Err(error) => assert!(error.to_string().contains("`ssl.ca.location`"), "{error}"),
    }
}

#[test]
fn a_key_may_be_of_any_kind_that_is_not_encrypted() {
    let pairs = [
        (pems::CLIENT, pems::CLIENT_KEY),
        (pems::CLIENT, pems::CLIENT_KEY_SEC1),
        (pems::RSA_CLIENT, pems::RSA_CLIENT_KEY),
    ];
    for (chain, key) in pairs {
        let config = client_config(&showing(chain, key)).unwrap();
        assert!(config.client_auth_cert_resolver.has_certs());
        // Both may stand in one file.
        let both = [key, chain].concat();
        assert!(client_config(&showing(&both, &both)).is_ok());
    }
}

#[test]
fn an_encrypted_key_is_left_to_librdkafka() {
    for key in [pems::CLIENT_KEY_ENCRYPTED, pems::CLIENT_KEY_ENCRYPTED_SEC1] {
        let refused = error(&showing(pems::CLIENT, key));
        assert!(matches!(refused, TlsError::EncryptedKey { .. }), "{refused:?}");
        assert!(refused.is_unsupported());
    }
    assert!(!error(&showing(pems::CLIENT, pems::RSA_CLIENT_KEY)).is_unsupported());
}

#[test]
fn errors_name_the_place_and_the_fix_and_show_no_text() {
    let missing = TlsSettings {
        authorities: vec![Pem::File("/no/such/ca.pem".into())],
        ..TlsSettings::default()
    };
    let cut = &pems::CLIENT_KEY[..100];
    let cases = [
        (missing, "`/no/such/ca.pem` cannot be read; name a PEM file"),
        (trusting(&["my text"]), "the text of `ssl.some.pem` holds no certificate"),
        (trusting(&[pems::CLIENT_KEY]), "holds no certificate"),
        (trusting(&[&pems::CA[..100]]), "is not PEM text all through"),
        (trusting(&["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]), "trusted"),
        (showing(pems::CLIENT, pems::CLIENT), "holds no private key"),
        (showing(pems::CLIENT, cut), "is not PEM text all through"),
        (showing(pems::CLIENT_KEY, pems::CLIENT_KEY), "holds no certificate"),
        (showing(pems::CLIENT, pems::SERVER_KEY), "cannot be used together"),
        (showing(pems::CLIENT, pems::CLIENT_KEY_ENCRYPTED), "decrypt it"),
    ];
    for (settings, wanted) in cases {
        let error = error(&settings);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(wanted), "{shown}");
        for secret in ["my text", "AAAA", "MIG", "MHc", "MHQ", "BEGIN"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn settings_show_no_text() {
    let shown = format!("{:?}", showing(pems::CLIENT, pems::CLIENT_KEY));
    assert!(shown.contains("[redacted]") && !shown.contains("BEGIN"), "{shown}");
}
