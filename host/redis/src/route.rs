//! Which server has a namespace: the one that the URL names, the node of a cluster that serves its slot, or the master
//! that sentinels name.

mod sentinels;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion,
    RedisError, ServerErrorKind, Value,
};

use crate::endpoint;
use crate::options::Options;
use crate::problem::Stepped;
use crate::reply;

/// How often nodes may send a caller to each other.
const HOPS: usize = 5;
/// One of several servers that says nothing uses up no more than such a part of the time: the next ones are asked too.
const SHARES: u32 = 4;

/// Finds the server of a namespace, for all connections of a store.
pub(crate) struct Route {
    /// User, password, database and TLS, as every connection has them.
    model: ConnectionInfo,
    /// What sentinels call the master: without it, the URL's hosts are asked themselves.
    master: Option<String>,
    /// A key of the namespace: who serves it serves all of it.
    key: String,
    /// How long it may take to connect.
    timeout: Duration,
    known: Mutex<Known>,
}

/// What is known of the servers.
struct Known {
    /// The URL's hosts, the ones that failed last at the end.
    named: Vec<ConnectionAddr>,
    /// Whether it is a cluster, once that was asked.
    is_cluster: Option<bool>,
    /// The nodes of the cluster, where it is one, in such an order too.
    nodes: Vec<ConnectionAddr>,
    /// Who had the namespace last.
    serving: Option<ConnectionAddr>,
}

/// A server that was reached.
pub(crate) struct Reached {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) place: ConnectionAddr,
}

impl Route {
    pub(crate) fn new(options: &Options, key: &str) -> Stepped<Self> {
        let target = endpoint::read(options)?;
        Ok(Self {
            model: target.model,
            master: target.master,
            key: key.to_owned(),
            timeout: options.timeout,
            known: Mutex::new(Known {
                named: target.places,
                is_cluster: None,
                nodes: Vec::new(),
                serving: None,
            }),
        })
    }

    /// A key of the namespace.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Who has the namespace, as far as it is known.
    pub(crate) fn serving(&self) -> Option<String> {
        self.known().serving.as_ref().map(ToString::to_string)
    }

    /// How many nodes the cluster has; none where it is no cluster.
    pub(crate) fn node_count(&self) -> u64 {
        self.known().nodes.len() as u64
    }

    /// Takes from a refusal where the namespace is now.
    pub(crate) fn learn_from(&self, refusal: &RedisError) {
        let mut known = self.known();
        let asked = known.serving.clone();
        if let Some(next) = asked.and_then(|asked| self.redirected(refusal, &asked)) {
            known.serving = Some(next);
        }
    }

    /// Connects to the server that has the namespace now.
    pub(crate) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<Reached, RedisError> {
        let reached = match &self.master {
            Some(master) => self.find_master(master, config).await?,
            None => self.find_node(config).await?,
        };
        self.known().serving = Some(reached.place.clone());
        Ok(reached)
    }

    /// Connects to this server, whatever it has.
    pub(crate) async fn open(
        &self,
        place: &ConnectionAddr,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let settings = self.model.redis_settings().clone().set_protocol(protocol);
        let target = self.model.clone().set_addr(place.clone());
        let client = Client::open(target.set_redis_settings(settings))?;
        client
            .get_multiplexed_async_connection_with_config(config)
            .await
    }

    /// Tries one of several servers, in its share of the time; where that fails, others come first the next time.
    async fn within_share<T>(
        &self,
        (place, number): (&ConnectionAddr, usize),
        trying: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let shares = u32::try_from(number).map_or(SHARES, |number| (number + 1).min(SHARES));
        let share = match number {
            0 | 1 => self.timeout,
            _ => self.timeout / shares,
        };
        let tried = tokio::time::timeout(share, trying).await;
        let tried = tried.unwrap_or_else(|_| Err(too_late()));
        if tried.is_err() {
            self.put_last(place);
        }
        tried
    }

