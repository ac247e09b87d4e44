//! The keys and certificates of one control plane. They live in its folder and die with it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::Error;

/// The common name by which the API server presents itself to aggregated API servers.
pub(super) const FRONT_PROXY: &str = "front-proxy-client";

/// The names under which the API server can be reached; the last one is the first address of
/// [`SERVICE_RANGE`](super::flags::SERVICE_RANGE).
const API_SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
];

/// X.500 organizationName. A name holds one value for each of rcgen's types, so a second group
/// needs a second type with the same meaning.
const SECOND_ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// One certificate and its private key, as PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The cluster's CA, and the files that the processes are started with.
pub(super) struct Pki {
    dir: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
    ca_pem: String,
}

impl Pki {
    /// Makes all keys and certificates, below `dir`, which must not exist yet.
    pub(super) fn create(dir: &Path) -> Result<Self, Error> {
        private_dir(dir)?;
        let ca = authority("headgate-test-ca")?;
        let ca_pem = ca.pem();
        let pki = Self {
            dir: dir.to_owned(),
            ca,
            ca_pem,
        };
        private_file(&pki.file("ca.crt"), &pki.ca_pem)?;

        let mut params = CertificateParams::new(API_SERVER_NAMES.map(String::from))?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let serving = sign(params, ExtendedKeyUsagePurpose::ServerAuth, &pki.ca)?;
        pki.write("apiserver", &serving)?;

        let front_proxy_ca = authority("headgate-test-front-proxy-ca")?;
        private_file(&pki.file("front-proxy-ca.crt"), &front_proxy_ca.pem())?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, FRONT_PROXY);
        let client = sign(params, ExtendedKeyUsagePurpose::ClientAuth, &front_proxy_ca)?;
        pki.write("front-proxy-client", &client)?;

        let tokens = KeyPair::generate()?;
        private_file(&pki.file("service-account.key"), &tokens.serialize_pem())?;
        private_file(&pki.file("service-account.pub"), &tokens.public_key_pem())?;
        Ok(pki)
    }

    /// A client certificate of the cluster's CA.
    pub(super) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        let types = [
            DnType::OrganizationName,
            DnType::CustomDnType(SECOND_ORGANIZATION.to_vec()),
        ];
        if groups.len() > types.len() {
            return Err(Error::TooManyGroups {
                user: user.to_owned(),
                groups: groups.len(),
            });
        }
        for (kind, group) in types.into_iter().zip(groups) {
            params.distinguished_name.push(kind, *group);
        }
        sign(params, ExtendedKeyUsagePurpose::ClientAuth, &self.ca)
    }

    /// The cluster's CA certificate.
    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// One of the files, for the flags of the processes.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, identity: &Identity) -> Result<(), Error> {
        private_file(&self.file(&format!("{name}.crt")), &identity.certificate)?;
        private_file(&self.file(&format!("{name}.key")), &identity.key)
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn sign(
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<Identity, Error> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Makes a folder that nobody else can look into.
pub(super) fn private_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(Error::file("create", path))
}

/// Writes a new file that nobody else can read. Helm warns about kubeconfigs that others can read.
pub(super) fn private_file(path: &Path, content: &str) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(Error::file("write", path))
}
