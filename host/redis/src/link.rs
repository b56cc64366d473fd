//! A connection to the server that comes back by itself: every command has a timeout, and tries to connect are capped and
//! jittered (B13).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisError, ServerErrorKind, TlsCertificates, ToRedisArgs, Value,
};
use stem_core::store_error::StoreErrorKind;
use tokio::sync::mpsc;

use crate::options::Options;
use crate::problem::{Problem, Stepped};
use crate::scripts::Script;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One connection that many callers share.
pub(crate) struct Link {
    client: Client,
    name: String,
    timeout: Duration,
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
    async fn wait(&self) {
        if let Some(pause) = self.0 {
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        }
    }

    fn grow(&mut self) {
        let longer = self.0.map_or(FIRST_PAUSE, |pause| pause * 2);
        self.0 = Some(longer.min(LONGEST_PAUSE));
    }
}

impl Link {
    /// A link that connects when it is first used; `purpose` is the last part of its name.
    pub(crate) fn new(options: &Options, purpose: &str) -> Stepped<Self> {
        Self::speaking(options, purpose, ProtocolVersion::RESP2)
    }

    /// A link that is told what is published on channels.
    pub(crate) fn listening(options: &Options, purpose: &str) -> Stepped<Self> {
        Self::speaking(options, purpose, ProtocolVersion::RESP3)
    }

    fn speaking(options: &Options, purpose: &str, protocol: ProtocolVersion) -> Stepped<Self> {
        Ok(Self {
            client: client(options, protocol)?,
            name: format!("{}-{purpose}", options.connection_name),
            timeout: options.timeout,
            advice: advice(options),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
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
            let mut connection = self.connect_with(&config).await?;
            connection.subscribe(channels).await?;
            Ok(Subscribed {
                connection,
                messages,
            })
        };
        let subscribed: Result<Subscribed, RedisError> = subscribing.await;
        subscribed.map_err(|error| Failure::Unconnected(error).into_problem(self))
    }

    /// Runs a command.
    pub(crate) async fn run(&self, command: &Cmd) -> Stepped<Value> {
        self.try_run(command)
            .await
            .map_err(|failure| failure.into_problem(self))
    }

    /// Runs a script; loads it first where the server does not have it.
    pub(crate) async fn call(&self, call: &Call) -> Stepped<Value> {
        match self.try_run(&call.command).await {
            Err(Failure::Answered(error)) if is_missing(&error) => {}
            answer => return answer.map_err(|failure| failure.into_problem(self)),
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&call.script.source);
        self.run(&load).await?;
        self.run(&call.command).await
    }

    async fn try_run(&self, command: &Cmd) -> Result<Value, Failure> {
        let (mut connection, number) = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        answer.map_err(|error| {
            if is_lost(&error) {
                self.give_up(number);
            }
            Failure::Answered(error)
        })
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
        match self.connect().await {
            Ok(connection) => {
                *pause = Pause::default();
                Ok(self.put(connection))
            }
            Err(error) => {
                pause.grow();
                Err(Failure::Unconnected(error))
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        self.connect_with(&self.config()).await
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }

    async fn connect_with(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(config);
        let mut connection = connecting.await?;
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(&self.name);
        // A user that may not name its connections works without.
        let _: Result<Value, RedisError> = name.query_async(&mut connection).await;
        Ok(connection)
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

/// A connection that hears what is published.
pub(crate) struct Subscribed {
    connection: MultiplexedConnection,
    pub(crate) messages: mpsc::UnboundedReceiver<PushInfo>,
}

impl Subscribed {
    /// Whether the server still answers: a connection may be half-open, and nobody says so.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let answer = redis::cmd("PING").exec_async(&mut self.connection).await;
        answer.is_ok()
    }
}

/// A command that failed: before it was sent, or afterwards.
enum Failure {
    Unconnected(RedisError),
    Answered(RedisError),
}

impl Failure {
    fn into_problem(self, link: &Link) -> Problem {
        match self {
            Self::Answered(error) => error.into(),
            Self::Unconnected(error) => Problem::unconnected(error, &link.advice),
        }
    }
}

/// Whether a connection is of no more use: it broke, did not answer in time, or leads to a server that writes no more.
fn is_lost(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Io
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.is_unrecoverable_error()
}

fn is_missing(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// A script and its arguments; its one key is the namespace's prefix.
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

    pub(crate) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

fn client(options: &Options, protocol: ProtocolVersion) -> Stepped<Client> {
    let (is_secure, tls) = (options.url.is_secure(), &options.tls);
    let plain = options.url.0.trim_end_matches("#insecure");
    let url = match is_secure && tls.allows_insecure {
        true => format!("{plain}#insecure"),
        false => options.url.0.clone(),
    };
    let information = url.as_str().into_connection_info();
    let information = information.map_err(|_| unusable(options, "the URL cannot be read"))?;
    let settings = information.redis_settings().clone().set_protocol(protocol);
    let information = information.set_redis_settings(settings);
    if !is_secure {
        return Ok(Client::open(information)?);
    }
    let certificates = TlsCertificates {
        client_tls: tls
            .client
            .clone()
            .map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
        root_cert: tls.ca_certificate.clone(),
    };
    let client = Client::build_with_tls(information, certificates);
    client.map_err(|error| unusable(options, &error.to_string()))
}

fn unusable(options: &Options, why: &str) -> Problem {
    let (url, tls) = (&options.url, &options.tls);
    Problem::new(
        StoreErrorKind::NotPermitted,
        format!(
            "{why}: write redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], or rediss:// for TLS ({url}, {tls})"
        ),
    )
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
