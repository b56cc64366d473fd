//! Deploying.

use bytes::Bytes;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, Deployment};

use super::{ANSWERS, Process};
use crate::builders::deployment_name;

impl Process {
    /// Asks to make a module active.
    pub async fn activate(&self, activation: &Activation) -> Activated {
        let activated = self.stores.modules.activate(activation).await;
        activated.expect(ANSWERS)
    }

    /// Makes a module active that nothing speaks against.
    pub async fn deploy(&self, activation: &Activation) -> Deployment {
        match self.activate(activation).await {
            Activated::Done(deployment) => *deployment,
            refused @ (Activated::TaskTaken { .. }
            | Activated::NothingActive
            | Activated::NotKept) => {
                panic!("refused: {refused:?}")
            }
        }
    }

    /// Asks to make a version active that is kept.
    pub async fn reactivate(&self, name: &str, version: u32, moves_tasks: bool) -> Activated {
        let name = deployment_name(name);
        let activated = self
            .stores
            .modules
            .reactivate(&name, version, moves_tasks)
            .await;
        activated.expect(ANSWERS)
    }

    /// Ends a canary.
    pub async fn end_canary(&self, name: &str) -> Option<u32> {
        let name = deployment_name(name);
        let ended = self.stores.modules.end_canary(&name).await;
        ended.expect(ANSWERS)
    }

    /// Every version that is kept.
    pub async fn deployments(&self) -> Vec<Deployment> {
        self.stores.modules.deployments().await.expect(ANSWERS)
    }

    /// The module of these bytes, if it is there.
    pub async fn module(&self, bytes: &[u8]) -> Option<Bytes> {
        let module = self.stores.modules.module(&Digest::of(bytes)).await;
        module.expect(ANSWERS)
    }

    /// Removes one version.
    pub async fn undeploy(&self, name: &str, version: u32) -> bool {
        let name = deployment_name(name);
        let removed = self.stores.modules.remove(&name, version).await;
        removed.expect(ANSWERS)
    }

    /// The revision of the deployments.
    pub async fn revision(&self) -> u64 {
        self.stores.modules.revision().await.expect(ANSWERS)
    }
}
