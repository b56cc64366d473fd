//! A connection to the server that comes back by itself: every command has a timeout, and tries to connect are capped and
//! jittered (B13).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, PushInfo, RedisError, ServerErrorKind,
    ToRedisArgs, Value,
};
use stem_core::clock::in_millis;
use tokio::sync::mpsc;

use crate::options::Options;
use crate::problem::{Problem, Stepped};
use crate::route::{self, Route};
use crate::scripts::Script;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Writes, also where the server's memory is full.
const MARK: &str = "#!lua flags=allow-oom
return redis.call('SET', KEYS[1] .. 'written', '', 'PX', 60000)";

/// One connection that many callers share.
pub(crate) struct Link {
    route: Arc<Route>,
    name: String,
    timeout: Duration,
    /// How many replicas must have what a call writes (B1).
    replicas: u32,
    /// Says what was tried where the server cannot be reached.
    advice: String,
    current: Mutex<Current>,
    /// Whoever connects holds it: the others wait for the outcome.
    connecting: tokio::sync::Mutex<Pause>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Which connection it is, so that an error of an older one does not end it.
    number: u64,
}

/// How long to wait before the next try: doubling, capped, jittered.
#[derive(Default)]
struct Pause(Option<Duration>);

impl Pause {
    async fn wait(&self) -> Duration {
        let pause = self.0.unwrap_or_default();
        let pause = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        pause
    }

    fn grow(&mut self) {
        let longer = self.0.map_or(FIRST_PAUSE, |pause| pause * 2);
        self.0 = Some(longer.min(LONGEST_PAUSE));
    }
}

