//! `headgate certs`: a certificate authority and a serving certificate, for development and for clusters without
//! cert-manager.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{Ending, Failure, output};

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
    let authority = authority(arguments.days)?;
    let key = KeyPair::generate()?;
    let certificate = serving(arguments)?.signed_by(&key, &authority)?;
    std::fs::create_dir_all(&arguments.out)?;
    // The authority's own key is thrown away: nobody can make another certificate that the API server would trust.
    write(arguments, "ca.crt", &authority.pem(), 0o644)?;
    write(arguments, "tls.crt", &certificate.pem(), 0o644)?;
    write(arguments, "tls.key", &key.serialize_pem(), 0o600)?;
    let folder = arguments.out.display();
    output::complain(&format!(
        "wrote ca.crt, tls.crt and tls.key to {folder}, good for {} days",
        arguments.days
    ));
    Ok(Ending::Clean)
}

fn authority(days: u16) -> Result<CertifiedIssuer<'static, KeyPair>, Failure> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "headgate-ca");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut parameters, days);
    Ok(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?)
}

fn serving(arguments: &CertsArguments) -> Result<CertificateParams, Failure> {
    let service = arguments.service.iter().flat_map(|names| &names.0);
    let names: Vec<String> = arguments.dns.iter().chain(service).cloned().collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .subject_alt_names
        .extend(arguments.ip.iter().copied().map(SanType::IpAddress));
    parameters
        .distinguished_name
        .push(DnType::CommonName, "headgate-webhook");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    set_validity(&mut parameters, arguments.days);
    Ok(parameters)
}

/// From an hour ago, for clocks that lag.
fn set_validity(parameters: &mut CertificateParams, days: u16) {
    let now = std::time::SystemTime::now();
    let hour = std::time::Duration::from_hours(1);
    parameters.not_before = (now - hour).into();
    parameters.not_after = (now + hour * 24 * u32::from(days)).into();
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
