use std::net::{TcpListener, TcpStream as StdStream};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::kafka::native::secret::Secret;
use crate::kafka::native::tls::{Identity, Pem, TlsSettings, client_config, pems};

const OPTIONS: SocketOptions = SocketOptions {
    has_no_delay: true,
    is_kept_alive: true,
    send_buffer_bytes: None,
    receive_buffer_bytes: None,
};

/// Small, so that a socket is soon full.
const SMALL: SocketOptions = SocketOptions {
    send_buffer_bytes: Some(64 * 1024),
    receive_buffer_bytes: Some(64 * 1024),
    ..OPTIONS
};

fn pem(text: &str) -> Pem {
    Pem::Text { property: "ssl.some.pem", text: Secret::new(text) }
}

fn trusting(authority: &str) -> TlsSettings {
    TlsSettings { authorities: vec![pem(authority)], ..TlsSettings::default() }
}

/// The broker's end of a connection: on the same thread, so it never waits either.
struct Broker {
    socket: StdStream,
    tls: Option<ServerConnection>,
}

impl Broker {
    /// Of a broker that asks clients for a certificate or not.
    fn with_tls(socket: StdStream, asks: bool) -> Self {
        let builder =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap();
        let builder = if asks {
            let mut authorities = RootCertStore::empty();
            let authority = CertificateDer::from_pem_slice(pems::CA.as_bytes()).unwrap();
            authorities.add(authority).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(pems::SERVER.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pems::SERVER_KEY.as_bytes()).unwrap();
        let config = builder.with_single_cert(chain, key).unwrap();
        Self { socket, tls: Some(ServerConnection::new(Arc::new(config)).unwrap()) }
    }

    /// Reads what has come.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 16 * 1024];
        let Some(tls) = &mut self.tls else {
            let count = self.socket.read(&mut bytes)?;
            bytes.truncate(count);
            return Ok(bytes);
        };
        while tls.wants_write() && now(tls.write_tls(&mut self.socket))?.is_some() {}
        if tls.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read() == 0 {
            tls.read_tls(&mut self.socket)?;
            let processed = tls.process_new_packets();
            while tls.wants_write() && now(tls.write_tls(&mut self.socket))?.is_some() {}
            processed.map_err(io::Error::other)?;
        }
        let count = tls.reader().read(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Writes as much as goes now.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        let count = tls.writer().write(bytes)?;
        while tls.wants_write() && now(tls.write_tls(&mut self.socket))?.is_some() {}
        Ok(count)
    }
}

fn connected(
    options: SocketOptions,
    tls: Option<(&TlsSettings, &str)>,
    asks: bool,
) -> (Stream, Broker) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = tls.map(|(settings, host)| (client_config(settings).unwrap(), host));
    let mut stream = Stream::connect(
        listener.local_addr().unwrap(),
        options,
        config.as_ref().map(|(config, host)| (config, *host)),
    )
    .unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    while !stream.is_connected().unwrap() {}
    let broker = match tls {
        None => Broker { socket, tls: None },
        Some(_) => Broker::with_tls(socket, asks),
    };
    (stream, broker)
}

/// None if it would block.
fn now<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends so many bytes each way at the same time and checks them.
fn exchange(stream: &mut Stream, broker: &mut Broker, length: usize) -> io::Result<()> {
    let bytes: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
    let (mut to_broker, mut at_broker) = (0, Vec::new());
    let (mut to_client, mut at_client) = (0, Vec::new());
    let mut room = vec![0; 10_000];
    while at_broker.len() < length || at_client.len() < length {
        if to_broker < length {
            let (head, tail) = bytes[to_broker..].split_at((length - to_broker).min(4));
            let pieces = [IoSlice::new(head), IoSlice::new(tail)];
            to_broker += now(stream.write_vectored(&pieces))?.unwrap_or(0);
        }
        stream.flush_pending()?;
        at_broker.extend(now(broker.read())?.unwrap_or_default());
        if to_client < length {
            to_client += now(broker.write(&bytes[to_client..]))?.unwrap_or(0);
        }
        if let Some(count) = now(stream.read(&mut room))? {
            assert!(count > 0, "nobody has closed it");
            at_client.extend_from_slice(&room[..count]);
        }
    }
    assert!(at_broker == bytes && at_client == bytes, "both got what the other sent");
    Ok(())
}

#[test]
fn bytes_go_both_ways() {
    let settings = trusting(pems::CA);
    for (options, length) in [(OPTIONS, 1_000_000), (SMALL, 1_000_000)] {
        for tls in [None, Some((&settings, "localhost")), Some((&settings, "127.0.0.1"))] {
            let (mut stream, mut broker) = connected(options, tls, false);
            exchange(&mut stream, &mut broker, length).unwrap();
        }
    }
}

