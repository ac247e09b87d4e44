//! `headgate certs`: a certificate authority and a serving certificate, for development and for clusters without
//! cert-manager.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{Ending, Failure, output};
use crate::sync::certificates::issue::issue;

#[derive(Debug, Args)]
pub(super) struct CertsArguments {
    /// The folder for ca.crt, tls.crt and tls.key
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A DNS name of the webhook; may be repeated
    #[arg(long = "dns", value_name = "NAME", default_values_t = [String::from("localhost")])]
    dns: Vec<String>,
    /// An address of the webhook; may be repeated
    #[arg(long = "ip", value_name = "ADDRESS", default_values_t = [IpAddr::from([127, 0, 0, 1])])]
    ip: Vec<IpAddr>,
    /// The webhook's Service, whose names in the cluster are added
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service_names)]
    service: Option<ServiceNames>,
    /// How long the certificates are good for
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// The names under which the API server may call a Service.
#[derive(Clone, Debug)]
struct ServiceNames(Vec<String>);

fn service_names(text: &str) -> Result<ServiceNames, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(ServiceNames(vec![
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.cluster.local"),
        ])),
        _ => Err("expected NAMESPACE/NAME".to_owned()),
    }
}

pub(super) fn certs(arguments: &CertsArguments) -> Result<Ending, Failure> {
    let service = arguments.service.iter().flat_map(|names| &names.0).cloned();
    let addresses = arguments.ip.iter().map(IpAddr::to_string);
    let names: Vec<String> = arguments.dns.iter().cloned().chain(service).chain(addresses).collect();
    let validity = Duration::from_hours(24) * u32::from(arguments.days);
    let issued = issue(&names, validity, SystemTime::now())?;
    std::fs::create_dir_all(&arguments.out)?;
    write(arguments, "ca.crt", &issued.authority, 0o644)?;
    write(arguments, "tls.crt", &issued.certificate, 0o644)?;
    write(arguments, "tls.key", &issued.key, 0o600)?;
    let folder = arguments.out.display();
    output::complain(&format!(
        "wrote ca.crt, tls.crt and tls.key to {folder}, good for {} days",
        arguments.days
    ));
    Ok(Ending::Clean)
}

fn write(arguments: &CertsArguments, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
    let path = arguments.out.join(name);
    if path.exists() && !arguments.force {
        return Err(format!("{} is there already; --force replaces it", path.display()).into());
    }
    replace(&path, text, mode).map_err(|error| format!("{} cannot be written: {error}", path.display()).into())
}

/// Written aside and renamed, so that a server that reads the folder never sees half a file.
fn replace(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let aside = path.with_extension("new");
    let _ = std::fs::remove_file(&aside);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(aside, path)
}
