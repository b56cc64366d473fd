//! A broker and an executor that a test holds back or makes fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::executor::{Executor, ExecutorError, Resolution};
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::names::{QueueName, TaskName};
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_testkit::executor::{Gate, ScriptedExecutor};

/// A call that can be made to fail.
pub enum Call<'a> {
    Publish,
    Renew,
    Settle(&'a [Settling]),
}

type Fault = Arc<dyn Fn(Call<'_>) -> Option<StoreErrorKind> + Send + Sync>;

/// What is done to a broker.
#[derive(Clone, Default)]
pub struct Rig {
    claims: Option<Gate>,
    /// Whether the first claim has gone, where that one is not held back.
    first: Option<Arc<AtomicBool>>,
    refreshes: Option<Gate>,
    fault: Option<Fault>,
}

impl Rig {
    /// Claims are done at once and answered when the gate is open.
    pub fn holding_claims(gate: &Gate) -> Self {
        Self {
            claims: Some(gate.clone()),
            ..Self::default()
        }
    }

    /// The same for all but the first claim that finds something.
    pub fn holding_later_claims(gate: &Gate) -> Self {
        let claimed = Arc::new(AtomicBool::new(false));
        Self {
            first: Some(claimed),
            ..Self::holding_claims(gate)
        }
    }

    /// Refreshes are answered when the gate is open.
    pub fn holding_refreshes(gate: &Gate) -> Self {
        Self {
            refreshes: Some(gate.clone()),
            ..Self::default()
        }
    }

    /// Calls fail as this function says.
    pub fn failing(
        fault: impl Fn(Call<'_>) -> Option<StoreErrorKind> + Send + Sync + 'static,
    ) -> Self {
        Self {
            fault: Some(Arc::new(fault)),
            ..Self::default()
        }
    }

    fn is_first(&self) -> bool {
        let gone = self.first.as_ref();
        gone.is_some_and(|gone| !gone.swap(true, Ordering::SeqCst))
    }

    fn check(&self, call: Call<'_>) -> Result<(), StoreError> {
        match self.fault.as_ref().and_then(|fault| fault(call)) {
            Some(kind) => Err(StoreError::new(kind, "do as the test says", "")),
            None => Ok(()),
        }
    }
}

pub struct Rigged {
    pub broker: Arc<dyn Broker>,
    pub rig: Rig,
}

#[async_trait]
impl Broker for Rigged {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        self.rig.check(Call::Publish)?;
        self.broker.publish(publications).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let claimed = self.broker.claim(claim).await?;
        if let Some(gate) = &self.rig.claims
            && !claimed.is_empty()
            && !self.rig.is_first()
        {
            gate.passed().await;
        }
        Ok(claimed)
    }

    async fn renew(&self, held: &[Receipt], lease: Duration) -> Result<Vec<Renewal>, StoreError> {
        self.rig.check(Call::Renew)?;
        self.broker.renew(held, lease).await
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        self.rig.check(Call::Settle(settlings))?;
        self.broker.settle(settlings).await
    }

    async fn work(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        self.broker.work(queues).await
    }

    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }
}

pub struct RiggedExecutor {
    pub executor: Arc<ScriptedExecutor>,
    pub rig: Rig,
}

#[async_trait]
impl Executor for RiggedExecutor {
    async fn resolve(
        &self,
        task: &TaskName,
        id: EnvelopeId,
        pinned: Option<Digest>,
    ) -> Result<Resolution, ExecutorError> {
        self.executor.resolve(task, id, pinned).await
    }

    async fn refresh(&self) -> Result<(), ExecutorError> {
        self.executor.refresh().await?;
        if let Some(gate) = &self.rig.refreshes {
            gate.passed().await;
        }
        Ok(())
    }
}
