//! Who waits for the broker? One thread per client makes the calls that block, in order.
//!
//! A call of librdkafka may outlast the timeout that it was given, even for ever. So each call has
//! a deadline of ours. A call that misses it is reported as unknown, its thread is left to itself,
//! and the calls after it get a new one. Otherwise the thread and the clients that its calls hold
//! are gone with their owner.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::signal::Signal;
use crate::spawn::spawn_named;
use crate::time::Instant;

/// A call, and its answer if somebody waits for one.
type Job<A> = Box<dyn FnOnce() -> Option<A> + Send>;

/// Where answers wait to be taken.
#[derive(Debug)]
struct Answers<A> {
    ready: Mutex<VecDeque<(u64, A)>>,
    signal: Arc<Signal>,
}

/// A call that has been asked for and not been answered.
struct Asked<A> {
    number: u64,
    /// Set by the first poll that sees the call.
    deadline: Option<Instant>,
    /// What is answered if the deadline passes.
    if_late: Box<dyn FnOnce() -> A>,
}

/// The thread that makes them.
struct Caller<A> {
    jobs: Sender<(u64, Job<A>)>,
    /// Hears nothing, and then that the other end is gone.
    end: Receiver<()>,
    thread: JoinHandle<()>,
}

impl<A> Caller<A> {
    /// Lets it make the calls that it has been asked for, and waits for its end, but not for ever.
    fn finish(self, at_most: Duration) {
        drop(self.jobs);
        match self.end.recv_timeout(at_most) {
            Err(RecvTimeoutError::Timeout) => {}
            // If a call has panicked, that has been said.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => drop(self.thread.join()),
        }
    }
}

/// The thread that makes a client's blocking calls.
pub(super) struct Calls<A> {
    name: String,
    answers: Arc<Answers<A>>,
    /// There until it is dropped.
    caller: Option<Caller<A>>,
    /// Asked and not answered, in order.
    asked: VecDeque<Asked<A>>,
    next_number: u64,
    patience: Duration,
}

impl<A: Send + 'static> Calls<A> {
    /// A thread of this name that raises `signal` at each answer.
    pub(super) fn new(name: String, signal: &Arc<Signal>, patience: Duration) -> Self {
        let answers = Arc::new(Answers { ready: Mutex::default(), signal: Arc::clone(signal) });
        let caller = Some(start(&name, &answers));
        Self { name, answers, caller, asked: VecDeque::new(), next_number: 0, patience }
    }

    /// Makes a call behind those already asked for.
    pub(super) fn ask(
        &mut self,
        call: impl FnOnce() -> A + Send + 'static,
        if_late: impl FnOnce() -> A + 'static,
    ) {
        let number = self.next_number;
        self.next_number += 1;
        self.asked.push_back(Asked { number, deadline: None, if_late: Box::new(if_late) });
        self.send(number, Box::new(|| Some(call())));
    }

    /// Makes a call whose answer nobody waits for.
    pub(super) fn tell(&self, call: impl FnOnce() + Send + 'static) {
        let job = || {
            call();
            None
        };
        self.send(u64::MAX, Box::new(job));
    }

    fn send(&self, number: u64, job: Job<A>) {
        let caller = self.caller.as_ref().expect("it is there until it is dropped");
        caller.jobs.send((number, job)).expect("the thread ends only when the sender is gone");
    }

    /// Appends the answers that have come, and those of calls that are late.
    pub(super) fn poll(&mut self, now: Instant, answers: &mut Vec<A>) {
        let ready = std::mem::take(
            &mut *self.answers.ready.lock().expect("no panic while answers are held"),
        );
        for (number, answer) in ready {
            // An answer that comes after its deadline has been given already.
            if self.asked.front().is_some_and(|asked| asked.number == number) {
                self.asked.pop_front();
                answers.push(answer);
            }
        }
        let patience = self.patience;
        let Some(first) = self.asked.front_mut() else { return };
        let deadline = *first.deadline.get_or_insert(now + patience);
        if now >= deadline {
            self.abandon(answers);
        }
    }

    /// Gives the thread up with all that it has been asked for.
    fn abandon(&mut self, answers: &mut Vec<A>) {
        tracing::error!(thread = self.name, "a call of the Kafka client does not return");
        self.caller = Some(start(&self.name, &self.answers));
        for asked in self.asked.drain(..) {
            answers.push((asked.if_late)());
        }
    }
}

impl<A> Drop for Calls<A> {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.finish(self.patience);
        }
    }
}

impl<A> std::fmt::Debug for Calls<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}

fn start<A: Send + 'static>(name: &str, answers: &Arc<Answers<A>>) -> Caller<A> {
    let (jobs, receiver) = mpsc::channel();
    let (running, end) = mpsc::channel();
    let answers = Arc::clone(answers);
    let thread = spawn_named(name.to_owned(), move || {
        let _running: Sender<()> = running;
        run(&receiver, &answers);
    });
    Caller { jobs, end, thread }
}

fn run<A>(jobs: &Receiver<(u64, Job<A>)>, answers: &Answers<A>) {
    while let Ok((number, job)) = jobs.recv() {
        let Some(answer) = job() else { continue };
        answers.ready.lock().expect("no panic while answers are held").push_back((number, answer));
        answers.signal.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn answers_come_in_the_order_of_the_calls() {
        let signal = Arc::new(Signal::default());
        let mut calls = Calls::new("calls".into(), &signal, HOUR);
        for number in 0..3 {
            calls.ask(move || number, || 99);
        }
        let mut answers = Vec::new();
        while answers.len() < 3 {
            signal.wait(HOUR);
            calls.poll(at(0), &mut answers);
        }
        assert_eq!(answers, [0, 1, 2]);
    }

    #[test]
    fn a_call_that_never_returns_is_answered_and_the_next_one_is_made() {
        let signal = Arc::new(Signal::default());
        let mut calls = Calls::new("calls".into(), &signal, Duration::from_secs(5));
        let (_hold, never) = mpsc::channel::<()>();
        let stuck = move || {
            let _ = never.recv();
            1
        };
        calls.ask(stuck, || 2);
        let mut answers = Vec::new();
        calls.poll(at(0), &mut answers);
        calls.poll(at(4), &mut answers);
        assert!(answers.is_empty());
        calls.poll(at(5), &mut answers);
        assert_eq!(answers, [2]);

        calls.ask(|| 3, || 4);
        while answers.len() < 2 {
            signal.wait(HOUR);
            calls.poll(at(6), &mut answers);
        }
        assert_eq!(answers, [2, 3]);
    }

    #[test]
    fn what_was_asked_for_is_done_and_its_thread_gone_when_the_calls_are_dropped() {
        let signal = Arc::new(Signal::default());
        let calls = Calls::<()>::new("calls".into(), &signal, HOUR);
        let held = Arc::new(());
        for _ in 0..3 {
            let held = Arc::clone(&held);
            calls.tell(move || drop(held));
        }
        drop(calls);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(Arc::strong_count(&signal), 1);
    }
}
