//! What is said of a signature.

use std::fmt;

/// Why a signature does not count. A closed list: conditions, records and metrics show these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureFault {
    /// There is none.
    Unsigned,
    /// There are several.
    SeveralSignatures,
    /// It cannot be read, or is larger than any signature is.
    SignatureUnreadable,
    /// It is of a kind that is not verified here: X.509, an SSH certificate, a security key, an unknown algorithm.
    SignatureUnsupported,
    /// Its digest or its key is too weak to prove anything.
    WeakAlgorithm,
    /// It was made for something other than Git, or the key may not sign for Git.
    WrongNamespace,
    /// No key of the source's list made it.
    UnknownKey,
    /// The signature or the key only holds from a later moment on.
    NotYetValid,
    /// The key had expired.
    KeyExpired,
    /// The signature had expired.
    SignatureExpired,
    /// The key was revoked.
    KeyRevoked,
    /// The key is not there to sign with.
    NotASigningKey,
    /// What was signed is something else.
    BadSignature,
    /// The tag was signed under another name, or leads elsewhere.
    WrongTag,
    /// The commit with which the chain begins is not among its ancestors.
    WrongStart,
    /// There are more commits to verify than are verified at once.
    TooManyCommits,
    /// The source's keys cannot be read.
    KeysUnavailable,
}

impl SignatureFault {
    /// Every fault; what documentation lists.
    pub const ALL: [Self; 17] = [
        Self::Unsigned,
        Self::SeveralSignatures,
        Self::SignatureUnreadable,
        Self::SignatureUnsupported,
        Self::WeakAlgorithm,
        Self::WrongNamespace,
        Self::UnknownKey,
        Self::NotYetValid,
        Self::KeyExpired,
        Self::SignatureExpired,
        Self::KeyRevoked,
        Self::NotASigningKey,
        Self::BadSignature,
        Self::WrongTag,
        Self::WrongStart,
        Self::TooManyCommits,
        Self::KeysUnavailable,
    ];

    /// The fault as conditions, records and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "Unsigned",
            Self::SeveralSignatures => "SeveralSignatures",
            Self::SignatureUnreadable => "SignatureUnreadable",
            Self::SignatureUnsupported => "SignatureUnsupported",
            Self::WeakAlgorithm => "WeakAlgorithm",
            Self::WrongNamespace => "WrongNamespace",
            Self::UnknownKey => "UnknownKey",
            Self::NotYetValid => "NotYetValid",
            Self::KeyExpired => "KeyExpired",
            Self::SignatureExpired => "SignatureExpired",
            Self::KeyRevoked => "KeyRevoked",
            Self::NotASigningKey => "NotASigningKey",
            Self::BadSignature => "BadSignature",
            Self::WrongTag => "WrongTag",
            Self::WrongStart => "WrongStart",
            Self::TooManyCommits => "TooManyCommits",
            Self::KeysUnavailable => "KeysUnavailable",
        }
    }
}

/// A signature that does not count, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Fault {
    /// Why.
    pub(in crate::source) kind: SignatureFault,
    /// Why, for people, as the rest of a sentence; at most a few hundred bytes.
    pub(in crate::source) message: String,
}

/// Who made a signature that counts: a name from the source's list, never from the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Signer {
    /// The principals of the list, or the certificate's user.
    pub(in crate::source) name: String,
    /// The key's fingerprint, as its tool writes it.
    pub(in crate::source) key: String,
}

/// What becomes of a signature.
pub(in crate::source) type Verdict = Result<Signer, Fault>;

impl Fault {
    pub(in crate::source) fn new(kind: SignatureFault, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.key)
    }
}
