//! `policy.networking.k8s.io`: custom resources, kept as written but for nulls and the defaults of their schemas.

use serde_json::{Map, Value};

use super::spelling::{self, Empties};
use crate::policy::kind::Kind;
use crate::policy::structure;

pub(super) fn normalise(kind: Kind, members: &mut Map<String, Value>) {
    spelling::object(members, structure::body(kind), Empties::Kept);
}
