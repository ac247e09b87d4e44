//! An object as a watch or a list brings it.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope, Resource};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object as the API server sends it, with nothing of it lost. Only what a watch needs is read from its metadata; the
/// rest stays text, since read it takes many times the room, and a page of a list has hundreds.
#[derive(Clone, Debug)]
pub struct Stored {
    metadata: ObjectMeta,
    text: Box<RawValue>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource_version: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let metadata = match serde_json::from_str::<Head<'_>>(text.get()) {
            Ok(head) => head.metadata.into_owned(),
            // One odd object must not hold up the others of its list.
            Err(_) => lenient(&serde_json::from_str(text.get()).map_err(de::Error::custom)?),
        };
        Ok(Self { metadata, text })
    }
}

impl Metadata<'_> {
    fn into_owned(self) -> ObjectMeta {
        ObjectMeta {
            name: self.name.map(Cow::into_owned),
            namespace: self.namespace.map(Cow::into_owned),
            uid: self.uid.map(Cow::into_owned),
            resource_version: self.resource_version.map(Cow::into_owned),
            ..ObjectMeta::default()
        }
    }
}

/// What can be read of metadata that is not as it should be.
fn lenient(object: &Value) -> ObjectMeta {
    let text = |field: &str| Some(object.get("metadata")?.get(field)?.as_str()?.to_owned());
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl Stored {
    /// The object with its version and kind, which items of a list do not carry.
    ///
    /// # Errors
    /// When it is nested too deeply to be read.
    pub fn into_object(self, api: &ApiResource) -> Result<Value, serde_json::Error> {
        let mut object: Value = serde_json::from_str(self.text.get())?;
        if let Some(members) = object.as_object_mut() {
            members.insert("apiVersion".to_owned(), Value::String(api.api_version.clone()));
            members.insert("kind".to_owned(), Value::String(api.kind.clone()));
        }
        Ok(object)
    }
}

impl Resource for Stored {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.kind)
    }

    fn group(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.group)
    }

    fn version(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.version)
    }

    fn plural(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;

    use super::*;

    #[test]
    fn odd_metadata_is_read_as_far_as_it_goes() -> Result<(), serde_json::Error> {
        let read = |metadata: &str| serde_json::from_str::<Stored>(&format!(r#"{{"metadata": {metadata}}}"#));
        let plain = read(r#"{"name": "a\"", "namespace": "n", "uid": "u", "resourceVersion": "7"}"#)?;
        assert_eq!(
            (plain.name_any(), plain.namespace()),
            ("a\"".to_owned(), Some("n".to_owned()))
        );
        assert_eq!(
            (plain.uid(), plain.resource_version()),
            (Some("u".to_owned()), Some("7".to_owned()))
        );
        let odd = read(r#"{"name": "a", "uid": 3, "name": "b"}"#)?;
        assert_eq!((odd.name_any(), odd.uid()), ("b".to_owned(), None));
        assert_eq!(read("null")?.name_any(), "");
        Ok(())
    }
}
