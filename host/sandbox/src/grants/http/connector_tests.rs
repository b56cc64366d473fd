//! Connections to servers that stall or answer, that speak TLS or not, where there are places and where there are none.

use std::net::TcpListener;
use std::sync::Weak;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use stem_core::clock::SystemClock;
use stem_core::executor::Stop;
use stem_core::policy::Limits;
use wasmtime_wasi_http::Error as Told;

use super::super::address::Reach;
use super::super::body::Upload;
use super::super::exchange::{Waits, begin};
use super::super::fault;
use super::super::network::{Client, over};
use super::super::resolver::SystemResolver;
use super::*;
use crate::usage::BytesOut;

#[path = "../../../tests/sandbox/common/server.rs"]
#[allow(dead_code, reason = "the sandbox's other tests use all of it")]
mod server;
#[path = "../../../tests/sandbox/common/tls.rs"]
mod tls;

use server::Server;
use tls::TlsServer;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let worked = runtime.block_on(async { timeout(LONG * 2, work).await });
    worked.expect("it ends")
}

/// Trusts whoever has one of these certificates.
fn connector(
    trusted: &[&CertificateDer<'static>],
    places: &Places,
    patience: Duration,
) -> Connector {
    let names = Checked {
        resolver: Arc::new(SystemResolver),
        lookups: Arc::new(Semaphore::new(1)),
        inmost: Reach::Private,
    };
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone()).expect("a certificate");
    }
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Connector::new(names, tls, places.clone(), patience)
}

async fn connect(connector: &Connector, url: &str) -> Result<Line, Cause> {
    let uri = url.parse().expect("a URI");
    connector.clone().call(uri).await
}

fn request(url: &str) -> Request<Upload> {
    let nothing = Empty::<Bytes>::new().map_err(Told::from).boxed_unsync();
    let body = Upload::new(nothing, Weak::new(), BytesOut::default());
    Request::get(url).body(body).expect("a request")
}

/// Asks, and reads the answer to its end.
async fn get(client: &Client, url: &str) -> Result<u16, Told> {
    let answer = client.request(request(url)).await;
    let answer = answer.map_err(|error| fault::of(&error))?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.expect("a whole body");
    Ok(status)
}

/// S6
#[test]
fn a_server_is_talked_to_whose_certificate_is_vouched_for() {
    let server = TlsServer::start();
    let connector = connector(&[&server.certificate], &Places::new(8), LONG);
    let status = block_on(async { get(&over(connector), &server.url()).await });
    assert!(matches!(status, Ok(200)), "{status:?}");
}

/// S6
#[test]
fn a_server_is_not_talked_to_whose_certificate_is_anothers() {
    let (server, other) = (TlsServer::start(), TlsServer::start());
    let connector = connector(&[&other.certificate], &Places::new(8), LONG);
    let status = block_on(async { get(&over(connector), &server.url()).await });
    assert!(
        matches!(status, Err(Told::TlsCertificateError)),
        "{status:?}"
    );
}

/// S3, S6: also where no request waits for it any more.
#[test]
fn a_handshake_that_stalls_ends_in_time_and_gives_its_place_back() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("it has one"));
    let places = Places::new(2);
    let client = over(connector(&[], &places, SHORT));
    let status = block_on(async { get(&client, &url).await });
    assert!(matches!(status, Err(Told::ConnectionTimeout)), "{status:?}");
    assert!(!places.are_taken());
}

/// S3: a task may have half of two.
#[test]
fn a_connection_waits_for_a_place_until_another_is_closed() {
    let (server, places) = (Server::start(), Places::new(2));
    let [patient, impatient] = [LONG, SHORT].map(|time| connector(&[], &places, time));
    block_on(async {
        let first = connect(&patient, &server.url("")).await.expect("a place");
        assert!(places.are_taken());
        assert!(connect(&impatient, &server.url("")).await.is_err());
        drop(first);
        let second = connect(&patient, &server.url("")).await;
        assert!(second.is_ok() && places.are_taken());
    });
}

/// Connections that five requests need, one after the other, where so many are kept.
fn connections_where_kept(kept: usize) -> usize {
    let server = Server::start();
    let places = Places {
        kept: Arc::new(Semaphore::new(kept)),
        ..Places::new(8)
    };
    let client = over(connector(&[], &places, LONG));
    block_on(async {
        for _ in 0..5 {
            assert!(matches!(get(&client, &server.url("/")).await, Ok(200)));
            tokio::task::yield_now().await;
        }
    });
    server.connections()
}

/// S3: to however many hosts there are connections.
#[test]
fn no_more_connections_are_kept_than_may_be() {
    assert_eq!(connections_where_kept(0), 5);
    assert!(connections_where_kept(1) < 5);
}

/// S3, S8: the attempt itself only waits meanwhile.
#[test]
fn what_a_connection_costs_counts_for_the_attempt_that_it_works_for() {
    let server = TlsServer::start();
    let client = over(connector(&[&server.certificate], &Places::new(8), LONG));
    let (_stopper, stop) = tokio::sync::watch::channel(Stop::No);
    let watch = Watch::start(&SystemClock::shared(), &Limits::default(), stop);
    watch.cpu().pause();
    let before = watch.cpu_spent();
    let answer = begin(&client, request(&server.url()), Waits::default(), &watch);
    let answer = block_on(answer).expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(watch.cpu_spent() > before);
}

/// S3
#[test]
fn tasks_share_what_a_worker_has() {
    let (one, other) = (Places::of_task(), Places::of_task());
    assert!(Arc::ptr_eq(&one.worker, &other.worker) && Arc::ptr_eq(&one.kept, &other.kept));
    assert!(!Arc::ptr_eq(&one.task, &other.task));
    assert!(one.task.available_permits() < most_of_worker());
}
