//! HTTP servers: git's own backend behind a small bridge, and two that misbehave.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Origin, TestResult};

/// What a server demands and counts.
#[derive(Clone, Default)]
pub(crate) struct Bridge {
    root: std::path::PathBuf,
    /// The whole `Authorization` header that it wants.
    authorization: Option<String>,
    /// Looks at the repository, each of which starts with one such request.
    looks: watch::Sender<usize>,
    /// While it holds this, every answer waits.
    gate: Arc<tokio::sync::Mutex<()>>,
    asked: Arc<std::sync::Mutex<Vec<Asked>>>,
}

/// A request as git's backend was given it.
#[derive(Clone)]
pub(crate) struct Asked {
    root: std::path::PathBuf,
    parts: axum::http::request::Parts,
    body: Bytes,
}

impl Asked {
    /// Asks git's backend the same again.
    pub(crate) fn again(&self) -> TestResult {
        backend(&self.root, &self.parts, &self.body).map(drop)
    }
}

/// A server that runs as long as it is held.
pub(crate) struct Server {
    pub(crate) url: String,
    looks: watch::Receiver<usize>,
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
    asked: Arc<std::sync::Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// The requests since this was asked last.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let mut asked = self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *asked)
    }

    /// Looks at the repository so far.
    pub(crate) fn looks(&self) -> usize {
        *self.looks.borrow()
    }

    /// Waits until there were more looks than these.
    pub(crate) async fn until_more_looks_than(&self, looks: usize) -> TestResult {
        let mut seen = self.looks.clone();
        tokio::time::timeout(Duration::from_secs(30), seen.wait_for(|seen| *seen > looks)).await??;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a repository over clear HTTP.
pub(crate) async fn serve(origin: &Origin) -> TestResult<Server> {
    let bridge = bridge(origin, None);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/policies.git", listener.local_addr()?);
    let (looks, gate, asked) = (
        bridge.looks.subscribe(),
        Arc::clone(&bridge.gate),
        Arc::clone(&bridge.asked),
    );
    let app = Router::new().fallback(answer).with_state(bridge);
    let task = tokio::spawn(async move {
        // Aborted with the test.
        let _ = axum::serve(listener, app).await;
    });
    Ok(Server {
        url,
        looks,
        gate,
        asked,
        task,
    })
}

/// Serves a repository over TLS to those with the right `Authorization` header; also its root certificate.
pub(crate) async fn serve_tls(origin: &Origin, authorization: Option<&str>) -> TestResult<(Server, String)> {
    serve_with(bridge(origin, authorization), "localhost", 0..10).await
}

/// Serves a repository over TLS by a certificate for this name, good from and until so many days from now.
pub(crate) async fn tls_for(origin: &Origin, name: &str, days: std::ops::Range<i64>) -> TestResult<(Server, String)> {
    serve_with(bridge(origin, None), name, days).await
}

/// A certificate, its own root, and its key, as PEM.
fn certificate(name: &str, days: std::ops::Range<i64>) -> TestResult<(String, String)> {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let day = |number: i64| -> TestResult<_> {
        let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * number);
        let date = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
        let number = |number: i8| u8::try_from(number);
        Ok(rcgen::date_time_ymd(
            i32::from(date.year()),
            number(date.month())?,
            number(date.day())?,
        ))
    };
    let mut wanted = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    wanted.not_before = day(days.start)?;
    wanted.not_after = day(days.end)?;
    let key = rcgen::KeyPair::generate()?;
    Ok((wanted.self_signed(&key)?.pem(), key.serialize_pem()))
}

async fn serve_with(bridge: Bridge, name: &str, days: std::ops::Range<i64>) -> TestResult<(Server, String)> {
    let (pem, key) = certificate(name, days)?;
    let config = axum_server::tls_rustls::RustlsConfig::from_pem(pem.clone().into_bytes(), key.into_bytes()).await?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("https://localhost:{}/policies.git", listener.local_addr()?.port());
    let (looks, gate, asked) = (
        bridge.looks.subscribe(),
        Arc::clone(&bridge.gate),
        Arc::clone(&bridge.asked),
    );
    let app = Router::new().fallback(answer).with_state(bridge);
    let server = axum_server::from_tcp_rustls(listener, config)?;
    let task = tokio::spawn(async move {
        let _ = server.serve(app.into_make_service()).await;
    });
    let server = Server {
        url,
        looks,
        gate,
        asked,
        task,
    };
    Ok((server, pem))
}

fn bridge(origin: &Origin, authorization: Option<&str>) -> Bridge {
    Bridge {
        root: origin.root().to_owned(),
        authorization: authorization.map(str::to_owned),
        ..Bridge::default()
    }
}

