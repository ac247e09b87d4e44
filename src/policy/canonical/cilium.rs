//! `cilium.io`: custom resources, kept as written but for nulls and the one default of their schemas. A policy has
//! `spec`, `specs` or both; each counts.

use serde_json::{Map, Value};

use super::spelling::{self, Empties};
use crate::policy::kind::Kind;
use crate::policy::structure;

pub(super) fn normalise(kind: Kind, members: &mut Map<String, Value>) {
    spelling::object(members, structure::body(kind), Empties::Kept);
}
