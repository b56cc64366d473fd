//! The broker's seam over the database: each call is one step of the writer.

use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::names::QueueName;
use stem_core::store_error::StoreError;

use crate::claim;
use crate::problem::Stepped;
use crate::publish;
use crate::rows::millis;
use crate::settle::{self, Ending};
use crate::store::{Store, Work};

#[async_trait]
impl Broker for Store {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        const PUBLISH: &str = "publish";
        self.shared.check_room(PUBLISH).await?;
        let publications = publications.to_vec();
        self.write(PUBLISH, move |step| publish::publish(step, &publications))
            .await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let claim = claim.clone();
        self.write("claim", move |step| claim::claim(step, &claim))
            .await
    }

    async fn renew(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Renewal>, StoreError> {
        let receipts = receipts.to_vec();
        self.write("renew leases", move |step| {
            settle::renew(step, &receipts, millis(step.now + lease))
        })
        .await
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        const SETTLE: &str = "settle";
        let endings: Stepped<Vec<Ending>> = settlings.iter().map(Ending::of).collect();
        let endings = endings.map_err(|problem| self.shared.error(SETTLE, problem))?;
        self.write(SETTLE, move |step| settle::settle(step, &endings))
            .await
    }

    async fn work(&self, _queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Work::of(&self.shared)))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            is_shared: true,
            is_durable: true,
            keeps_records: true,
        }
    }
}
