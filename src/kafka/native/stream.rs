//! How do bytes reach a broker? A non-blocking socket, bare or inside of TLS.
//!
//! Both read and write as a socket does: `WouldBlock` says that nothing moves before the socket's
//! next event, and 0 bytes read that the broker has closed, in order or not.
//!
//! # Invariants
//!
//! - Reading never waits for writing: what the broker sent is taken although it takes nothing, else
//!   both could wait for each other.
//! - A read ends short of the room that it was given only if the socket has nothing more.
//! - Nothing that a handshake or an alert wants to say waits for the caller: each read tries to
//!   send it.

#[cfg(test)]
mod tests;

use std::io::{self, BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// How many bytes of TLS are read at once; rustls by itself reads 4 KiB.
const TLS_READ_BYTES: usize = 64 * 1024;

/// How a socket is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketOptions {
    /// Whether small requests go out at once.
    pub(super) has_no_delay: bool,
    /// Whether an idle connection is probed, so that one whose end is gone is noticed.
    pub(super) is_kept_alive: bool,
    /// The system's, if there is none.
    pub(super) send_buffer_bytes: Option<usize>,
    /// The system's, if there is none.
    pub(super) receive_buffer_bytes: Option<usize>,
}

/// A connection to a broker.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Stream {
    /// Begins to connect; with TLS to whoever can show that it is this host.
    ///
    /// The outcome is known from [`is_connected`](Self::is_connected) after the next event.
    pub(super) fn connect(
        address: SocketAddr,
        options: SocketOptions,
        tls: Option<(&Arc<ClientConfig>, &str)>,
    ) -> io::Result<Self> {
        let tls = tls.map(|(config, host)| handshake(config, host)).transpose()?;
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(options.has_no_delay)?;
        sockopt::set_socket_keepalive(&socket, options.is_kept_alive)?;
        if let Some(bytes) = options.send_buffer_bytes {
            sockopt::set_socket_send_buffer_size(&socket, bytes)?;
        }
        if let Some(bytes) = options.receive_buffer_bytes {
            sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        Ok(match tls {
            None => Self::Plain(socket),
            Some(connection) => Self::Tls(Box::new(Tls {
                connection,
                socket: BufReader::with_capacity(TLS_READ_BYTES, socket),
            })),
        })
    }

    /// For registering.
    pub(super) fn source(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket.get_mut(),
        }
    }

    /// Whether the broker has taken the connection; an error if it did not.
    ///
    /// A handshake of TLS comes after it, and goes on with every read and write.
    pub(super) fn is_connected(&mut self) -> io::Result<bool> {
        let socket = self.source();
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes what was accepted before but has not gone out. Whether something is left, for which
    /// the socket has to become writable; what is written during a handshake goes out at its end.
    pub(super) fn flush_pending(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(false),
            Self::Tls(tls) => tls.send(),
        }
    }

    /// Says goodbye as far as that is possible without waiting.
    pub(super) fn close(mut self) {
        if let Self::Tls(tls) = &mut self {
            tls.connection.send_close_notify();
            // The broker sees the end of the socket too.
            tls.send().ok();
        }
    }
}

/// The client's side of TLS to this host, before anything was said.
fn handshake(config: &Arc<ClientConfig>, host: &str) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Tls(tls) => tls.read(room),
        }
    }
}

/// `WouldBlock` during a handshake may end with the socket's next readable event too.
impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(&[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(pieces),
            Self::Tls(tls) => tls.write(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.flush_pending()? { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

/// A socket inside of TLS.
#[derive(Debug)]
pub(super) struct Tls {
    connection: ClientConnection,
    /// Buffered on the side that reads.
    socket: BufReader<TcpStream>,
}

impl Tls {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < room.len() {
            let error = match self.connection.reader().read(&mut room[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                // A socket's end without TLS's own. Kafka's frames bear their lengths, so nothing
                // is taken for whole that was cut off.
                ErrorKind::UnexpectedEof => break,
                ErrorKind::WouldBlock => match self.receive() {
                    Err(error) if filled == 0 => return Err(error),
                    // What is left in the socket says it again.
                    Err(_) => break,
                    Ok(()) => {}
                },
                _ => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Takes what the socket has, and answers what has to be answered.
    fn receive(&mut self) -> io::Result<()> {
        self.connection.read_tls(&mut self.socket)?;
        let processed = self.connection.process_new_packets();
        let sent = self.send();
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        sent.map(drop)
    }

    /// Whether something is left that the socket did not take.
    fn send(&mut self) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(self.socket.get_mut()) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Accepts what rustls has room for, and sends of it what the socket takes.
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send()?;
        let accepted = self.connection.writer().write_vectored(pieces)?;
        if accepted == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.send()?;
        Ok(accepted)
    }
}
