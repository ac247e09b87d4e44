//! Whether a delivery proves knowledge of a token: a pure function of headers, body and token. The first header of the list
//! that is there counts, and no other one makes up for it.
//!
//! Comparisons take constant time, and a source without a token costs what one with a token of the same sort does.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// GitHub's; Gitea and Forgejo send it, too: `sha256=` and the hexadecimal HMAC-SHA256 of the body.
const HUB_SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
/// Gitea's: the hexadecimal HMAC-SHA256 of the body.
const GITEA_SIGNATURE: HeaderName = HeaderName::from_static("x-gitea-signature");
/// Forgejo's own name for the same.
const FORGEJO_SIGNATURE: HeaderName = HeaderName::from_static("x-forgejo-signature");
/// GitLab's signing token, by the Standard Webhooks specification: `v1,` and the base64 HMAC-SHA256 of id, time and body.
const STANDARD_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const STANDARD_ID: HeaderName = HeaderName::from_static("webhook-id");
const STANDARD_TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
/// GitLab's secret token, as it is.
const GITLAB_TOKEN: HeaderName = HeaderName::from_static("x-gitlab-token");
/// What a signing token of GitLab begins with; the key follows in base64.
const SIGNING_PREFIX: &str = "whsec_";

/// The shortest token that is taken: shorter ones could be guessed.
pub const MIN_TOKEN: usize = 16;
/// A delivery may have so many signatures, by several keys: more are not looked at.
const MAX_SIGNATURES: usize = 4;

/// Why a Secret's entry is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not text.
    #[error("token is not UTF-8")]
    NotText,
    /// It can be guessed.
    #[error("token is shorter than {MIN_TOKEN} bytes")]
    TooShort,
    /// It cannot be the value of a header.
    #[error("token holds control characters")]
    ControlCharacters,
    /// It begins as a signing token of GitLab and does not go on so.
    #[error("token begins with whsec_, and what follows is not base64")]
    NotBase64,
}

/// What a Git server and Headgate both know.
pub struct Token {
    text: String,
    /// The key of a signing token.
    signing_key: Option<Vec<u8>>,
}

impl Token {
    /// Reads the entry of a Secret. The line break that editors leave at its end does not count.
    ///
    /// # Errors
    /// Where it cannot serve as a token.
    pub fn read(entry: &[u8]) -> Result<Self, TokenError> {
        let text = std::str::from_utf8(entry).map_err(|_| TokenError::NotText)?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.len() < MIN_TOKEN {
            return Err(TokenError::TooShort);
        }
        if text.chars().any(char::is_control) {
            return Err(TokenError::ControlCharacters);
        }
        let signing_key = match text.strip_prefix(SIGNING_PREFIX) {
            Some(key) => Some(BASE64.decode(key).map_err(|_| TokenError::NotBase64)?),
            None => None,
        };
        if signing_key.as_ref().is_some_and(|key| key.len() < MIN_TOKEN) {
            return Err(TokenError::TooShort);
        }
        Ok(Self {
            text: text.to_owned(),
            signing_key,
        })
    }

    /// One that nobody knows.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).ok()?;
        Some(Self {
            text: BASE64.encode(bytes),
            signing_key: None,
        })
    }
}

/// How a delivery was authenticated, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// An HMAC of the body, as GitHub, Gitea and Forgejo make it.
    Signature,
    /// An HMAC of id, time and body, as GitLab makes it by its signing token.
    StandardWebhook,
    /// GitLab's secret token.
    GitlabToken,
    /// `Authorization: Bearer`.
    Bearer,
    /// Not at all.
    Nothing,
}

/// A delivery while it is looked at. Its body is fed in as it arrives, and not kept.
pub struct Examination {
    scheme: Scheme,
    proof: Proof,
    /// Where there is no token to compare with, all the work is done, and the answer is no.
    is_known: bool,
}

enum Proof {
    Signatures(Box<hmac::Context>, Encoding, Vec<Vec<u8>>),
    Token { is_right: bool },
}

#[derive(Clone, Copy)]
enum Encoding {
    Hexadecimal,
    Base64,
}

