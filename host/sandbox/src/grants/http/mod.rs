//! Requests to other machines: to granted origins alone, over connections to addresses that were checked (S6).
//!
//! Nothing of this is made before a guest's first request. A deployment's task has connections of its own, so what was
//! checked for one grant serves no other; an attempt's requests end with it.

mod address;
mod body;
mod connector;
mod exchange;
mod fault;
mod headers;
mod linked;
mod network;
mod resolver;
mod target;

use std::future::poll_fn;
use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    RequestOptions, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::context::Guest;
use crate::grants::Granted;
use exchange::{Answered, Exchange, Traffic, Waits};

pub(crate) use headers::Added;
pub(crate) use network::Network;
pub use resolver::{Resolver, SystemResolver};

/// What there may be of everything.
pub(crate) mod most {
    /// Requests of one attempt.
    pub(super) const REQUESTS: u64 = 10_000;
    /// Of these at once, from being sent to the end of the answer's body; others wait for their turn.
    pub(super) const AT_ONCE: usize = 16;
    /// Requests of a deployment's task on a worker at once, until their answers begin. No guest can hold up another
    /// here by leaving its answers unread.
    pub(super) const UNANSWERED: usize = 128;
    /// Names that are looked up at once for a deployment's task: each takes a thread as long as the system likes.
    pub(super) const LOOKUPS: usize = 8;
    /// The same for all tasks of a worker: half of the threads that there are for work that blocks.
    pub(super) const LOOKUPS_OF_WORKER: usize = 256;
    /// Connections that are kept for an origin: none is closed only to be made anew a moment later.
    pub(super) const IDLE: usize = AT_ONCE;
    /// Bytes of one body, of a request or of an answer.
    pub(super) const BODY: u64 = 64 << 20;
    /// Bytes of the headers of a request or of an answer. A guest can keep as many as it has handles.
    pub(crate) const HEADERS: usize = 16 << 10;
    /// Bytes of a request's body that wait in the host: two such pieces for every body that a guest has handles for.
    pub(super) const PIECE: usize = 16 << 10;
    /// Bytes of an answer that wait in the host.
    pub(super) const READ: usize = 64 << 10;
    pub(super) const HEADER_LINES: usize = 100;
    /// Bytes of a method, of a host with its port, of a path with its query. A guest can keep one of each in every
    /// request that it has a handle for.
    pub(super) const METHOD: usize = 32;
    pub(super) const AUTHORITY: usize = 300;
    pub(super) const PATH: usize = 8 << 10;
}

/// What one attempt sends; made at its first use.
pub(crate) struct Outbound {
    context: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    granted: Arc<Granted>,
    traffic: Arc<Traffic>,
    /// Gone with the attempt, before the guest's half of any body is.
    alive: Arc<()>,
}

impl Outbound {
    fn new(granted: &Arc<Granted>, traffic: Traffic) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(most::HEADERS);
        let hooks = Hooks {
            granted: Arc::clone(granted),
            traffic: Arc::new(traffic),
            alive: Arc::default(),
        };
        Self { context, hooks }
    }
}

/// Links `wasi:http` as it is for whoever sends requests, with what a guest may write into one bounded.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linked::add_to_linker(linker)
}

impl WasiHttpView for Guest {
    /// Asked for once by every call.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let guest = self.called();
        let (granted, values) = (&guest.granted, &guest.values);
        let (watch, log, out) = (&guest.watch, &guest.log, &guest.usage.out);
        let traffic = || Traffic::new(watch, log, out, values);
        let make = || Box::new(Outbound::new(granted, traffic()));
        let outbound = guest.outbound.get_or_insert_with(make);
        WasiHttpCtxView {
            hooks: &mut outbound.hooks,
            table: &mut guest.resources,
            ctx: &mut outbound.context,
        }
    }
}

impl WasiHttpHooks for Hooks {
    /// It is written from where the request goes, not from what the guest calls it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<wasmtime_wasi_http::WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let exchange = Exchange {
            granted: Arc::clone(&self.granted),
            traffic: Arc::clone(&self.traffic),
            alive: Arc::downgrade(&self.alive),
            waits: Waits::new(options.unwrap_or_default()),
            turn: self.traffic.queue(),
        };
        let watch = Arc::clone(&self.traffic.watch);
        let mut sent = Box::pin(exchange.send(request));
        Box::new(poll_fn(move |context| {
            watch.aside(|| sent.as_mut().poll(context))
        }))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        most::PIECE
    }
}
