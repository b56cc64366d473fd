//! The master that sentinels name, and whether it is one.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, ProtocolVersion, RedisConnectionInfo,
    RedisError, ServerErrorKind, Value,
};

use super::{Reached, Route};
use crate::reply;

impl Route {
    pub(super) async fn find_master(
        &self,
        master: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<Reached, RedisError> {
        let sentinels = self.known().named.clone();
        let mut first_error = None;
        for sentinel in &sentinels {
            let trying = self.try_sentinel(sentinel, master, config);
            let place = (sentinel, sentinels.len());
            match self.within_share(place, trying).await {
                Ok(reached) => return Ok(reached),
                Err(error) => first_error.get_or_insert(error),
            };
        }
        Err(first_error.unwrap_or_else(|| unknown(master)))
    }

    async fn try_sentinel(
        &self,
        sentinel: &ConnectionAddr,
        master: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<Reached, RedisError> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let mut connection = self.open_sentinel(sentinel, config).await?;
        let answer: Option<(String, u16)> = ask.query_async(&mut connection).await?;
        let (host, port) = answer.ok_or_else(|| unknown(master))?;
        let place = self.at(&host, port);
        let mut connection = self.open(&place, ProtocolVersion::RESP2, config).await?;
        check_role(&mut connection).await?;
        Ok(Reached { connection, place })
    }

    /// A sentinel has users of its own, or none: the URL's are shown where it wants some.
    async fn open_sentinel(
        &self,
        sentinel: &ConnectionAddr,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let place = self.model.clone().set_addr(sentinel.clone());
        let stranger = place
            .clone()
            .set_redis_settings(RedisConnectionInfo::default());
        let client = Client::open(stranger)?;
        let opening = client.get_multiplexed_async_connection_with_config(config);
        let mut connection = opening.await?;
        let settings = self.model.redis_settings();
        let asked = redis::cmd("PING").exec_async(&mut connection).await;
        if asked.is_ok() || settings.password().is_none() {
            return Ok(connection);
        }
        let known = settings.clone().set_db(0);
        let client = Client::open(place.set_redis_settings(known))?;
        client
            .get_multiplexed_async_connection_with_config(config)
            .await
    }
}

/// A sentinel may name a master that is none any more, or not yet.
async fn check_role(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let role = redis::cmd("ROLE").query_async::<Value>(connection).await;
    let role = match role {
        Ok(role) => reply::list(role).unwrap_or_default(),
        // Whoever may not ask is told by the first command that writes.
        Err(error) if error.kind() != ErrorKind::Io => return Ok(()),
        Err(error) => return Err(error),
    };
    let role = role.into_iter().next().map(reply::text);
    if matches!(role, Some(Ok(role)) if role == "master") {
        return Ok(());
    }
    let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
    Err((kind, "the server that sentinels name is no master").into())
}

fn unknown(master: &str) -> RedisError {
    let what = "the sentinels know no master of this name";
    let says = format!("{master}: `SENTINEL MASTERS` lists those that they know");
    (ErrorKind::MasterNameNotFoundBySentinel, what, says).into()
}
