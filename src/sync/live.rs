//! What the cluster holds, as digests: one small entry an object, no copy of any.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use kube::Resource as _;
use kube::core::ApiResource;
use serde_json::Value;

use super::stored::Stored;
use crate::gate::{Rules, Traits};
use crate::policy::key::within;
use crate::policy::{Canonical, Digest, Key, Kind, Marked, Placement, Statement, canonicalize};

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It has a canonical form.
    Readable {
        /// The form's digest.
        digest: Digest,
        /// The deployers' marks that it carries, if any.
        marked: Option<Box<Marked>>,
        /// Where it is stored.
        placement: Placement,
    },
    /// It has none, for this reason.
    Unreadable(Box<str>),
}

/// One live object, as much of it as planning needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveObject {
    /// What makes it the same object as a manifest.
    pub key: Key,
    /// What it says.
    pub content: Content,
    /// Whether it is going already.
    pub terminating: bool,
    /// Until when exemptions name it; none where none does.
    pub exempt_until: Option<Timestamp>,
    /// Its uid.
    pub uid: Box<str>,
    /// The version this speaks of.
    pub resource_version: Box<str>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// An object and the name it is stored under, which is not always the name in its key.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Kind, namespace and name of storage.
    pub place: Key,
    /// The object.
    pub object: LiveObject,
}

impl Sighting {
    /// Reads an object; none if it has no name, which no stored object can be, or is not guarded where it is.
    pub fn of(kind: Kind, api: &ApiResource, stored: Stored, rules: &Rules) -> Option<Self> {
        Some(Self::with_form(kind, api, stored, rules)?.0)
    }

    /// Like [`Sighting::of`], and hands out the canonical form as well.
    pub fn with_form(kind: Kind, api: &ApiResource, stored: Stored, rules: &Rules) -> Option<(Self, Option<Value>)> {
        let metadata = stored.meta().clone();
        let place = Key::new(kind, metadata.namespace.as_deref(), metadata.name.as_deref()?);
        match stored.into_object(api) {
            Ok(object) => Self::of_object(kind, object, rules),
            Err(error) => place.is_guarded().then(|| {
                let object = LiveObject {
                    key: place.clone(),
                    content: Content::Unreadable(error.to_string().into()),
                    terminating: false,
                    exempt_until: None,
                    uid: metadata.uid.unwrap_or_default().into(),
                    resource_version: metadata.resource_version.unwrap_or_default().into(),
                    created: None,
                };
                (Self { place, object }, None)
            }),
        }
    }

    /// Like [`Sighting::with_form`], of an object that was read and carries its version and kind.
    pub fn of_object(kind: Kind, object: Value, rules: &Rules) -> Option<(Self, Option<Value>)> {
        let text = |field: &str| Some(object.get("metadata")?.get(field)?.as_str()?.to_owned());
        let place = Key::new(kind, text("namespace").as_deref(), &text("name")?);
        if !place.is_guarded() {
            return None;
        }
        let boxed = |field: &str| text(field).unwrap_or_default().into_boxed_str();
        let (uid, resource_version) = (boxed("uid"), boxed("resourceVersion"));
        let created = creation_time(&object);
        let going = object
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|time| !time.is_null());
        let read = canonicalize(object)
            .map_err(|error| error.to_string())
            .and_then(|canonical| {
                let read = canonical
                    .digest()
                    .and_then(|digest| Ok((digest, canonical.marked()?.map(Box::new))));
                let (digest, marked) = read.map_err(|error| error.to_string())?;
                Ok((digest, marked, canonical))
            });
        let (key, content, terminating, exempt_until, form) = match read {
            Ok((digest, marked, canonical)) => {
                let Canonical {
                    key,
                    form,
                    placement,
                    // Calico's annotation may claim what is not so; only the object's own timestamp is believed.
                    terminating: _,
                } = canonical;
                let key = if key == place { place.clone() } else { key };
                let exempt_until = rules.exempt_until(&Traits {
                    key: &key,
                    stored_name: place.name(),
                    form: &form,
                });
                let content = Content::Readable {
                    digest,
                    marked,
                    placement,
                };
                (key, content, going, exempt_until, Some(form))
            }
            Err(why) => (place.clone(), Content::Unreadable(why.into()), going, None, None),
        };
        let object = LiveObject {
            key,
            content,
            terminating,
            exempt_until,
            uid,
            resource_version,
            created,
        };
        Some((Self { place, object }, form))
    }
}

