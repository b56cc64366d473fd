//! The Redis store keeps every promise of the contract, on a real server.

mod faults;
mod fixture;
mod joined;
mod keys;
mod server;
mod settings;
mod tls;

use fixture::OnServer;

stem_testkit::contract_suites!(OnServer::new(), lacking: [MovableClock, Sweeping]);
