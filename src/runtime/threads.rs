//! On which threads does it run? A worker and the restorer, each turned by a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};

use crate::error::{ErrorKind, Result};
use crate::group::WorkerId;
use crate::log::Waker;
use crate::runtime::command::{Command, Report};
use crate::runtime::control::{Join, Message};
use crate::runtime::failure::panicked;
use crate::runtime::give_back::give_back;
use crate::runtime::instance::Parts;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::restorer::{RestoreCommand, Restorer};
use crate::runtime::worker::{Next, Worker};
use crate::spawn::spawn_named;

/// Starts a worker on a thread of its own. It is made there, since nothing of it may move.
pub(crate) fn start_worker(
    parts: &Parts,
    id: WorkerId,
    control: &Mailbox<Message>,
) -> Result<(Mailbox<Command>, Join)> {
    let (mailbox, commands) = Mailbox::new();
    let (ready, started) = bounded(1);
    let (parts, control) = (parts.clone(), control.clone());
    let name = format!("millstream-worker-{}", id.0);
    let thread = spawn_named(name, move || {
        let reports = {
            let control = control.clone();
            move |report| control.send(Message::Report(report))
        };
        match parts.worker(id, commands, Box::new(reports)) {
            Ok(worker) => {
                drop(ready.send(Ok(worker.waker())));
                run_worker(worker, id, &control);
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    Ok((mailbox.clone(), once_started(thread, &started, &mailbox)?))
}

fn run_worker(mut worker: Worker, id: WorkerId, control: &Mailbox<Message>) {
    let ended = catch_unwind(AssertUnwindSafe(|| turn_until_stopped(&mut worker)));
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => panicked(ErrorKind::Panic, "the pipeline", &*panic),
    };
    // What the tasks hold beyond the last commit is gone with them; their backends hold only what
    // is committed, so they can be opened again.
    if catch_unwind(AssertUnwindSafe(|| worker.abandon_all())).is_err() {
        tracing::error!(worker = id.0, "the tasks of a failed worker could not be closed");
    }
    control.send(Message::Report(Report::Failed { worker: id, error }));
}

fn turn_until_stopped(worker: &mut Worker) -> Result<()> {
    loop {
        match worker.turn()? {
            Next::Again => {}
            Next::Wait(at_most) => worker.wait(at_most),
            Next::Stop => return Ok(()),
        }
    }
}

/// Starts the restorer on a thread of its own.
pub(crate) fn start_restorer(
    parts: &Parts,
    control: &Mailbox<Message>,
) -> Result<(Mailbox<RestoreCommand>, Join)> {
    let (mailbox, commands) = Mailbox::new();
    let (ready, started) = bounded(1);
    let (parts, control) = (parts.clone(), control.clone());
    let thread = spawn_named("millstream-restorer".to_owned(), move || {
        let reports = {
            let control = control.clone();
            move |report| control.send(Message::Report(report))
        };
        let restorer = match parts.restorer(commands, Box::new(reports)) {
            Ok(restorer) => restorer,
            Err(error) => return drop(ready.send(Err(error))),
        };
        drop(ready.send(Ok(restorer.waker())));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || restore_until_stopped(restorer)))
        {
            let error = panicked(ErrorKind::Bug, "the restorer", &*panic);
            control.send(Message::Report(Report::RestorerFailed(error)));
        }
    });
    Ok((mailbox.clone(), once_started(thread, &started, &mailbox)?))
}

fn restore_until_stopped(mut restorer: Restorer) {
    loop {
        match restorer.turn() {
            Next::Again => {}
            Next::Wait(at_most) => {
                if restorer.has_settled() {
                    give_back();
                }
                restorer.wait(at_most);
            }
            Next::Stop => return,
        }
    }
}

/// Waits until a thread has made what it turns, or is gone because it could not.
fn once_started<T>(
    thread: JoinHandle<()>,
    started: &Receiver<Result<Waker>>,
    mailbox: &Mailbox<T>,
) -> Result<Join> {
    // A panic of it, if it had one, was caught and reported.
    let join = || drop(thread.join());
    match started.recv().expect("the thread reports before it ends") {
        Ok(waker) => {
            mailbox.wake_with(waker);
            Ok(Box::new(join))
        }
        Err(error) => {
            join();
            Err(error)
        }
    }
}
