//! Does the crate do what it promises, seen from outside? One binary, so that it links once.

mod describe;
