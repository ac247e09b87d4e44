//! `headgate break-glass`: makes a grant for whoever runs it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};

use super::connect::ConnectArguments;
use super::output::{self, DryRun, Printed, complain};
use super::{Ending, Failure};
use crate::config::Config;
use crate::gate::wording::inline;
use crate::gate::{Grant, GrantedObject, PolicyGrant, PolicyGrantSpec};
use crate::policy::Kind;

/// How long the API server may take for each of the two calls.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct BreakGlassArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The objects, as kubectl names them: networkpolicy/allow-web, netpol/allow-web, gnp.projectcalico.org/deny; * and ? in
    /// names stand for others
    #[arg(required = true, value_name = "KIND[.GROUP]/NAME")]
    objects: Vec<String>,
    /// For how long, as 30m or 1h30m
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasts: Duration,
    /// Why; it is put on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The objects' namespace; left out: the one of the context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The configuration, which names further kinds
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only show what would be made: client sends nothing to be stored, server has it checked
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    dry_run: DryRun,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Printed>,
}

fn lasting(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        return Err("whole seconds, and more than none".to_owned());
    }
    Ok(duration)
}

pub(super) async fn break_glass(arguments: BreakGlassArguments) -> Result<Ending, Failure> {
    // Before anything is parsed: it may name kinds.
    let config = Config::read(arguments.config.as_deref())?;
    let client = arguments.connect.client().await?;
    let namespace = arguments
        .namespace
        .clone()
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let objects = arguments
        .objects
        .iter()
        .map(|text| object(text, &namespace))
        .collect::<Result<Vec<_>, _>>()?;
    let spec = PolicyGrantSpec {
        requested_by: who_am_i(&client).await?,
        duration: as_written(arguments.lasts),
        reason: arguments.reason.clone(),
        objects,
    };
    let name = name_for(&spec.objects);
    let made = match arguments.dry_run {
        DryRun::Client => PolicyGrant::new(&name, spec),
        _ => match create(&client, PolicyGrant::new(&name, spec), arguments.dry_run).await? {
            Ok(made) => made,
            Err(refusal) => {
                complain(&format!("error: {}", inline(&refusal)));
                return Ok(Ending::Found);
            }
        },
    };
    print(&made, &arguments, &config)?;
    Ok(Ending::Clean)
}

/// Names an object as kubectl does. A kind without a group is Kubernetes' own, where both have it.
fn object(text: &str, namespace: &str) -> Result<GrantedObject, Failure> {
    let (kind_name, name) = text
        .split_once('/')
        .filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| format!("\"{text}\" is not KIND/NAME or KIND.GROUP/NAME"))?;
    let kind = kind_of(kind_name).ok_or_else(|| format!("\"{kind_name}\" is not a kind that Headgate guards"))?;
    Ok(GrantedObject {
        kind: kind.to_string(),
        namespace: kind.definition().namespaced.then(|| namespace.to_owned()),
        name: name.to_owned(),
    })
}

/// The kind by its name or by the short name under which an API server offers it.
fn kind_of(name: &str) -> Option<Kind> {
    let (resource, group) = name.split_once('.').map_or((name, None), |(r, g)| (r, Some(g)));
    let long = match resource.to_ascii_lowercase().as_str() {
        "netpol" => "networkpolicy",
        "gnp" => "globalnetworkpolicy",
        "cnp" if group.is_none() => "ciliumnetworkpolicy",
        "cnp" => "clusternetworkpolicy",
        "ccnp" => "ciliumclusterwidenetworkpolicy",
        "anp" => "adminnetworkpolicy",
        "banp" => "baselineadminnetworkpolicy",
        "hep" => "hostendpoint",
        "netsets" => "networkset",
        _ => return Kind::of_name(name),
    };
    match group {
        Some(group) => Kind::of_name(&format!("{long}.{group}")),
        None => Kind::of_name(long),
    }
}

async fn who_am_i(client: &Client) -> Result<String, Failure> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = SelfSubjectReview::default();
    let parameters = PostParams::default();
    let asked = tokio::time::timeout(PATIENCE, api.create(&parameters, &review)).await;
    let review = asked
        .map_err(|_| format!("the API server did not say within {PATIENCE:?} who you are"))?
        .map_err(|error| format!("cannot find out who you are: {error}"))?;
    let user = review.status.and_then(|status| status.user_info);
    user.and_then(|user| user.username)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| "the API server does not know who you are".into())
}