impl Examination {
    /// Begins with the headers. Without a token nothing passes, and nobody can tell from the time it takes: another token,
    /// which nobody knows, stands in.
    pub fn begin(headers: &HeaderMap, token: Option<&Token>, stand_in: &Token) -> Self {
        let is_known = token.is_some();
        let token = token.unwrap_or(stand_in);
        let (scheme, proof) = claim(headers, token);
        Self {
            scheme,
            proof,
            is_known,
        }
    }

    /// Takes the next part of the body.
    pub fn update(&mut self, body: &[u8]) {
        if let Proof::Signatures(context, _, _) = &mut self.proof {
            context.update(body);
        }
    }

    /// How it was authenticated, if at all.
    pub fn end(self) -> Option<Scheme> {
        let is_right = match self.proof {
            Proof::Token { is_right } => is_right,
            Proof::Signatures(context, encoding, claimed) => {
                let made = encoding.write(context.sign().as_ref());
                // Each is compared, whatever came of the others.
                let right = claimed.iter().map(|claimed| is_same(made.as_bytes(), claimed));
                right.fold(false, |any, right| any | right)
            }
        };
        (is_right && self.is_known).then_some(self.scheme)
    }
}

impl Encoding {
    fn write(self, mac: &[u8]) -> String {
        match self {
            Self::Base64 => BASE64.encode(mac),
            Self::Hexadecimal => mac
                .iter()
                .fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
        }
    }
}

fn claim(headers: &HeaderMap, token: &Token) -> (Scheme, Proof) {
    let get = |name: &HeaderName| headers.get(name).map(axum::http::HeaderValue::as_bytes);
    let compared = |claimed: &[u8]| Proof::Token {
        // By their hashes: how long the token is, is nobody's business either.
        is_right: is_same(hash(claimed).as_ref(), hash(token.text.as_bytes()).as_ref()),
    };
    // GitLab sends both where a webhook has both: the token says which it is.
    let is_signed = token.signing_key.is_some() || !headers.contains_key(GITLAB_TOKEN);
    if let Some(claimed) = get(&STANDARD_SIGNATURE).filter(|_| is_signed) {
        let key = token.signing_key.as_deref().unwrap_or(token.text.as_bytes());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for name in [&STANDARD_ID, &STANDARD_TIME] {
            context.update(get(name).unwrap_or_default());
            context.update(b".");
        }
        let each = claimed.split(|byte| *byte == b' ').take(MAX_SIGNATURES);
        let claimed = each
            .filter_map(|claimed| claimed.strip_prefix(b"v1,"))
            .map(<[u8]>::to_vec);
        let proof = Proof::Signatures(Box::new(context), Encoding::Base64, claimed.collect());
        return (Scheme::StandardWebhook, proof);
    }
    let signatures: [(&HeaderName, &[u8]); 3] = [
        (&HUB_SIGNATURE, b"sha256="),
        (&GITEA_SIGNATURE, b""),
        (&FORGEJO_SIGNATURE, b""),
    ];
    for (name, prefix) in signatures {
        if let Some(claimed) = get(name) {
            let key = hmac::Key::new(hmac::HMAC_SHA256, token.text.as_bytes());
            let claimed = claimed.strip_prefix(prefix).map(<[u8]>::to_ascii_lowercase);
            let claimed = claimed.into_iter().collect();
            let proof = Proof::Signatures(Box::new(hmac::Context::with_key(&key)), Encoding::Hexadecimal, claimed);
            return (Scheme::Signature, proof);
        }
    }
    if let Some(claimed) = get(&GITLAB_TOKEN) {
        return (Scheme::GitlabToken, compared(claimed));
    }
    match get(&header::AUTHORIZATION).and_then(bearer) {
        Some(claimed) => (Scheme::Bearer, compared(claimed)),
        None => (Scheme::Nothing, Proof::Token { is_right: false }),
    }
}

/// The credentials of a `Bearer` header; the scheme's name may be written in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn hash(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn is_same(made: &[u8], claimed: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(made, claimed).is_ok()
}

#[cfg(test)]
mod tests;
