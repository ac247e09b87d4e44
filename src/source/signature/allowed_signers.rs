//! The list of SSH keys that may sign, as `ssh-keygen` reads it (`ssh-keygen(1)`, ALLOWED SIGNERS).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

/// One line: a key, whose it is, and when and for what it may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Whose key it is.
    pub(super) principals: String,
    pub(super) key: KeyData,
    pub(super) options: Options,
}

/// What restricts a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// What it may sign for, as a list of patterns; none: everything.
    pub(super) namespaces: Option<String>,
    /// The first moment at which it may sign.
    pub(super) valid_after: Option<Timestamp>,
    /// The last one.
    pub(super) valid_before: Option<Timestamp>,
    /// The key signs certificates, and nothing else.
    pub(super) is_authority: bool,
}

/// Reads a list. Any line that cannot be read makes all of it useless: it may be the one that restricts a key.
pub(super) fn read(text: &str) -> Result<Vec<Line>, String> {
    each_line(text, line)
}

/// Reads a list of bare keys, one a line: those that are revoked.
pub(super) fn read_keys(text: &str) -> Result<Vec<KeyData>, String> {
    each_line(text, |text| key(text).ok_or("is not a public key"))
}

fn each_line<T>(text: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for (number, text) in text.lines().enumerate() {
        let text = text.trim_matches([' ', '\t', '\r']);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        found.push(read(text).map_err(|problem| format!("line {}: {problem}", number + 1))?);
    }
    Ok(found)
}

fn line(text: &str) -> Result<Line, &'static str> {
    let (principals, rest) = principals(text)?;
    let (options, key) = if let Some(key) = key(rest) {
        (Options::default(), key)
    } else {
        let (options, rest) = split_unquoted(rest, &[' ', '\t']);
        let key = key(rest).ok_or("there is no readable public key after the principals and options")?;
        (Options::read(options)?, key)
    };
    Ok(Line {
        principals: principals.to_owned(),
        key,
        options,
    })
}

impl Options {
    fn read(text: &str) -> Result<Self, &'static str> {
        let (mut options, mut rest) = (Self::default(), Some(text));
        while let Some(text) = rest {
            let (option, more) = split_unquoted(text, &[',']);
            options.take(option)?;
            rest = (option.len() < text.len()).then_some(more);
        }
        match (options.valid_after, options.valid_before) {
            (Some(after), Some(before)) if before <= after => Err("valid-before is not later than valid-after"),
            _ => Ok(options),
        }
    }

    fn take(&mut self, option: &str) -> Result<(), &'static str> {
        const TWICE: &str = "an option is given twice";
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(quoted(value)?)),
            None => (option, None),
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("cert-authority", None) => self.is_authority = true,
            ("namespaces", Some(value)) => {
                if self.namespaces.replace(value).is_some() {
                    return Err(TWICE);
                }
            }
            ("valid-after", Some(value)) => {
                if self.valid_after.replace(moment(&value)?).is_some() {
                    return Err(TWICE);
                }
            }
            ("valid-before", Some(value)) => {
                if self.valid_before.replace(moment(&value)?).is_some() {
                    return Err(TWICE);
                }
            }
            _ => {
                return Err(
                    "an option is not known; there are cert-authority, namespaces, valid-after and valid-before",
                );
            }
        }
        Ok(())
    }

    /// Whether the key may sign for this.
    pub(super) fn is_for(&self, namespace: &str) -> bool {
        self.namespaces
            .as_ref()
            .is_none_or(|patterns| is_listed(namespace, patterns))
    }
}

fn principals(text: &str) -> Result<(&str, &str), &'static str> {
    let (principals, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quotation mark is missing")?,
        None => text.split_once([' ', '\t']).ok_or("there are principals and no key")?,
    };
    if principals.is_empty() {
        return Err("there are no principals");
    }
    Ok((principals, rest.trim_start_matches([' ', '\t'])))
}

/// A key's type and its base64, and perhaps a comment.
fn key(text: &str) -> Option<KeyData> {
    let mut words = text.split_ascii_whitespace();
    let openssh = format!("{} {}", words.next()?, words.next()?);
    Some(PublicKey::from_openssh(&openssh).ok()?.key_data().clone())
}

