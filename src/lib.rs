//! Stream processing embedded in your application.
