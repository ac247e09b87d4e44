//! Where a repository may be: which URLs a source may name, and which addresses are never spoken to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use globset::GlobSet;
use url::{Host, Url};

use super::settings::{SettingsError, globs};

/// What a process lets sources name.
#[derive(Clone, Debug, Default)]
pub struct UrlRules {
    allow_file: bool,
    /// Globs over host names; none: every host.
    hosts: Option<GlobSet>,
}

impl UrlRules {
    /// Rules without `file:` URLs. `allowed_hosts` are globs over host names, `*.example.com`; none lets every host be named.
    ///
    /// # Errors
    /// When there is a list and it is empty, or has something that is no glob.
    pub fn new(allowed_hosts: Option<&[String]>) -> Result<Self, SettingsError> {
        const FIELD: &str = "git.allowedHosts";
        let hosts = match allowed_hosts {
            Some([]) => {
                return Err(SettingsError::Field {
                    field: FIELD,
                    value: String::new(),
                    expected: "a list with a host in it; without the field every host may be named",
                });
            }
            Some(patterns) => {
                let lower: Vec<String> = patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
                Some(globs(FIELD, &lower, false)?)
            }
            None => None,
        };
        Ok(Self {
            allow_file: false,
            hosts,
        })
    }

    /// The same rules with or without `file:` URLs, which name no host.
    #[must_use]
    pub fn with_files(self, allow_file: bool) -> Self {
        Self { allow_file, ..self }
    }

    /// The URL, if a source may name it; else why not.
    pub(super) fn checked(&self, url: &str) -> Result<String, String> {
        let parsed = Url::parse(url).map_err(|error| error.to_string())?;
        is_plain(url, &parsed)?;
        match parsed.scheme() {
            "https" | "http" => without_user(&parsed)?,
            "ssh" => with_user_and_path(&parsed)?,
            "file" if self.allow_file => return Ok(url.to_owned()),
            "file" => return Err("file URLs need --allow-file-urls".to_owned()),
            _ => return Err("use https, ssh, http or file".to_owned()),
        }
        self.check_host(&parsed)?;
        Ok(url.to_owned())
    }

    fn check_host(&self, url: &Url) -> Result<(), String> {
        let name = url.host_str().unwrap_or_default().to_ascii_lowercase();
        // git and ssh would take it for an option.
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("\"{name}\" is not a host"));
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
            _ => name.parse().ok(),
        };
        if address.is_some_and(is_never_asked) {
            return Err(format!("{name} is a link-local or metadata address: {NEVER_ASKED}"));
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.is_match(&name)) {
            return Err(format!(
                "the host {name} is not in the configuration's git.allowedHosts"
            ));
        }
        Ok(())
    }
}

/// Who fetches reads the text anew, and not as browsers do: those take `HTTP:`, `https:/`, a backslash or a line break
/// within for something else than Git does, and another host might be asked than was checked, or credentials sent in clear.
fn is_plain(text: &str, parsed: &Url) -> Result<(), String> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    if scheme != Some(parsed.scheme()) || text.contains(is_odd) {
        return Err("write it plainly, as in https://git.example.com/acme/policies.git".to_owned());
    }
    let same = gix::url::parse(text).is_ok_and(|url: gix::Url| {
        let host = parsed.host_str().map(|host| host.trim_matches(['[', ']']));
        let read = url
            .host()
            .map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase());
        parsed.scheme() == "file" || url.scheme.as_str() == parsed.scheme() && has_host(read.as_deref(), host)
    });
    if same {
        Ok(())
    } else {
        Err("its host can be read in two ways".to_owned())
    }
}

/// Whether two readers see one host. An address may have many spellings, each of which is one address to both.
fn has_host(read: Option<&str>, parsed: Option<&str>) -> bool {
    let (Some(read), Some(parsed)) = (read, parsed) else {
        return read.unwrap_or_default().is_empty() && parsed.unwrap_or_default().is_empty();
    };
    let as_browsers_do = Url::parse(&format!("https://{read}/")).ok();
    let as_browsers_do = as_browsers_do.as_ref().and_then(Url::host_str);
    read == parsed.to_ascii_lowercase() || as_browsers_do == Some(parsed) || is_one_address(read, parsed)
}

/// An address of version six may be written in many ways.
fn is_one_address(read: &str, parsed: &str) -> bool {
    let addresses = (read.parse::<Ipv6Addr>(), parsed.parse::<Ipv6Addr>());
    matches!(addresses, (Ok(read), Ok(parsed)) if read == parsed)
}

/// Why these addresses are refused.
pub(super) const NEVER_ASKED: &str = "clouds keep credentials behind those";

fn without_user(url: &Url) -> Result<(), String> {
    if url.username().is_empty() && url.password().is_none() {
        Ok(())
    } else {
        Err("user information belongs in spec.git.credentialsSecretRef".to_owned())
    }
}

