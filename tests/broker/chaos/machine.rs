//! Which tests run at the same time?
//!
//! One that asserts how long something takes has the machine to itself. The others wait most of the
//! time, for sessions to end, so that several of them run beside each other; those that want it for
//! themselves come when there are no others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many run beside each other. Each starts a few processes, and some a few brokers.
const BESIDE_MAX: usize = 5;

static MACHINE: Machine =
    Machine { tests: Mutex::new(Running::Beside(0)), changed: Condvar::new() };

struct Machine {
    tests: Mutex<Running>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
enum Running {
    Beside(usize),
    Alone,
}

/// A test that runs; until it is dropped.
pub(super) struct Turn(());

/// For a test that asserts how long something takes: no other one runs meanwhile.
pub(super) fn alone() -> Turn {
    take(|running| matches!(running, Running::Beside(0)).then_some(Running::Alone))
}

/// For a test that asserts only what is right.
pub(super) fn beside_others() -> Turn {
    take(|running| match running {
        Running::Beside(count) if count < BESIDE_MAX => Some(Running::Beside(count + 1)),
        Running::Beside(_) | Running::Alone => None,
    })
}

fn running() -> MutexGuard<'static, Running> {
    MACHINE.tests.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(next: impl Fn(Running) -> Option<Running>) -> Turn {
    let mut running = running();
    loop {
        if let Some(next) = next(*running) {
            *running = next;
            return Turn(());
        }
        running = MACHINE.changed.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = running();
        *running = match *running {
            Running::Beside(count) => Running::Beside(count.saturating_sub(1)),
            Running::Alone => Running::Beside(0),
        };
        drop(running);
        MACHINE.changed.notify_all();
    }
}
