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
        let Head { metadata } = serde_json::from_str(text.get()).map_err(de::Error::custom)?;
        let metadata = ObjectMeta {
            name: metadata.name.map(Cow::into_owned),
            namespace: metadata.namespace.map(Cow::into_owned),
            uid: metadata.uid.map(Cow::into_owned),
            resource_version: metadata.resource_version.map(Cow::into_owned),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, text })
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
