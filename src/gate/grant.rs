//! Grants (break-glass): one user may change a few objects without Git for a while, and it is put on record.

#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "the schema derive repeats every struct in a scope of its own; two table columns may be of one type"
)]
pub mod resource;

use std::time::Duration;

use globset::{Glob, GlobMatcher};
use jiff::{SignedDuration, Timestamp};

use super::review::User;
use super::subject::Subject;
use crate::policy::kind::CALICO_CRD;
use crate::policy::{Key, Kind, Placement};
use resource::{GrantedObject, PolicyGrant};

/// Calico's own API server: what people write through it reaches the gate as its write of the stored object.
const CALICO_SERVERS: [&str; 2] = [
    "system:serviceaccount:calico-system:calico-apiserver",
    "system:serviceaccount:calico-apiserver:calico-apiserver",
];
/// No grant lasts longer, whatever the configuration says; the resource's definition holds it to the same.
pub const LONGEST: Duration = Duration::from_hours(24);

/// What the configuration says of grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantRules {
    /// Whether there are any.
    pub enabled: bool,
    /// A grant that asks for longer ends after this long.
    pub max_duration: Duration,
}

impl Default for GrantRules {
    fn default() -> Self {
        Self {
            enabled: true,
            max_duration: Duration::from_hours(4),
        }
    }
}

/// A grant, checked and ready for use.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its name.
    pub name: String,
    /// Its uid: a later one of the same name is another.
    pub uid: String,
    /// Whom it covers.
    pub requested_by: String,
    /// Why it is there.
    pub reason: String,
    /// The first instant at which it is no longer in force.
    pub ends: Timestamp,
    objects: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    kind: Kind,
    namespace: Option<String>,
    name: GlobMatcher,
}

/// Why a grant covers nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It is being deleted; a finalizer may keep it in the list.
    #[error("the grant is being deleted")]
    Deleted,
    /// The API server gives each object these two.
    #[error("the grant has no creation time or no uid")]
    NotStored,
    /// Nobody or nothing is named, or no reason is given.
    #[error("the grant needs {0}")]
    Needs(&'static str),
    /// The duration cannot be read.
    #[error("\"{0}\" is not a duration such as 30m")]
    Duration(String),
    /// The kind is not known.
    #[error("\"{0}\" is not a kind that Headgate guards")]
    Kind(String),
    /// A kind with namespaces without one, or the other way round.
    #[error("{kind} {name}: {expected}")]
    Namespace {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// What is wrong.
        expected: &'static str,
    },
    /// The name cannot be read.
    #[error("\"{0}\" is not a name with * and ?")]
    Name(String),
}

