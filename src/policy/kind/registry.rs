//! The kinds that the configuration names. Read from anywhere, written once, when the configuration is read.

use std::sync::{PoisonError, RwLock};

use super::{Definition, Kind};

static CONFIGURED: RwLock<&'static [&'static Definition]> = RwLock::new(&[]);

/// The configured kinds.
pub(super) fn configured() -> &'static [&'static Definition] {
    *CONFIGURED.read().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a kind and answers its handle; none where it is there already in another form.
///
/// What is added is kept until the process ends: as much as the configuration names.
pub(super) fn add(definition: Definition) -> Option<Kind> {
    let mut configured = CONFIGURED.write().unwrap_or_else(PoisonError::into_inner);
    let same = |known: &&&Definition| (known.group, known.kind) == (definition.group, definition.kind);
    if let Some(known) = configured.iter().find(same) {
        return (**known == definition).then_some(Kind(known));
    }
    let added: &'static Definition = Box::leak(Box::new(definition));
    let all: Vec<&'static Definition> = configured.iter().copied().chain([added]).collect();
    *configured = all.leak();
    Some(Kind(added))
}