impl Link {
    /// A link that connects when it is first used; `purpose` is the last part of its name.
    pub(crate) fn new(route: &Arc<Route>, options: &Options, purpose: &str) -> Self {
        Self {
            route: Arc::clone(route),
            name: format!("{}-{purpose}", options.connection_name),
            timeout: options.timeout,
            replicas: 0,
            advice: advice(options),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// The same, where a call counts once so many replicas have what it wrote.
    pub(crate) fn confirmed_by(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long a command may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection of its own that is told what is published on these channels, and when it breaks.
    pub(crate) async fn subscribe(&self, channels: &[String]) -> Stepped<Subscribed> {
        let (sender, messages) = mpsc::unbounded_channel();
        let config = self.config().set_push_sender(sender);
        let subscribing = async {
            // Whoever looks for the right server must not tell this sender of wrong ones that were left.
            let place = self.route.connect(&self.config()).await?.place;
            let opening = self.route.open(&place, ProtocolVersion::RESP3, &config);
            let mut connection = opening.await?;
            self.introduce(&mut connection).await;
            connection.subscribe(channels).await?;
            Ok(Subscribed {
                connection,
                key: self.route.key().to_owned(),
                messages,
            })
        };
        let subscribed: Result<Subscribed, RedisError> = subscribing.await;
        subscribed.map_err(|error| Failure::Unconnected(error).into_problem(self))
    }

    /// Runs a command.
    pub(crate) async fn run(&self, command: &Cmd) -> Stepped<Value> {
        let answer = self.send(command, None).await;
        let answer = answer.map_err(|failure| failure.into_problem(self))?;
        Ok(answer.value)
    }

    /// Runs a script; loads it first where the server does not have it.
    pub(crate) async fn call(&self, call: &Call) -> Stepped<Value> {
        let answer = self.send(&call.command, Some(call.script)).await;
        let answer = answer.map_err(|failure| failure.into_problem(self))?;
        if self.replicas > 0 {
            self.confirm(answer.connection, answer.number).await?;
        }
        Ok(answer.value)
    }

    /// Waits until replicas have what was written on this connection up to now: on another one, the server might be one
    /// that has never seen it.
    async fn confirm(&self, mut connection: MultiplexedConnection, number: u64) -> Stepped<()> {
        // Others wait behind this one, until their own time is over.
        let patience = self.timeout / 2;
        let mut confirming = redis::pipe();
        // A call that found everything done has written nothing, and its connection may be new: then there would be
        // nothing to wait for, though replicas may lack what it found.
        let key = self.route.key();
        confirming.cmd("EVAL").arg(MARK).arg(1).arg(key);
        confirming
            .cmd("WAIT")
            .arg(self.replicas)
            .arg(in_millis(patience));
        let confirmed = confirming.query_async(&mut connection).await;
        let (_, replicas): (Value, u32) = confirmed.map_err(|error| {
            self.look_at(&error, number);
            Problem::unconfirmed(&error.to_string())
        })?;
        if replicas < self.replicas {
            let wanted = self.replicas;
            let found = format!("{replicas} of {wanted} replicas had it within {patience:?}");
            return Err(Problem::unconfirmed(&found));
        }
        Ok(())
    }

    /// Sends a command until it has run: what was refused before is sent again, for as long as a command may take.
    async fn send(&self, command: &Cmd, script: Option<&Script>) -> Result<Answer, Failure> {
        let (mut pause, mut waited) = (Pause::default(), Duration::ZERO);
        loop {
            let failure = match self.try_send(command).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match (remedy(failure.error()), script) {
                (Remedy::Load, Some(script)) => {
                    let mut load = redis::cmd("SCRIPT");
                    load.arg("LOAD").arg(&script.source);
                    self.try_send(&load).await?;
                }
                (Remedy::Again, _) => {}
                (Remedy::None | Remedy::Load, _) => return Err(failure),
            }
            if waited >= self.timeout {
                return Err(failure);
            }
            waited += pause.wait().await;
            pause.grow();
        }
    }

    async fn try_send(&self, command: &Cmd) -> Result<Answer, Failure> {
        let (connection, number) = self.connection().await?;
        let mut sending = connection.clone();
        match command.query_async(&mut sending).await {
            Ok(value) => Ok(Answer {
                value,
                connection,
                number,
            }),
            Err(error) => {
                self.look_at(&error, number);
                Err(Failure::Answered(error))
            }
        }
    }

    /// Gives a connection up where its error says that it is of no more use.
    fn look_at(&self, error: &RedisError, number: u64) {
        if is_lost(error) {
            self.route.learn_from(error);
            self.give_up(number);
        }
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Failure> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut pause = self.connecting.lock().await;
        // Somebody else may have connected in the meantime.
        if let Some(current) = self.current() {
            return Ok(current);
        }
        pause.wait().await;
        match self.route.connect(&self.config()).await {
            Ok(mut reached) => {
                self.introduce(&mut reached.connection).await;
                *pause = Pause::default();
                Ok(self.put(reached.connection))
            }
            Err(error) => {
                pause.grow();
                Err(Failure::Unconnected(error))
            }
        }
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }

    /// Gives a connection its name: a user that may not name its connections works without.
    async fn introduce(&self, connection: &mut MultiplexedConnection) {
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(&self.name);
        let _: Result<Value, RedisError> = name.query_async(connection).await;
    }

    fn current(&self) -> Option<(MultiplexedConnection, u64)> {
        let current = self.locked();
        Some((current.connection.clone()?, current.number))
    }

    fn put(&self, connection: MultiplexedConnection) -> (MultiplexedConnection, u64) {
        let mut current = self.locked();
        current.number += 1;
        current.connection = Some(connection.clone());
        (connection, current.number)
    }

    fn give_up(&self, number: u64) {
        let mut current = self.locked();
        if current.number == number {
            current.connection = None;
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a command gave, and where.
struct Answer {
    value: Value,
    connection: MultiplexedConnection,
    number: u64,
}

/// A connection that hears what is published.
pub(crate) struct Subscribed {
    connection: MultiplexedConnection,
    key: String,
    pub(crate) messages: mpsc::UnboundedReceiver<PushInfo>,
}

impl Subscribed {
    /// Whether the server still answers, and still has the namespace: a connection may be half-open, or lead to a node
    /// that hears nothing any more, and nobody says so.
    pub(crate) async fn is_alive(&mut self) -> bool {
        match route::probe(&self.key, &mut self.connection).await {
            Ok(()) => true,
            Err(error) => !is_lost(&error),
        }
    }
}

/// A command that failed: before it was sent, or afterwards.
enum Failure {
    Unconnected(RedisError),
    Answered(RedisError),
}

impl Failure {
    fn error(&self) -> &RedisError {
        let (Self::Unconnected(error) | Self::Answered(error)) = self;
        error
    }

    fn into_problem(self, link: &Link) -> Problem {
        match self {
            Self::Answered(error) => error.into(),
            Self::Unconnected(error) => Problem::unconnected(error, &link.advice),
        }
    }
}

/// What helps after an error.
enum Remedy {
    /// The server has to be told the script.
    Load,
    /// The command was refused before it ran, by a server that is not ready for it, or is not the right one any more.
    Again,
    /// It may have run, or never will.
    None,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the list is open, and what is not on it may have run"
)]
fn remedy(error: &RedisError) -> Remedy {
    let ErrorKind::Server(kind) = error.kind() else {
        return Remedy::None;
    };
    match kind {
        ServerErrorKind::NoScript => Remedy::Load,
        // `ASK` is not followed: the other node has only a part of the namespace (`scripts/prelude.lua`).
        ServerErrorKind::Ask
        | ServerErrorKind::Moved
        | ServerErrorKind::TryAgain
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::BusyLoading
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ReadOnly => Remedy::Again,
        _ => Remedy::None,
    }
}

/// Whether a connection is of no more use: it broke, did not answer in time, or leads to a server that has not, or not any
/// more, what we want.
fn is_lost(error: &RedisError) -> bool {
    let is_elsewhere = [
        ServerErrorKind::ReadOnly,
        ServerErrorKind::Moved,
        ServerErrorKind::ClusterDown,
    ];
    error.kind() == ErrorKind::Io
        || is_elsewhere.map(ErrorKind::Server).contains(&error.kind())
        || error.is_unrecoverable_error()
}

/// A script and its arguments; the one key that it names is the namespace's prefix, which nobody writes.
pub(crate) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    pub(crate) fn new(script: &'static Script, prefix: &str) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.hash).arg(1).arg(prefix);
        Self { script, command }
    }

    /// Whether its answer promises that something is kept.
    pub(crate) fn promises(&self) -> bool {
        self.script.promises
    }

    pub(crate) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

/// What to look at where no connection can be made.
fn advice(options: &Options) -> String {
    match options.url.is_secure() {
        true => format!(
            ": TLS with {}; check that the server listens for TLS on this port, and that its certificate names this \
             host and was signed by that authority",
            options.tls
        ),
        false => ": without TLS; check that the server runs and listens there, or write rediss:// if it wants TLS"
            .to_owned(),
    }
}
