//! The connection that the callers of a link share: one attempt makes it for all who wait, and goes on also where these
//! have given up (B13).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::route::{Route, too_late};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection, and which one it is.
type Connected = Result<(MultiplexedConnection, u64), RedisError>;
/// What an attempt comes to, once it has ended.
type Attempt = watch::Receiver<Option<Connected>>;

/// Makes a connection when it is first used, and again when it was given up.
pub(crate) struct Connector {
    line: Arc<Line>,
    /// End with the connector.
    attempts: Mutex<JoinSet<()>>,
}

/// What attempts and callers hold together.
struct Line {
    route: Arc<Route>,
    name: String,
    timeout: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Which connection it is, so that an error of an older one does not end it.
    number: u64,
    /// The attempt that is under way.
    attempt: Option<Attempt>,
    pause: Pause,
}

/// How long to wait before the next try: doubling, capped, jittered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pause(Option<Duration>);

impl Pause {
    pub(crate) async fn wait(self) {
        let pause = self.0.unwrap_or_default();
        let pause = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    pub(crate) fn grow(&mut self) {
        let longer = self.0.map_or(FIRST_PAUSE, |pause| pause * 2);
        self.0 = Some(longer.min(LONGEST_PAUSE));
    }
}

impl Connector {
    pub(crate) fn new(route: &Arc<Route>, name: String, timeout: Duration) -> Self {
        Self {
            line: Arc::new(Line {
                route: Arc::clone(route),
                name,
                timeout,
                current: Mutex::default(),
            }),
            attempts: Mutex::default(),
        }
    }

    /// The name of its connections.
    pub(crate) fn name(&self) -> &str {
        &self.line.name
    }

    /// The connection that there is, or what the attempt to make one comes to.
    pub(crate) async fn connection(&self) -> Connected {
        let mut attempt = match self.current() {
            Ok(current) => return Ok(current),
            Err(attempt) => attempt,
        };
        let ended = attempt.wait_for(Option::is_some).await;
        match ended.ok().and_then(|ended| ended.clone()) {
            Some(connected) => connected,
            // Whatever ran it has ended first.
            None => {
                self.line.locked().attempt = None;
                Err(too_late())
            }
        }
    }

    fn current(&self) -> Result<(MultiplexedConnection, u64), Attempt> {
        let mut current = self.line.locked();
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.number));
        }
        if let Some(attempt) = &current.attempt {
            return Err(attempt.clone());
        }
        let (sender, attempt) = watch::channel(None);
        current.attempt = Some(attempt.clone());
        let line = Arc::clone(&self.line);
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        while attempts.try_join_next().is_some() {}
        attempts.spawn(async move {
            sender.send_replace(Some(line.attempt().await));
        });
        Err(attempt)
    }

    /// Uses this connection no more.
    pub(crate) fn give_up(&self, number: u64) {
        let mut current = self.line.locked();
        if current.number == number {
            current.connection = None;
        }
    }

    pub(crate) fn config(&self) -> AsyncConnectionConfig {
        self.line.config()
    }

    /// Gives a connection its name.
    pub(crate) async fn introduce(&self, connection: &mut MultiplexedConnection) {
        self.line.introduce(connection).await;
    }
}

impl Line {
    async fn attempt(&self) -> Connected {
        let pause = self.locked().pause;
        pause.wait().await;
        let connecting = tokio::time::timeout(self.timeout, Box::pin(self.connect())).await;
        let connected = connecting.unwrap_or_else(|_| Err(too_late()));
        let mut current = self.locked();
        current.attempt = None;
        match connected {
            Ok(connection) => {
                current.pause = Pause::default();
                current.number += 1;
                current.connection = Some(connection.clone());
                Ok((connection, current.number))
            }
            Err(error) => {
                current.pause.grow();
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut reached = self.route.connect(&self.config()).await?;
        self.introduce(&mut reached.connection).await;
        Ok(reached.connection)
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }

    /// A user that may not name its connections works without.
    async fn introduce(&self, connection: &mut MultiplexedConnection) {
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(&self.name);
        let _: Result<Value, RedisError> = name.query_async(connection).await;
    }

    fn locked(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
