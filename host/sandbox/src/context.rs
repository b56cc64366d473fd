//! What a guest sees of the host: the `context` and `log` interfaces, and WASI with nothing in it.

use std::sync::{Arc, Mutex, PoisonError};

use stem_core::executor::{AttemptContext, CheckpointError, StopReason};
use stem_core::grants::Grants;
use stem_core::payload::Payload;
use stem_core::record::LogLevel;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::stem::task::{context, log, types};
use crate::command::Console;
use crate::grants::Granted;
use crate::grants::deterministic::Fixed;
use crate::grants::enqueue::Budget;
use crate::grants::http::Outbound;
use crate::grants::values::Values;
use crate::limits::{MemoryMeter, held};
use crate::log::{Log, Stream, cut, escape};
use crate::output::{LogSink, Output};
use crate::usage::HostMeter;
use crate::watch::{Request, Watch};

/// Bytes of a progress note that are kept.
const LONGEST_NOTE: usize = 256;

/// The host's side of one attempt.
pub(crate) struct Guest {
    pub(crate) memory: MemoryMeter,
    pub(crate) watch: Arc<Watch>,
    pub(crate) log: Arc<Mutex<Log>>,
    /// What a program reads and writes (S9).
    pub(crate) console: Option<Arc<Console>>,
    pub(crate) granted: Arc<Granted>,
    pub(crate) usage: HostMeter,
    pub(crate) values: Values,
    pub(crate) fixed: Option<Fixed>,
    pub(crate) context: Arc<dyn AttemptContext>,
    /// Made at its first use. It is dropped before the resources: a request's body that ends with them is then known to
    /// be cut off.
    pub(crate) outbound: Option<Box<Outbound>>,
    pub(crate) resources: ResourceTable,
    pub(crate) enqueueing: Budget,
    /// A store has failed a call to a bucket, and the host's log has it.
    pub(crate) has_failed_buckets: bool,
    /// Made at its first use: seeding its generators would be a good part of what a small task costs.
    wasi: Option<WasiCtx>,
}

/// What ties a guest to its attempt.
pub(crate) struct Ties {
    pub(crate) watch: Arc<Watch>,
    pub(crate) context: Arc<dyn AttemptContext>,
    pub(crate) granted: Arc<Granted>,
    pub(crate) values: Values,
    pub(crate) fixed: Option<Fixed>,
    pub(crate) enqueueing: Budget,
}

impl Guest {
    /// A guest that has done nothing yet.
    pub(crate) fn new(memory: MemoryMeter, log: Log, ties: Ties) -> Self {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(held::RESOURCES);
        Self {
            memory,
            watch: ties.watch,
            log: Arc::new(Mutex::new(log)),
            console: None,
            granted: ties.granted,
            usage: HostMeter::default(),
            values: ties.values,
            fixed: ties.fixed,
            context: ties.context,
            outbound: None,
            resources,
            enqueueing: ties.enqueueing,
            has_failed_buckets: false,
            wasi: None,
        }
    }
}

impl Guest {
    /// The guest calls one of its imports: every interface is linked by way of this, so that no call goes uncounted.
    pub(crate) fn called(&mut self) -> &mut Self {
        self.usage.call();
        self
    }

    /// Lets others run: tokio's own yield goes behind whatever else is ready, so that a guest that spins starves nobody.
    pub(crate) fn give_way(&self) -> impl Future<Output = ()> + Send + 'static {
        let (watch, context) = (Arc::clone(&self.watch), Arc::clone(&self.context));
        async move {
            let before = watch.elapsed();
            tokio::task::yield_now().await;
            context.waited(watch.elapsed().saturating_sub(before));
        }
    }
}

impl WasiView for Guest {
    /// Asked for once by every call.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let guest = self.called();
        let (log, granted, fixed) = (&guest.log, &guest.granted, guest.fixed.as_ref());
        let console = guest.console.as_deref();
        let wasi = || wasi(log, &granted.grants, fixed, console);
        WasiCtxView {
            ctx: guest.wasi.get_or_insert_with(wasi),
            table: &mut guest.resources,
        }
    }
}

/// No files, no network, and of the environment what was granted; the two output streams go into the log. A program
/// has its own input and output, arguments and more of an environment.
fn wasi(
    log: &Arc<Mutex<Log>>,
    grants: &Grants,
    fixed: Option<&Fixed>,
    console: Option<&Console>,
) -> WasiCtx {
    let output = |stream| {
        Output(LogSink {
            stream,
            log: Arc::clone(log),
        })
    };
    let environment: Vec<_> = grants.environment.iter().collect();
    let mut wasi = WasiCtx::builder();
    wasi.stdout(output(Stream::Stdout))
        .stderr(output(Stream::Stderr))
        .max_random_size(held::RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    if let Some(fixed) = fixed {
        fixed.set(&mut wasi);
    }
    if let Some(console) = console {
        console.connect(&mut wasi);
    }
    wasi.envs(&environment).build()
}

impl types::Host for Guest {}

impl context::Host for Guest {
    fn stop_requested(&mut self) -> wasmtime::Result<Option<context::StopReason>> {
        Ok(self.watch.request().map(|request| match request {
            Request::SoftTime => context::StopReason::SoftTimeLimit,
            Request::Stop(StopReason::Cancelled) => context::StopReason::Cancelled,
            Request::Stop(StopReason::Shutdown) => context::StopReason::Shutdown,
            Request::Stop(StopReason::LeaseLost) => context::StopReason::LeaseLost,
        }))
    }

    fn progress(&mut self, fraction: f64, mut note: String) -> wasmtime::Result<()> {
        cut(&mut note, LONGEST_NOTE);
        let mut note = escape(&note);
        self.values.masks.hide(&mut note);
        let fraction = if fraction.is_nan() { 0.0 } else { fraction };
        self.context.progress(fraction.clamp(0.0, 1.0), note);
        Ok(())
    }

    async fn load_checkpoint(
        &mut self,
    ) -> wasmtime::Result<Result<Option<types::Payload>, context::StoreError>> {
        let loaded = self.context.load_checkpoint().await;
        Ok(loaded
            .map(|checkpoint| checkpoint.map(Into::into))
            .map_err(Into::into))
    }

    async fn save_checkpoint(
        &mut self,
        state: types::Payload,
    ) -> wasmtime::Result<Result<(), context::StoreError>> {
        let size = state.body.len();
        let saved = self.context.save_checkpoint(state.into()).await;
        if saved.is_ok() {
            self.usage.bytes_out(size);
        }
        Ok(saved.map_err(Into::into))
    }
}

impl log::Host for Guest {
    fn emit(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.emit(level, &message, &fields);
        Ok(())
    }
}

impl From<types::Payload> for Payload {
    fn from(payload: types::Payload) -> Self {
        Self::new(payload.content_type, payload.body)
    }
}

impl From<Payload> for types::Payload {
    fn from(payload: Payload) -> Self {
        Self {
            content_type: payload.content_type,
            body: payload.body.into(),
        }
    }
}

impl From<CheckpointError> for context::StoreError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::TooLarge(limit) => Self::TooLarge(limit),
            CheckpointError::LeaseLost => Self::LeaseLost,
            CheckpointError::Unavailable(why) => Self::Unavailable(why),
            CheckpointError::Other(why) => Self::Other(why),
        }
    }
}
