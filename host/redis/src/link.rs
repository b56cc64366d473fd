//! A connection to the server that comes back by itself: every command has a timeout, which holds for whatever it waits
//! for, and tries to connect are capped and jittered (B13).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ProtocolVersion, PushInfo, RedisError, ToRedisArgs, Value};
use stem_core::clock::in_millis;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::connector::{Connector, Pause};
use crate::options::Options;
use crate::problem::{Problem, Stepped};
use crate::remedy::{Remedy, is_lost, remedy};
use crate::route::{self, Route, too_late};
use crate::scripts::Script;

/// Writes, also where the server's memory is full.
const MARK: &str = "#!lua flags=allow-oom
return redis.call('SET', KEYS[1] .. 'written', '', 'PX', 60000)";

/// One connection that many callers share.
pub(crate) struct Link {
    route: Arc<Route>,
    timeout: Duration,
    /// How many replicas must have what a call writes (B1).
    replicas: u32,
    /// How a connection is made, for whoever reads that none could be.
    manner: String,
    connector: Connector,
}

impl Link {
    /// A link that connects when it is first used; `purpose` is the last part of its name.
    pub(crate) fn new(route: &Arc<Route>, options: &Options, purpose: &str) -> Self {
        let name = format!("{}-{purpose}", options.connection_name);
        Self {
            route: Arc::clone(route),
            connector: Connector::new(route, name, options.timeout),
            timeout: options.timeout,
            replicas: 0,
            manner: manner(options),
        }
    }

    /// The same, where a call counts once so many replicas have what it wrote.
    pub(crate) fn confirmed_by(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    pub(crate) fn name(&self) -> &str {
        self.connector.name()
    }

    /// How long a command may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection of its own that is told what is published on these channels, and when it breaks.
    pub(crate) async fn subscribe(&self, channels: &[String]) -> Stepped<Subscribed> {
        let (sender, messages) = mpsc::unbounded_channel();
        let plain = self.connector.config();
        let config = plain.clone().set_push_sender(sender);
        let subscribing = async {
            // Whoever looks for the right server must not tell this sender of wrong ones that were left.
            let place = self.route.connect(&plain).await?.place;
            let opening = self.route.open(&place, ProtocolVersion::RESP3, &config);
            let mut connection = opening.await?;
            self.connector.introduce(&mut connection).await;
            connection.subscribe(channels).await?;
            Ok(Subscribed {
                connection,
                key: self.route.key().to_owned(),
                messages,
            })
        };
        let subscribed = tokio::time::timeout(self.timeout, Box::pin(subscribing)).await;
        let subscribed: Result<Subscribed, RedisError> =
            subscribed.unwrap_or_else(|_| Err(too_late()));
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
        let answer = answer.map_err(|failure| match failure {
            Failure::Answered(error) => Problem::within(&call.script.source, error),
            unconnected @ Failure::Unconnected(_) => unconnected.into_problem(self),
        })?;
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
        let mut deadline = pin!(tokio::time::sleep(self.timeout));
        let mut pause = Pause::default();
        loop {
            let failure = match self.try_send(command, deadline.as_mut()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match (remedy(failure.error()), script) {
                (Remedy::Load, Some(script)) => {
                    let mut load = redis::cmd("SCRIPT");
                    load.arg("LOAD").arg(&script.source);
                    self.try_send(&load, deadline.as_mut()).await?;
                }
                (Remedy::Again, _) => {}
                (Remedy::None | Remedy::Load, _) => return Err(failure),
            }
            tokio::select! {
                () = deadline.as_mut() => return Err(failure),
                () = pause.wait() => {}
            }
            pause.grow();
        }
    }

    /// Sends a command once, on a connection that there is or can be made in time.
    async fn try_send(
        &self,
        command: &Cmd,
        mut deadline: Pin<&mut Sleep>,
    ) -> Result<Answer, Failure> {
        let (connection, number) = tokio::select! {
            connected = self.connector.connection() => connected.map_err(Failure::Unconnected)?,
            () = deadline.as_mut() => return Err(Failure::Unconnected(too_late())),
        };
        let mut sending = connection.clone();
        let answer = tokio::select! {
            answer = command.query_async(&mut sending) => answer,
            () = deadline.as_mut() => Err(too_late()),
        };
        let value = answer.inspect_err(|error| self.look_at(error, number));
        Ok(Answer {
            value: value.map_err(Failure::Answered)?,
            connection,
            number,
        })
    }

    /// Gives a connection up where its error says that it is of no more use.
    fn look_at(&self, error: &RedisError, number: u64) {
        if is_lost(error) {
            self.route.learn_from(error);
            self.connector.give_up(number);
        }
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
            Self::Unconnected(error) => Problem::unconnected(error, &link.manner),
        }
    }
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

/// How connections are made.
fn manner(options: &Options) -> String {
    match options.url.is_secure() {
        true => format!("TLS with {}", options.tls),
        false => "without TLS".to_owned(),
    }
}
