//! Why a fetch failed, from a closed list: what a server says in its own words is not passed on.

use std::error::Error;
use std::io;

use super::pack::PackError;
use super::redact::fit;
use super::transport::Exceeded;

/// How far an error is followed to what it is made of.
const DEEP: usize = 16;

/// Why a fetch failed, for people.
pub(super) fn cause(error: &gix::Error) -> String {
    let told = error.iter_errors().find_map(|error| ours(error, 0));
    let told = told.or_else(|| error.iter_errors().find_map(|error| network(error, 0)));
    let told = told.or_else(|| error.iter_errors().find_map(local));
    told.unwrap_or_else(|| {
        if error.iter_errors().any(says_itself) {
            "the server answers with an error of its own".to_owned()
        } else {
            "the server's answer is not what Git expects".to_owned()
        }
    })
}

/// What ended it on this side, where that is so: a bound, or the disk.
pub(super) fn on_this_side(error: &gix::Error) -> Option<String> {
    error.iter_errors().find_map(|error| ours(error, 0))
}

fn ours(error: &(dyn Error + 'static), depth: usize) -> Option<String> {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return Some(exceeded.to_string());
    }
    if let Some(pack) = error.downcast_ref::<PackError>() {
        return Some(pack.to_string());
    }
    if let Some(io) = error.downcast_ref::<io::Error>() {
        let is_disk = matches!(
            io.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
        );
        if is_disk {
            return Some(format!("failed to write the mirror: {}", io.kind()));
        }
    }
    inner(error, depth).find_map(|inner| ours(inner, depth + 1))
}

/// What the network, TLS or HTTP have to say.
fn network(error: &(dyn Error + 'static), depth: usize) -> Option<String> {
    if let Some(http) = error.downcast_ref::<reqwest::Error>() {
        if let Some(status) = http.status() {
            return Some(format!("the server answers with HTTP status {}", status.as_u16()));
        }
        let mut parts = vec![http.to_string()];
        let mut source = http.source();
        while let Some(error) = source.filter(|_| parts.len() < DEEP) {
            parts.push(error.to_string());
            source = error.source();
        }
        return Some(fit(parts));
    }
    inner(error, depth).find_map(|inner| network(inner, depth + 1))
}

/// What the system has to say: a file or a connection that cannot be used.
fn local(error: &(dyn Error + 'static)) -> Option<String> {
    let error = error.downcast_ref::<io::Error>()?;
    error.raw_os_error().map(|_| error.to_string())
}

fn says_itself(error: &(dyn Error + 'static)) -> bool {
    let is_line = |error: &(dyn Error + 'static)| {
        error
            .downcast_ref::<gix::protocol::transport::packetline::read::Error>()
            .is_some()
    };
    is_line(error) || inner(error, 0).any(is_line)
}

/// What an error is made of. An I/O error does not count what it wraps among its sources.
fn inner<'a>(
    error: &'a (dyn Error + 'static),
    depth: usize,
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .map(|inner| inner as &(dyn Error + 'static));
    let all = error
        .downcast_ref::<gix::Error>()
        .into_iter()
        .flat_map(gix::Error::iter_errors)
        .skip(1);
    wrapped
        .into_iter()
        .chain(error.source())
        .chain(all)
        .filter(move |_| depth < DEEP)
}