fn creation_time(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/creationTimestamp")?.as_str()?.parse().ok()
}

impl LiveObject {
    /// The digest, where there is a canonical form.
    pub fn digest(&self) -> Option<Digest> {
        match &self.content {
            Content::Readable { digest, .. } => Some(*digest),
            Content::Unreadable(_) => None,
        }
    }

    /// What it says, to be compared with Git; none without a canonical form.
    pub fn statement(&self) -> Option<Statement<'_>> {
        match &self.content {
            Content::Readable { digest, marked, .. } => Some(Statement {
                digest: *digest,
                marked: marked.as_deref(),
            }),
            Content::Unreadable(_) => None,
        }
    }

    /// Whether it is stored under a name that its key does not have.
    pub fn is_misplaced(&self) -> bool {
        matches!(
            self.content,
            Content::Readable {
                placement: Placement::Misplaced,
                ..
            }
        )
    }

    /// Whether Calico's own server cannot read its metadata, and so hides it.
    pub fn is_hidden(&self) -> bool {
        matches!(
            self.content,
            Content::Readable {
                placement: Placement::UnreadableMetadata,
                ..
            }
        )
    }

    fn differs_from(&self, other: &Self) -> bool {
        let state = |object: &Self| (object.terminating, object.exempt_until);
        (&self.key, &self.content, state(self), &self.uid) != (&other.key, &other.content, state(other), &other.uid)
    }
}

/// The live objects of one kind.
#[derive(Debug, Default)]
struct Listing {
    /// The parts of the kind that were listed completely.
    listed: HashSet<Option<&'static str>>,
    /// By the name they are stored under.
    objects: BTreeMap<Key, LiveObject>,
    /// For keys whose objects are stored under other names: those names.
    elsewhere: BTreeMap<Key, HashSet<Key>>,
}

/// Whether the objects of a kind are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// The cluster does not serve the kind.
    NotServed,
    /// It was not listed completely yet: nothing may be concluded from what is not there.
    Incomplete,
    /// Every object of it is known.
    Complete,
}

/// The live objects of every served kind.
#[derive(Debug, Default)]
pub struct LiveIndex {
    kinds: BTreeMap<Kind, Listing>,
}

impl LiveIndex {
    /// Notes that a kind is served, its objects not listed yet.
    pub fn serve(&mut self, kind: Kind) {
        self.kinds.entry(kind).or_default();
    }

    /// Forgets a kind that is no longer served.
    pub fn forget(&mut self, kind: Kind) {
        self.kinds.remove(&kind);
    }

    /// Whether the objects of a kind are known.
    pub fn knowledge(&self, kind: Kind) -> Knowledge {
        match self.kinds.get(&kind) {
            None => Knowledge::NotServed,
            Some(listing) if !listing.is_complete(kind) => Knowledge::Incomplete,
            Some(_) => Knowledge::Complete,
        }
    }

    /// Whether every served kind was listed completely.
    pub fn is_complete(&self) -> bool {
        self.kinds.iter().all(|(kind, listing)| listing.is_complete(*kind))
    }

    /// Takes a complete list of a part of a kind, as in [`Kind::parts`], in place of all that was known of it; answers
    /// the keys that it changes.
    pub fn replace(&mut self, kind: Kind, part: Option<&'static str>, sightings: Vec<Sighting>) -> HashSet<Key> {
        let mut old = self.kinds.remove(&kind).unwrap_or_default();
        let mut fresh = old.take_all_but(part);
        fresh.listed = std::mem::take(&mut old.listed);
        fresh.listed.insert(part);
        for Sighting { place, object } in sightings {
            fresh.insert(place, object);
        }
        let fresh = self.kinds.entry(kind).or_insert(fresh);
        let gone = old
            .objects
            .iter()
            .filter(|(place, _)| !fresh.objects.contains_key(*place));
        let mut changed: HashSet<Key> = gone.map(|(_, object)| object.key.clone()).collect();
        let seen = fresh.objects.iter().filter(|(place, _)| is_in(place, part));
        for (place, object) in seen {
            match old.objects.get(place) {
                Some(before) if !object.differs_from(before) => {}
                Some(before) => changed.extend([before.key.clone(), object.key.clone()]),
                None => changed.extend([object.key.clone()]),
            }
        }
        changed
    }

