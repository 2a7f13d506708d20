//! Integration tests, one binary: real clients, the embedded broker, SQLite, real HTTP.

mod broker;
