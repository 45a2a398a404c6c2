//! What went wrong, and what happens next?
//!
//! Three phases, three types. [`ConfigError`] and [`TopologyError`] are found before anything runs;
//! their messages name the thing and the fix. [`Error`] is what a running application reports.

use std::fmt;

use crate::log::TopicPartition;

/// An error of the user's own code, or of a codec.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A result whose error is a run-time [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A setting that is missing, unknown, out of range or at odds with another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A required setting was not given, or was given as nothing.
    #[error("setting `{setting}` is empty; {fix}")]
    Missing {
        /// The name of the setting.
        setting: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A value lies outside of what the setting takes.
    #[error("setting `{setting}` is {value}; {fix}")]
    Invalid {
        /// The name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What to write.
        fix: &'static str,
    },
    /// A client property that millstream owns.
    #[error("client property `{property}` is owned by millstream; {fix}")]
    OwnedProperty {
        /// The property.
        property: String,
        /// The setting to use in its place.
        fix: &'static str,
    },
}

/// Every setting that is wrong, found in one go. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One problem per line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_per_line(f, &self.0)
    }
}

impl std::error::Error for ConfigErrors {}

fn one_per_line<T: fmt::Display>(f: &mut fmt::Formatter<'_>, problems: &[T]) -> fmt::Result {
    for (index, problem) in problems.iter().enumerate() {
        let end_of_last = if index == 0 { "" } else { "\n" };
        write!(f, "{end_of_last}{problem}")?;
    }
    Ok(())
}

/// A pipeline that cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Two inputs that must have equally many partitions do not.
    #[error(
        "`{left}` has {left_count} partitions and `{right}` has {right_count}, but their records \
         meet by key; repartition one of them"
    )]
    NotCopartitioned {
        /// One topic.
        left: String,
        /// Its partition count.
        left_count: u32,
        /// The other topic.
        right: String,
        /// Its partition count.
        right_count: u32,
    },
    /// A store, repartition or processor name is used twice.
    #[error("the name `{name}` is used by two {what}s; give one of them another name")]
    NameTaken {
        /// What carries the name: `store`, `repartition`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that cannot be part of a topic or of a path.
    #[error("`{name}` is no valid {what} name; use letters, digits, `.`, `_` and `-`, at most 200")]
    InvalidName {
        /// What was to carry the name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name of an internal topic is longer than brokers take.
    #[error("internal topic `{topic}` is {length} characters long; 249 is the most a log takes")]
    TopicNameTooLong {
        /// The topic.
        topic: String,
        /// How long its name is.
        length: usize,
    },
    /// One topic is read by two sources.
    #[error("topic `{topic}` is read twice; read it once and use the stream's handle twice")]
    TopicReadTwice {
        /// The topic.
        topic: String,
    },
    /// A topic that a source reads does not exist.
    #[error("topic `{topic}` does not exist; create it before the application starts")]
    MissingTopic {
        /// The topic.
        topic: String,
    },
    /// An internal topic exists with the wrong number of partitions.
    #[error(
        "internal topic `{topic}` has {found} partitions where {expected} are needed; the input \
         topics have changed since it was created: reset the application or restore their counts"
    )]
    InternalTopicMismatch {
        /// The topic.
        topic: String,
        /// How many partitions it has.
        found: u32,
        /// How many it must have.
        expected: u32,
    },
    /// An internal topic exists with a setting under which state or records would be lost.
    #[error(
        "internal topic `{topic}` has `{setting}={found}` where {expected} is needed; change the \
         topic's setting"
    )]
    InternalTopicSetting {
        /// The topic.
        topic: String,
        /// The setting.
        setting: String,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A store's name stands for a store of another kind than before, whose rows cannot be read.
    #[error(
        "store `{store}` was {was}, as its {witness} says, and is a {is} store now, which cannot \
         read those rows; give it another name, or reset the application: delete its internal \
         topics, its committed offsets and its state directory{otherwise}"
    )]
    StoreKindChanged {
        /// The store.
        store: String,
        /// What it was.
        was: String,
        /// What it is: `key-value`, `window`, `join-window`, `session`.
        is: &'static str,
        /// Where that is known from.
        witness: String,
        /// What else may be the matter, and what to do then; empty where that is sure.
        otherwise: String,
    },
    /// Records that cannot be processed would come back as input, for ever.
    #[error("dead-letter topic `{topic}` is read by the pipeline; send dead letters elsewhere")]
    DeadLetterRead {
        /// The topic.
        topic: String,
    },
    /// Something was kept under a name that the pipeline does not have.
    #[error(
        "{what} `{name}` is kept from before, and the pipeline has nothing of that name; give the \
         old name back, or delete it, or let it lie with `orphans(Orphans::Keep)`"
    )]
    Orphaned {
        /// What it is: `changelog topic`, `repartition topic`, `local store`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The pipeline holds nothing that could run.
    #[error("the pipeline reads no topic; begin it with `StreamsBuilder::stream` or `table`")]
    Empty,
    /// The partition count of a repartition topic depends on itself.
    #[error("the partition count of repartition `{name}` cannot be derived; give it explicitly")]
    UnknownPartitionCount {
        /// The repartition's name.
        name: String,
    },
    /// The windows of an operator make no sense.
    #[error("the windows of `{name}` cannot be used: {reason}")]
    InvalidWindow {
        /// The name of the operator or of its store.
        name: String,
        /// What is wrong with them, and what to do.
        reason: crate::window::WindowError,
    },
    /// A processor names a store that no one added.
    #[error("processor `{processor}` uses store `{store}`, which the pipeline does not hold")]
    UnknownStore {
        /// The processor.
        processor: String,
        /// The store.
        store: String,
    },
}

