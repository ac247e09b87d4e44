//! The digest of a canonical form.

mod writer;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Raised whenever the canonical form changes, so that digests of two forms are never taken for one another.
pub const PREFIX: &str = "hg1:";

/// SHA-256 over the RFC 8785 JSON of a canonical form. Written `hg1:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a digest: expected {PREFIX} and 64 hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// The digest of a canonical form.
    ///
    /// # Errors
    /// When the form has no RFC 8785 text. A `Value` read from JSON always has one.
    pub fn of(form: &Value) -> Result<Self, serde_json::Error> {
        let mut text = Vec::with_capacity(USUAL_BYTES);
        writer::write(form, &mut text)?;
        Ok(Self(Sha256::digest(&text).into()))
    }
}

/// How long a form's text mostly is.
const USUAL_BYTES: usize = 2048;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || DigestError(text.chars().take(80).collect());
        let hex = text
            .strip_prefix(PREFIX)
            .filter(|hex| hex.len() == 64 && hex.is_ascii())
            .ok_or_else(refuse)?;
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = hex.get(index * 2..index * 2 + 2).ok_or_else(refuse)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_does_not_change_the_digest_and_list_order_does() -> Result<(), serde_json::Error> {
        let digest = |text: &str| Digest::of(&serde_json::from_str(text)?);
        assert_eq!(digest(r#"{"a":1,"b":2}"#)?, digest(r#"{"b":2,"a":1}"#)?);
        assert_ne!(digest("[1,2]")?, digest("[2,1]")?);
        Ok(())
    }

    #[test]
    fn a_digest_is_the_sha256_of_the_rfc_8785_text() -> Result<(), serde_json::Error> {
        // printf '{"a":[1,true,null]}' | sha256sum
        let expected = "hg1:6d1592667f338d1cf0afe1c2e2371acf5781539b63e7762fa0f64c1fe355713b";
        let digest = Digest::of(&json!({"a": [1.0, true, null]}))?;
        assert_eq!(digest.to_string(), expected);
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        Ok(())
    }
}
