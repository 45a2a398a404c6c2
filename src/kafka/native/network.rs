//! Who carries the bytes? The worker's own thread, over sockets that do not block.
//!
//! # Invariants
//!
//! - Only [`Network::wait`] blocks, and any thread can end it.
//! - An answer is read into a buffer of its own, in which its records stay until they have been
//!   processed; batches leave from where they were written.

mod frames;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use mio::{Events, Interest, Poll, Token};

use self::frames::Frames;
use super::connection::Broken;
use super::core::{Core, Order};
use super::link::Lane;
use super::messages::metadata::Address;
use super::settings::AddressFamily;
use super::stream::{SocketOptions, Stream};
use crate::log::LogError;
use crate::spawn::spawn_named;
use crate::time::Instant;

const WAKER: Token = Token(0);
/// Segments that leave in one call of the operating system.
const SEGMENTS_MAX: usize = 64;

/// How connections are made.
#[derive(Clone, Debug)]
pub(super) struct Wiring {
    pub(super) options: SocketOptions,
    /// Which addresses of a name are used.
    pub(super) family: AddressFamily,
    /// How brokers have to show who they are; `None` for bare connections.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// No answer is larger.
    pub(super) answer_bytes_max: usize,
}

/// A name that is being looked up, to connect to this port of its host.
#[derive(Debug)]
struct Resolving {
    lane: Lane,
    host: String,
    found: Receiver<io::Result<SocketAddr>>,
}

/// One socket.
#[derive(Debug)]
struct Socket {
    stream: Stream,
    lane: Lane,
    is_connected: bool,
    is_readable: bool,
    is_writable: bool,
    frames: Frames,
}

/// The sockets of one client.
#[derive(Debug)]
pub(super) struct Network {
    poll: Poll,
    ready: Events,
    waker: Arc<mio::Waker>,
    sockets: BTreeMap<Token, Socket>,
    resolving: Vec<Resolving>,
    next_token: usize,
    wiring: Wiring,
}

