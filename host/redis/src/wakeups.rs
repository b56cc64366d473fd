//! Waiting for work or for records: the bell, the next time at which something falls due, and a pulse behind both.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::Wakeups;
use stem_core::clock::in_millis;
use stem_core::names::QueueName;
use stem_core::store_error::StoreError;

use crate::bell::{Ear, Topic};
use crate::problem::Stepped;
use crate::reply;
use crate::scripts;
use crate::store::Shared;

/// How long a wait lasts at the most.
const PULSE: Duration = Duration::from_secs(1);

/// Waits for something to be said on the bell.
pub(crate) struct Changes(Arc<Ear>);

impl Changes {
    pub(crate) fn of(shared: &Shared, topic: Topic) -> Self {
        Self(shared.bell.listen(topic))
    }

    pub(crate) async fn changed(&self) {
        tokio::select! {
            () = self.0.heard() => {}
            () = tokio::time::sleep(PULSE) => {}
        }
    }
}

#[async_trait]
impl Wakeups for Changes {
    async fn next(&mut self) -> Result<(), StoreError> {
        self.changed().await;
        Ok(())
    }
}

/// Waits for work in some queues.
pub(crate) struct Work {
    shared: Arc<Shared>,
    ear: Arc<Ear>,
    queues: Vec<QueueName>,
    /// The server's time up to which everything was told: nobody needs to hear of it twice.
    told: u64,
}

impl Work {
    pub(crate) async fn begin(
        shared: &Arc<Shared>,
        queues: &[QueueName],
    ) -> Result<Self, StoreError> {
        let names = queues.iter().map(ToString::to_string).collect();
        let mut work = Self {
            shared: Arc::clone(shared),
            ear: shared.bell.listen(Topic::Work(names)),
            queues: queues.to_vec(),
            told: 0,
        };
        (work.told, _) = work.next_time().await?;
        Ok(work)
    }

    /// The server's time, and when something next falls due or a lease next ends.
    async fn next_time(&self) -> Result<(u64, Option<u64>), StoreError> {
        const WAIT: &str = "wait for work";
        let mut call = self.shared.call(&scripts::ALARM);
        call.arg(self.told);
        for queue in &self.queues {
            call.arg(queue.as_str());
        }
        let answer = self.shared.run(WAIT, &call).await?;
        let times = || -> Stepped<_> {
            let mut times = reply::list(answer)?.into_iter();
            let now = reply::number(reply::next(&mut times)?)?;
            Ok((now, times.next().map(reply::number).transpose()?))
        };
        times().map_err(|problem| self.shared.error(WAIT, problem))
    }

    async fn alarm(&mut self) -> Result<(), StoreError> {
        let (now, next) = self.next_time().await?;
        let pulse = now + in_millis(PULSE);
        match next.filter(|at| *at <= pulse) {
            Some(at) => {
                tokio::time::sleep(Duration::from_millis(at.saturating_sub(now))).await;
                self.told = at.max(now);
            }
            None => {
                tokio::time::sleep(PULSE).await;
                self.told = now;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Wakeups for Work {
    async fn next(&mut self) -> Result<(), StoreError> {
        let ear = Arc::clone(&self.ear);
        tokio::select! {
            biased;
            () = ear.heard() => Ok(()),
            rung = self.alarm() => rung,
        }
    }
}
