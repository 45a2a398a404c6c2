//! What is a twin told? Names and values on its command line, the same ones on both sides.

use std::collections::BTreeMap;

/// The settings of one twin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads words like `name=value`.
    pub(crate) fn parse(words: &[String]) -> Self {
        let pairs = words.iter().map(|word| word.split_once('=').expect("words like name=value"));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("the twin is not told `{name}`"))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("`{name}` is not a number"))
    }

    /// What is handed through to the Kafka client.
    pub(crate) fn client(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.0.iter();
        own.filter_map(|(name, value)| Some((name.strip_prefix("client.")?, value.as_str())))
    }

    /// As the words of a command line.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }
}
