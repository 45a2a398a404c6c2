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
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use self::frames::Frames;
use super::connection::Broken;
use super::core::{Core, Order};
use super::link::Lane;
use super::messages::metadata::Address;
use crate::log::LogError;
use crate::runtime::spawn::spawn_named;
use crate::time::Instant;

const WAKER: Token = Token(0);
/// Segments that leave in one call of the operating system.
const SEGMENTS_MAX: usize = 64;

/// One socket.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
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
    /// Names that are being looked up.
    resolving: Vec<(Lane, Receiver<io::Result<SocketAddr>>)>,
    next_token: usize,
    /// No answer is larger.
    answer_bytes_max: usize,
}

impl Network {
    /// A network without connections.
    ///
    /// # Errors
    ///
    /// The operating system refuses what it takes to wait for sockets.
    pub(super) fn new(answer_bytes_max: usize) -> Result<Self, LogError> {
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
            answer_bytes_max,
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
                socket.is_readable |=
                    event.is_readable() || event.is_read_closed() || event.is_error();
                socket.is_writable |= event.is_writable() || event.is_error();
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
                match socket.frames.read(&mut socket.stream, self.answer_bytes_max) {
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
                    self.sockets.retain(|_, socket| socket.lane != lane);
                    self.resolving.retain(|(other, _)| *other != lane);
                }
            }
        }
    }

    fn connect(&mut self, lane: Lane, address: &Address, core: &mut Core, now: Instant) {
        let Address { host, port } = address.clone();
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.open(lane, SocketAddr::new(ip, port), core, now);
        }
        // Looking a name up blocks, and nothing here may.
        let (sender, resolved) = mpsc::channel();
        let waker = Arc::clone(&self.waker);
        spawn_named("millstream-names".into(), move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let first = found.and_then(|mut all| {
                all.next().ok_or_else(|| io::Error::other(format!("`{host}` has no address")))
            });
            let _ = sender.send(first);
            let _ = waker.wake();
        });
        self.resolving.push((lane, resolved));
    }

    fn take_resolved(&mut self, core: &mut Core, now: Instant) {
        for (lane, resolved) in std::mem::take(&mut self.resolving) {
            match resolved.try_recv() {
                Ok(Ok(address)) => self.open(lane, address, core, now),
                Ok(Err(error)) => core.lost(lane, &Broken::Lost(error.to_string()), now),
                Err(TryRecvError::Empty) => self.resolving.push((lane, resolved)),
                Err(TryRecvError::Disconnected) => {
                    core.lost(lane, &Broken::Lost("its name was not looked up".into()), now);
                }
            }
        }
    }

    fn open(&mut self, lane: Lane, address: SocketAddr, core: &mut Core, now: Instant) {
        let token = Token(self.next_token);
        self.next_token += 1;
        let opened = TcpStream::connect(address).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, interest)?;
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
            while socket.is_writable && !connection.outgoing().is_empty() {
                match socket.write(connection.outgoing()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        socket.is_writable = false;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        closed.push((*token, error));
                        break;
                    }
                }
            }
        }
        self.close_all(closed, core, now);
    }
}

impl Socket {
    /// Whether the connection has been made by now.
    fn is_made(&mut self) -> io::Result<bool> {
        if !self.is_writable {
            return Ok(false);
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.stream.set_nodelay(true)?;
                self.is_connected = true;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
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