    fn put_last(&self, place: &ConnectionAddr) {
        let mut known = self.known();
        let Known { named, nodes, .. } = &mut *known;
        for list in [named, nodes] {
            // Those that are equal keep their order.
            list.sort_by_key(|one| one == place);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, host: &str, port: u16) -> ConnectionAddr {
        endpoint::moved(self.model.addr(), host, port)
    }
}

// === a server, or the nodes of a cluster ===

impl Route {
    async fn find_node(&self, config: &AsyncConnectionConfig) -> Result<Reached, RedisError> {
        let (mut failed, mut first_error) = (Vec::new(), None);
        let candidates = self.candidates();
        let number = candidates.len();
        for mut place in candidates {
            for _ in 0..HOPS {
                if failed.contains(&place) {
                    break;
                }
                let trying = self.try_node(&place, config);
                match self.within_share((&place, number), trying).await {
                    Ok(Ok(reached)) => return Ok(reached),
                    Ok(Err(next)) => place = next,
                    Err(error) if error.kind() == ErrorKind::InvalidClientConfig => {
                        return Err(error);
                    }
                    Err(error) => {
                        failed.push(place.clone());
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        let disagreement = || {
            let kind = ErrorKind::Server(ServerErrorKind::TryAgain);
            RedisError::from((kind, "the nodes of the cluster send us back and forth"))
        };
        Err(first_error.unwrap_or_else(disagreement))
    }

    fn candidates(&self) -> Vec<ConnectionAddr> {
        let known = self.known();
        let all = known.serving.iter().chain(&known.named).chain(&known.nodes);
        let mut candidates: Vec<ConnectionAddr> = Vec::new();
        for place in all {
            if !candidates.contains(place) {
                candidates.push(place.clone());
            }
        }
        candidates
    }

    /// Connects to a node, unless another one serves the namespace: that one is given.
    async fn try_node(
        &self,
        place: &ConnectionAddr,
        config: &AsyncConnectionConfig,
    ) -> Result<Result<Reached, ConnectionAddr>, RedisError> {
        let mut connection = self.open(place, ProtocolVersion::RESP2, config).await?;
        if let Err(refusal) = probe(&self.key, &mut connection).await {
            if let Some(next) = self.redirected(&refusal, place) {
                return Ok(Err(next));
            }
            if is_of_no_use(&refusal) {
                return Err(refusal);
            }
        }
        self.look_around(&mut connection, place).await?;
        Ok(Ok(Reached {
            connection,
            place: place.clone(),
        }))
    }

    /// Remembers the nodes of a cluster, so that one is found when others are away.
    async fn look_around(
        &self,
        connection: &mut MultiplexedConnection,
        place: &ConnectionAddr,
    ) -> Result<(), RedisError> {
        if !self.is_cluster(connection).await {
            return self.check_single(place);
        }
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        // Whoever may not ask finds its way by the URL.
        if let Ok(answer) = slots.query_async::<Value>(connection).await {
            self.known().nodes = self.nodes(answer, place);
        }
        Ok(())
    }

    /// Whether there are nodes to ask for: a single server would note each question as a refusal (`ACL LOG`).
    async fn is_cluster(&self, connection: &mut MultiplexedConnection) -> bool {
        if let Some(is_cluster) = self.known().is_cluster {
            return is_cluster;
        }
        let mut ask = redis::cmd("INFO");
        let asked = ask.arg("cluster").query_async::<String>(connection).await;
        let is_cluster = asked.map(|facts| facts.contains("cluster_enabled:1"));
        let mut known = self.known();
        known.is_cluster = is_cluster.ok();
        known.is_cluster.unwrap_or(true)
    }

    fn check_single(&self, place: &ConnectionAddr) -> Result<(), RedisError> {
        if self.known().named.len() < 2 {
            return Ok(());
        }
        let says = format!("{place} is none: name one host, or sentinels by redis-sentinel://");
        let what = "several hosts are nodes of a cluster";
        Err((ErrorKind::InvalidClientConfig, what, says).into())
    }

    /// The nodes that `CLUSTER SLOTS` lists: of each range its ends, then its nodes with host and port first.
    fn nodes(&self, answer: Value, asked: &ConnectionAddr) -> Vec<ConnectionAddr> {
        let mut nodes = Vec::new();
        for range in reply::list(answer).unwrap_or_default() {
            for node in reply::list(range).unwrap_or_default() {
                let place = self.node(node, asked);
                nodes.extend(place.filter(|place| !nodes.contains(place)));
            }
        }
        nodes
    }

    fn node(&self, node: Value, asked: &ConnectionAddr) -> Option<ConnectionAddr> {
        let mut about = reply::list(node).ok()?.into_iter();
        let host = reply::text(about.next()?).unwrap_or_default();
        let port = reply::number(about.next()?).ok()?;
        Some(self.beside(asked, &host, u16::try_from(port).ok()?))
    }

    /// Where a refusal sends us for good: `ASK` sends nobody, since a slot that is on its way is nowhere whole.
    fn redirected(&self, refusal: &RedisError, asked: &ConnectionAddr) -> Option<ConnectionAddr> {
        if refusal.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
            return None;
        }
        let (place, _) = refusal.redirect_node()?;
        let (host, port) = place.rsplit_once(':')?;
        Some(self.beside(asked, host, port.parse().ok()?))
    }

    /// A place as a server names it that may not know its own host.
    fn beside(&self, asked: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
        match (host, asked) {
            ("", ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => {
                self.at(host, port)
            }
            (host, _) => self.at(host, port),
        }
    }
}

/// Whether this server serves a key: any command that names it says so.
pub(crate) async fn probe(
    key: &str,
    connection: &mut MultiplexedConnection,
) -> Result<(), RedisError> {
    redis::cmd("EXISTS").arg(key).exec_async(connection).await
}

/// Whether another node may be of more use: this one is gone, or knows that it is cut off.
fn is_of_no_use(refusal: &RedisError) -> bool {
    refusal.kind() == ErrorKind::Io
        || refusal.kind() == ErrorKind::Server(ServerErrorKind::ClusterDown)
}

/// What was waited for did not come in time.
pub(crate) fn too_late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
