//! The connections of one deployment's task: made to checked addresses, kept for a while, shared with no other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use super::address::Reach;
use super::body::Upload;
use super::exchange::Waits;
use super::most;
use super::resolver::{Checked, Resolver};

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

pub(super) type Client = legacy::Client<HttpsConnector<HttpConnector<Checked>>, Upload>;

/// What the attempts of one deployment's task send over. It goes when the deployment does, with its connections.
#[derive(Debug)]
pub(crate) struct Network {
    resolver: Arc<dyn Resolver>,
    lookups: Arc<Semaphore>,
    pub(super) unanswered: Arc<Semaphore>,
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

    fn connect(&self, inmost: Reach) -> Client {
        let mut tcp = HttpConnector::new_with_resolver(Checked {
            resolver: Arc::clone(&self.resolver),
            lookups: Arc::clone(&self.lookups),
            inmost,
        });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Waits::default().connect));
        let tls = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // Whoever drives a connection ends with it, and connections end with this client.
        legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(most::IDLE)
            .http1_max_buf_size(most::READ)
            .http1_max_headers(most::HEADER_LINES)
            .build(tls)
    }
}
