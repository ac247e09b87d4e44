//! References to owners (`ValidateOwnerReferences`, k8s.io/apimachinery/pkg/api/validation/objectmeta.go).

use serde_json::Value;

use crate::policy::manifest::Findings;

/// Checks what every server checks of a reference; whether the owner exists only the garbage collector asks.
pub(crate) fn check<'a>(owners: &'a [Value], findings: &mut Findings<'a>) {
    let mut controllers = 0;
    for (index, owner) in owners.iter().enumerate() {
        findings.item(index, |findings| {
            for name in ["apiVersion", "kind", "name", "uid"] {
                let text = owner.get(name).and_then(Value::as_str);
                // An API version that is a group alone says nothing either.
                if text.is_some_and(|text| text.is_empty() || (name == "apiVersion" && text.ends_with('/'))) {
                    findings.member(name, |findings| {
                        findings.error("must not be empty: an owner is named in full");
                    });
                } else if name == "apiVersion" && text.is_some_and(|text| text.matches('/').count() > 1) {
                    findings.member(name, |findings| findings.error("is no `group/version`"));
                }
            }
            // `BannedOwners`, in the same file.
            if owner.get("apiVersion").is_some_and(|version| version == "v1")
                && owner.get("kind").is_some_and(|kind| kind == "Event")
            {
                findings.member("kind", |findings| findings.error("an Event cannot own anything"));
            }
            controllers += usize::from(owner.get("controller") == Some(&Value::Bool(true)));
            if controllers > 1 {
                findings.member("controller", |findings| {
                    findings.error("one owner only can be the controller");
                });
            }
        });
    }
}
