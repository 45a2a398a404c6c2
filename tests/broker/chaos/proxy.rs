//! What can happen to bytes on their way between an application and its broker?
//!
//! A [`Proxy`] listens at a port of its own and hands every connection on to the broker. It is one
//! process' only way to the broker, so it can take that way from it and from no other process.
//!
//! Each direction of a connection has two threads: one reads and notes when bytes came, the other
//! asks the weather and writes. So what is late is late by the same time, however much it is, and
//! what is held leaves in its order.
//!
//! # Invariants
//!
//! - A stream never has a hole: once bytes of a connection are lost, the connection is cut before
//!   any later byte gets through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many bytes are read at once, at most.
const CHUNK_BYTES: usize = 64 * 1_024;

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Clear,
    /// They arrive that much later, in each direction.
    Slow(Duration),
    /// None arrives before the weather changes; then all do, however late.
    Hole,
    /// What the broker answers is lost; what it is asked arrives.
    NoAnswers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// Bytes, and when they came.
type Chunk = (Instant, Vec<u8>);

#[derive(Debug)]
struct Sky {
    weather: Weather,
    /// Both ends of every connection that was made.
    ends: Vec<TcpStream>,
    is_over: bool,
}

impl Sky {
    fn cut(&mut self) {
        for end in self.ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

#[derive(Debug)]
struct Shared {
    sky: Mutex<Sky>,
    changed: Condvar,
}

impl Shared {
    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().expect("no panic while held")
    }

    /// Waits until bytes that came at this time may go on; false if they are lost.
    fn pass(&self, direction: Direction, came: Instant) -> bool {
        let mut sky = self.sky();
        while !sky.is_over {
            let rest = match sky.weather {
                Weather::NoAnswers => return direction == Direction::Request,
                Weather::Clear => return true,
                Weather::Slow(delay) => delay.saturating_sub(came.elapsed()),
                Weather::Hole => Duration::MAX,
            };
            if rest.is_zero() {
                return true;
            }
            sky = self.changed.wait_timeout(sky, rest).expect("no panic while held").0;
        }
        false
    }
}

/// A port that leads to a broker, at times.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// `None` until there is a broker to lead to.
    thread: Option<JoinHandle<()>>,
    listener: TcpListener,
}

impl Proxy {
    /// Takes a port, which a broker needs to know before it starts.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("some port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let sky = Sky { weather: Weather::Clear, ends: Vec::new(), is_over: false };
        let shared = Arc::new(Shared { sky: Mutex::new(sky), changed: Condvar::new() });
        Self { port, shared, thread: None, listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What a client is given as `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Hands on to this port of 127.0.0.1 from now on.
    pub(crate) fn lead_to(&mut self, target: u16) {
        let listener = self.listener.try_clone().expect("an open socket can be shared");
        let shared = Arc::clone(&self.shared);
        self.thread = Some(std::thread::spawn(move || accept(&listener, target, &shared)));
    }

    /// Ends every connection there is; new ones can be made at once.
    pub(crate) fn cut(&self) {
        self.shared.sky().cut();
    }

    /// Changes the weather. Connections that have lost answers do not outlive that.
    pub(crate) fn set(&self, weather: Weather) {
        let mut sky = self.shared.sky();
        if sky.weather == Weather::NoAnswers {
            sky.cut();
        }
        sky.weather = weather;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut sky = self.shared.sky();
        sky.is_over = true;
        sky.cut();
        drop(sky);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn accept(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        if shared.sky().is_over {
            return;
        }
        // A broker that is down refuses, and so does the proxy.
        let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) else { continue };
        let mut sky = shared.sky();
        sky.ends.extend([share(&client), share(&broker)]);
        drop(sky);
        join(Direction::Request, share(&client), share(&broker), shared);
        join(Direction::Answer, broker, client, shared);
    }
}

fn share(end: &TcpStream) -> TcpStream {
    end.set_nodelay(true).expect("an open socket takes options");
    end.try_clone().expect("an open socket can be shared")
}

fn join(direction: Direction, from: TcpStream, to: TcpStream, shared: &Arc<Shared>) {
    let (sender, receiver) = channel();
    let shared = Arc::clone(shared);
    std::thread::spawn(move || read(from, &sender));
    std::thread::spawn(move || write(direction, to, &receiver, &shared));
}

fn read(mut from: TcpStream, sender: &Sender<Chunk>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            break;
        }
    }
}

/// Ends the connection in the direction it writes to once nothing more can come.
fn write(direction: Direction, mut to: TcpStream, receiver: &Receiver<Chunk>, shared: &Shared) {
    for (came, bytes) in receiver {
        if shared.pass(direction, came) && to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