/// Splits at the first separator that is not within quotation marks.
fn split_unquoted<'a>(text: &'a str, separators: &[char]) -> (&'a str, &'a str) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if !is_quoted && separators.contains(&character) => {
                let (first, rest) = text.split_at(at);
                return (first, rest.trim_start_matches(separators));
            }
            _ => {}
        }
    }
    (text, "")
}

fn quoted(value: &str) -> Result<String, &'static str> {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let inner = inner.ok_or("the value of an option is not within quotation marks")?;
    Ok(inner.replace("\\\"", "\""))
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, perhaps with a `Z`. Always UTC: a process in a cluster has no other.
fn moment(text: &str) -> Result<Timestamp, &'static str> {
    const EXPECTED: &str = "a time is not written as YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS";
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let is_written_so = matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_written_so {
        return Err(EXPECTED);
    }
    let parsed = DateTime::strptime("%Y%m%d%H%M%S", format!("{digits:0<14}")).map_err(|_| EXPECTED)?;
    let zoned = parsed.to_zoned(TimeZone::UTC).map_err(|_| EXPECTED)?;
    Ok(zoned.timestamp())
}

/// Whether a name fits a list of patterns: one of them, and none that begins with `!`.
fn is_listed(name: &str, patterns: &str) -> bool {
    let mut fits = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(name.as_bytes(), pattern.as_bytes()) => return false,
            Some(_) => {}
            None => fits |= matches(name.as_bytes(), pattern.as_bytes()),
        }
    }
    fits
}

/// `*` stands for any characters, `?` for one. Linear in both, but for the last star.
fn matches(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(b'?') => (at, in_pattern) = (at + 1, in_pattern + 1),
            Some(byte) if name.get(at) == Some(byte) => (at, in_pattern) = (at + 1, in_pattern + 1),
            _ => match &mut star {
                Some((star_at, tried)) => {
                    *tried += 1;
                    (at, in_pattern) = (*tried, *star_at + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(in_pattern..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0dFFSvO5tSVGMS+WTzCC2PyJUrBq3MDyhCq9ba4y7";

    fn first(text: &str) -> Result<Line, String> {
        read(text)?.into_iter().next().ok_or_else(|| "empty".to_owned())
    }

    #[test]
    fn a_line_is_read_as_ssh_keygen_reads_it() -> Result<(), String> {
        let text = format!("\n# a comment\n  \"ada@example.com,*@b\"\t{KEY} and a comment\n");
        let line = first(&text)?;
        assert_eq!(line.principals, "ada@example.com,*@b");
        assert_eq!(line.options, Options::default());
        let options = "Cert-Authority,namespaces=\"file,git\",valid-after=\"20260102\",valid-before=\"202601030405Z\"";
        let line = first(&format!("ada {options} {KEY}"))?.options;
        assert!(line.is_authority && line.is_for("git") && !line.is_for("email"));
        assert_eq!(
            line.valid_after.map(|at| at.to_string()).as_deref(),
            Some("2026-01-02T00:00:00Z")
        );
        assert_eq!(
            line.valid_before.map(|at| at.to_string()).as_deref(),
            Some("2026-01-03T04:05:00Z")
        );
        Ok(())
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for (text, why) in [
            ("ada", "principals and no key"),
            ("ada ssh-ed25519 AAAA", "no readable public key"),
            (&format!("ada namespaces=git {KEY}"), "quotation marks"),
            (&format!("ada colour=\"red\" {KEY}"), "not known"),
            (&format!("ada valid-after=\"2026\" {KEY}"), "YYYYMMDD"),
            (&format!("ada valid-after=\"20261301\" {KEY}"), "YYYYMMDD"),
            (&format!("ada namespaces=\"a\",namespaces=\"b\" {KEY}"), "twice"),
            (
                &format!("ada valid-after=\"20260102\",valid-before=\"20260101\" {KEY}"),
                "not later",
            ),
        ] {
            let refused = read(&format!("\n{text}")).err().unwrap_or_default();
            assert!(
                refused.starts_with("line 2: ") && refused.contains(why),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn namespaces_are_patterns() {
        for (patterns, fits) in [
            ("git", true),
            ("g?t", true),
            ("*", true),
            ("file,g*", true),
            ("!git,*", false),
            ("gi", false),
        ] {
            assert_eq!(is_listed("git", patterns), fits, "{patterns}");
        }
        assert!(matches(b"aXbXc", b"a*b*c") && !matches(b"aXbXd", b"a*b*c") && matches(b"", b"**"));
    }
}
