//! How do the threads of a process talk? By mailboxes that end their owner's wait.

use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::log::Waker;

/// The sending end: cheap to clone, never blocks.
pub(crate) struct Mailbox<T> {
    sender: Sender<T>,
    waker: Arc<OnceLock<Waker>>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<T> Mailbox<T> {
    /// A mailbox and the end at which its owner takes messages.
    pub(crate) fn new() -> (Self, Receiver<T>) {
        let (sender, receiver) = unbounded();
        (Self { sender, waker: Arc::default() }, receiver)
    }

    /// Lets each message end the owner's wait.
    pub(crate) fn wake_with(&self, waker: Waker) {
        assert!(self.waker.set(waker).is_ok(), "a mailbox has one owner");
    }

    /// Sends a message. It is dropped if the owner has ended: then no one acts on it any more.
    pub(crate) fn send(&self, message: T) {
        if self.sender.send(message).is_ok()
            && let Some(waker) = self.waker.get()
        {
            waker.wake();
        }
    }
}
