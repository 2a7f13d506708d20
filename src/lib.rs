//! squall: a streaming sentiment monitor. Posts in; sentiment, signed spike alerts and campaign reach out.
//!
//! The way of the data, and the room each part lives in:
//!
//! ```text
//!  connect: replay, HTTP ──► topics news, social, …
//!                                  │                              broker: consumer, producer, embedded broker
//!  pipeline::score   domain::Post::decode ► text ► campaign ► model ──► squall.scored, squall.mentions, squall.dead
//!  pipeline::store   blocks ► store (SQLite)
//!  pipeline::detect  detect: copies ► minutes ► baseline ► e-detector ► alert life cycle ──► squall.alerts
//!  pipeline::notify  notify: sign, send, retry ──► squall.deliveries
//!  web               page, HTTP API, health, metrics
//! ```
//!
//! Layers, each may use those before it: `domain`, `faults`, `lock`; `config`, `telemetry`; `text`, `detect`, `campaign` (pure: no
//! clock, no I/O); `model`, `broker`, `state`, `store`, `notify`,
//! `connect` (adapters); `pipeline`, `train`; `web`;
//! `cli`, `app`. `tests/layers.rs` holds them to it. ARCHITECTURE.md tells why.

#![warn(missing_docs)]

pub mod app;
pub mod broker;
pub mod campaign;
pub mod cli;
pub mod config;
pub mod connect;
pub mod detect;
pub mod domain;
pub mod faults;
mod lock;
pub mod model;
pub mod notify;
pub mod pipeline;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod train;
pub mod web;
