//! Integration tests, one binary: real processes, real clients, the embedded broker, SQLite, real HTTP.

mod broker;
mod clickhouse;
mod dashboards;
mod deployment;
mod doctor;
mod errors;
mod grafana;
mod guarded;
mod letters;
mod migrate;
mod outbox;
mod page;
mod secrets;
mod service;
mod support;
