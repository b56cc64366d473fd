//! An open store: its connections, its namespace, and who listens for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Cmd, Value};
use stem_core::ids::EnvelopeId;
use stem_core::names::WorkerName;
use stem_core::store_error::StoreError;
use stem_core::stores::Stores;

use crate::bell::Bell;
use crate::lines::Lines;
use crate::link::{Call, Link};
use crate::options::Options;
use crate::problem::Stepped;
use crate::reserve::Reserve;
use crate::route::Route;
use crate::scripts::Script;
use crate::server::{self, EvictionWatch};
use crate::settle::Unheard;

/// An open store. Dropping the last handle ends its connections.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// What a store and those who wait on it hold together.
pub(crate) struct Shared {
    /// For everything that somebody waits for.
    quick: Link,
    /// For what may be large or long: lists, modules, values.
    bulk: Link,
    /// For what replicas must have before it counts, where they are waited for: who waits for them holds up nobody else.
    kept: Option<Link>,
    route: Arc<Route>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) lines: Lines,
    pub(crate) reserve: Reserve,
    pub(crate) eviction: EvictionWatch,
    pub(crate) prefix: String,
    pub(crate) options: Options,
    pub(crate) unheard: Unheard,
    /// Workers that the server knows from here, unless it has lost what it held.
    beating: Mutex<BTreeSet<WorkerName>>,
    subject: String,
}

impl Store {
    /// Connects to the server, looks at its settings, and listens for what happens there.
    pub async fn open(options: Options) -> Result<Arc<Self>, StoreError> {
        let subject = options.url.to_string();
        let shared = Shared::open(options).await;
        let shared =
            shared.map_err(|problem| problem.into_error("connect to the server", &subject))?;
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
        }))
    }

    /// All seams on this store.
    pub fn stores(self: &Arc<Self>) -> Stores {
        let clock = Arc::clone(&self.shared.options.clock);
        Stores::on_one(Arc::clone(self), clock)
    }

    /// A call of a script on this namespace.
    pub(crate) fn call(&self, script: &'static Script) -> Call {
        self.shared.call(script)
    }

    /// A call of a script on these envelopes.
    pub(crate) fn about(&self, script: &'static Script, ids: &[EnvelopeId]) -> Call {
        let mut call = self.call(script);
        for id in ids {
            call.arg(id.as_bytes());
        }
        call
    }

    /// Runs a script that somebody waits for.
    pub(crate) async fn run(
        &self,
        operation: &'static str,
        call: &Call,
    ) -> Result<Value, StoreError> {
        self.shared.run(operation, call).await
    }

    /// Runs a script that may have more to bring back into lanes than one run does: then it answers nothing.
    pub(crate) async fn run_through(
        &self,
        operation: &'static str,
        call: &Call,
    ) -> Result<Value, StoreError> {
        loop {
            let answer = self.run(operation, call).await?;
            if answer != Value::Nil {
                return Ok(answer);
            }
        }
    }

    /// Runs a script whose answer may be large or take long.
    pub(crate) async fn run_bulk(
        &self,
        operation: &'static str,
        call: &Call,
    ) -> Result<Value, StoreError> {
        let answer = self.shared.link_for(call, &self.shared.bulk).call(call);
        answer
            .await
            .map_err(|problem| self.shared.error(operation, problem))
    }

    /// Runs a command whose answer may be large or take long.
    pub(crate) async fn ask_bulk(
        &self,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<Value, StoreError> {
        let answer = self.shared.bulk.run(command).await;
        answer.map_err(|problem| self.shared.error(operation, problem))
    }

    /// Names the operation that failed.
    pub(crate) fn named<T>(
        &self,
        operation: &'static str,
        stepped: Stepped<T>,
    ) -> Result<T, StoreError> {
        stepped.map_err(|problem| self.shared.error(operation, problem))
    }
}

impl Shared {
    async fn open(options: Options) -> Stepped<Self> {
        let prefix = format!("{{{}}}:", options.namespace);
        let route = Arc::new(Route::new(&options, &prefix)?);
        let link = |purpose| Link::new(&route, &options, purpose);
        let quick = link("quick");
        server::check(&quick, &options).await?;
        let replicas = options.wait_replicas;
        let kept = (replicas > 0).then(|| link("kept").confirmed_by(replicas));
        Ok(Self {
            bulk: link("bulk"),
            bell: Bell::start(link("listen"), &prefix).await?,
            kept,
            lines: Lines::default(),
            reserve: Reserve::new(Arc::clone(&options.clock)),
            unheard: Unheard::default(),
            eviction: EvictionWatch::default(),
            beating: Mutex::default(),
            subject: options.url.to_string(),
            quick,
            route,
            prefix,
            options,
        })
    }

    pub(crate) fn link(&self) -> &Link {
        &self.bulk
    }

    pub(crate) fn beating(&self) -> MutexGuard<'_, BTreeSet<WorkerName>> {
        self.beating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// The link on which this is called: another than usual where replicas must have what it writes.
    fn link_for<'a>(&'a self, call: &Call, usual: &'a Link) -> &'a Link {
        self.kept
            .as_ref()
            .filter(|_| call.promises())
            .unwrap_or(usual)
    }

    pub(crate) fn call(&self, script: &'static Script) -> Call {
        Call::new(script, &self.prefix)
    }

    pub(crate) async fn run(
        &self,
        operation: &'static str,
        call: &Call,
    ) -> Result<Value, StoreError> {
        let answer = self.link_for(call, &self.quick).call(call);
        answer
            .await
            .map_err(|problem| self.error(operation, problem))
    }

    /// Refuses to publish where the reserve is reached (B9).
    pub(crate) async fn check_room(&self, operation: &'static str) -> Result<(), StoreError> {
        let room = self.reserve.check(&self.quick).await;
        room.map_err(|problem| self.error(operation, problem))
    }

    pub(crate) fn error(
        &self,
        operation: &'static str,
        problem: crate::problem::Problem,
    ) -> StoreError {
        problem.into_error(operation, &self.subject)
    }
}

/// Ids that are asked about together, behind those that are answered: a script that was asked about very many would hold
/// up everybody.
pub(crate) fn part_of(ids: &[EnvelopeId], answered: usize) -> &[EnvelopeId] {
    const PART: usize = 1_000;
    let open = &ids[answered..];
    &open[..open.len().min(PART)]
}
