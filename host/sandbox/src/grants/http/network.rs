//! The connections of one deployment's task: made to checked addresses, kept for a while, shared with no other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use super::address::Reach;
use super::body::Upload;
use super::connector::{Connector, Places};
use super::exchange::Waits;
use super::most;
use super::resolver::{Checked, Resolver};

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

pub(super) type Client = legacy::Client<Connector, Upload>;

/// What the attempts of one deployment's task send over. It goes when the deployment does, with its connections.
#[derive(Debug)]
pub(crate) struct Network {
    resolver: Arc<dyn Resolver>,
    lookups: Arc<Semaphore>,
    pub(super) unanswered: Arc<Semaphore>,
    /// Made with the first client.
    places: OnceLock<Places>,
    /// Names that lead inwards have connections apart from those that must not.
    public: OnceLock<Client>,
    private: OnceLock<Client>,
}

impl Network {
    /// No connection yet.
    pub(crate) fn new(resolver: &Arc<dyn Resolver>) -> Self {
        Self {
            resolver: Arc::clone(resolver),
            lookups: Arc::new(Semaphore::new(most::LOOKUPS)),
            unanswered: Arc::new(Semaphore::new(most::UNANSWERED)),
            places: OnceLock::new(),
            public: OnceLock::new(),
            private: OnceLock::new(),
        }
    }

    /// What sends to names that may lead so far inwards.
    pub(super) fn client(&self, may_be_private: bool) -> &Client {
        let (client, inmost) = match may_be_private {
            true => (&self.private, Reach::Private),
            false => (&self.public, Reach::Public),
        };
        client.get_or_init(|| self.connect(inmost))
    }

    /// Whether there can be no new connection for now.
    pub(super) fn is_full(&self) -> bool {
        self.places.get().is_some_and(Places::are_taken)
    }

    fn names(&self, inmost: Reach) -> Checked {
        Checked {
            resolver: Arc::clone(&self.resolver),
            lookups: Arc::clone(&self.lookups),
            inmost,
        }
    }

    fn connect(&self, inmost: Reach) -> Client {
        let tls = ClientConfig::builder()
            .with_webpki_roots()
            .with_no_client_auth();
        let places = self.places.get_or_init(Places::of_task).clone();
        let patience = Waits::default().connect;
        over(Connector::new(self.names(inmost), tls, places, patience))
    }
}

/// What sends over these connections. Whoever drives a connection ends with it, and connections end with the client.
pub(super) fn over(connector: Connector) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(most::IDLE)
        .http1_max_buf_size(most::READ)
        .http1_max_headers(most::HEADER_LINES)
        .build(connector)
}
