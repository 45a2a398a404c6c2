//! What do the scenarios compute? The functions of `Functions.java`, by the same names.

/// A nullable key or value.
pub(crate) type Nullable = Option<String>;

/// How a key or value is printed: null as `~`.
pub(crate) fn text(value: &Nullable) -> &str {
    value.as_deref().unwrap_or("~")
}

/// The sum of the bytes, 0 for null.
pub(crate) fn code(text: &str) -> u32 {
    text.bytes().map(u32::from).sum()
}

pub(crate) fn is_even(value: &str) -> bool {
    code(value).is_multiple_of(2)
}

pub(crate) fn is_third(value: &str) -> bool {
    code(value).is_multiple_of(3)
}

pub(crate) fn pair(left: &str, right: &str) -> String {
    format!("{left},{right}")
}

pub(crate) fn mark(key: &str, value: &str) -> String {
    format!("{key}:{value}")
}

pub(crate) fn initial() -> String {
    "0".to_owned()
}

pub(crate) fn add(value: &str, total: &mut String) {
    total.push('+');
    total.push_str(value);
}

pub(crate) fn subtract(value: &str, total: &mut String) {
    total.push('-');
    total.push_str(value);
}