/// The grant as stored, or why it is refused; an error where it did not come to that.
async fn create(client: &Client, grant: PolicyGrant, dry_run: DryRun) -> Result<Result<PolicyGrant, String>, Failure> {
    let api: Api<PolicyGrant> = Api::all(client.clone());
    let parameters = PostParams {
        dry_run: dry_run == DryRun::Server,
        field_manager: Some("headgate-break-glass".to_owned()),
    };
    let made = tokio::time::timeout(PATIENCE, api.create(&parameters, &grant)).await;
    let made = made.map_err(|_| {
        format!(
            "the API server did not answer within {PATIENCE:?}; look for {} with kubectl get policygrants",
            grant.name_any()
        )
    })?;
    match made {
        Ok(made) => Ok(Ok(made)),
        Err(kube::Error::Api(status)) => match status.code {
            404 => Err(
                "the cluster knows no PolicyGrants: Headgate is not installed there, or is older (headgate crds \
                prints their definition)"
                    .into(),
            ),
            403 => Err(format!(
                "you may not make PolicyGrants; whoever runs Headgate can bind the ClusterRole headgate-break-glass to \
                 you: {}",
                status.message
            )
            .into()),
            400 | 422 => Ok(Err(status.message.clone())),
            _ => Err(status.message.clone().into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// As the API server's rules read durations: `1h30m`, without spaces and with no unit beyond hours.
fn as_written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let written = parts.iter().filter(|(count, _)| *count > 0);
    let written: Vec<String> = written.map(|(count, unit)| format!("{count}{unit}")).collect();
    written.concat()
}

/// The first object's name, and something that no other grant has.
fn name_for(objects: &[GrantedObject]) -> String {
    let first = objects
        .first()
        .map_or("", |object| object.name.as_str())
        .to_ascii_lowercase();
    let plain = first.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<&str> = plain.filter(|word| !word.is_empty()).collect();
    let mut stem = words.join("-");
    stem.truncate(40);
    // Neither vowels nor what looks alike, as the API server's own generated names.
    let letters: Vec<char> = "bcdfghjklmnpqrstvwxz2456789".chars().collect();
    let suffix: String = (0..5).filter_map(|_| fastrand::choice(&letters)).collect();
    let stem = stem.trim_end_matches('-');
    if stem.is_empty() {
        format!("grant-{suffix}")
    } else {
        format!("{stem}-{suffix}")
    }
}

fn print(made: &PolicyGrant, arguments: &BreakGlassArguments, config: &Config) -> Result<(), Failure> {
    match arguments.output {
        Some(Printed::Json) => return output::print_structured(made, output::Format::Json),
        Some(Printed::Yaml) => return output::print_structured(made, output::Format::Yaml),
        Some(Printed::Name) => return output::print(&format!("{}\n", full_name(made))),
        None => {}
    }
    let how = match arguments.dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    let spec = &made.spec;
    let mut lines = vec![format!("{} created{how}", full_name(made))];
    for object in &spec.objects {
        let namespace = object.namespace.iter().map(|name| format!("{name}/"));
        let place = namespace.collect::<String>() + &object.name;
        lines.push(format!("  covers:  {}/{place}", object.kind));
    }
    lines.push(format!("  for:     {}, nobody else", spec.requested_by));
    let until = until(made, arguments.lasts);
    lines.push(format!("  until:   {until} ({} from now)", spec.duration));
    lines.push(format!("  reason:  {}", spec.reason));
    if arguments.dry_run == DryRun::None {
        lines.push("Until then they are not healed; then they become what Git says.".to_owned());
        lines.push(format!("End it early: kubectl delete policygrant {}", made.name_any()));
    }
    if arguments.lasts > config.grants.max_duration && arguments.config.is_some() {
        complain("warning: the configuration does not let a grant last that long");
    }
    // Line by line, for what is shown came from elsewhere.
    let lines: Vec<String> = lines.iter().map(|line| inline(line)).collect();
    output::print(&(lines.join("\n") + "\n"))
}

fn full_name(grant: &PolicyGrant) -> String {
    format!("policygrant.{}/{}", PolicyGrant::group(&()), grant.name_any())
}

/// When it ends by the API server's clock, or by this one where nothing was stored.
fn until(made: &PolicyGrant, lasts: Duration) -> String {
    let ends = Grant::new(made, Timestamp::MAX, lasts).map(|grant| grant.ends);
    let now = Timestamp::now();
    let from_now = SignedDuration::try_from(lasts)
        .ok()
        .and_then(|lasts| now.checked_add(lasts).ok());
    let ends = ends.ok().or(from_now).unwrap_or(Timestamp::MAX);
    ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them() -> Result<(), Failure> {
        for (text, kind) in [
            ("networkpolicy/web", "networkpolicy.networking.k8s.io"),
            ("netpol/web", "networkpolicy.networking.k8s.io"),
            (
                "networkpolicies.projectcalico.org/web",
                "networkpolicy.projectcalico.org",
            ),
            ("gnp/web", "globalnetworkpolicy.projectcalico.org"),
            (
                "cnp.policy.networking.k8s.io/web",
                "clusternetworkpolicy.policy.networking.k8s.io",
            ),
        ] {
            assert_eq!(object(text, "payments")?.kind, kind, "{text}");
        }
        assert_eq!(object("netpol/web", "payments")?.namespace.as_deref(), Some("payments"));
        assert_eq!(object("gnp/web", "payments")?.namespace, None);
        for text in ["web", "netpol/", "/web", "netpol/a/b", "pod/web"] {
            assert!(object(text, "payments").is_err(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_duration_is_written_as_the_definition_wants_it() {
        assert_eq!(as_written(Duration::from_mins(90)), "1h30m");
        assert_eq!(as_written(Duration::from_secs(2)), "2s");
        assert!(lasting("0s").is_err() && lasting("1500ms").is_err() && lasting("soon").is_err());
    }

    #[test]
    fn the_name_of_a_grant_tells_what_it_is_for() {
        let named = |name: &str| {
            name_for(&[GrantedObject {
                name: name.to_owned(),
                ..GrantedObject::default()
            }])
        };
        assert!(named("allow-web").starts_with("allow-web-"));
        assert!(named("*").starts_with("grant-"));
        assert!(named("Web.*:a").starts_with("web-a-"));
    }
}
