//! The Redis store keeps every promise of the contract, on a real server.

mod backlog;
mod bounds;
mod cluster;
mod clustered;
mod cuts;
mod faults;
mod fixture;
mod growth;
mod joined;
mod keys;
mod life;
mod lines;
mod load;
mod mixed;
mod moved;
mod networks;
mod packs;
mod pauses;
mod replicas;
mod sentinels;
mod server;
mod settings;
mod slots;
mod tls;

use fixture::OnServer;

stem_testkit::contract_suites!(OnServer::new(), lacking: [MovableClock, Sweeping]);