fn with_user_and_path(url: &Url) -> Result<(), String> {
    if url.password().is_some() {
        return Err("a password has no place in a URL: ssh uses the key of spec.git.credentialsSecretRef".to_owned());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let user = url.username();
    if user.is_empty() {
        return Err("write the user, as in ssh://git@git.example.com/acme/policies.git".to_owned());
    }
    if user.starts_with('-') || !user.chars().all(is_plain) {
        return Err("the user has signs that no user has".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    if !host.chars().all(|c| is_plain(c) || matches!(c, ':' | '[' | ']')) {
        return Err("the host has signs that no host has".to_owned());
    }
    if url.path().len() < 2 {
        return Err("the path of the repository is missing".to_owned());
    }
    Ok(())
}

/// Where clouds answer with credentials beside link-local addresses: AWS and Google Cloud over IPv6, Alibaba, Azure.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Whether an address is one of the link's own (RFC 3927, RFC 4291) or known for a cloud's metadata.
pub(super) fn is_never_asked(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || embedded(address).is_some_and(|inner| is_never_asked(inner.into()))
        }
    };
    is_link_local || METADATA.contains(&address)
}

/// The IPv4 address that an IPv6 address is only another form of: mapped or compatible, translated by NAT64 (RFC 6052, RFC 8215), or
/// 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    let segments = address.segments();
    if segments.get(..6) == Some(&[0x64, 0xff9b, 0, 0, 0, 0][..]) || segments.get(..3) == Some(&[0x64, 0xff9b, 1][..]) {
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    if let [0x20, 0x02, a, b, c, d, ..] = address.octets() {
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    // Mapped, and in the old form without a mark (RFC 4291).
    address.to_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(allowed: &[&str]) -> Result<UrlRules, SettingsError> {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        UrlRules::new(Some(&allowed))
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written_and_no_other() {
        assert!(has_host(Some("2001:db8:0::1"), Some("2001:db8::1")));
        assert!(!has_host(Some("2001:db8::2"), Some("2001:db8::1")));
        assert!(!has_host(Some("evil.example.com"), Some("2001:db8::1")));
    }

    #[test]
    fn a_url_with_a_password_or_an_unwanted_scheme_is_refused() {
        let (rules, files) = (UrlRules::default(), UrlRules::default().with_files(true));
        assert!(rules.checked("https://user:secret@git.example.com/x").is_err());
        assert!(rules.checked("ssh://git:secret@git.example.com/x").is_err());
        assert!(rules.checked("file:///srv/git/x").is_err());
        assert!(files.checked("file:///srv/git/x").is_ok());
        assert!(files.checked("ext::sh -c id").is_err());
        assert!(files.checked("git://git.example.com/x").is_err());
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_refused() {
        let rules = UrlRules::default();
        assert_eq!(
            rules
                .checked("ssh://git@git.example.com:2222/acme/policies.git")
                .as_deref(),
            Ok("ssh://git@git.example.com:2222/acme/policies.git")
        );
        for url in [
            "ssh://-oProxyCommand=id/x",
            "ssh://git@-oProxyCommand=id/x",
            "ssh://-oProxyCommand=id@git.example.com/x",
            "ssh://git%0a@git.example.com/x",
            "ssh://git@git.example.com%20-v/x",
            "ssh://git@git.example.com",
            "ssh://git.example.com/x",
            "ssh:///x",
            "https://-x/y",
        ] {
            assert!(rules.checked(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_url_that_git_reads_otherwise_than_it_was_checked_is_refused() {
        let rules = UrlRules::default();
        for url in [
            "HTTP://git.example.com/x",
            "https:git.example.com/x",
            "https:/git.example.com/x",
            "https:///git.example.com/x",
            "https://git.example.com\\@evil.example/x",
            "https://git.exa\nmple.com/x",
            "https://git.example.com/x\n",
            " https://git.example.com/x",
            "https://git.example.com/a b",
            "SSH://git@git.example.com/x",
        ] {
            assert!(rules.checked(url).is_err(), "{url:?}");
        }
        for url in [
            "https://git.example.com/x",
            "https://GIT.example.com:8443/x",
            "https://10.0.0.7/x",
            "https://[2001:db8::1]:8443/x",
            "https://xn--bcher-kva.example/x",
            "ssh://git@[2001:db8::1]:22/x",
            "http://git.git.svc:3000/x",
        ] {
            assert!(rules.checked(url).is_ok(), "{url:?} {:?}", rules.checked(url));
        }
    }

    #[test]
    fn link_local_addresses_are_refused_however_they_are_written() {
        let rules = UrlRules::default();
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "[::169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "0251.0376.0251.0376",
            "0xa9.0xfe.43518",
            "[fd00:ec2::254]",
            "100.100.100.200",
        ] {
            assert!(rules.checked(&format!("https://{host}/x")).is_err(), "{host}");
        }
        for host in ["169.254.169.254", "[fe80::1]"] {
            assert!(rules.checked(&format!("ssh://git@{host}/x")).is_err(), "{host}");
        }
        assert!(rules.checked("https://10.0.0.7/x").is_ok());
    }

    #[test]
    fn a_list_of_hosts_lets_no_other_be_named() -> Result<(), SettingsError> {
        let rules = hosts(&["git.example.com", "*.Corp.example"])?;
        for allowed in [
            "https://git.example.com/x",
            "https://GIT.example.com/x",
            "ssh://git@a.corp.example/x",
            "ssh://git@A.CORP.example:22/x",
        ] {
            assert!(rules.checked(allowed).is_ok(), "{allowed}");
        }
        for refused in [
            "https://git.example.com.evil.example/x",
            "https://evil.example/git.example.com",
            "ssh://git@corp.example/x",
        ] {
            assert!(rules.checked(refused).is_err(), "{refused}");
        }
        assert!(hosts(&[]).is_err());
        Ok(())
    }
}
