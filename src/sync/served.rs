//! Which API serves a guarded kind here: the one to watch and the one to write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::core::ApiResource;
use kube::{Api, Client};

use super::request;
use crate::policy::Kind;
use crate::policy::kind::{CALICO_CRD, CALICO_V3};

/// Where the objects of one kind are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The API whose objects are what is stored.
    pub watch: ApiResource,
    /// The API that content is written through.
    pub write: ApiResource,
}

/// The guarded kinds that this cluster serves.
pub type ServedKinds = BTreeMap<Kind, Served>;

/// What discovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The resources of every group and version asked about; none where no answer could be had.
    resources: BTreeMap<(&'static str, &'static str), Option<BTreeSet<String>>>,
    /// Whether `projectcalico.org` is served by Calico's own API server.
    calico_is_aggregated: bool,
}

impl Offer {
    /// Asks the API server about every group and version in which one of these kinds may be served. One that cannot be
    /// asked about, an aggregated API that is down, leaves the others alone.
    pub async fn discover(client: &Client, kinds: &[Kind], patience: Duration) -> Self {
        let versions: BTreeSet<(&'static str, &'static str)> = kinds
            .iter()
            .flat_map(|kind| kind.definition().served.iter().copied())
            .collect();
        let answers = versions.into_iter().map(|version| async move {
            let names = resources_of(client, version, patience).await;
            (version, names)
        });
        let mut offer = Self {
            resources: futures::future::join_all(answers).await.into_iter().collect(),
            calico_is_aggregated: false,
        };
        if offer.serves(CALICO_V3) && offer.serves(CALICO_CRD) {
            offer.calico_is_aggregated = is_aggregated(client, patience).await;
        }
        offer
    }

    /// Whether there was an answer about every group and version.
    pub fn is_complete(&self) -> bool {
        self.resources.values().all(Option::is_some)
    }

    /// Where these kinds are read and written. A kind that is not served is left out; of one that could not be asked
    /// about, what was known before holds.
    pub fn choose(&self, kinds: &[Kind], before: &ServedKinds) -> ServedKinds {
        let known = |kind: Kind| {
            let mut versions = kind.definition().served.iter();
            versions.all(|version| self.resources.get(version).is_some_and(Option::is_some))
        };
        let choice = |kind: Kind| {
            if known(kind) {
                self.choose_one(kind)
            } else {
                before.get(&kind).cloned()
            }
        };
        kinds.iter().filter_map(|kind| Some((*kind, choice(*kind)?))).collect()
    }

    fn serves(&self, group: &str) -> bool {
        let mut served = self.resources.iter();
        served.any(|((name, _), names)| *name == group && names.as_ref().is_some_and(|names| !names.is_empty()))
    }

    /// Calico's v3 API may be a façade over crd v1: then crd v1 is what is stored, and a v3 list can hide objects. It
    /// may also be the storage itself, and then crd v1, where still installed, is what a migration left behind.
    fn choose_one(&self, kind: Kind) -> Option<Served> {
        let definition = kind.definition();
        let mut served = definition.served.iter().filter(|(group, version)| {
            let names = self.resources.get(&(*group, *version));
            names
                .and_then(Option::as_ref)
                .is_some_and(|names| names.contains(definition.plural))
        });
        let preferred = served.next()?;
        let stored = served
            .find(|(group, _)| *group == CALICO_CRD && self.calico_is_aggregated)
            .unwrap_or(preferred);
        Some(Served {
            watch: resource(kind, *stored),
            write: resource(kind, *preferred),
        })
    }
}

/// The resources of a group and version; empty where it is not served, none where no answer could be had.
async fn resources_of(client: &Client, (group, version): (&str, &str), patience: Duration) -> Option<BTreeSet<String>> {
    let path = format!("{group}/{version}");
    match request::within(patience, client.list_api_group_resources(&path)).await {
        Ok(list) => Some(list.resources.into_iter().map(|resource| resource.name).collect()),
        Err(error) if error.is_not_found() => Some(BTreeSet::new()),
        Err(error) => {
            tracing::warn!(%error, "cannot find out what {path} serves; what is known of it holds");
            None
        }
    }
}

