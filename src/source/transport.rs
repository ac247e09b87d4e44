//! The connection to a repository: gix's HTTP backend with a deadline, a bound on what is received, our own timeouts,
//! and nothing taken from the machine's git configuration.

use std::any::Any;
use std::io::{self, BufRead, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::http::{
    self, GetResponse, Http, PostBodyDataKind, PostResponse, Transport,
    options::FollowRedirects,
    reqwest::{Options as BackendOptions, Remote},
};
use gix::protocol::transport::client::{Account, TransportWithoutIO};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::access::{Access, Identity};
use super::address::is_never_asked;
use super::hearsay::NameError;
use super::limits::Size;

/// How long a connection may take to stand.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a server may say nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of what a server says before it sends objects: the list of its refs, above all. Hundreds of thousands fit in.
const MAX_TALK: u64 = 16 << 20;

/// The bound that ended a fetch.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("the repository sent more than {0} (git.limits.received)")]
    Received(Size),
    #[error(
        "the server sent {} before any object: it lists too many refs, or talks without end",
        Size(MAX_TALK)
    )]
    Talk,
}

/// When a fetch has to stop, and after how much. gix looks at its interrupt flag only while a pack arrives; this looks at every read, so
/// that a server that drips its answer is cut off too.
#[derive(Clone)]
pub(super) struct Limit {
    until: Instant,
    stop: Arc<AtomicBool>,
    /// Bytes that all answers together may have.
    most: u64,
    received: Arc<AtomicU64>,
    /// Whether objects may come by now.
    is_pack: Arc<AtomicBool>,
}

impl Limit {
    pub(super) fn new(timeout: Duration, most: u64) -> Self {
        Self {
            until: Instant::now() + timeout,
            stop: Arc::default(),
            most,
            received: Arc::default(),
            is_pack: Arc::default(),
        }
    }

    /// Says that the talk is over, and that objects come now.
    pub(super) fn expect_pack(&self) {
        self.is_pack.store(true, Ordering::Relaxed);
    }

    /// An error once more was received than may come at this point.
    fn check_received(&self) -> io::Result<()> {
        let received = self.received.load(Ordering::Relaxed);
        let exceeded = if received > self.most {
            Exceeded::Received(Size(self.most))
        } else if received > MAX_TALK && !self.is_pack.load(Ordering::Relaxed) {
            Exceeded::Talk
        } else {
            return Ok(());
        };
        Err(io::Error::other(exceeded))
    }

    /// What gix wants to be told with.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// Ends the fetch at its next read.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// An error once the time is over or the fetch was told to stop.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) || Instant::now() >= self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the fetch was cut off"));
        }
        Ok(())
    }
}

/// The transport for an `http` or `https` URL, and the options that it is to be configured with: gix would otherwise
/// make some from its own configuration, and forget ours.
pub(super) fn connect(
    url: gix::Url,
    access: &Access,
    limit: &Limit,
) -> gix::Result<(Transport<Limited>, Box<http::Options>)> {
    let backend = Limited {
        inner: Remote::default(),
        limit: limit.clone(),
    };
    let mut transport = Transport::new_http(backend, url, Protocol::V2, false);
    let mut options = Box::new(http::Options::default());
    match &access.identity {
        Identity::Anonymous => {}
        // Sent with the first request: most private repositories would answer 401 to it otherwise.
        Identity::Basic { username, password } => transport.set_identity(Account {
            username: username.clone(),
            password: password.clone(),
            oauth_refresh_token: None,
        })?,
        Identity::Bearer(token) => options.extra_headers.push(format!("Authorization: Bearer {token}")),
    }
    // Where a repository moved to is for its owner to say: a redirect could lead to a host that the configuration does
    // not allow, and past the eyes of who reviewed the source.
    options.follow_redirects = FollowRedirects::None;
    let roots = access.roots.clone();
    options.backend = Some(Arc::new(Mutex::new(BackendOptions {
        configure_client: Some(Box::new(move |client| {
            let client = client
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(READ_TIMEOUT)
                .dns_resolver(Arc::new(Resolver));
            Ok(if roots.is_empty() {
                client
            } else {
                client.tls_certs_merge(roots.clone())
            })
        })),
        configure_request: None,
    })));
    Ok((transport, options))
}

/// The machine's resolver, which finds no host that has a link-local address: whoever writes a name's record must not
/// have Headgate speak to them.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found.map_err(NameError::None)?.collect();
            if found.iter().any(|address| is_never_asked(address.ip())) {
                return Err(NameError::LinkLocal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// gix's backend, its answers read under a limit.
pub(super) struct Limited {
    inner: Remote,
    limit: Limit,
}

/// An answer read under a limit.
pub(super) struct LimitedReader<R> {
    inner: R,
    limit: Limit,
}

impl Limited {
    fn reader<R>(&self, inner: R) -> LimitedReader<R> {
        LimitedReader::new(inner, &self.limit)
    }
}

impl<R> LimitedReader<R> {
    pub(super) fn new(inner: R, limit: &Limit) -> Self {
        Self {
            inner,
            limit: limit.clone(),
        }
    }
}

impl Http for Limited {
    type Headers = LimitedReader<<Remote as Http>::Headers>;
    type ResponseBody = LimitedReader<<Remote as Http>::ResponseBody>;
    type PostBody = <Remote as Http>::PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let answer = self.inner.get(url, base_url, headers)?;
        Ok(GetResponse {
            headers: self.reader(answer.headers),
            body: self.reader(answer.body),
        })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let answer = self.inner.post(url, base_url, headers, body)?;
        Ok(PostResponse {
            post_body: answer.post_body,
            headers: self.reader(answer.headers),
            body: self.reader(answer.body),
        })
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result {
        self.inner.configure(config)
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.inner.redirected_base_url()
    }
}

/// By way of `fill_buf`: the pipe's own `read` comes back only once the whole buffer is full, however long that takes.
impl<R: BufRead> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl<R: BufRead> BufRead for LimitedReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.limit.check()?;
        self.limit.check_received()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.limit.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.inner.consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_a_link_local_address_is_not_asked() -> Result<(), Box<dyn std::error::Error>> {
        let resolved = async |name: &str| Ok::<_, Box<dyn std::error::Error>>(Resolver.resolve(name.parse()?).await);
        // No address to Rust, but one to the machine's resolver, as names are.
        let refused = resolved("2852039166").await?.err().ok_or("169.254.169.254 was found")?;
        assert!(refused.to_string().contains("link-local"), "{refused}");
        assert!(
            resolved("localhost")
                .await?
                .is_ok_and(|mut found| found.next().is_some())
        );
        Ok(())
    }
}