/// Everything that keeps a pipeline from running, found in one go. Never empty.
#[derive(Debug)]
pub struct TopologyErrors(pub Vec<TopologyError>);

impl TopologyErrors {
    /// An error if there are problems.
    pub(crate) fn check(problems: Vec<TopologyError>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }
}

impl From<TopologyError> for TopologyErrors {
    fn from(problem: TopologyError) -> Self {
        Self(vec![problem])
    }
}

/// One problem per line.
impl fmt::Display for TopologyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_per_line(f, &self.0)
    }
}

impl std::error::Error for TopologyErrors {}

/// What happens next, coarsely. A new kind needs a caller who would act differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The runtime retries by itself.
    Retriable,
    /// Another process owns these tasks now: they are closed without a commit, and the process
    /// rejoins its group.
    Fenced,
    /// Local state cannot be trusted: it is set aside and restored from the changelog, and a new
    /// worker goes on. No handler is asked.
    Corrupted,
    /// One record could not be decoded, processed or produced: its policy decides.
    Data,
    /// The user's code panicked: the worker is replaced or the application closed, by its handler.
    Panic,
    /// The application stops; a restart alone does not help.
    Fatal,
    /// An invariant of millstream does not hold.
    Bug,
}

/// An error of a running application.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    task: Option<String>,
    node: Option<String>,
    position: Option<(TopicPartition, i64)>,
    source: Option<BoxError>,
    /// Whether the source may show something of a record.
    quotes_record: bool,
}

