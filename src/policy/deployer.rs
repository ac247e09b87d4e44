//! The marks by which a deployer knows the objects that it applied. They say nothing of policy, and which of them count
//! depends on who applies a source: the canonical form keeps them, and this compares without them.
//!
//! A mark that Git itself declares is compared like anything else. Labels of sets and host endpoints select traffic, and
//! those of kinds that only the configuration names may: none of them is a mark.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::digest::Digest;
use super::kind::{Family, Kind, Rank};

/// Who applies what a source declares, besides the sync loop or instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deployer {
    /// Argo CD.
    ArgoCd,
    /// Flux: its kustomize-controller, and its helm-controller, whose objects carry Helm's marks as well.
    Flux,
    /// Helm.
    Helm,
}

/// Where a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Label,
    Annotation,
}

/// A label or annotation that deployers put on what they apply.
struct Mark {
    place: Place,
    key: &'static str,
    /// The one value that makes it a mark, where others may use the key, too.
    value: Option<&'static str>,
    of: &'static [Deployer],
}

/// The label of the charts' own convention, which Argo CD uses unless it is told otherwise.
const SHARED: &str = "app.kubernetes.io/instance";
/// Bytes of the longest value that can be a mark. Argo CD's tracking id is made of four names; all else is shorter.
const LONGEST_MARK: usize = 1024;
const ARGO_CD: &[Deployer] = &[Deployer::ArgoCd];
const FLUX: &[Deployer] = &[Deployer::Flux];
const HELM: &[Deployer] = &[Deployer::Helm, Deployer::Flux];

const fn label(key: &'static str, of: &'static [Deployer]) -> Mark {
    Mark {
        place: Place::Label,
        key,
        value: None,
        of,
    }
}

const fn annotation(key: &'static str, of: &'static [Deployer]) -> Mark {
    Mark {
        place: Place::Annotation,
        ..label(key, of)
    }
}

/// Every mark, by its exact key. Argo CD: `SetAppInstance` in `util/argo/resource_tracking.go`, and the label that its
/// documentation proposes instead of the usual one. Flux: `SetOwnerLabels` in `fluxcd/pkg/ssa`, and helm-controller's
/// post-renderer. Helm: `setMetadataVisitor` in `pkg/action/validate.go`.
static MARKS: [Mark; 11] = [
    label(SHARED, ARGO_CD),
    label("argocd.argoproj.io/instance", ARGO_CD),
    annotation("argocd.argoproj.io/tracking-id", ARGO_CD),
    annotation("argocd.argoproj.io/installation-id", ARGO_CD),
    label("kustomize.toolkit.fluxcd.io/name", FLUX),
    label("kustomize.toolkit.fluxcd.io/namespace", FLUX),
    label("helm.toolkit.fluxcd.io/name", FLUX),
    label("helm.toolkit.fluxcd.io/namespace", FLUX),
    Mark {
        value: Some("Helm"),
        ..label("app.kubernetes.io/managed-by", HELM)
    },
    annotation("meta.helm.sh/release-name", HELM),
    annotation("meta.helm.sh/release-namespace", HELM),
];

impl Deployer {
    /// Every deployer whose marks are known.
    pub const ALL: [Self; 3] = [Self::ArgoCd, Self::Flux, Self::Helm];

    /// As `spec.deployer` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ArgoCd => "argo-cd",
            Self::Flux => "flux",
            Self::Helm => "helm",
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ArgoCd => "Argo CD",
            Self::Flux => "Flux",
            Self::Helm => "Helm",
        }
    }
}

impl Mark {
    fn member(&self) -> &'static str {
        match self.place {
            Place::Label => "labels",
            Place::Annotation => "annotations",
        }
    }

    /// Whether an object of this kind may carry it without being another one for that. Of kinds that only the
    /// configuration names nobody here knows what their labels select.
    fn may_be_on(&self, kind: Kind) -> bool {
        let definition = kind.definition();
        let says_nothing = definition.rank != Rank::Set && definition.family != Family::Generic;
        self.place == Place::Annotation || says_nothing
    }

    /// What it says on this object, or form of one, of this kind.
    fn on<'a>(&self, kind: Kind, object: &'a Value) -> Option<&'a str> {
        let map = object.get("metadata")?.get(self.member())?;
        let value = map.get(self.key)?.as_str().filter(|_| self.may_be_on(kind))?;
        // Each is kept for as long as the object is there.
        if value.len() > LONGEST_MARK {
            return None;
        }
        self.value.is_none_or(|only| only == value).then_some(value)
    }

    fn is_of(&self, deployer: Deployer) -> bool {
        self.of.contains(&deployer)
    }

    fn take_from(&self, object: &mut Value) {
        let Some(members) = object.as_object_mut() else { return };
        let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        if let Some(map) = metadata.get_mut(self.member()).and_then(Value::as_object_mut) {
            map.remove(self.key);
            // As the canonical form of an object has it that never had any.
            if map.is_empty() {
                metadata.remove(self.member());
            }
        }
        if metadata.is_empty() {
            members.remove("metadata");
        }
    }
}