async fn answer(State(bridge): State<Bridge>, request: Request) -> Response {
    if request.uri().path().ends_with("/info/refs") {
        bridge.looks.send_modify(|looks| *looks += 1);
    }
    drop(bridge.gate.lock().await);
    let sent = request.headers().get(header::AUTHORIZATION);
    if bridge.authorization.is_some() && bridge.authorization.as_deref() != sent.and_then(|value| value.to_str().ok()) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"policies\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 64 << 20).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let asked = Asked {
        root: bridge.root.clone(),
        parts: parts.clone(),
        body: body.clone(),
    };
    bridge
        .asked
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(asked);
    let ran = tokio::task::spawn_blocking(move || backend(&bridge.root, &parts, &body)).await;
    match ran {
        Ok(Ok(response)) => response,
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Runs `git http-backend` as a CGI program.
fn backend(root: &Path, request: &axum::http::request::Parts, body: &Bytes) -> TestResult<Response> {
    let text = |name: &str| {
        request
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", text("git-protocol"))
        .env("REQUEST_METHOD", request.method.as_str())
        .env("PATH_INFO", request.uri.path())
        .env("QUERY_STRING", request.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let sent = body.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output()?;
    // It may answer without having read everything.
    drop(writing.join());
    let end = output
        .stdout
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("no headers")?;
    let (head, rest) = output.stdout.split_at(end);
    let mut headers = HeaderMap::new();
    let mut status = StatusCode::OK;
    for line in std::str::from_utf8(head)?.lines() {
        let (name, value) = line.split_once(": ").ok_or("not a header")?;
        if name == "Status" {
            status = value.split(' ').next().unwrap_or_default().parse()?;
        } else {
            headers.append(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
        }
    }
    let body = Body::from(rest.get(4..).unwrap_or_default().to_vec());
    Ok((status, headers, body).into_response())
}

/// A server that sends everybody elsewhere, and one there that counts who comes and remembers what they brought.
pub(crate) async fn redirect() -> TestResult<(SocketAddr, watch::Receiver<Vec<HeaderMap>>)> {
    let (seen, visitors) = watch::channel(Vec::new());
    let elsewhere = TcpListener::bind("127.0.0.1:0").await?;
    let address = elsewhere.local_addr()?;
    let receive = move |request: Request| async move {
        seen.send_modify(|seen: &mut Vec<HeaderMap>| seen.push(request.headers().clone()));
        StatusCode::NOT_FOUND
    };
    tokio::spawn(async move { axum::serve(elsewhere, Router::new().fallback(receive)).await });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let start = listener.local_addr()?;
    let send = move |request: Request| async move {
        let target = format!("http://localhost:{}{}", address.port(), request.uri());
        (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, target)])
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(send)).await });
    Ok((start, visitors))
}

/// A server that takes every connection and never says a word; also how many it has taken.
pub(crate) async fn hang() -> TestResult<(SocketAddr, watch::Receiver<usize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (taken, seen) = watch::channel(0);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            taken.send_replace(held.len());
        }
    });
    Ok((address, seen))
}

/// A server that answers a byte at a time and never comes to an end; also how many connections are open.
pub(crate) async fn drip() -> TestResult<(SocketAddr, watch::Receiver<usize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (open, seen) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let open = open.clone();
            tokio::spawn(async move {
                open.send_modify(|open| *open += 1);
                let _ = drip_into(stream).await;
                open.send_modify(|open| *open -= 1);
            });
        }
    });
    Ok((address, seen))
}

async fn drip_into(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\r\n")
        .await?;
    // One line of 65 515 bytes, a byte every 20 ms: no read ever waits long.
    stream.write_all(b"ffef").await?;
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server that gives these answers, one for each connection, and begins anew after the last; it remembers what it was
/// asked.
pub(crate) struct Recited {
    pub(crate) address: SocketAddr,
    heard: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Recited {
    /// The heads of the requests so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heard.clone()
    }
}

/// Recites in clear.
pub(crate) async fn recite(answers: Vec<Vec<u8>>) -> TestResult<Recited> {
    recite_by(answers, None).await
}

/// Recites over TLS; also its root certificate.
pub(crate) async fn recite_tls(answers: Vec<Vec<u8>>) -> TestResult<(Recited, String)> {
    let (pem, key) = certificate("localhost", 0..10)?;
    let config = axum_server::tls_rustls::RustlsConfig::from_pem(pem.clone().into_bytes(), key.into_bytes()).await?;
    let mut config = rustls::ServerConfig::clone(&config.get_inner());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    Ok((recite_by(answers, Some(acceptor)).await?, pem))
}

async fn recite_by(answers: Vec<Vec<u8>>, tls: Option<tokio_rustls::TlsAcceptor>) -> TestResult<Recited> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let heard = Arc::default();
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        for answer in answers.iter().cycle() {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            // Who hangs up is answered no more.
            let _ = match &tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => recite_one(stream, answer, &told).await,
                    Err(error) => Err(error),
                },
                None => recite_one(stream, answer, &told).await,
            };
        }
    });
    Ok(Recited { address, heard })
}

async fn recite_one(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    answer: &[u8],
    heard: &std::sync::Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The head, and the body that it announces.
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((fields, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let announced = fields.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= announced.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
            && (!fields.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"))
    };
    while !whole(&request) {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    heard
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(text);
    stream.write_all(answer).await?;
    stream.shutdown().await
}

/// What a request brought along to identify itself.
pub(crate) fn bearer_of(request: &str) -> Option<&str> {
    let is_it = |line: &&str| line.to_ascii_lowercase().starts_with("authorization: ");
    request.lines().find(is_it)?.split_once(": ").map(|(_, value)| value)
}
