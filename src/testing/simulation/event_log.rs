//! What happened in a run, line by line? Every event that production code tells `tracing`, with the
//! virtual time and who was at turn.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The message by which the world says whose turn begins.
pub(super) const TURN: &str = "turn";

/// Collects what is said on this thread while `run` lasts.
pub(super) fn recorded<R>(run: impl FnOnce() -> R) -> (R, Vec<String>) {
    let lines = Arc::new(Mutex::new(Lines::default()));
    let result = tracing::subscriber::with_default(Recorder(Arc::clone(&lines)), run);
    let lines = std::mem::take(&mut lines.lock().expect("no panic while held").told);
    (result, lines)
}

#[derive(Default)]
struct Lines {
    /// Whose turn it is.
    turn: String,
    told: Vec<String>,
}

struct Recorder(Arc<Mutex<Lines>>);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::TRACE)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Text { message, fields } = text;
        let mut lines = self.0.lock().expect("no panic while held");
        if message == TURN {
            lines.turn = fields;
            return;
        }
        let level = match *event.metadata().level() {
            Level::WARN | Level::ERROR => " !",
            _ => "",
        };
        let line = format!("{}:{level} {message}{fields}", lines.turn);
        lines.told.push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as text.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("text takes what is written");
    }
}