    /// Takes a new state of one object; answers the keys it concerns, and whether anything but the version changed.
    pub fn see(&mut self, sighting: Sighting) -> (Vec<Key>, bool) {
        let Sighting { place, object } = sighting;
        let listing = self.kinds.entry(place.kind()).or_default();
        let key = object.key.clone();
        let Some(before) = listing.remove(&place) else {
            listing.insert(place, object);
            return (vec![key], true);
        };
        let changed = object.differs_from(&before);
        listing.insert(place, object);
        let mut keys = vec![key];
        if !keys.contains(&before.key) {
            keys.push(before.key);
        }
        (keys, changed)
    }

    /// Notes that an object is gone; answers the key it had.
    pub fn lose(&mut self, place: &Key) -> Option<Key> {
        let object = self.kinds.get_mut(&place.kind())?.remove(place)?;
        Some(object.key)
    }

    /// The objects with this key, each with the name it is stored under.
    pub fn at<'a>(&'a self, key: &'a Key) -> Vec<(&'a Key, &'a LiveObject)> {
        let Some(listing) = self.kinds.get(&key.kind()) else {
            return Vec::new();
        };
        let own = listing
            .objects
            .get_key_value(key)
            .filter(|(_, object)| object.key == *key);
        let elsewhere = listing.elsewhere.get(key).into_iter().flatten();
        own.into_iter()
            .chain(elsewhere.filter_map(|place| listing.objects.get_key_value(place)))
            .collect()
    }

    /// The keys of all live objects; one that several objects have is repeated.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.kinds
            .values()
            .flat_map(|listing| listing.objects.values())
            .map(|object| &object.key)
    }

    /// The keys of the live objects in a namespace, or of the cluster-scoped ones where there is none.
    pub fn keys_in<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.kinds.iter().flat_map(move |(kind, listing)| {
            let stored = within(&listing.objects, *kind, namespace).map(|(_, object)| &object.key);
            stored.chain(within(&listing.elsewhere, *kind, namespace).map(|(key, _)| key))
        })
    }

    /// How many live objects there are.
    pub fn len(&self) -> usize {
        self.kinds.values().map(|listing| listing.objects.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn is_in(place: &Key, part: Option<&str>) -> bool {
    part.is_none() || place.namespace() == part
}

impl Listing {
    fn is_complete(&self, kind: Kind) -> bool {
        kind.parts().iter().all(|part| self.listed.contains(part))
    }

    /// Takes out the objects that are not in this part.
    fn take_all_but(&mut self, part: Option<&str>) -> Self {
        let mut taken = Self::default();
        let places: Vec<Key> = self
            .objects
            .keys()
            .filter(|place| !is_in(place, part))
            .cloned()
            .collect();
        for place in places {
            if let Some(object) = self.remove(&place) {
                taken.insert(place, object);
            }
        }
        taken
    }

    fn insert(&mut self, place: Key, object: LiveObject) {
        if object.key != place {
            self.elsewhere
                .entry(object.key.clone())
                .or_default()
                .insert(place.clone());
        }
        self.objects.insert(place, object);
    }

    fn remove(&mut self, place: &Key) -> Option<LiveObject> {
        let object = self.objects.remove(place)?;
        if let Some(places) = self.elsewhere.get_mut(&object.key) {
            places.remove(place);
            if places.is_empty() {
                self.elsewhere.remove(&object.key);
            }
        }
        Some(object)
    }
}

#[cfg(test)]
mod tests;
