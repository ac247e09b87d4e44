//! Those who hold connections and send little, and those who send too much: each costs a connection, and nobody else's time.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::git_support::{Origin, TestResult};
use crate::replica::{Answer, Replica, create};

/// More of each sort than reviews were ever read at once.
const SLOW: usize = 100;
const PATIENCE: Duration = Duration::from_mins(1);

async fn connected(replica: &Replica) -> TestResult<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(replica.root_pem.as_bytes())?)?;
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(replica.address).await?;
    let name = ServerName::from(replica.address.ip());
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// Sends a beginning and then a byte now and then, until the other side ends it; what it said.
async fn drip(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, beginning: &str) -> TestResult<String> {
    stream.write_all(beginning.as_bytes()).await?;
    stream.flush().await?;
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match tokio::time::timeout(Duration::from_millis(200), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(_) if stream.write_all(b"x").await.is_err() || stream.flush().await.is_err() => break,
            Err(_) => {}
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

async fn replica(origin: &Origin, head: &str) -> TestResult<Replica> {
    let replica = Replica::start(&origin.file_url())?;
    replica.watched.until_head(head).await?;
    Ok(replica)
}

/// Two hundred matching writes in flight, with little patience.
async fn matching(replica: &Replica) -> TestResult {
    let asked = (0..200).map(|number| replica.ask(create("payments", &format!("p{}", number % 3), 80), "2s"));
    assert!(try_join_all(asked).await?.iter().all(Answer::allowed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_cut_off_and_hold_up_nobody() -> TestResult {
    let (origin, head) = Origin::with_policies(3)?;
    let replica = replica(&origin, &head).await?;
    let streams = try_join_all((0..SLOW).map(|_| connected(&replica))).await?;
    let beginning = "POST /validate?timeout=30s HTTP/1.1\r\nhost: x\r\ncontent-length: 7000000\r\n\r\n{";
    let slow = join_all(streams.into_iter().map(|stream| drip(stream, beginning)));
    let (slow, matching) = tokio::join!(tokio::time::timeout(PATIENCE, slow), matching(&replica));
    matching?;
    for said in slow? {
        let said = said?;
        assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_and_silent_connections_are_cut_off_and_hold_up_nobody() -> TestResult {
    let (origin, head) = Origin::with_policies(3)?;
    let replica = replica(&origin, &head).await?;
    let streams = try_join_all((0..SLOW).map(|_| connected(&replica))).await?;
    let beginning = "POST /validate HTTP/1.1\r\nhost: x\r\nx-slow: ";
    let headers = join_all(streams.into_iter().map(|stream| drip(stream, beginning)));
    let address = replica.address;
    // They do not even speak TLS.
    let silent = join_all((0..SLOW).map(|_| async move {
        let mut stream = TcpStream::connect(address).await?;
        let _ = stream.read(&mut [0; 64]).await;
        TestResult::Ok(())
    }));
    let slow = async { tokio::join!(headers, silent) };
    let (slow, matching) = tokio::join!(tokio::time::timeout(PATIENCE, slow), matching(&replica));
    matching?;
    let (headers, silent) = slow.map_err(|_| "slow connections are still open")?;
    assert!(
        headers
            .into_iter()
            .all(|said| said.is_ok_and(|said| !said.contains("200 OK")))
    );
    silent.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_bodies_are_refused_and_hold_up_nobody() -> TestResult {
    let (origin, head) = Origin::with_policies(3)?;
    let replica = replica(&origin, &head).await?;
    let told = "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n";
    // Nothing of the length is told before; each chunk is a megabyte.
    let untold = "POST /validate HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let send = async |beginning: &str, chunks: usize| {
        let mut stream = connected(&replica).await?;
        stream.write_all(beginning.as_bytes()).await?;
        for _ in 0..chunks {
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        let _ = stream.flush().await;
        let mut said = [0; 12];
        // The connection may be gone before the answer is read.
        let read = stream.read_exact(&mut said).await;
        TestResult::Ok(read.is_ok().then(|| String::from_utf8_lossy(&said).into_owned()))
    };
    let told = try_join_all((0..20).map(|_| send(told, 0)));
    let untold = try_join_all((0..20).map(|_| send(untold, 9)));
    let oversized = async { tokio::join!(told, untold) };
    let (oversized, matching) = tokio::join!(tokio::time::timeout(PATIENCE, oversized), matching(&replica));
    matching?;
    let (told, untold) = oversized?;
    // What is announced is refused before it is sent.
    assert!(told?.iter().all(|said| said.as_deref() == Some("HTTP/1.1 413")));
    assert!(untold?.iter().flatten().all(|said| said == "HTTP/1.1 413"));
    Ok(())
}