impl Error {
    /// An error of this kind; `message` says what could not be done.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            message,
            task: None,
            node: None,
            position: None,
            source: None,
            quotes_record: false,
        }))
    }

    /// This error with its cause.
    #[cold]
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// This error with the task it happened in, unless one is known already.
    #[cold]
    #[must_use]
    pub fn in_task(mut self, task: impl fmt::Display) -> Self {
        self.0.task.get_or_insert_with(|| task.to_string());
        self
    }

    /// This error with the operator it happened in, unless one is known already.
    #[cold]
    #[must_use]
    pub fn at_node(mut self, node: impl fmt::Display) -> Self {
        self.0.node.get_or_insert_with(|| node.to_string());
        self
    }

    /// This error with the place of the record it happened on, unless one is known already.
    #[cold]
    #[must_use]
    pub fn at_position(mut self, partition: TopicPartition, offset: i64) -> Self {
        self.0.position.get_or_insert((partition, offset));
        self
    }

    /// This error with a cause that may quote a record: what a codec, the user's code or a panic
    /// said. Logs leave it out.
    #[cold]
    #[must_use]
    pub(crate) fn caused_by_record(mut self, source: impl Into<BoxError>) -> Self {
        self.0.quotes_record = true;
        self.caused_by(source)
    }

    /// This error as a log may show it: never with anything of a record.
    pub(crate) const fn without_content(&self) -> WithoutContent<'_> {
        WithoutContent(self)
    }

    /// What happens next.
    pub const fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The task, printed `0_3`.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The operator.
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// Topic, partition and offset of the record.
    pub fn position(&self) -> Option<(&TopicPartition, i64)> {
        self.0.position.as_ref().map(|(partition, offset)| (partition, *offset))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_place(f)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// The message, and in brackets where it happened, as far as that is known.
    fn fmt_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, node, task, position, .. } = &*self.0;
        let node = node.as_ref().map(|node| format!("operator `{node}`"));
        let task = task.as_ref().map(|task| format!("task {task}"));
        let position =
            position.as_ref().map(|(partition, offset)| format!("{partition} offset {offset}"));
        let place: Vec<String> = [node, task, position].into_iter().flatten().collect();
        f.write_str(message)?;
        if place.is_empty() { Ok(()) } else { write!(f, " ({})", place.join(", ")) }
    }
}

/// See [`Error::without_content`].
pub(crate) struct WithoutContent<'a>(&'a Error);

impl fmt::Display for WithoutContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        error.fmt_place(f)?;
        match &error.0.source {
            Some(source) if !error.0.quotes_record => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A problem of a start that lies with the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogProblem {
    /// No broker answers.
    #[error("the log at `{brokers}` does not answer; check `brokers` and the network: {reason}")]
    Unreachable {
        /// Where it was looked for.
        brokers: String,
        /// What the client says.
        reason: String,
    },
    /// The principal may not do what the application needs.
    #[error("not authorised to {what}; grant {grant} to this principal: {reason}")]
    NotAuthorised {
        /// What was to be done, and with what.
        what: String,
        /// The rights that are missing, as arguments of `kafka-acls`, or `it`.
        grant: String,
        /// What the log says.
        reason: String,
    },
    /// Anything else.
    #[error("cannot {what}: {reason}")]
    Refused {
        /// What was to be done, and with what.
        what: String,
        /// What the log says.
        reason: String,
    },
}

impl LogProblem {
    /// What `error` means for a start that was to do `what`.
    pub(crate) fn of(error: crate::log::LogError, what: String, brokers: &str) -> Self {
        use crate::log::LogError;
        match error {
            LogError::Unavailable(reason) => {
                Self::Unreachable { brokers: brokers.to_owned(), reason }
            }
            LogError::NotAuthorised(reason) => {
                Self::NotAuthorised { what, grant: "it".to_owned(), reason }
            }
            other => Self::Refused { what, reason: other.to_string() },
        }
    }

    /// This problem with the rights that would end it, if it is one of rights.
    pub(crate) fn wanting(mut self, rights: String) -> Self {
        if let Self::NotAuthorised { grant, .. } = &mut self
            && !rights.is_empty()
        {
            *grant = rights;
        }
        self
    }
}

/// Everything that kept an application from starting.
#[derive(Debug)]
pub struct StartError {
    problems: Vec<BoxError>,
}

impl StartError {
    /// One problem.
    pub(crate) fn of(problem: impl Into<BoxError>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    pub(crate) fn from_problems(problems: Vec<BoxError>) -> Self {
        Self { problems }
    }

    /// Each problem.
    pub fn problems(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        self.problems.iter().map(|problem| &**problem as _)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the application cannot start")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
    }
}

impl std::error::Error for StartError {}

/// For programs that return one [`Error`] from everything, by `?`.
macro_rules! fatal_from {
    ($($problems:ty),*) => {$(
        impl From<$problems> for Error {
            /// Kind [`ErrorKind::Fatal`], with the same text.
            #[cold]
            fn from(problems: $problems) -> Self {
                Self::new(ErrorKind::Fatal, problems.to_string())
            }
        }
    )*};
}

fatal_from!(ConfigError, ConfigErrors, TopologyErrors, StartError);
