//! A proxy loses, delays and cuts what it is told to, and nothing else.

use std::io::Error;

use stem_core::clock::SystemClock;

use super::*;
use crate::process::{SOON, within};

/// Answers each byte with itself, on as many connections as come.
struct Echo {
    port: u16,
    _answering: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(echo(stream));
            }
        });
        Self {
            port,
            _answering: answering,
        }
    }
}

async fn echo(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    // However it ends, it is over.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await;
    connected.expect("the proxy listens")
}

/// What comes back of these bytes, until all of it is there or the connection has ended.
async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    let mut length = 0;
    while length < bytes.len() {
        match stream.read(&mut answer[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    answer.truncate(length);
    Ok(answer)
}

async fn start() -> (Echo, Proxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = Proxy::to(echo.port).await;
    let mut stream = connect(&proxy).await;
    let answer = within(SOON, send(&mut stream, b"hello")).await;
    assert_eq!(answer.expect("it is carried"), b"hello");
    (echo, proxy, stream)
}

#[tokio::test]
async fn what_is_cut_in_the_middle_arrives_by_half() {
    for (way, least) in [(Way::ToServer, 0), (Way::ToClient, 3)] {
        let (_echo, proxy, mut stream) = start().await;
        proxy.cut_after(way, 3);
        let answer = within(SOON, send(&mut stream, b"hello")).await;
        let answer = answer.expect("it is an end");
        assert!(b"hel".starts_with(&answer[..]), "{answer:?}");
        assert!(answer.len() >= least, "{answer:?}");
        let mut other = connect(&proxy).await;
        let answer = within(SOON, send(&mut other, b"hello")).await;
        assert_eq!(answer.expect("it is carried"), b"hello");
    }
}

#[tokio::test]
async fn a_cut_ends_what_there_is() {
    let (_echo, proxy, mut stream) = start().await;
    proxy.cut();
    let ended = within(SOON, stream.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_lost_connection_is_silent_and_a_new_one_is_not() {
    let (_echo, proxy, mut stream) = start().await;
    proxy.lose();
    let sent = send(&mut stream, b"hello");
    let silent = tokio::time::timeout(Duration::from_millis(200), sent).await;
    assert!(silent.is_err(), "{silent:?}");
    let mut other = connect(&proxy).await;
    let answer = within(SOON, send(&mut other, b"hello")).await;
    assert_eq!(answer.expect("it is carried"), b"hello");
}

#[tokio::test]
async fn what_was_held_back_arrives_when_the_network_is_resumed() {
    let (_echo, proxy, mut stream) = start().await;
    proxy.pause();
    let mut sent = Box::pin(send(&mut stream, b"hello"));
    let held = tokio::time::timeout(Duration::from_millis(200), &mut sent).await;
    assert!(held.is_err(), "{held:?}");
    proxy.resume();
    let answer = within(SOON, sent).await;
    assert_eq!(answer.expect("it is carried"), b"hello");
}

#[tokio::test]
async fn a_network_that_refuses_ends_a_new_connection_at_once() {
    let (_echo, proxy, mut stream) = start().await;
    proxy.set_refusing(true);
    let mut refused = connect(&proxy).await;
    let ended = within(SOON, refused.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let answer = within(SOON, send(&mut stream, b"hello")).await;
    assert_eq!(answer.expect("it is carried"), b"hello");
}

/// Sends one byte after another, and waits for none of them.
async fn pour(stream: TcpStream, bytes: &[u8]) {
    let (mut from, mut to) = stream.into_split();
    let sending = async {
        for byte in bytes {
            to.write_all(&[*byte]).await.expect("it is carried");
            tokio::task::yield_now().await;
        }
    };
    let mut answer = vec![0; bytes.len()];
    let ((), read) = tokio::join!(sending, from.read_exact(&mut answer));
    read.expect("it is carried");
    assert_eq!(answer, bytes);
}

/// Each direction takes its time, and what follows does not wait for what is under way.
#[tokio::test]
async fn a_slow_network_delays_and_does_not_narrow() {
    let (_echo, proxy, stream) = start().await;
    let (clock, latency) = (SystemClock::shared(), Duration::from_millis(200));
    proxy.set_latency(latency);
    let begun = clock.monotonic();
    within(SOON, pour(stream, b"twenty bytes, slowly")).await;
    let took = clock.monotonic() - begun;
    assert!(took >= latency * 2 && took < latency * 20, "{took:?}");
}
