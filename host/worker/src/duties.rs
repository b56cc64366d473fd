//! What a worker does beside running attempts: each duty is one loop, and all end with the worker.

use std::sync::Arc;
use std::time::Duration;

use stem_core::broker::Broker;
use stem_core::control::{Command, Control};
use stem_core::executor::Executor;
use stem_core::store_error::StoreError;
use stem_core::upkeep::Upkeep;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::attempt::Desk;
use crate::backoff::Backoff;
use crate::congestion;
use crate::contact::Contact;
use crate::heartbeat::{self, Pulse};
use crate::lease::Leases;
use crate::progress;
use crate::worker::Worker;

const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
const SWEEP_CHUNK: usize = 500;

pub(crate) fn start(worker: &Worker, congested: watch::Sender<bool>) -> JoinSet<()> {
    let stores = worker.stores();
    let clock = &stores.clock;
    let pulse = Pulse {
        options: worker.options().clone(),
        started_at: clock.now(),
        leases: Arc::clone(worker.leases()),
        counts: Arc::clone(worker.counts()),
    };
    let mut duties = JoinSet::new();
    let contact = worker.contact();
    duties.spawn(heartbeat::beat(
        Arc::clone(&stores.control),
        Arc::clone(contact),
        pulse,
    ));
    duties.spawn(congestion::watch(
        Arc::clone(worker.guests()),
        Arc::clone(clock),
        Arc::clone(&worker.desk().waits),
        congested,
    ));
    duties.spawn(renew(
        Arc::clone(&stores.broker),
        Arc::clone(worker.leases()),
        Arc::clone(contact),
        worker.options().lease,
    ));
    let changed = Arc::new(Notify::new());
    duties.spawn(refresh(
        Arc::clone(&worker.desk().executor),
        Arc::clone(&changed),
    ));
    duties.spawn(obey(
        Arc::clone(&stores.control),
        Arc::clone(worker.leases()),
        Arc::clone(contact),
        changed,
    ));
    duties.spawn(publish_progress(Arc::clone(worker.desk())));
    for upkeep in &stores.upkeep {
        duties.spawn(sweep(Arc::clone(upkeep), Arc::clone(contact)));
    }
    duties
}

/// Renews every third of a lease, whatever the guests do (B3); what fails is tried again well before the lease ends.
async fn renew(
    broker: Arc<dyn Broker>,
    leases: Arc<Leases>,
    contact: Arc<Contact>,
    lease: Duration,
) {
    loop {
        contact.clock().sleep(lease / 3).await;
        let mut backoff = Backoff::new(lease / 100, lease / 10);
        let renew = || contact.ask("renew", leases.renew(broker.as_ref(), lease));
        while renew().await.is_err() {
            backoff.pause().await;
        }
    }
}

/// Carries out the commands that reach this worker.
async fn obey(
    control: Arc<dyn Control>,
    leases: Arc<Leases>,
    contact: Arc<Contact>,
    changed: Arc<Notify>,
) {
    let mut backoff = Backoff::default();
    loop {
        let listening = listen(control.as_ref(), &contact, |command| {
            backoff.reset();
            match command {
                Command::Cancel { id, mode } => leases.cancel(id, mode),
                Command::DeploymentsChanged => changed.notify_one(),
            }
        });
        // Only a failure ends it, and that is said.
        let _ = listening.await;
        backoff.pause().await;
    }
}

/// Hears commands until that fails.
async fn listen(
    control: &dyn Control,
    contact: &Contact,
    mut heed: impl FnMut(Command),
) -> Result<(), StoreError> {
    let mut commands = contact.ask("listen", control.listen()).await?;
    loop {
        let heard = contact.ask("listen", commands.next()).await?;
        heard.into_iter().for_each(&mut heed);
    }
}

/// Looks for new deployments when it is told to, also while others are still being compiled.
async fn refresh(executor: Arc<dyn Executor>, changed: Arc<Notify>) {
    changed.notified().await;
    loop {
        let refreshed = tokio::select! {
            refreshed = executor.refresh() => refreshed,
            () = changed.notified() => continue,
        };
        if let Err(error) = refreshed {
            tracing::warn!(%error, "deployments were not read: they will be within 2 s");
        }
        changed.notified().await;
    }
}

async fn publish_progress(desk: Arc<Desk>) {
    loop {
        tokio::time::sleep(progress::FLUSH_INTERVAL).await;
        desk.progress.flush(desk.results.as_ref()).await;
    }
}

/// Removes what has expired; workers start apart from each other.
async fn sweep(upkeep: Arc<dyn Upkeep>, contact: Arc<Contact>) {
    tokio::time::sleep(SWEEP_INTERVAL.mul_f64(rand::random())).await;
    loop {
        let swept = contact.ask("sweep", upkeep.sweep(SWEEP_CHUNK)).await;
        if swept.is_ok_and(|swept| swept >= SWEEP_CHUNK as u64) {
            continue;
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}