/// Whether Calico's own API server answers for `projectcalico.org/v3`. Where that cannot be read, crd v1 beside v3
/// means it does: only a migration has both otherwise.
async fn is_aggregated(client: &Client, patience: Duration) -> bool {
    let services: Api<APIService> = Api::all(client.clone());
    match request::within(patience, services.get("v3.projectcalico.org")).await {
        Ok(service) => service.spec.is_some_and(|spec| spec.service.is_some()),
        Err(error) => {
            tracing::debug!(%error, "cannot read the APIService of projectcalico.org; taking it for an aggregated one");
            true
        }
    }
}

fn resource(kind: Kind, (group, version): (&str, &str)) -> ApiResource {
    let definition = kind.definition();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: definition.kind.to_owned(),
        plural: definition.plural.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Result<Kind, String> {
        Kind::of_name(name).ok_or_else(|| format!("{name} is no kind"))
    }

    fn offer(served: &[(&'static str, &'static str)], calico_is_aggregated: bool) -> Offer {
        let names = || Some(["networkpolicies", "tiers"].map(str::to_owned).into());
        let asked = [V3, CRD, ("networking.k8s.io", "v1")];
        let answer = |version| {
            if served.contains(&version) {
                names()
            } else {
                Some(BTreeSet::new())
            }
        };
        Offer {
            resources: asked.into_iter().map(|version| (version, answer(version))).collect(),
            calico_is_aggregated,
        }
    }

    fn chosen(offer: &Offer, kind: Kind) -> Option<(String, String)> {
        let served = offer.choose_one(kind)?;
        Some((served.watch.api_version, served.write.api_version))
    }

    fn pair(watch: &str, write: &str) -> (String, String) {
        (watch.to_owned(), write.to_owned())
    }

    const V3: (&str, &str) = (CALICO_V3, "v3");
    const CRD: (&str, &str) = (CALICO_CRD, "v1");

    #[test]
    fn an_aggregated_calico_is_watched_where_it_stores_and_written_where_it_checks() -> Result<(), String> {
        let tier = kind("tier.projectcalico.org")?;
        assert_eq!(
            chosen(&offer(&[V3, CRD], true), tier),
            Some(pair("crd.projectcalico.org/v1", "projectcalico.org/v3"))
        );
        Ok(())
    }

    #[test]
    fn a_native_calico_is_watched_and_written_in_v3() -> Result<(), String> {
        let tier = kind("tier.projectcalico.org")?;
        let v3 = Some(pair("projectcalico.org/v3", "projectcalico.org/v3"));
        assert_eq!(chosen(&offer(&[V3], false), tier), v3);
        assert_eq!(
            chosen(&offer(&[V3, CRD], false), tier),
            v3,
            "left behind by a migration"
        );
        Ok(())
    }

    #[test]
    fn without_a_calico_api_server_crd_v1_is_watched_and_written() -> Result<(), String> {
        let tier = kind("tier.projectcalico.org")?;
        let crd = Some(pair("crd.projectcalico.org/v1", "crd.projectcalico.org/v1"));
        assert_eq!(chosen(&offer(&[CRD], false), tier), crd);
        Ok(())
    }

    #[test]
    fn a_kind_that_is_not_served_is_left_out() -> Result<(), String> {
        let offer = offer(&[CRD], false);
        assert_eq!(chosen(&offer, kind("networksets.projectcalico.org")?), None);
        assert_eq!(chosen(&offer, kind("networkpolicy.networking.k8s.io")?), None);
        Ok(())
    }
    #[test]
    fn what_cannot_be_asked_about_stays_as_it_was_and_holds_up_no_other_kind() -> Result<(), String> {
        let (tier, policy) = (
            kind("tier.projectcalico.org")?,
            kind("networkpolicy.networking.k8s.io")?,
        );
        let kinds = [tier, policy];
        let mut offer = offer(&[V3, CRD, ("networking.k8s.io", "v1")], true);
        let before = offer.choose(&kinds, &ServedKinds::new());
        assert_eq!(before.len(), 2);
        offer.resources.insert(V3, None);
        assert!(!offer.is_complete());
        assert_eq!(offer.choose(&kinds, &before), before);
        let afresh = offer.choose(&kinds, &ServedKinds::new());
        assert_eq!(
            afresh.keys().collect::<Vec<_>>(),
            [&policy],
            "crd v1 alone may not be all there is"
        );
        Ok(())
    }
}
