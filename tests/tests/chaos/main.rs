//! Workers and servers are killed in a loop, and every envelope still ends exactly once: none lost, none doubled, none
//! charged.

mod ledger;
mod redis;
mod scale;
mod sqlite;
mod trial;
