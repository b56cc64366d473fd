//! Guests in the sandbox: what they may, what they may not, and what becomes of them.

mod catalog;
mod commands;
mod common;
mod config;
mod damaged;
mod deploy;
mod deterministic;
mod enqueueing;
mod fates;
mod http;
mod http_limits;
mod isolation;
mod keyvalue;
mod limits;
mod residue;
mod timing;
