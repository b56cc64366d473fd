//! A cluster of three nodes keeps every promise that one server keeps, with namespaces on all of them.

use crate::fixture::OnServer;

stem_testkit::contract_suites!(OnServer::clustered(), lacking: [MovableClock, Sweeping]);