/// What the marks of an object say, and what it says without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The digest of the form without any mark.
    bare: Digest,
    /// Each mark by its place among [`MARKS`], in that order.
    marks: Box<[(u8, Box<str>)]>,
}

impl Marked {
    /// Reads the marks of a canonical form; none where it carries none.
    ///
    /// # Errors
    /// When the form has no digest; one made by [`canonicalize`](super::canonicalize) always has.
    pub fn of(kind: Kind, form: &Value) -> Result<Option<Self>, serde_json::Error> {
        let marks: Box<[(u8, Box<str>)]> = (0u8..)
            .zip(&MARKS)
            .filter_map(|(at, mark)| Some((at, mark.on(kind, form)?.into())))
            .collect();
        if marks.is_empty() {
            return Ok(None);
        }
        let mut bare = form.clone();
        for (at, _) in &marks {
            if let Some(mark) = MARKS.get(usize::from(*at)) {
                mark.take_from(&mut bare);
            }
        }
        Ok(Some(Self {
            bare: Digest::of(&bare)?,
            marks,
        }))
    }
}

/// What an object says, as far as it has to be kept to compare it.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The digest of its canonical form.
    pub digest: Digest,
    /// Its marks, where it carries any.
    pub marked: Option<&'a Marked>,
}

impl Statement<'_> {
    /// Whether another object says what this one, Git's, does: the same, or the same and marks of the deployer that
    /// Git does not declare.
    pub fn matches(self, other: Statement<'_>, deployer: Option<Deployer>) -> bool {
        if self.digest == other.digest {
            return true;
        }
        let (Some(deployer), Some(marked)) = (deployer, other.marked) else {
            return false;
        };
        let (bare, declared) = match self.marked {
            Some(declared) => (declared.bare, &*declared.marks),
            None => (self.digest, &[][..]),
        };
        let put_there = |(at, _): &(u8, Box<str>)| {
            let is_declared = declared.iter().any(|(declared, _)| declared == at);
            let mark = MARKS.get(usize::from(*at));
            !is_declared && mark.is_some_and(|mark| mark.is_of(deployer))
        };
        // What is left of the other's marks is what Git declares, each with its value.
        bare == marked.bare && marked.marks.iter().filter(|mark| !put_there(mark)).eq(declared)
    }
}

/// The other's form without the deployer's marks that Git's form does not have: what is left to tell of differences.
pub fn without_marks<'a>(kind: Kind, git: &Value, other: &'a Value, deployer: Option<Deployer>) -> Cow<'a, Value> {
    let mut form = Cow::Borrowed(other);
    let Some(deployer) = deployer else { return form };
    for mark in MARKS.iter().filter(|mark| mark.is_of(deployer)) {
        if mark.on(kind, other).is_some() && value_of(mark, git).is_none() {
            mark.take_from(form.to_mut());
        }
    }
    form
}

/// Whose marks are on the other object and not in Git; the deployer that the source names is not asked about.
pub fn whose_marks(kind: Kind, git: &Value, other: &Value, named: Option<Deployer>) -> Option<Deployer> {
    let there: Vec<&Mark> = MARKS
        .iter()
        .filter(|mark| !named.is_some_and(|named| mark.is_of(named)))
        .filter(|mark| mark.on(kind, other).is_some() && value_of(mark, git).is_none())
        .collect();
    let most = |deployer: &Deployer| there.iter().filter(|mark| mark.is_of(*deployer)).count();
    let likeliest = Deployer::ALL.into_iter().max_by_key(most)?;
    (most(&likeliest) > 0).then_some(likeliest)
}

/// Puts the deployer's marks of a live object on the metadata that is to replace its own, where that says nothing else.
pub fn keep_marks(kind: Kind, live: &Value, deployer: Deployer, metadata: &mut Map<String, Value>) {
    for mark in MARKS.iter().filter(|mark| mark.is_of(deployer)) {
        let Some(value) = mark.on(kind, live) else { continue };
        let map = metadata
            .entry(mark.member())
            .or_insert_with(|| Value::Object(Map::new()));
        if map.is_null() {
            *map = Value::Object(Map::new());
        }
        if let Some(map) = map.as_object_mut() {
            map.entry(mark.key).or_insert_with(|| value.into());
        }
    }
}

/// Whether a label or annotation is a deployer's beyond doubt: what an export leaves out. Others use
/// `app.kubernetes.io/instance`, too.
pub fn is_only_a_mark(kind: Kind, member: &str, key: &str, value: &Value) -> bool {
    let is_it = |mark: &&Mark| mark.member() == member && mark.key == key && mark.may_be_on(kind);
    let is_any_value = |mark: &Mark| mark.value.is_none_or(|only| value == only);
    key != SHARED && MARKS.iter().find(is_it).is_some_and(is_any_value)
}

/// What a form has at the mark's place, whatever it says.
fn value_of<'a>(mark: &Mark, form: &'a Value) -> Option<&'a Value> {
    form.get("metadata")?.get(mark.member())?.get(mark.key)
}

#[cfg(test)]
mod tests;
