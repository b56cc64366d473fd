//! A server that speaks TLS, with a certificate for this machine that nobody vouches for.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// It listens on this machine alone, until the test's process ends.
pub struct TlsServer {
    pub address: SocketAddr,
    #[allow(dead_code, reason = "the connector's own tests trust it")]
    pub certificate: CertificateDer<'static>,
}

impl TlsServer {
    /// On a port of its own.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("it has one");
        let made = rcgen::generate_simple_self_signed([address.ip().to_string()]);
        let made = made.expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let settings = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key);
        let settings = Arc::new(settings.expect("they fit"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let settings = Arc::clone(&settings);
                thread::spawn(move || serve(stream, settings));
            }
        });
        Self {
            address,
            certificate,
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// Every request is answered alike.
fn serve(stream: TcpStream, settings: Arc<ServerConfig>) -> Option<()> {
    let connection = ServerConnection::new(settings).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            (stream.read_line(&mut line).ok()? > 0).then_some(())?;
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.get_mut().write_all(answer).ok()?;
    }
}
