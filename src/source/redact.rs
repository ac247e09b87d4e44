//! Makes texts fit for those who may not see everything: no URLs, no control characters, a bound on the length.

/// Bytes of an explanation.
const MAX_EXPLANATION: usize = 500;

/// What went wrong in Git, from the outermost message to the cause, without the repository's URL: the text ends up in
/// denials, which must not name another tenant's repository, and a URL may hold a password.
pub(super) fn explained(error: &gix::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for error in error.iter_errors() {
        // Markers of gix's own classification say nothing to people.
        let part = without_urls(&error.to_string());
        let is_marker = part.is_empty() || part.starts_with("I/O error (");
        if !is_marker && !parts.iter().any(|known| known.contains(&part)) {
            parts.push(part);
        }
    }
    let text = parts.join(": ").replace(char::is_control, " ");
    bounded(text, MAX_EXPLANATION)
}

/// The text with `…` in place of every URL.
fn without_urls(text: &str) -> String {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_end = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '(' | ')' | '`');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at);
        out.push_str(before.trim_end_matches(is_scheme));
        out.push('…');
        rest = after.find(is_end).and_then(|end| after.get(end..)).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// A URL, or what was to be one, without what identifies whoever opens it. The user of an ssh URL stays: it is needed
/// there, and no secret.
pub(super) fn without_userinfo(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let end = rest
        .find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace())
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else {
        // A password with a slash in it looks like a port with a path after it.
        return match path.rsplit_once('@').filter(|_| authority.contains(':')) {
            Some((_, rest)) => format!("…@{rest}"),
            None => text.to_owned(),
        };
    };
    let is_plain_user = !user.contains(':') && scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case("ssh"));
    if is_plain_user {
        return text.to_owned();
    }
    let start = scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default();
    format!("{start}…@{host}{path}")
}

/// At most so many bytes of a text, cut between characters, with a mark where something was cut.
pub(super) fn bounded(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_out_of_a_text() {
        let text = "cannot reach https://me:s3cret@git.example.com/a@b (ssh://git@host/x): refused";
        assert_eq!(without_urls(text), "cannot reach … (…): refused");
        assert_eq!(without_urls("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn who_opens_a_url_is_taken_out_of_it_and_the_user_of_ssh_is_not() {
        for (text, shown) in [
            ("https://me:s3cret@git.example.com/a@b", "https://…@git.example.com/a@b"),
            ("https://t0ken@git.example.com", "https://…@git.example.com"),
            ("ssh://git:s3cret@git.example.com/a", "ssh://…@git.example.com/a"),
            ("ssh://git@git.example.com/a", "ssh://git@git.example.com/a"),
            ("me:s3cret@git.example.com:a", "…@git.example.com:a"),
            ("git@git.example.com:a", "git@git.example.com:a"),
            ("https://a:p@ss@git.example.com/x", "https://…@git.example.com/x"),
            ("https://me:p/w@git.example.com/x", "…@git.example.com/x"),
            ("https://me:1/2#@git.example.com/x", "…@git.example.com/x"),
            ("https://git.example.com:8443/x", "https://git.example.com:8443/x"),
            ("https://git.example.com/a@b", "https://git.example.com/a@b"),
            ("clusters/prod", "clusters/prod"),
        ] {
            assert_eq!(without_userinfo(text), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded("short".to_owned(), 10), "short");
        let cut = bounded("ääääää".to_owned(), 8);
        assert!(cut.len() <= 8 && cut.ends_with('…'), "{cut}");
    }
}
