//! Integration tests, one binary: real processes, real clients, the embedded broker, SQLite, real HTTP.

mod broker;
mod dashboards;
mod errors;
mod migrate;
mod page;
mod service;
mod support;
