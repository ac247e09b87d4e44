//! Text as people may be shown it: nothing that moves a terminal's cursor, turns the direction of writing around or
//! takes no room. Whoever writes an object, or a file's name, chooses such text.

/// Whether a character must not reach a reader as it is.
pub fn is_hidden(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// The text with hidden characters written out, as in `\u{202e}`. Newlines are hidden, too.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        push(&mut escaped, c);
        escaped
    })
}

/// Adds a character, written out if it is hidden.
pub fn push(text: &mut String, c: char) {
    if is_hidden(c) {
        text.extend(c.escape_unicode());
    } else {
        text.push(c);
    }
}

/// Unicode's default ignorable code points (`DerivedCoreProperties` of Unicode 16), the marks for lines and paragraphs, and those of
/// interlinear annotation.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for hidden in [
            '\u{1b}',
            '\n',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{206a}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let text = escape(&format!("a{hidden}b"));
            assert_eq!(text, format!("a\\u{{{:x}}}b", u32::from(hidden)));
        }
        assert_eq!(escape("Zürich, 日本, a\u{301} ✓"), "Zürich, 日本, a\u{301} ✓");
    }
}
