//! Keeps user information out of every text that leaves the room.

/// The text with `user:password@` taken out of each URL in it.
pub(super) fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| {
                c == '/' || c == '?' || c == '#' || c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')
            })
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        out.push_str(authority.rsplit('@').next().unwrap_or(authority));
        rest = tail;
    }
    out.push_str(rest);
    out
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
    fn user_information_is_taken_out_of_every_url_in_a_text() {
        let text = "cannot reach https://me:s3cret@git.example.com/a@b and ssh://git@host: refused";
        let expected = "cannot reach https://git.example.com/a@b and ssh://host: refused";
        assert_eq!(redacted(text), expected);
        assert_eq!(redacted("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded("short".to_owned(), 10), "short");
        let cut = bounded("ääääää".to_owned(), 8);
        assert!(cut.len() <= 8 && cut.ends_with('…'), "{cut}");
    }
}
