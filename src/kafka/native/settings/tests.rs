use super::*;
use crate::config::Config;
use crate::kafka::native::sasl::{Credentials, ScramHash};
use crate::kafka::native::secret::Secret;
use crate::kafka::native::tls::{Identity, Pem};
use crate::kafka::properties::Properties;
use crate::security::{Sasl, Security, Tls};

fn properties(named: &[(&str, &str)]) -> Vec<(String, String)> {
    let brokers = [("bootstrap.servers", "broker:9092")];
    let all = brokers.iter().chain(named);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn settings(named: &[(&str, &str)]) -> Settings {
    Settings::of(&properties(named)).unwrap()
}

fn refused(named: &[(&str, &str)]) -> Vec<String> {
    let refusals = Settings::of(&properties(named)).expect_err("it is refused").0;
    refusals.into_iter().map(|refusal| refusal.property).collect()
}

fn secured(security: Security) -> Result<Settings, Unsupported> {
    let config = Config::builder("app", "broker:9092").security(security);
    Settings::of(&Properties::of(&config.build().unwrap()).writing(&[]))
}

#[test]
fn what_the_other_data_plane_runs_with_is_honoured() {
    let config = Config::builder("app", "one:1,two").client_property("retry.backoff.ms", "20");
    let properties = Properties::of(&config.build().unwrap());
    let reading = properties.reading(&[("client.id", "app-1"), ("auto.offset.reset", "error")]);
    let writing = properties.writing(&[("transactional.id", "app-1"), ("batch.size", "900000")]);
    let settings = Settings::of(&[reading, writing, properties.plain(&[])].concat()).unwrap();
    assert_eq!(settings.fetch.wait_max, Duration::from_millis(100));
    assert_eq!(settings.fetch.error_backoff, Duration::from_millis(100));
    assert_eq!(settings.connections.retry.first, Duration::from_millis(20));
    assert_eq!(settings.produce.batch_bytes_max, 900_000);
    assert_eq!(settings.produce.request_bytes_max, 104_857_600);
    assert!(settings.connections.socket.is_kept_alive);
    assert_eq!(settings.connections.reconnect.first, Duration::from_millis(50));
    assert_eq!(settings.metadata.topic_patience, Duration::from_secs(5));
    assert!(settings.tls.is_none() && settings.sasl.is_none());
}

#[test]
fn brokers_are_names_and_addresses_with_and_without_ports() {
    let brokers = |value: &str| {
        let read = settings(&[("bootstrap.servers", value)]).brokers;
        read.into_iter().map(|Broker { host, port }| format!("{host} {port}")).collect::<Vec<_>>()
    };
    assert_eq!(brokers("one"), ["one 9092"]);
    assert_eq!(brokers("one:1, two:65535 ,,three"), ["one 1", "two 65535", "three 9092"]);
    assert_eq!(brokers("127.0.0.1:93"), ["127.0.0.1 93"]);
    assert_eq!(brokers("[::1]:93,[fe80::1],::1"), ["::1 93", "fe80::1 9092", "::1 9092"]);
    let odd = [
        "",
        ",",
        ":9092",
        "one:",
        "one:0",
        "one:65536",
        "one:x",
        "[::1",
        "[::1]93",
        "[]:1",
        "a b",
        "SSL://one:93",
    ];
    for value in odd {
        assert_eq!(refused(&[("bootstrap.servers", value)]), ["bootstrap.servers"], "{value}");
    }
}

#[test]
fn values_are_read_with_their_limits() {
    let read = settings(&[
        ("client.rack", "r1"),
        ("socket.timeout.ms", "10"),
        ("socket.nagle.disable", "F"),
        ("socket.send.buffer.bytes", "0"),
        ("socket.receive.buffer.bytes", "4096"),
        ("connections.max.idle.ms", "5000"),
        ("broker.address.family", "v6"),
        ("fetch.min.bytes", "7"),
        ("max.partition.fetch.bytes", "1000"),
        ("fetch.message.max.bytes", "2000"),
        ("compression.codec", "zstd"),
        ("compression.level", "9"),
        ("max.in.flight", "1000"),
        ("delivery.timeout.ms", "0"),
    ]);
    assert_eq!(read.rack.as_deref(), Some("r1"));
    assert_eq!(read.connections.answer_timeout, Duration::from_millis(10));
    assert!(!read.connections.socket.has_no_delay);
    assert_eq!(read.connections.socket.send_buffer_bytes, None);
    assert_eq!(read.connections.socket.receive_buffer_bytes, Some(4096));
    assert_eq!(read.connections.idle_max, Some(Duration::from_secs(5)));
    assert_eq!(read.connections.family, AddressFamily::V6);
    assert_eq!((read.fetch.bytes_min, read.fetch.partition_bytes_max), (7, 2_000));
    assert_eq!(read.produce.compression, Some(Codec::Zstd));
    assert_eq!(read.produce.compression_level, Some(9));
    assert_eq!(read.produce.in_flight_max, 5);
    assert_eq!(read.produce.delivery_timeout, None);

    let odd = [
        ("socket.timeout.ms", "9"),
        ("socket.timeout.ms", "soon"),
        ("socket.keepalive.enable", "yes"),
        ("connections.max.idle.ms", "-2"),
        ("broker.address.family", "v5"),
        ("fetch.min.bytes", "-1"),
        ("retry.backoff.ms", "300001"),
        ("retry.backoff.ms", "0.5"),
        ("compression.type", "brotli"),
        ("max.in.flight", "0"),
        ("security.protocol", "tls"),
    ];
    for (name, value) in odd {
        assert_eq!(refused(&[(name, value)]), [name], "{value}");
    }
    assert_eq!(refused(&[("compression.type", "lz4"), ("compression.level", "9")]).len(), 1);
    assert!(settings(&[("compression.level", "9")]).produce.compression.is_none());
}

#[test]
fn the_last_value_counts() {
    let read =
        settings(&[("batch.size", "many"), ("acks", "1"), ("batch.size", "3"), ("acks", "-1")]);
    assert_eq!(read.produce.batch_bytes_max, 3);
    let read = settings(&[("max.in.flight", "3"), ("max.in.flight.requests.per.connection", "4")]);
    assert_eq!(read.produce.in_flight_max, 4, "of aliases too");
}

#[test]
fn the_shorter_age_of_metadata_counts_and_backoffs_do_not_shrink() {
    let age = |named: &[(&str, &str)]| settings(named).metadata.age_max.as_millis();
    let refresh = "topic.metadata.refresh.interval.ms";
    assert_eq!(age(&[]), 300_000);
    assert_eq!(age(&[("metadata.max.age.ms", "1000")]), 1_000);
    assert_eq!(age(&[(refresh, "2000")]), 2_000);
    assert_eq!(age(&[(refresh, "-1")]), 900_000);
    let reconnect = settings(&[("reconnect.backoff.ms", "20000")]).connections.reconnect;
    assert_eq!(reconnect.first, reconnect.most);
}

#[test]
fn everything_that_is_not_honoured_is_named_without_its_value() {
    let named = [
        ("acks", "1"),
        ("debug", "all"),
        ("no.such.property", "my-value"),
        ("plugin.library.paths", "my-plugin"),
        ("security.protocol", "ssl"),
        ("ssl.crl.location", "my-list"),
        ("ssl.engine.id", ""),
        ("ssl.key.password", "my-password"),
    ];
    let unsupported = Settings::of(&properties(&named)).unwrap_err();
    let wanted = "the native data plane cannot honour `acks` (it can only be `all`), \
                  `no.such.property` (it is not known), \
                  `plugin.library.paths` (it loads no foreign code), \
                  `ssl.crl.location` (it reads no revocation lists), \
                  `ssl.key.password` (it reads no encrypted keys)";
    assert_eq!(unsupported.to_string(), wanted);
    assert!(!format!("{unsupported:?}").contains("my-"), "{unsupported:?}");
}

#[test]
fn what_protects_nothing_is_harmless() {
    settings(&[("ssl.crl.location", "list"), ("sasl.mechanism", "GSSAPI")]);
    settings(&[("security.protocol", "PLAINTEXT"), ("ssl.ca.location", "/etc")]);
    assert_eq!(refused(&[("security.protocol", "ssl"), ("ssl.ca.location", "/")]).len(), 1);
}

#[test]
fn settings_of_security_are_understood() {
    let tls = Tls::new().authorities_pem("ca").identity_pem("chain", "key").any_host();
    let sasl = Sasl::scram_sha_512("me", "my-password");
    let read = secured(Security::tls(tls).sasl(sasl)).unwrap();
    let text = |property, text| Pem::Text { property, text: Secret::new(text) };
    let wanted = TlsSettings {
        authorities: vec![text("ssl.ca.pem", "ca")],
        identity: Some(Identity {
            chain: text("ssl.certificate.pem", "chain"),
            key: text("ssl.key.pem", "key"),
        }),
        takes_any_host: true,
    };
    assert_eq!(read.tls, Some(wanted));
    let Some(SaslSettings::Scram(ScramHash::Sha512, user)) = &read.sasl else {
        panic!("it is SCRAM: {read:?}");
    };
    let wanted = Credentials { username: Secret::new("me"), password: Secret::new("my-password") };
    assert_eq!(*user, wanted);
    assert!(!format!("{read:?}").contains("my-password"));

    let plain = secured(Security::plaintext().sasl(Sasl::plain("me", "p"))).unwrap();
    assert!(plain.tls.is_none() && matches!(plain.sasl, Some(SaslSettings::Plain(_))));
    let system = secured(Security::tls(Tls::new())).unwrap();
    assert_eq!(system.tls, Some(TlsSettings::default()));
}

#[test]
fn files_are_named_as_they_are() {
    let read = settings(&[
        ("security.protocol", "ssl"),
        ("ssl.ca.location", "ca.pem"),
        ("ssl.certificate.location", "chain.pem"),
        ("ssl.key.location", "key.pem"),
    ]);
    let file = |path: &str| Pem::File(path.into());
    let tls = read.tls.unwrap();
    assert_eq!(tls.authorities, [file("ca.pem")]);
    assert_eq!(tls.identity, Some(Identity { chain: file("chain.pem"), key: file("key.pem") }));
    let probed = settings(&[("security.protocol", "ssl"), ("ssl.ca.location", "probe")]);
    assert_eq!(probed.tls, Some(TlsSettings::default()));
}

#[test]
fn half_of_a_protection_is_refused() {
    let ssl = ("security.protocol", "ssl");
    let sasl = ("security.protocol", "sasl_ssl");
    let (user, password) = (("sasl.username", "me"), ("sasl.password", "p"));
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[ssl, ("ssl.certificate.pem", "c")], "ssl.key.location"),
        (&[ssl, ("ssl.key.pem", "k")], "ssl.certificate.location"),
        (&[sasl, user, password], "sasl.mechanism"),
        (&[sasl, ("sasl.mechanism", "GSSAPI")], "sasl.mechanism"),
        (&[sasl, ("sasl.mechanisms", "OAUTHBEARER")], "sasl.mechanism"),
        (&[sasl, ("sasl.mechanism", "PLAIN"), password], "sasl.username"),
        (&[sasl, ("sasl.mechanism", "PLAIN"), user, ("sasl.password", "")], "sasl.password"),
        (&[ssl, ("enable.ssl.certificate.verification", "false")], SSL_VERIFICATION),
    ];
    for (named, wanted) in cases {
        assert_eq!(refused(named), [wanted]);
    }
}

const SSL_VERIFICATION: &str = "enable.ssl.certificate.verification";
