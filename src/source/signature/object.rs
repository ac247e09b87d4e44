//! Takes commits and tags apart into what was signed and the signature, to the byte as git does.

use super::verdict::{Fault, SignatureFault};

/// Bytes of a signature. The largest that are verified here have about a kilobyte.
const MAX_SIGNATURE: usize = 16 << 10;
/// How headers of signatures begin: one for each of git's object formats.
const SIGNATURE_HEADER: &[u8] = b"gpgsig";
/// The line that begins each kind of signature that git knows.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// What was signed, and the signature.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) struct Signed {
    pub(in crate::source) payload: Vec<u8>,
    pub(in crate::source) signature: Vec<u8>,
}

/// Takes a commit apart. Signed is all of it but the headers of signatures.
pub(in crate::source) fn signed_commit(raw: &[u8]) -> Result<Signed, Fault> {
    let mut payload = Vec::with_capacity(raw.len());
    let mut signatures: Vec<Vec<u8>> = Vec::new();
    let mut others = 0_usize;
    let mut place = Place::Elsewhere;
    let mut rest = raw;
    while let Some((line, after)) = next_line(rest) {
        if line == b"\n" {
            // The message, signed as it is.
            payload.extend_from_slice(rest);
            break;
        }
        match (line.strip_prefix(b" "), line.strip_prefix(b"gpgsig ")) {
            (Some(more), _) if place == Place::Signature => {
                if let Some(signature) = signatures.last_mut() {
                    signature.extend_from_slice(more);
                }
            }
            (Some(_), _) if place == Place::OtherSignature => {}
            (_, Some(first)) => {
                place = Place::Signature;
                signatures.push(first.to_vec());
            }
            _ if line.starts_with(SIGNATURE_HEADER) => {
                place = Place::OtherSignature;
                others += 1;
            }
            _ => {
                place = Place::Elsewhere;
                payload.extend_from_slice(line);
            }
        }
        rest = after;
    }
    let several = || Fault::new(SignatureFault::SeveralSignatures, "it carries several signatures");
    let mut signatures = signatures.into_iter();
    match (signatures.next(), signatures.next(), others) {
        (Some(signature), None, 0) => bounded(Signed { payload, signature }),
        (None, None, 0) => Err(Fault::new(SignatureFault::Unsigned, "it is not signed")),
        _ => Err(several()),
    }
}

/// Takes a tag apart. Its signature stands at its end, and begins where the last beginning of one is.
pub(in crate::source) fn signed_tag(raw: &[u8]) -> Result<Signed, Fault> {
    let (mut at, mut found) = (0, None);
    while let Some((line, after)) = raw.get(at..).and_then(next_line) {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            found = Some(at);
        }
        at = raw.len() - after.len();
    }
    let (payload, signature) = found
        .and_then(|found| raw.split_at_checked(found))
        .ok_or_else(|| Fault::new(SignatureFault::Unsigned, "it is not signed"))?;
    bounded(Signed {
        payload: payload.to_vec(),
        signature: signature.to_vec(),
    })
}

/// The name under which a tag was made.
pub(in crate::source) fn tag_name(raw: &[u8]) -> Option<&[u8]> {
    let mut rest = raw;
    while let Some((line, after)) = next_line(rest) {
        if line == b"\n" {
            return None;
        }
        if let Some(name) = line.strip_prefix(b"tag ") {
            return Some(name.strip_suffix(b"\n").unwrap_or(name));
        }
        rest = after;
    }
    None
}

#[derive(PartialEq, Eq)]
enum Place {
    Signature,
    OtherSignature,
    Elsewhere,
}

/// The first line with its end, and what comes after it; none at the end.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |at| at + 1);
    text.split_at_checked(end)
}

fn bounded(signed: Signed) -> Result<Signed, Fault> {
    if signed.signature.len() <= MAX_SIGNATURE {
        return Ok(signed);
    }
    let message = format!("its signature is larger than {} KiB", MAX_SIGNATURE >> 10);
    Err(Fault::new(SignatureFault::SignatureUnreadable, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "tree 1\nparent 2\nauthor A\ncommitter A\n";

    fn kind(raw: &str) -> Option<SignatureFault> {
        signed_commit(raw.as_bytes()).err().map(|fault| fault.kind)
    }

    #[test]
    fn all_of_a_commit_but_its_signature_is_what_was_signed() -> Result<(), Fault> {
        let raw = format!("{COMMIT}gpgsig BEGIN\n one\n \n END\nencoding latin1\n\ngpgsig in the message\n two\n");
        let signed = signed_commit(raw.as_bytes())?;
        let payload = format!("{COMMIT}encoding latin1\n\ngpgsig in the message\n two\n");
        assert_eq!(String::from_utf8_lossy(&signed.payload), payload);
        assert_eq!(signed.signature, b"BEGIN\none\n\nEND\n");
        Ok(())
    }

    #[test]
    fn none_and_several_signatures_are_told_apart() {
        assert_eq!(kind(&format!("{COMMIT}\nmessage\n")), Some(SignatureFault::Unsigned));
        let twice = format!("{COMMIT}gpgsig A\n a\ngpgsig B\n b\n\nmessage\n");
        assert_eq!(kind(&twice), Some(SignatureFault::SeveralSignatures));
        let other = format!("{COMMIT}gpgsig A\n a\ngpgsig-sha256 B\n b\n\nmessage\n");
        assert_eq!(kind(&other), Some(SignatureFault::SeveralSignatures));
        let huge = format!("{COMMIT}gpgsig {}\n\nmessage\n", "a".repeat(MAX_SIGNATURE + 1));
        assert_eq!(kind(&huge), Some(SignatureFault::SignatureUnreadable));
    }

    #[test]
    fn a_tag_ends_with_its_signature() -> Result<(), Fault> {
        let raw = b"object 1\ntype commit\ntag v1\ntagger A\n\nmessage\n-----BEGIN SSH SIGNATURE-----\nx\n";
        let signed = signed_tag(raw)?;
        assert!(signed.payload.ends_with(b"message\n"));
        assert!(signed.signature.starts_with(b"-----BEGIN SSH"));
        assert_eq!(tag_name(raw), Some(b"v1".as_slice()));
        assert!(signed_tag(&signed.payload).is_err_and(|fault| fault.kind == SignatureFault::Unsigned));
        assert_eq!(tag_name(b"object 1\n\ntag v1\n"), None);
        Ok(())
    }
}
