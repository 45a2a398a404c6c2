use super::*;
use crate::window::random::Random;

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

/// One exchange: the four messages of RFC 5802 in their order.
struct Vector {
    hash: ScramHash,
    username: &'static str,
    password: &'static str,
    messages: [&'static str; 4],
}

/// The example of RFC 7677.
const RFC_7677: Vector = Vector {
    hash: ScramHash::Sha256,
    username: "user",
    password: "pencil",
    messages: [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ],
};

/// From Kafka 4.3.1's `ScramFormatter`, with a name and a password that need care.
const JAVA_256: Vector = Vector {
    hash: ScramHash::Sha256,
    username: "a=b,c",
    password: "p\u{e4}ss,w\u{f6}rd=",
    messages: [
        "n,,n=a=3Db=2Cc,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqOserverNonce0,s=YSBzYWx0IG9mIGJ5dGVz,i=8192",
        "c=biws,r=rOprNGfwEbeRWgbNEkqOserverNonce0,p=rpu5UWCGKURUeorgAeYMydCl0VMkb2vSfLawoiKJ/YA=",
        "v=DXKBoLsX2/cz3q7ahzmuHpdnjXFbichdINNUjEIFew0=",
    ],
};

/// From Kafka 4.3.1's `ScramFormatter`.
const JAVA_512: Vector = Vector {
    hash: ScramHash::Sha512,
    messages: [
        "n,,n=a=3Db=2Cc,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqOserverNonce0,s=YSBzYWx0IG9mIGJ5dGVz,i=8192",
        "c=biws,r=rOprNGfwEbeRWgbNEkqOserverNonce0,\
         p=Om1zekdtcUqRny8SC9m/8M3Fiyff5KZapSS7W0PoLvEScPCkSikYXy65Se7q/2AZqObw8K82IIx1qHbNO5h8\
         WQ==",
        "v=vnDg2ipPOBzV2Z8hAr8l0WWSVxQAULczCyH3sp9hWX4zcpd7T6AQNqY6J6F4pmcb6nX76SlN2eRVkccHb1H0\
         NQ==",
    ],
    ..JAVA_256
};

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: Secret::new(username), password: Secret::new(password) }
}

impl Vector {
    fn begin(&self) -> Exchange {
        let credentials = credentials(self.username, self.password);
        let mechanism = SaslSettings::Scram(self.hash, credentials.clone()).mechanism();
        let scram = Scram::begin(mechanism, self.hash, &credentials, CLIENT_NONCE.to_owned());
        Exchange { mechanism, step: Step::Scram(Box::new(scram.unwrap())) }
    }
}

fn scram(hash: ScramHash) -> SaslSettings {
    SaslSettings::Scram(hash, credentials("user", "pencil"))
}

/// What a broker's first message leads to.
fn challenged(challenge: &str) -> Result<Option<Vec<u8>>, SaslError> {
    RFC_7677.begin().answer(challenge.as_bytes())
}

#[test]
fn scram_is_that_of_the_rfc_and_of_java() {
    for vector in [RFC_7677, JAVA_256, JAVA_512] {
        let [first, challenge, proof, signature] = vector.messages;
        let mut exchange = vector.begin();
        assert_eq!(exchange.first(), first.as_bytes());
        let answer = exchange.answer(challenge.as_bytes()).unwrap();
        assert_eq!(answer.as_deref(), Some(proof.as_bytes()), "{}", exchange.mechanism());
        assert_eq!(exchange.answer(signature.as_bytes()).unwrap(), None);
        assert!(exchange.answer(signature.as_bytes()).is_err(), "it has ended");
    }
}

#[test]
fn who_does_not_know_the_password_is_no_broker() {
    let [_, challenge, _, signature] = RFC_7677.messages;
    for at in 2..signature.len() - 2 {
        let mut forged = signature.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let mut exchange = RFC_7677.begin();
        exchange.answer(challenge.as_bytes()).unwrap();
        let error = exchange.answer(&forged).unwrap_err();
        assert!(matches!(error, SaslError::Forged), "{at}: {error}");
    }
    for forged in ["", "v=", "v=AAAA", "w=", "v=!", "e=invalid-proof"] {
        let mut exchange = RFC_7677.begin();
        exchange.answer(challenge.as_bytes()).unwrap();
        assert!(exchange.answer(forged.as_bytes()).is_err(), "{forged}");
        assert!(exchange.answer(signature.as_bytes()).is_err(), "{forged}: it has ended");
    }
}

