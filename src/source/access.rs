//! What a repository asks of who reads it: credentials and a root certificate, checked before they leave the process.

use reqwest::Certificate;

use super::keeper::Credentials;

/// Why credentials cannot be used. Phrased for who wrote the Secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum AccessError {
    /// They would cross the network readable by all.
    #[error("credentials are not sent over clear http: use an https URL")]
    ClearText,
    /// A key's content cannot be used.
    #[error("the Secret's key {key} {problem}")]
    Key {
        /// The key in the Secret.
        key: &'static str,
        /// What is wrong with it; never shows the content.
        problem: &'static str,
    },
}

/// How a request identifies itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Identity {
    /// Not at all.
    #[default]
    Anonymous,
    /// By user name and password.
    Basic { username: String, password: String },
    /// By a token in the `Authorization` header.
    Bearer(String),
}

/// Everything a fetch needs beside the URL. Deliberately without `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) identity: Identity,
    pub(super) roots: Vec<Certificate>,
    /// For ssh.
    pub(super) key: Option<SshKey>,
}

/// How ssh identifies us, and the server. Deliberately without `Debug`: it holds a secret.
#[derive(Clone)]
pub(super) struct SshKey {
    pub(super) identity: String,
    pub(super) known_hosts: String,
}

impl Access {
    /// Reads a Secret with the keys Flux has: `username` and `password`, or `bearerToken`; `ca.crt`; for ssh `identity`
    /// and `known_hosts`.
    pub(super) fn from_secret(secret: &Credentials, url: &str) -> Result<Self, AccessError> {
        if url.starts_with("ssh://") {
            return Ok(Self {
                key: Some(ssh_key(secret)?),
                ..Self::default()
            });
        }
        let identity = identity(secret)?;
        // Whatever else a URL is, what identifies us leaves the machine by TLS alone.
        let stays_secret = url.starts_with("https://") || url.starts_with("file://");
        if identity != Identity::Anonymous && !stays_secret {
            return Err(AccessError::ClearText);
        }
        let roots = match secret.get("ca.crt") {
            Some(pem) => roots(pem)?,
            None => Vec::new(),
        };
        Ok(Self {
            identity,
            roots,
            key: None,
        })
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.identity == Identity::Anonymous
    }
}

fn identity(secret: &Credentials) -> Result<Identity, AccessError> {
    if let Some(token) = text(secret, "bearerToken")? {
        return Ok(Identity::Bearer(token));
    }
    match (text(secret, "username")?, text(secret, "password")?) {
        (None, None) => Ok(Identity::Anonymous),
        (username, Some(password)) => Ok(Identity::Basic {
            username: username.unwrap_or_default(),
            password,
        }),
        (Some(_), None) => Err(AccessError::Key {
            key: "password",
            problem: "is missing beside username",
        }),
    }
}

/// The text of a key, without the line break that editors leave at its end. Control characters would end the header.
fn text(secret: &Credentials, key: &'static str) -> Result<Option<String>, AccessError> {
    let Some(bytes) = secret.get(key) else {
        return Ok(None);
    };
    let refuse = |problem| AccessError::Key { key, problem };
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("is not UTF-8"))?.trim();
    if text.is_empty() {
        return Err(refuse("is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse("holds control characters"));
    }
    Ok(Some(text.to_owned()))
}

fn ssh_key(secret: &Credentials) -> Result<SshKey, AccessError> {
    let lines = |key: &'static str| {
        let refuse = |problem| AccessError::Key { key, problem };
        let bytes = secret.get(key).ok_or(refuse("is missing: ssh needs it"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("is not UTF-8"))?.trim();
        if text.is_empty() {
            return Err(refuse("is empty"));
        }
        // Keys that were made elsewhere have them, and OpenSSH takes none.
        Ok(text.replace('\r', ""))
    };
    let identity = lines("identity")?;
    if !identity.starts_with("-----BEGIN ") {
        return Err(AccessError::Key {
            key: "identity",
            problem: "is not a private key in PEM or OpenSSH's form",
        });
    }
    Ok(SshKey {
        identity,
        known_hosts: lines("known_hosts")?,
    })
}

fn roots(pem: &[u8]) -> Result<Vec<Certificate>, AccessError> {
    let refuse = |problem| AccessError::Key { key: "ca.crt", problem };
    let roots = Certificate::from_pem_bundle(pem).map_err(|_| refuse("is not PEM"))?;
    if roots.is_empty() {
        return Err(refuse("holds no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Credentials {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_token_never_goes_over_clear_http() {
        let token = secret(&[("bearerToken", "t0ken")]);
        let password = secret(&[("username", "a"), ("password", "b")]);
        for credentials in [token, password] {
            for clear in ["http://git.example.com/x", "HTTP://git.example.com/x"] {
                let refused = Access::from_secret(&credentials, clear).err();
                assert_eq!(refused, Some(AccessError::ClearText));
            }
            assert!(Access::from_secret(&credentials, "https://git.example.com/x").is_ok());
        }
    }

    #[test]
    fn a_line_break_at_the_end_of_a_token_is_forgiven_and_one_inside_is_not() {
        let read = |token| Access::from_secret(&secret(&[("bearerToken", token)]), "https://git.example.com/x");
        assert!(read("t0ken\n").is_ok_and(|access| access.identity == Identity::Bearer("t0ken".to_owned())));
        assert!(read("t0ken\nHost: evil").is_err());
    }

    #[test]
    fn ssh_wants_a_key_and_the_keys_of_the_host() {
        let read = |entries: &[(&str, &str)]| Access::from_secret(&secret(entries), "ssh://git@git.example.com/x");
        let (key, hosts) = (
            ("identity", "-----BEGIN OPENSSH PRIVATE KEY-----\r\nx\r\n"),
            ("known_hosts", "h k\n"),
        );
        let access = read(&[key, hosts]).ok().and_then(|access| access.key);
        assert!(access.is_some_and(|key| !key.identity.contains('\r') && key.known_hosts == "h k"));
        for (entries, missing) in [
            (vec![key], "known_hosts"),
            (vec![hosts], "identity"),
            (vec![("identity", "x"), hosts], "identity"),
        ] {
            assert!(matches!(read(&entries).err(), Some(AccessError::Key { key, .. }) if key == missing));
        }
    }

    #[test]
    fn a_user_name_alone_is_an_incomplete_secret() {
        let access = Access::from_secret(&secret(&[("username", "a")]), "https://git.example.com/x");
        assert!(matches!(access.err(), Some(AccessError::Key { key: "password", .. })));
    }
}