impl Network {
    /// A network without connections.
    ///
    /// # Errors
    ///
    /// The operating system refuses what it takes to wait for sockets.
    pub(super) fn new(wiring: Wiring) -> Result<Self, LogError> {
        let refused =
            |error: io::Error| LogError::Fatal(format!("sockets cannot be used: {error}"));
        let poll = Poll::new().map_err(refused)?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER).map_err(refused)?);
        Ok(Self {
            poll,
            ready: Events::with_capacity(64),
            waker,
            sockets: BTreeMap::new(),
            resolving: Vec::new(),
            next_token: WAKER.0 + 1,
            wiring,
        })
    }

    pub(super) const fn waker(&self) -> &Arc<mio::Waker> {
        &self.waker
    }

    /// Carries what there is in both directions, and does what the core orders.
    pub(super) fn exchange(&mut self, core: &mut Core, now: Instant) {
        self.look(Duration::ZERO);
        self.take_resolved(core, now);
        self.receive(core, now);
        core.turn(now);
        self.obey(core, now);
        self.send(core, now);
    }

    /// Sleeps until a socket can be used, the waker was used, or that long.
    pub(super) fn wait(&mut self, at_most: Duration) {
        self.look(at_most);
    }

    /// Notes which sockets can be used.
    fn look(&mut self, at_most: Duration) {
        // An interrupted wait is one that was shorter.
        let _ = self.poll.poll(&mut self.ready, Some(at_most));
        for event in &self.ready {
            if let Some(socket) = self.sockets.get_mut(&event.token()) {
                let is_over = event.is_read_closed() || event.is_error();
                socket.is_readable |= event.is_readable() || is_over;
                // What TLS wants to say can wait for what it has to hear.
                let is_told = matches!(socket.stream, Stream::Tls(_)) && event.is_readable();
                socket.is_writable |= event.is_writable() || is_told || is_over;
            }
        }
    }

    fn receive(&mut self, core: &mut Core, now: Instant) {
        let mut closed = Vec::new();
        for (token, socket) in &mut self.sockets {
            if !socket.is_connected {
                match socket.is_made() {
                    Ok(true) => core.connected(socket.lane, now),
                    Ok(false) => continue,
                    Err(error) => {
                        closed.push((*token, error));
                        continue;
                    }
                }
            }
            while socket.is_readable {
                match socket.frames.read(&mut socket.stream, self.wiring.answer_bytes_max) {
                    Ok(Some(frame)) => core.received(socket.lane, frame, now),
                    Ok(None) => socket.is_readable = false,
                    Err(error) => {
                        closed.push((*token, error));
                        break;
                    }
                }
            }
        }
        self.close_all(closed, core, now);
    }

    fn close_all(&mut self, closed: Vec<(Token, io::Error)>, core: &mut Core, now: Instant) {
        for (token, error) in closed {
            if let Some(socket) = self.sockets.remove(&token) {
                core.lost(socket.lane, &Broken::Lost(error.to_string()), now);
            }
        }
    }

    /// Makes and ends connections.
    fn obey(&mut self, core: &mut Core, now: Instant) {
        for order in core.take_orders() {
            match order {
                Order::Connect(lane, address) => self.connect(lane, &address, core, now),
                Order::Close(lane) => {
                    let of_lane = self.sockets.iter().find(|(_, socket)| socket.lane == lane);
                    let token = of_lane.map(|(token, _)| *token);
                    if let Some(socket) = token.and_then(|token| self.sockets.remove(&token)) {
                        socket.stream.close();
                    }
                    self.resolving.retain(|resolving| resolving.lane != lane);
                }
            }
        }
    }

    fn connect(&mut self, lane: Lane, address: &Address, core: &mut Core, now: Instant) {
        let Address { host, port } = address.clone();
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.open(lane, SocketAddr::new(ip, port), &host, core, now);
        }
        // Looking a name up blocks, and nothing here may.
        let (sender, found) = mpsc::channel();
        let (waker, name) = (Arc::clone(&self.waker), host.clone());
        let family = self.wiring.family;
        spawn_named("millstream-names".into(), move || {
            let found = (name.as_str(), port).to_socket_addrs();
            let first = found.and_then(|mut all| {
                let fitting = all.find(|address| family.includes(*address));
                fitting.ok_or_else(|| io::Error::other(format!("`{name}` has no address")))
            });
            let _ = sender.send(first);
            let _ = waker.wake();
        });
        self.resolving.push(Resolving { lane, host, found });
    }

    fn take_resolved(&mut self, core: &mut Core, now: Instant) {
        for resolving in std::mem::take(&mut self.resolving) {
            let Resolving { lane, host, found } = &resolving;
            match found.try_recv() {
                Ok(Ok(address)) => self.open(*lane, address, host, core, now),
                Ok(Err(error)) => core.lost(*lane, &Broken::Lost(error.to_string()), now),
                Err(TryRecvError::Empty) => self.resolving.push(resolving),
                Err(TryRecvError::Disconnected) => {
                    core.lost(*lane, &Broken::Lost("its name was not looked up".into()), now);
                }
            }
        }
    }

    fn open(&mut self, lane: Lane, address: SocketAddr, host: &str, core: &mut Core, now: Instant) {
        let token = Token(self.next_token);
        self.next_token += 1;
        let tls = self.wiring.tls.as_ref().map(|config| (config, host));
        let opened = Stream::connect(address, self.wiring.options, tls).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(stream.source(), token, interest)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                let frames = Frames::default();
                let (is_connected, is_readable, is_writable) = (false, false, false);
                let socket =
                    Socket { stream, lane, is_connected, is_readable, is_writable, frames };
                self.sockets.insert(token, socket);
            }
            Err(error) => core.lost(lane, &Broken::Lost(error.to_string()), now),
        }
    }

    fn send(&mut self, core: &mut Core, now: Instant) {
        let mut closed = Vec::new();
        for (token, socket) in &mut self.sockets {
            let Some(connection) = core.connection(socket.lane) else { continue };
            if socket.is_writable
                && let Err(error) = socket.send(connection.outgoing())
            {
                closed.push((*token, error));
            }
        }
        self.close_all(closed, core, now);
    }
}

impl Socket {
    /// Whether the connection has been made by now.
    fn is_made(&mut self) -> io::Result<bool> {
        self.is_connected = self.is_writable && self.stream.is_connected()?;
        Ok(self.is_connected)
    }

    /// Sends as much as the socket takes.
    fn send(&mut self, outgoing: &mut VecDeque<Bytes>) -> io::Result<()> {
        while !outgoing.is_empty() {
            match self.write(outgoing) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.is_writable = !self.stream.flush_pending()?;
        Ok(())
    }

    /// Sends the first of these segments, and takes what has left off their front.
    fn write(&mut self, outgoing: &mut VecDeque<Bytes>) -> io::Result<()> {
        let slices: Vec<IoSlice<'_>> =
            outgoing.iter().take(SEGMENTS_MAX).map(|segment| IoSlice::new(segment)).collect();
        let mut written = self.stream.write_vectored(&slices)?;
        while let Some(first) = outgoing.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            outgoing.pop_front();
        }
        Ok(())
    }
}
