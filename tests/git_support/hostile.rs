//! A server that speaks Git's protocol as far as it takes to do harm, and says whatever a test has it say.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::net::TcpListener;

use super::TestResult;

/// What is sent, piece by piece; it may never end.
pub(crate) type Words = Box<dyn Iterator<Item = Vec<u8>> + Send>;
type Speech = Arc<dyn Fn() -> Words + Send + Sync>;

/// What a server says to whom asks for its refs, and for objects.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) greeting: Speech,
    pub(crate) refs: Speech,
    pub(crate) objects: Speech,
}

/// A server that runs as long as it is held.
pub(crate) struct Hostile {
    pub(crate) url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Script {
    /// A server with one branch and nothing in it.
    fn default() -> Self {
        Self {
            greeting: once(greeting()),
            refs: once([line(format!("{} refs/heads/main\n", "4".repeat(40))), end()].concat()),
            objects: once(end()),
        }
    }
}

impl Script {
    /// Sends these bytes as a pack.
    pub(crate) fn sending(pack: &[u8]) -> Self {
        let mut answer = line("packfile\n");
        for part in pack.chunks(65_000) {
            answer.extend(band(1, part));
        }
        answer.extend(end());
        Self {
            objects: once(answer),
            ..Self::default()
        }
    }
}

/// Starts a server.
pub(crate) async fn hostile(script: Script) -> TestResult<Hostile> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/policies.git", listener.local_addr()?);
    let app = Router::new().fallback(answer).with_state(script);
    let task = tokio::spawn(async move {
        // Aborted with the test.
        let _ = axum::serve(listener, app).await;
    });
    Ok(Hostile { url, task })
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let is_greeting = request.uri().path().ends_with("/info/refs");
    let asked = to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    let asks_for_refs = String::from_utf8_lossy(&asked).contains("command=ls-refs");
    let (kind, words) = match (is_greeting, asks_for_refs) {
        (true, _) => ("advertisement", (script.greeting)()),
        (_, true) => ("result", (script.refs)()),
        _ => ("result", (script.objects)()),
    };
    let body = Body::from_stream(stream::iter(words.map(Ok::<_, Infallible>)));
    let kind = format!("application/x-git-upload-pack-{kind}");
    ([(CONTENT_TYPE, kind)], body).into_response()
}

/// Says this and no more.
pub(crate) fn once(words: Vec<u8>) -> Speech {
    Arc::new(move || Box::new(std::iter::once(words.clone())))
}

/// Says this first, and then that without end.
pub(crate) fn endless(first: Vec<u8>, then: Vec<u8>) -> Speech {
    // Few pieces: what is measured is not this server.
    let then = then.repeat((64 << 10) / then.len().max(1) + 1);
    Arc::new(move || Box::new(std::iter::once(first.clone()).chain(std::iter::repeat(then.clone()))))
}

/// What a server of Git's second protocol begins with.
pub(crate) fn greeting() -> Vec<u8> {
    let lines = ["version 2\n", "ls-refs\n", "fetch\n", "object-format=sha1\n"];
    let lines: Vec<u8> = lines.iter().flat_map(|text| line(text)).collect();
    [line("# service=git-upload-pack\n"), end(), lines, end()].concat()
}

/// A line as Git sends it.
pub(crate) fn line(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{:04x}", text.len() + 4).as_bytes(), text].concat()
}

/// A line of one of the three channels: objects, progress, errors.
pub(crate) fn band(channel: u8, bytes: &[u8]) -> Vec<u8> {
    line([&[channel], bytes].concat())
}

pub(crate) fn end() -> Vec<u8> {
    b"0000".to_vec()
}
