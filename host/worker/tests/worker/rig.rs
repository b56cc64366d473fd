//! A broker that a test holds back or makes fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::names::QueueName;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_testkit::executor::Gate;

/// A call that can be made to fail.
pub enum Call<'a> {
    Renew,
    Settle(&'a [Settling]),
}

type Fault = Arc<dyn Fn(Call<'_>) -> Option<StoreErrorKind> + Send + Sync>;

/// What is done to a broker.
#[derive(Clone, Default)]
pub struct Rig {
    claims: Option<Gate>,
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

    /// Calls fail as this function says.
    pub fn failing(
        fault: impl Fn(Call<'_>) -> Option<StoreErrorKind> + Send + Sync + 'static,
    ) -> Self {
        Self {
            fault: Some(Arc::new(fault)),
            ..Self::default()
        }
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
        self.broker.publish(publications).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let claimed = self.broker.claim(claim).await?;
        if let Some(gate) = &self.rig.claims
            && !claimed.is_empty()
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