#[test]
fn a_socket_is_set_up_as_it_was_asked_for() {
    for is_on in [true, false] {
        let options = SocketOptions { has_no_delay: is_on, is_kept_alive: is_on, ..SMALL };
        let (mut stream, _broker) = connected(options, None, false);
        let socket = stream.source();
        assert_eq!(socket.nodelay().unwrap(), is_on);
        assert_eq!(sockopt::socket_keepalive(&*socket).unwrap(), is_on);
        // Linux doubles what is asked for.
        assert!(sockopt::socket_send_buffer_size(&*socket).unwrap() <= 128 * 1024);
        assert!(sockopt::socket_recv_buffer_size(&*socket).unwrap() <= 128 * 1024);
    }
}

#[test]
fn what_the_broker_sent_is_read_although_it_takes_nothing() {
    let settings = trusting(pems::CA);
    for tls in [None, Some((&settings, "localhost"))] {
        let (mut stream, mut broker) = connected(SMALL, tls, false);
        exchange(&mut stream, &mut broker, 100).unwrap();
        let mut blocked = 0;
        while blocked < 10 {
            match now(stream.write(&[0; 10_000])).unwrap() {
                Some(_) => blocked = 0,
                None => blocked += 1,
            }
        }
        assert_eq!(stream.flush_pending().unwrap(), tls.is_some(), "rustls holds some of it");
        assert_eq!(broker.write(b"answer").unwrap(), 6);
        let mut room = [0; 100];
        let answer = loop {
            if let Some(count) = now(stream.read(&mut room)).unwrap() {
                break &room[..count];
            }
        };
        assert_eq!(answer, b"answer");
    }
}

#[test]
fn the_end_of_a_connection_is_read_as_nothing() {
    let settings = trusting(pems::CA);
    for tls in [None, Some((&settings, "localhost"))] {
        let (mut stream, mut broker) = connected(OPTIONS, tls, false);
        exchange(&mut stream, &mut broker, 100).unwrap();
        broker.write(b"last").unwrap();
        drop(broker);
        let (mut got, mut room) = (Vec::new(), [0; 3]);
        loop {
            match now(stream.read(&mut room)).unwrap() {
                Some(0) => break,
                Some(count) => got.extend_from_slice(&room[..count]),
                None => {}
            }
        }
        assert_eq!(got, b"last");
    }
}

#[test]
fn who_closes_says_so() {
    let settings = trusting(pems::CA);
    let (mut stream, mut broker) = connected(OPTIONS, Some((&settings, "localhost")), false);
    exchange(&mut stream, &mut broker, 100).unwrap();
    stream.close();
    let last = loop {
        if let Some(bytes) = now(broker.read()).unwrap() {
            break bytes;
        }
    };
    assert_eq!(last, b"", "and no error, which an end without a goodbye would be");
}

/// What becomes of a handshake.
fn outcome(settings: &TlsSettings, host: &str, asks: bool) -> Result<(), String> {
    let (mut stream, mut broker) = connected(OPTIONS, Some((settings, host)), asks);
    exchange(&mut stream, &mut broker, 10).map_err(|error| {
        assert!(matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::Other), "{error:?}");
        error.to_string()
    })
}

#[test]
fn only_whom_an_authority_knows_is_taken_for_a_broker() {
    let any_host = |authority| TlsSettings { takes_any_host: true, ..trusting(authority) };
    assert_eq!(outcome(&trusting(pems::CA), "localhost", false), Ok(()));
    let wrong_name = outcome(&trusting(pems::CA), "broker.example", false).unwrap_err();
    assert!(wrong_name.contains("not valid for name"), "{wrong_name}");
    assert_eq!(outcome(&any_host(pems::CA), "broker.example", false), Ok(()));
    for settings in [trusting(pems::OTHER_CA), any_host(pems::OTHER_CA)] {
        let unknown = outcome(&settings, "localhost", false).unwrap_err();
        assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    }
}

#[test]
fn a_client_shows_who_it_is() {
    let showing = |chain, key| TlsSettings {
        identity: Some(Identity { chain: pem(chain), key: pem(key) }),
        ..trusting(pems::CA)
    };
    let pairs = [(pems::CLIENT, pems::CLIENT_KEY), (pems::RSA_CLIENT, pems::RSA_CLIENT_KEY)];
    for (chain, key) in pairs {
        assert_eq!(outcome(&showing(chain, key), "localhost", true), Ok(()));
    }
    assert!(outcome(&trusting(pems::CA), "localhost", true).is_err());
}

#[test]
fn a_host_has_to_be_a_name_or_an_address() {
    let config = client_config(&trusting(pems::CA)).unwrap();
    let address = "127.0.0.1:1".parse().unwrap();
    let error = Stream::connect(address, OPTIONS, Some((&config, "not a host"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn nobody_at_home_is_an_error() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let refused = match Stream::connect(address, OPTIONS, None) {
        Err(error) => error,
        Ok(mut stream) => loop {
            if let Err(error) = stream.is_connected() {
                break error;
            }
        },
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
