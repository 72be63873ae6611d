//! pgusher shows every session to its own tenant's database.
//!
//! The rooms below stand in layer order: a room uses only rooms above its own line, never one
//! beneath it and never its neighbour's insides. `tests/rooms.rs` holds them to it. The two lives
//! that run through the rooms, a session's and a registration's, are told in
//! `docs/ARCHITECTURE.md`.

// Layer 0: words everybody shares.
pub mod fault;
pub mod ident;
pub mod observe;
pub mod units;

// Layer 1: the PostgreSQL protocol as bytes.
pub mod wire;

// Layer 2: sockets.
pub mod net;

// Layer 3: who it is, where it goes, what it may hold.
pub mod auth;
pub mod pool;
pub mod tenant;

// Layer 4: PostgreSQL's side of the relay.
pub mod server;

// Layer 5: a client's life.
pub mod session;

// Layer 6: the tenants' life.
pub mod admin;
pub mod control;

// Layer 7: the doors.
pub mod front;
pub mod http;

// Layer 8: composition.
pub mod boot;
pub mod cli;
pub mod config;