impl Grant {
    /// Checks a grant that this process saw first at `seen`. What the configuration permits at most bounds it, and
    /// where this process's clock is behind the API server's it still lasts no longer than it says.
    ///
    /// # Errors
    /// When it covers nothing: it is going, or says what cannot be understood.
    pub fn new(object: &PolicyGrant, seen: Timestamp, max: Duration) -> Result<Self, GrantError> {
        let (metadata, spec) = (&object.metadata, &object.spec);
        if metadata.deletion_timestamp.is_some() {
            return Err(GrantError::Deleted);
        }
        let (Some(name), Some(uid), Some(created)) = (&metadata.name, &metadata.uid, &metadata.creation_timestamp)
        else {
            return Err(GrantError::NotStored);
        };
        for (text, what) in [(&spec.requested_by, "requestedBy"), (&spec.reason, "a reason")] {
            if text.trim().is_empty() {
                return Err(GrantError::Needs(what));
            }
        }
        if spec.objects.is_empty() {
            return Err(GrantError::Needs("objects"));
        }
        let asked =
            humantime::parse_duration(&spec.duration).map_err(|_| GrantError::Duration(spec.duration.clone()))?;
        let lasts = SignedDuration::try_from(asked.min(max).min(LONGEST))
            .map_err(|_| GrantError::Duration(spec.duration.clone()))?;
        let begins = created.0.min(seen);
        Ok(Self {
            name: name.clone(),
            uid: uid.clone(),
            requested_by: spec.requested_by.clone(),
            reason: spec.reason.clone(),
            ends: begins.saturating_add(lasts).unwrap_or(begins),
            objects: spec.objects.iter().map(Pattern::new).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it is in force.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.ends
    }

    /// What it names, for a table: the first, and how many more.
    pub fn summary(&self) -> String {
        let first = self.objects.first().map(Pattern::summary).unwrap_or_default();
        match self.objects.len() {
            0 | 1 => first,
            count => format!("{first} (and {} more)", count - 1),
        }
    }

    /// Whether it names this object.
    pub fn names(&self, key: &Key) -> bool {
        self.objects.iter().any(|pattern| pattern.names(key))
    }

    /// Whether it lets this request of this user pass: both states of the object have to be named, else who may change
    /// one object could turn any other into it. What is stored under a forged name is never covered.
    fn covers(&self, subject: &Subject) -> bool {
        let mut states = subject.new.iter().chain(&subject.old).map(|state| &state.canonical);
        (self.requested_by == subject.user.username || is_calicos_server(&subject.user, &subject.api_group))
            && self.names(&subject.key)
            && states.all(|state| state.placement == Placement::AsNamed && self.names(&state.key))
    }
}

impl Pattern {
    fn new(object: &GrantedObject) -> Result<Self, GrantError> {
        let kind = Kind::of_name(&object.kind).ok_or_else(|| GrantError::Kind(object.kind.clone()))?;
        let expected = match (kind.definition().namespaced, &object.namespace) {
            (true, None) => Some("needs a namespace"),
            (false, Some(_)) => Some("has no namespace"),
            _ => None,
        };
        if let Some(expected) = expected {
            return Err(GrantError::Namespace {
                kind,
                name: object.name.clone(),
                expected,
            });
        }
        let plain = |character: char| character.is_ascii_alphanumeric() || "-._:*?".contains(character);
        let name = Some(&object.name).filter(|name| !name.is_empty() && name.chars().all(plain));
        let name = name.and_then(|name| Glob::new(name).ok());
        Ok(Self {
            kind,
            namespace: object.namespace.clone(),
            name: name
                .ok_or_else(|| GrantError::Name(object.name.clone()))?
                .compile_matcher(),
        })
    }

    fn summary(&self) -> String {
        let namespace = self.namespace.iter().map(|namespace| format!("{namespace}/"));
        format!("{}/{}{}", self.kind, namespace.collect::<String>(), self.name.glob())
    }

    fn names(&self, key: &Key) -> bool {
        self.kind == key.kind() && self.namespace.as_deref() == key.namespace() && self.name.is_match(key.name())
    }
}

/// Whether the person who asks cannot be known: they wrote through Calico's API server.
pub fn is_calicos_server(user: &User, api_group: &str) -> bool {
    api_group == CALICO_CRD && CALICO_SERVERS.contains(&user.username.as_str())
}

/// Every grant that is known and can be used, those that have ended too.
#[derive(Clone, Debug, Default)]
pub struct GrantSet {
    grants: Vec<Grant>,
}

impl GrantSet {
    /// These grants.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self { grants }
    }

    /// The grants, those that have ended too.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }

    /// A grant in force that lets this request pass.
    pub fn covering(&self, subject: &Subject, now: Timestamp) -> Option<&Grant> {
        self.live(now).find(|grant| grant.covers(subject))
    }

    /// A grant in force that names this object, whoever it covers: the loop leaves the object alone.
    pub fn naming(&self, key: &Key, now: Timestamp) -> Option<&Grant> {
        self.live(now).find(|grant| grant.names(key))
    }

    /// When the next of those in force ends.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.live(now).map(|grant| grant.ends).min()
    }

    fn live(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.is_live(now))
    }
}

#[cfg(test)]
mod tests;
