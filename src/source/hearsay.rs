//! Why a repository cannot be read over http: a closed list. Whatever a server says may be there to mislead whoever reads
//! a status or a denial, and is not passed on: what it is, is found by the kinds of the errors.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use super::pack::PackError;
use super::transport::Exceeded;

/// Errors within errors that are looked at.
const MAX_DEPTH: usize = 32;

/// Why a repository cannot be read over http.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    /// What answers is a page, or a redirect, which is not followed.
    #[error(
        "no Git repository answers at spec.git.url: write the URL that it may redirect to; some servers want \".git\" at its end"
    )]
    NotGit,
    /// There is no such repository, or none to be seen by these credentials.
    #[error("the server has no such repository, or does not show it to these credentials (HTTP {0})")]
    NotFound(u16),
    /// It does not let us.
    #[error("the server refuses access (HTTP {0}): the credentials need the right to read this repository")]
    Forbidden(u16),
    /// It asks to wait.
    #[error("the server has been asked too often (HTTP 429): a longer spec.git.interval asks less")]
    TooOften,
    /// It is in trouble.
    #[error("the server is in trouble (HTTP {0})")]
    Trouble(u16),
    /// Another status.
    #[error("the server does not answer as a Git server does (HTTP {0})")]
    Status(u16),
    /// Its certificate does not verify.
    #[error("the server's certificate {0}")]
    Certificate(&'static str),
    /// Another failure of TLS.
    #[error("no TLS connection with the server came about")]
    Tls,
    /// Its name is not known.
    #[error("the host's name has no address")]
    NoAddress,
    /// It leads to where nobody asks.
    #[error(
        "the host leads to a link-local or metadata address: {}",
        super::address::NEVER_ASKED
    )]
    LinkLocal,
    /// It cannot be reached, by what the machine says.
    #[error("the server cannot be reached: {0}")]
    Unreachable(&'static str),
    /// It says that it cannot, in its own words.
    #[error("the server ended the fetch with an error of its own: its log says which")]
    Said,
    /// On this side: the bound of what is received, or the disk.
    #[error("{0}")]
    Here(String),
    /// Everything else.
    #[error("what the server answered is not what Git's protocol allows")]
    Unexpected,
}

/// Why a host's name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum NameError {
    /// It has no address.
    #[error("the host's name has no address")]
    None(#[source] io::Error),
    /// It leads to where nobody asks.
    #[error(
        "the host leads to a link-local or metadata address: {}",
        super::address::NEVER_ASKED
    )]
    LinkLocal,
}

impl HttpError {
    /// What an error means. The first that says something counts, from the outermost to the cause.
    pub(super) fn of(error: &gix::Error) -> Self {
        first(error, meaning).unwrap_or(Self::Unexpected)
    }
}

/// What went wrong on this side: a bound of ours, or the disk; none where the server may have had a part in it.
pub(super) fn on_this_side(error: &gix::Error) -> Option<String> {
    let here =
        |error: &(dyn StdError + 'static)| of_a_bound(error).or_else(|| of_io(error.downcast_ref::<io::Error>()?));
    match first(error, here) {
        Some(HttpError::Here(text)) => Some(text),
        _ => None,
    }
}

fn first<T>(error: &gix::Error, meaning: impl Fn(&(dyn StdError + 'static)) -> Option<T>) -> Option<T> {
    let mut found = None;
    for error in error.iter_errors() {
        visit(error, 0, &mut |error| {
            if found.is_none() {
                found = meaning(error);
            }
        });
    }
    found
}

/// Goes through an error and all that it was made of. An I/O error keeps its own cause to itself.
fn visit(error: &(dyn StdError + 'static), depth: usize, look: &mut dyn FnMut(&(dyn StdError + 'static))) {
    if depth > MAX_DEPTH {
        return;
    }
    look(error);
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        visit(inner, depth + 1, look);
    }
    if let Some(inner) = error.downcast_ref::<gix::Error>() {
        for inner in inner.iter_errors() {
            visit(inner, depth + 1, look);
        }
    }
    if let Some(inner) = error.source() {
        visit(inner, depth + 1, look);
    }
}

fn meaning(error: &(dyn StdError + 'static)) -> Option<HttpError> {
    if let Some(bound) = of_a_bound(error) {
        return Some(bound);
    }
    if let Some(name) = error.downcast_ref::<NameError>() {
        return Some(match name {
            NameError::None(_) => HttpError::NoAddress,
            NameError::LinkLocal => HttpError::LinkLocal,
        });
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    if error.is::<gix::protocol::transport::packetline::read::Error>() {
        return Some(HttpError::Said);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error);
    }
    if let Some(status) = error.downcast_ref::<reqwest::Error>().and_then(reqwest::Error::status) {
        return Some(of_status(status.as_u16()));
    }
    // gix has no kind for it. The words are its own, before those of the server.
    let is_page = error.to_string().contains("to indicate 'smart' protocol");
    is_page.then_some(HttpError::NotGit)
}

/// What of a server's answer goes beyond a bound of this side.
fn of_a_bound(error: &(dyn StdError + 'static)) -> Option<HttpError> {
    let exceeded = error.downcast_ref::<Exceeded>().map(ToString::to_string);
    let told = exceeded.or_else(|| error.downcast_ref::<PackError>().map(ToString::to_string));
    told.map(HttpError::Here)
}

fn of_status(status: u16) -> HttpError {
    match status {
        404 | 410 => HttpError::NotFound(status),
        401 | 403 => HttpError::Forbidden(status),
        429 => HttpError::TooOften,
        500..=599 => HttpError::Trouble(status),
        _ => HttpError::Status(status),
    }
}

/// What a certificate says of itself is not passed on: names in it are whatever the server likes.
fn of_tls(error: &rustls::Error) -> HttpError {
    let rustls::Error::InvalidCertificate(error) = error else {
        return HttpError::Tls;
    };
    HttpError::Certificate(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "was revoked",
        // Another authority of the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is signed by nobody whom this machine trusts: put its authority into ca.crt of spec.git.credentialsSecretRef"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name than spec.git.url has"
        }
        _ => "cannot be verified",
    })
}

/// What the machine says of itself comes from a list of its own; and so does what we say.
fn of_io(error: &io::Error) -> Option<HttpError> {
    use io::ErrorKind;
    Some(match error.kind() {
        ErrorKind::ConnectionRefused => HttpError::Unreachable("nobody listens there"),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            HttpError::Unreachable("no way leads there")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge | ErrorKind::ReadOnlyFilesystem => {
            HttpError::Here(format!("failed to write the mirror: {}", error.kind()))
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if error.raw_os_error().is_some() => {
            HttpError::Unreachable("the connection broke off")
        }
        ErrorKind::TimedOut => HttpError::Unreachable("it does not answer in time"),
        _ => return None,
    })
}
