//! Rules beyond structure, which only some servers check: the file is where everyone can read what is wrong.
//!
//! Calico's native mode validates no selector, CIDR or port. A bad policy is stored there, and then silently does not
//! exist.

mod calico;
pub(crate) mod labels;

use serde_json::{Map, Value};

use super::kind::{Family, Kind};
use super::manifest::Findings;

/// Checks an object whose structure is right.
pub(crate) fn check<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    if kind.definition().family == Family::Calico {
        calico::check(kind, object, findings);
    }
}
