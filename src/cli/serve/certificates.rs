//! The arguments of the sync loop about the certificate that it makes and renews.

use std::time::Duration;

use clap::Args;

use crate::sync::CertificateOptions;

/// What the sync loop needs to make and renew the webhook's certificate.
#[derive(Clone, Debug, Args)]
pub(super) struct CertificateArguments {
    /// Make the webhook's certificate, keep it in this Secret of Headgate's namespace, renew it, and have the webhook
    /// configuration trust it
    #[arg(
        long,
        env = "HEADGATE_OWN_CERTS",
        value_name = "NAME",
        requires_all = ["own_manifests", "own_certs_names", "webhook_service"],
        conflicts_with = "own_ca"
    )]
    own_certs: Option<String>,
    /// A DNS name or an address of the webhook, first the one that the API server asks for; may be repeated
    #[arg(
        long = "own-certs-name",
        env = "HEADGATE_OWN_CERTS_NAMES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    own_certs_names: Vec<String>,
    /// How long a certificate is good for; it is renewed when two thirds are over
    #[arg(long, env = "HEADGATE_OWN_CERTS_VALIDITY", value_name = "DURATION", default_value = "90d", value_parser = validity)]
    own_certs_validity: Duration,
    /// How long API servers may take to take up a changed webhook configuration
    #[arg(long, env = "HEADGATE_OWN_CERTS_SETTLE", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    own_certs_settle: Duration,
    /// The Service whose endpoints are all replicas of the webhook
    #[arg(long, env = "HEADGATE_WEBHOOK_SERVICE", value_name = "NAME")]
    webhook_service: Option<String>,
}

/// Shorter ones would be renewed all the time.
const SHORTEST_VALIDITY: Duration = Duration::from_hours(1);

fn validity(text: &str) -> Result<Duration, String> {
    let validity = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if validity < SHORTEST_VALIDITY {
        return Err(format!(
            "at least {} are needed",
            humantime::format_duration(SHORTEST_VALIDITY)
        ));
    }
    Ok(validity)
}

impl CertificateArguments {
    /// What was asked for; none where somebody else makes the certificate.
    pub(super) fn options(self, namespace: &str, config_map: Option<&String>) -> Option<CertificateOptions> {
        Some(CertificateOptions {
            namespace: namespace.to_owned(),
            secret: self.own_certs?,
            config_map: config_map?.clone(),
            service: self.webhook_service?,
            names: self.own_certs_names,
            validity: self.own_certs_validity,
            settle: self.own_certs_settle,
        })
    }
}
