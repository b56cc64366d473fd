//! From a name to the addresses that it may lead to: whatever connects is given these, and looks nothing up itself, so
//! that a name that changes its mind in between gains nothing (S6).

use std::error::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io, vec};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

use super::address::Reach;
use super::most;

/// Turns at looking names up, for all tasks together.
static WORKER: Semaphore = Semaphore::const_new(most::LOOKUPS_OF_WORKER);

/// Where the addresses of names come from.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a host. It may block: it is asked on a thread for such work.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = (host, 0).to_socket_addrs()?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// A name has no address.
#[derive(Debug, thiserror::Error)]
#[error("look up `{host}`")]
pub(super) struct NoAddress {
    host: String,
    source: Option<io::Error>,
}

/// A name leads only to where it may not.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("its name leads to {address}")]
pub(super) struct Prohibited {
    pub(super) address: IpAddr,
    pub(super) reach: Reach,
}

/// A resolver that gives no address but those that were checked.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) lookups: Arc<Semaphore>,
    /// How far inwards a name may lead.
    pub(super) inmost: Reach,
}

type Cause = Box<dyn Error + Send + Sync>;
type Addresses = vec::IntoIter<SocketAddr>;

impl Checked {
    async fn resolve(self, host: String) -> Result<Addresses, Cause> {
        // Whoever asked may be gone before the thread is: the turn is the thread's.
        let turn = Arc::clone(&self.lookups).acquire_owned().await?;
        let turn = (turn, WORKER.acquire().await?);
        let resolver = Arc::clone(&self.resolver);
        let asked = host.clone();
        let look_up = move || {
            let found = resolver.addresses(&asked);
            drop(turn);
            found
        };
        match tokio::task::spawn_blocking(look_up).await? {
            Ok(found) => self.check(host, found),
            Err(error) => Err(Box::new(NoAddress {
                host,
                source: Some(error),
            })),
        }
    }

    fn check(&self, host: String, found: Vec<IpAddr>) -> Result<Addresses, Cause> {
        let Some(address) = found.first().copied() else {
            return Err(Box::new(NoAddress { host, source: None }));
        };
        let may_lead = |address: &IpAddr| Reach::of(*address) <= self.inmost;
        let kept: Vec<SocketAddr> = found
            .into_iter()
            .filter(may_lead)
            .map(|address| (address, 0).into())
            .collect();
        if kept.is_empty() {
            let reach = Reach::of(address);
            return Err(Box::new(Prohibited { address, reach }));
        }
        Ok(kept.into_iter())
    }
}

impl Service<Name> for Checked {
    type Response = Addresses;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Addresses, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name.as_str().to_owned()))
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
