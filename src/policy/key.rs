//! The key: what makes two manifests the same object.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kind::Kind;

/// Kind family, namespace and name. `projectcalico.org/v3` and `crd.projectcalico.org/v1` give one key.
///
/// Written `networkpolicy.networking.k8s.io/payments/allow-web`, or without the namespace for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: Kind,
    namespace: Option<Arc<str>>,
    name: Arc<str>,
}

/// Why a text is no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The part before the first slash names no kind Headgate knows.
    #[error("\"{0}\" is not a kind that Headgate guards")]
    UnknownKind(String),
    /// Too few or too many parts for the kind's scope.
    #[error("\"{0}\" is not KIND.GROUP/NAMESPACE/NAME, or KIND.GROUP/NAME for a cluster-scoped kind")]
    Form(String),
}

impl Key {
    /// A key; the namespace of a cluster-scoped kind is ignored, as the API server does.
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|_| kind.definition().namespaced).map(Arc::from);
        Self {
            kind,
            namespace,
            name: Arc::from(name),
        }
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The namespace; none for cluster-scoped kinds.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name. Of a Calico object: its v3 name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether Git is the only source of it. Some kinds are guarded in some namespaces only.
    pub fn is_guarded(&self) -> bool {
        self.kind.guards(self.namespace(), &self.name)
    }

    /// `payments/allow-web`, or the name alone for a cluster-scoped object.
    pub fn place(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.to_string(),
        }
    }

    /// The object as people read it in a message: `NetworkPolicy payments/allow-web`.
    pub fn label(&self) -> String {
        format!("{} {}", self.kind.label(), self.place())
    }
}

/// The entries of a map for the objects of one kind in one namespace, or for the cluster-scoped ones of it where there is
/// none: found in the order of keys, without a look at the others.
pub fn within<'a, V>(
    map: &'a BTreeMap<Key, V>,
    kind: Kind,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = (&'a Key, &'a V)> {
    let start = Key::new(kind, namespace, "");
    let is_in = kind.definition().namespaced == namespace.is_some();
    let rest = is_in.then(|| map.range(start..));
    let found = rest.into_iter().flatten();
    found.take_while(move |(key, _)| key.kind == kind && key.namespace() == namespace)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let kind_name = parts.next().unwrap_or_default();
        let kind = Kind::of_name(kind_name).ok_or_else(|| KeyError::UnknownKind(kind_name.to_owned()))?;
        let rest: Vec<&str> = parts.collect();
        match (kind.definition().namespaced, rest.as_slice()) {
            (true, [namespace, name]) => Ok(Key::new(kind, Some(namespace), name)),
            (false, [name]) => Ok(Key::new(kind, None, name)),
            _ => Err(KeyError::Form(text.to_owned())),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_written_and_read() {
        for text in [
            "networkpolicy.networking.k8s.io/payments/allow-web",
            "globalnetworkpolicy.projectcalico.org/deny-all",
        ] {
            assert_eq!(text.parse::<Key>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_in_a_namespace_is_found_and_nothing_else() -> Result<(), KeyError> {
        let all = [
            "networkpolicy.networking.k8s.io/a/z",
            "networkpolicy.networking.k8s.io/b/a",
            "networkpolicy.networking.k8s.io/b/z",
            "networkpolicy.networking.k8s.io/ba/a",
            "networkpolicy.projectcalico.org/b/a",
            "tier.projectcalico.org/b",
        ];
        let numbered = all.iter().zip(0..).map(|(text, number)| Ok((text.parse()?, number)));
        let map = numbered.collect::<Result<BTreeMap<Key, u8>, KeyError>>()?;
        let found = |kind: &str, namespace| -> Vec<String> {
            let kind = Kind::of_name(kind).into_iter();
            let found = kind.flat_map(|kind| within(&map, kind, namespace));
            found.map(|(key, _)| key.place()).collect()
        };
        assert_eq!(found("networkpolicy.networking.k8s.io", Some("b")), ["b/a", "b/z"]);
        assert_eq!(found("tier.projectcalico.org", None), ["b"]);
        assert_eq!(found("tier.projectcalico.org", Some("b")), [""; 0]);
        assert_eq!(found("networkpolicy.networking.k8s.io", None), [""; 0]);
        Ok(())
    }

    #[test]
    fn a_key_of_the_wrong_scope_is_refused() {
        assert!(matches!(
            "tier.projectcalico.org/ns/platform".parse::<Key>(),
            Err(KeyError::Form(_))
        ));
        assert!(matches!(
            "networkpolicy.networking.k8s.io/web".parse::<Key>(),
            Err(KeyError::Form(_))
        ));
        assert!(matches!("pod/a/b".parse::<Key>(), Err(KeyError::UnknownKind(_))));
    }
}
