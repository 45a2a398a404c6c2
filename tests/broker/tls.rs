//! Is nobody talked to who is not trusted, and is a broker that trusts nobody else satisfied?
//!
//! One broker with three certificates: one that holds, one that has expired, one of another host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use millstream::{App, Config, Sasl, Security, StreamsBuilder, Tls, Topic, Topology};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::kafka::{Broker, PASSWORD, TLS_DOORS, USER};
use crate::{client, send, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const WORDS: i64 = 20;

/// Certificates of one test.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Self {
        let name = format!("millstream-tls-{}", std::process::id());
        let certificates = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&certificates.0).expect("the directory is writable");
        certificates.authority("authority");
        certificates.authority("stranger");
        certificates.server("trusted", &["-ext", "san=ip:127.0.0.1", "-validity", "30"]);
        let over = ["-ext", "san=ip:127.0.0.1", "-startdate", "-10d", "-validity", "5"];
        certificates.server("expired", &over);
        certificates.server("elsewhere", &["-ext", "san=dns:elsewhere.example", "-validity", "30"]);
        certificates
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// The JVM's own tool, on one key store.
    fn keytool(&self, command: &str, store: &str, arguments: &[&str]) {
        let output = Command::new("keytool")
            .arg(command)
            .args(["-storetype", "PKCS12", "-storepass", PASSWORD, "-keystore"])
            .arg(self.path(&format!("{store}.p12")))
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .expect("`keytool` comes with the JDK");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "keytool {command} {store}: {said}");
    }

    fn key(&self, store: &str, arguments: &[&str]) {
        let name = format!("CN={store}");
        let key = ["-alias", store, "-dname", &name, "-keyalg", "EC", "-groupname", "secp256r1"];
        self.keytool("-genkeypair", store, &[&key, arguments].concat());
    }

    /// Someone who signs certificates.
    fn authority(&self, name: &str) {
        self.key(name, &["-ext", "bc=ca:true", "-validity", "30"]);
        let file = format!("{name}.pem");
        self.keytool("-exportcert", name, &["-alias", name, "-rfc", "-file", &file]);
    }

    /// A server whose certificate the authority has signed.
    fn server(&self, name: &str, certificate: &[&str]) {
        self.key(name, &["-validity", "30"]);
        let (asked, signed) = (format!("{name}.csr"), format!("{name}.crt"));
        self.keytool("-certreq", name, &["-alias", name, "-file", &asked]);
        let sign = ["-alias", "authority", "-rfc", "-infile", &asked, "-outfile", &signed];
        self.keytool("-gencert", "authority", &[&sign, certificate].concat());
        let import = ["-noprompt", "-alias", "authority", "-file", "authority.pem"];
        self.keytool("-importcert", name, &import);
        self.keytool("-importcert", name, &["-noprompt", "-alias", name, "-file", &signed]);
    }

    fn trusting(&self, authority: &str) -> Tls {
        Tls::new().authorities_file(self.path(&format!("{authority}.pem")))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    let words = builder.stream(&Topic::<String, String>::plain("words"));
    words.group_by_key().count("totals").to(&Topic::<String, i64>::plain("counts"));
    builder.build().expect("a valid pipeline")
}

/// Starts an application at one of the broker's listeners.
fn start(broker: &Broker, door: &str, state: &Path, security: Security) -> Result<App, String> {
    let builder = Config::builder("secured", broker.tls(door)).security(security).workers(1);
    let config = builder.state_dir(state).build().expect("valid settings");
    App::builder(&counting(), config).start().map_err(|refused| refused.to_string())
}

fn sasl(password: &str) -> Sasl {
    Sasl::scram_sha_512(USER, password)
}

#[test]
fn only_who_is_trusted_is_talked_to() {
    let certificates = Certificates::new();
    let broker = Broker::start_tls(&certificates.0);
    broker.create_topic("words", 1, &[]);
    broker.create_topic("counts", 1, &[]);
    let trusted = |authority| Security::tls(certificates.trusting(authority));
    let wrong = "not the password";
    let refused = [
        ("password", "trusted", trusted("authority").sasl(sasl(wrong)), "invalid credentials"),
        ("authority", "trusted", trusted("stranger").sasl(sasl(PASSWORD)), "certificate verify"),
        ("expired", "expired", trusted("authority"), "certificate verify"),
        ("host", "elsewhere", trusted("authority"), "certificate verify"),
    ];
    thread::scope(|scope| {
        for (case, door, security, why) in refused {
            let (broker, state) = (&broker, certificates.path(case));
            scope.spawn(move || match start(broker, door, &state, security) {
                Ok(_) => panic!("{case}: it starts"),
                Err(error) => {
                    assert!(error.contains(why) && error.contains("`security`"), "{case}: {error}");
                    assert!(!error.contains(wrong), "{error}");
                }
            });
        }
    });
    let any_host = Security::tls(certificates.trusting("authority").any_host());
    let app = start(&broker, TLS_DOORS[2], &certificates.path("any-host"), any_host);
    assert!(app.expect("the host was not to be looked at").close(PATIENCE));
    let security = trusted("authority").sasl(sasl(PASSWORD));
    counts_to_the_end(&broker, &certificates.path("state"), security);
}

/// Whether an application reads, writes and commits at the listener that asks for everything.
fn counts_to_the_end(broker: &Broker, state: &Path, security: Security) {
    for number in 0..WORDS {
        send(broker, "words", 0, "word", &number.to_string());
    }
    let app = start(broker, "trusted", state, security).expect("it is trusted");
    let mut config = client(broker);
    let reader: BaseConsumer = config
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .create()
        .expect("these settings make a consumer");
    let written = || {
        let ends = reader.fetch_watermarks("counts", 0, PATIENCE);
        ends.expect("the broker answers").1
    };
    let has_ended = wait_until(PATIENCE, || app.error().is_some() || written() > 0);
    assert!(has_ended && app.error().is_none(), "{:?}", app.error());
    assert!(app.close(PATIENCE), "it closes");
    assert!(app.error().is_none(), "{:?}", app.error());
}