#[test]
fn a_challenge_has_to_be_fresh_and_sound() {
    let cases = [
        ("", "no nonce first"),
        ("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096", "no nonce first"),
        ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", "adds nothing"),
        ("r=another,s=AAAA,i=4096", "does not begin with ours"),
        ("r=rOprNGfwEbeRWgbNEkqOx,i=4096", "no salt"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=A!,i=4096", "not base64"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA", "no number of iterations"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=many", "iterations that is none"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=-1", "iterations that is none"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4095", "fewer than 4096"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=1000001", "more than a million"),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4294967295", "more than a million"),
        ("e=other-error", "the broker refuses: other-error"),
    ];
    for (challenge, wanted) in cases {
        let error = challenged(challenge).unwrap_err().to_string();
        assert!(error.contains(wanted), "{challenge}: {error}");
    }
    assert!(challenged("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096,x=later").is_ok());
    assert!(RFC_7677.begin().answer(b"r=\xff").is_err());
}

#[test]
fn every_exchange_has_a_nonce_of_its_own() {
    for (hash, mechanism) in
        [(ScramHash::Sha256, "SCRAM-SHA-256"), (ScramHash::Sha512, "SCRAM-SHA-512")]
    {
        let [mut one, mut other] = [scram(hash), scram(hash)].map(|s| Exchange::begin(&s).unwrap());
        assert_eq!(one.mechanism(), mechanism);
        let [one, other] = [one.first(), other.first()];
        assert!(one.starts_with(b"n,,n=user,r=") && one.len() == 12 + 32);
        assert_ne!(one, other);
    }
}

#[test]
fn plain_sends_the_password_itself() {
    let settings = SaslSettings::Plain(credentials("me", "p\u{e4}ss"));
    let mut exchange = Exchange::begin(&settings).unwrap();
    assert_eq!(exchange.mechanism(), "PLAIN");
    assert_eq!(exchange.first(), "\0me\0p\u{e4}ss".as_bytes());
    assert_eq!(exchange.answer(b"").unwrap(), None);
    for (username, password) in [("", "p"), ("u", ""), ("u\0", "p"), ("u", "p\0")] {
        let settings = SaslSettings::Plain(credentials(username, password));
        assert!(matches!(Exchange::begin(&settings), Err(SaslError::Unusable { .. })));
    }
}

#[test]
fn what_the_broker_says_is_shown_without_control_characters() {
    let mut exchange = Exchange::begin(&SaslSettings::Plain(credentials("u", "p"))).unwrap();
    let error = exchange.answer(b"not\x01today").unwrap_err();
    assert_eq!(error.to_string(), "the broker refuses: not today");
    assert!(exchange.answer(b"").is_err(), "it has ended");
}

#[test]
fn no_secret_is_shown() {
    let plain = SaslSettings::Plain(credentials("my-name", "my-password"));
    let scram = SaslSettings::Scram(ScramHash::Sha512, credentials("my-name", "my-password"));
    for settings in [plain, scram] {
        let mut exchange = Exchange::begin(&settings).unwrap();
        let error = exchange.answer(b"nonsense").unwrap_err();
        let shown = format!("{settings:?} {exchange:?} {error} {error:?}");
        for secret in ["my-name", "my-password"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn noise_never_breaks_an_exchange() {
    let mut random = Random(4);
    for round in 0..2_000 {
        let mut challenge = RFC_7677.messages[1].as_bytes().to_vec();
        let at = random.below(challenge.len() as i64) as usize;
        // Past the nonce, so that what follows is read; with few iterations, so that it is quick.
        challenge[at] = random.below(256) as u8;
        if round % 2 == 0 {
            challenge.truncate(at);
        }
        let is_many = challenge.ends_with(b"i=4096");
        if !is_many || round < 20 {
            let mut exchange = RFC_7677.begin();
            if let Ok(Some(_)) = exchange.answer(&challenge) {
                assert!(exchange.answer(&challenge).is_err());
            }
        }
    }
}
