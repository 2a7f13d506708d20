//! Integration tests, one binary: real processes, real clients, the embedded broker, SQLite, real HTTP.

mod broker;
mod errors;
mod page;
mod service;
mod support;
