//! What each guarded kind may hold, as data: fields, types, defaults and cheap bounds.
//!
//! One description serves two readers. The canonical form uses it to undo what servers do to an object (defaults
//! filled in, empty values dropped, one spelling for a port); the manifest check uses it to find what a server would
//! drop or refuse.

mod calico;
mod cilium;
mod kubernetes;
mod policy_api;

use super::kind::{Family, Kind};

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// An object with these fields and no others.
    Object(&'static [Field]),
    /// An object with these fields, and others that are not described.
    Open(&'static [Field]),
    /// A list.
    List(&'static Items),
    /// An object whose values are strings.
    StringMap,
    /// Any string.
    Text,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// True or false.
    Boolean,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// One of these whole numbers.
    OneOf(&'static [i64]),
    /// A number, whole or not.
    Number,
    /// A whole number or a string, told apart: Kubernetes' `IntOrString`.
    IntegerOrText,
    /// Calico's port: a number, a range `"a:b"`, or a name; digits in a string are the number.
    CalicoPort,
    /// Calico's protocol: a name or a number; digits in a string are the number.
    CalicoProtocol,
    /// Not described further.
    Any,
}

/// What a list holds, and how many of them.
#[derive(Debug)]
pub(crate) struct Items {
    /// What each item is.
    pub(crate) shape: &'static Shape,
    /// The fewest a server accepts.
    pub(crate) least: usize,
    /// The most a server accepts.
    pub(crate) most: usize,
    /// Whether equal items are refused.
    pub(crate) distinct: bool,
    /// Whether null is read as an empty object, as Go decodes it into a struct.
    pub(crate) null_is_empty: bool,
}

/// One field of an object.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name, in the exact case servers insist on.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) shape: &'static Shape,
    /// Whether a server refuses the object without it.
    pub(crate) required: bool,
    /// What a server fills in where it is absent.
    pub(crate) default: Option<&'static str>,
    /// Whether an object here that became empty says nothing, as Calico's `source: {}`.
    pub(crate) empty_is_absent: bool,
}

impl Field {
    const fn new(name: &'static str, shape: &'static Shape) -> Self {
        Self {
            name,
            shape,
            required: false,
            default: None,
            empty_is_absent: false,
        }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    const fn empty_is_absent(self) -> Self {
        Self {
            empty_is_absent: true,
            ..self
        }
    }
}

impl Items {
    const fn of(shape: &'static Shape) -> Self {
        Self {
            shape,
            least: 0,
            most: usize::MAX,
            distinct: false,
            null_is_empty: false,
        }
    }

    const fn between(self, least: usize, most: usize) -> Self {
        Self { least, most, ..self }
    }

    const fn null_is_empty(self) -> Self {
        Self {
            null_is_empty: true,
            ..self
        }
    }

    const fn distinct(self) -> Self {
        Self { distinct: true, ..self }
    }
}

/// The members a manifest of the kind may have beside `apiVersion`, `kind`, `metadata` and `status`.
pub(crate) fn body(kind: Kind) -> &'static [Field] {
    let definition = kind.definition();
    match definition.family {
        Family::Kubernetes => kubernetes::BODY,
        Family::Calico => calico::body(definition.kind),
        Family::PolicyApi => policy_api::body(definition.kind),
        Family::Cilium => cilium::BODY,
        Family::Generic => &[],
    }
}

/// What every object has beside its body.
pub(crate) const ENVELOPE: &[Field] = &[
    Field::new("apiVersion", &TEXT),
    Field::new("kind", &TEXT),
    Field::new("metadata", &Shape::Object(METADATA)),
    Field::new("status", &Shape::Any),
];

/// `ObjectMeta` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go).
const METADATA: &[Field] = &[
    Field::new("name", &TEXT),
    Field::new("generateName", &TEXT),
    Field::new("namespace", &TEXT),
    Field::new("labels", &STRING_MAP),
    Field::new("annotations", &STRING_MAP),
    Field::new("finalizers", &TEXTS),
    Field::new("ownerReferences", &Shape::List(&Items::of(&Shape::Object(OWNER)))),
    Field::new("uid", &Shape::Any),
    Field::new("resourceVersion", &Shape::Any),
    Field::new("generation", &Shape::Any),
    Field::new("creationTimestamp", &Shape::Any),
    Field::new("deletionTimestamp", &Shape::Any),
    Field::new("deletionGracePeriodSeconds", &Shape::Any),
    Field::new("selfLink", &Shape::Any),
    Field::new("managedFields", &Shape::Any),
];

const OWNER: &[Field] = &[
    Field::new("apiVersion", &TEXT).required(),
    Field::new("kind", &TEXT).required(),
    Field::new("name", &TEXT).required(),
    Field::new("uid", &TEXT).required(),
    Field::new("controller", &BOOLEAN),
    Field::new("blockOwnerDeletion", &BOOLEAN),
];

/// The field of this name, in the exact case.
pub(crate) fn field<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find(|field| field.name == name)
}

const TEXT: Shape = Shape::Text;
const TEXTS: Shape = Shape::List(&Items::of(&TEXT));
const DISTINCT_TEXTS: Shape = Shape::List(&Items::of(&TEXT).distinct());
const BOOLEAN: Shape = Shape::Boolean;
const NUMBER: Shape = Shape::Number;
const STRING_MAP: Shape = Shape::StringMap;
const PORT_NUMBER: Shape = Shape::Integer(1, 65535);
