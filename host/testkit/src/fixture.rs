//! What a store brings so that the contract suites can be run against it.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use stem_core::stores::Stores;
use stem_core::two_stores;

/// One fresh, empty namespace (or database) of the store under test; every test makes its own.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// What this store can do that others cannot: promises that need more are skipped.
    fn abilities(&self) -> Vec<Ability>;

    /// A handle on the namespace.
    async fn stores(&self) -> Stores;

    /// Another handle on the same namespace, as another process would have it.
    async fn second_handle(&self) -> Stores;

    /// A handle on another namespace of the same server.
    async fn other_namespace(&self) -> Stores;

    /// Lets this time pass on the store's clock: moves it, or waits for as long.
    async fn pass(&self, time: Duration);

    /// The same until what has this lifetime is gone: a store may let it live to the end of its last moment.
    async fn outlast(&self, lifetime: Duration) {
        self.pass(lifetime).await;
    }

    /// The same once somebody waits on the store's clock; where time really passes, that is soon enough anyway.
    async fn pass_for_who_waits(&self, time: Duration) {
        self.pass(time).await;
    }

    /// A lease, or a delay, that the suites let pass; 100–300 ms where they really wait for it.
    fn lease(&self) -> Duration;
}

/// What some stores can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Its clock can be moved: hours and days pass at once.
    MovableClock,
    /// It outlives the process that wrote to it, as its capabilities say too.
    Durability,
    /// Records stay until they are swept, and do not go by themselves.
    Sweeping,
}

impl Ability {
    /// Every ability.
    pub const ALL: [Self; 3] = [Self::MovableClock, Self::Durability, Self::Sweeping];
}

/// Two servers joined as one: the broker of the first, the records of the second, both on the same clock.
pub struct Joined<B, R> {
    /// Where the broker lies.
    pub broker: B,
    /// Where the records lie.
    pub results: R,
}

#[async_trait]
impl<B: Fixture, R: Fixture> Fixture for Joined<B, R> {
    fn abilities(&self) -> Vec<Ability> {
        let (mut both, others) = (self.broker.abilities(), self.results.abilities());
        both.retain(|ability| others.contains(ability));
        both
    }

    async fn stores(&self) -> Stores {
        two_stores::join(self.broker.stores().await, &self.results.stores().await)
    }

    async fn second_handle(&self) -> Stores {
        let results = self.results.second_handle().await;
        two_stores::join(self.broker.second_handle().await, &results)
    }

    async fn other_namespace(&self) -> Stores {
        let results = self.results.other_namespace().await;
        two_stores::join(self.broker.other_namespace().await, &results)
    }

    async fn pass(&self, time: Duration) {
        self.broker.pass(time).await;
    }

    async fn outlast(&self, lifetime: Duration) {
        self.broker.outlast(lifetime).await;
    }

    async fn pass_for_who_waits(&self, time: Duration) {
        self.broker.pass_for_who_waits(time).await;
    }

    fn lease(&self) -> Duration {
        self.broker.lease().max(self.results.lease())
    }
}

/// No promise takes longer than this: a test that hangs says so.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a promise, unless it needs an ability that the store does not have.
pub async fn keep<F: Fixture>(
    fixture: F,
    needs: &[Ability],
    promise: impl for<'a> FnOnce(&'a dyn Fixture) -> BoxFuture<'a, ()>,
) {
    let abilities = fixture.abilities();
    if needs.iter().all(|need| abilities.contains(need)) {
        let kept = tokio::time::timeout(PATIENCE, promise(&fixture)).await;
        kept.expect("a promise is kept or broken in a short time");
    }
}

/// Checks that a store lacks exactly the abilities that its tests say, and declares to others what it declares here.
pub async fn check_abilities<F: Fixture>(fixture: F, lacking: &[Ability]) {
    let abilities = fixture.abilities();
    let undeclared = Ability::ALL
        .into_iter()
        .filter(|ability| !abilities.contains(ability));
    assert_eq!(
        undeclared.collect::<Vec<_>>(),
        lacking,
        "what is skipped is what is declared"
    );
    let capabilities = fixture.stores().await.broker.capabilities();
    assert_eq!(
        capabilities.is_durable,
        abilities.contains(&Ability::Durability)
    );
}
