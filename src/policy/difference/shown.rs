//! Values and paths in a sentence: short, one line, and cut so that what differs stays to be seen.

use serde_json::Value;

use super::MORE;
use crate::policy::visible;

/// How much of a value a sentence shows, in characters.
const MOST_CHARS: usize = 80;
/// How much of that is left before the first character that differs.
const BEFORE: usize = 30;
/// A path is shown to this many characters from its beginning and its end: names of members are anybody's.
const PATH_ENDS: (usize, usize) = (200, 100);

/// A value alone.
pub(super) fn one(value: &Value) -> String {
    match value {
        Value::String(text) => window(text, 0),
        _ => cut(&value.to_string()),
    }
}

/// Two values that differ; of long texts, the part around the first character that does.
pub(super) fn two(git: &Value, other: &Value) -> (String, String) {
    let (Value::String(git), Value::String(other)) = (git, other) else {
        return (one(git), one(other));
    };
    let alike = git.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    let start = alike.map(|(c, _)| c.len_utf8()).sum();
    (window(git, start), window(other, start))
}

/// A text in quotes, around the byte `focus`; what is left out on either side is a `…` within them.
fn window(text: &str, focus: usize) -> String {
    let (before, after) = text.split_at_checked(focus).unwrap_or(("", text));
    let (mut lead, mut from_start) = last(before, MOST_CHARS - BEFORE);
    if !from_start {
        (lead, from_start) = last(before, BEFORE);
    }
    let mut shown = String::from(if from_start { "\"" } else { "\"…" });
    shown.push_str(&lead);
    let mut room = MOST_CHARS.saturating_sub(lead.chars().count());
    for c in after.chars() {
        let piece = piece(c);
        let Some(left) = room.checked_sub(piece.chars().count()) else {
            shown.push_str(MORE);
            break;
        };
        room = left;
        shown.push_str(&piece);
    }
    shown.push('"');
    shown
}

/// As much of a text's end as there is room for, and whether that is all of it.
fn last(text: &str, room: usize) -> (String, bool) {
    let (mut pieces, mut room) = (Vec::new(), room);
    for c in text.chars().rev() {
        let piece = piece(c);
        let Some(left) = room.checked_sub(piece.chars().count()) else {
            return (pieces.into_iter().rev().collect(), false);
        };
        room = left;
        pieces.push(piece);
    }
    (pieces.into_iter().rev().collect(), true)
}

/// A character as it is written between quotes.
fn piece(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        _ => visible::escape(c.encode_utf8(&mut [0; 4])),
    }
}

/// JSON, cut; a text that the cut goes through is closed.
fn cut(json: &str) -> String {
    let (mut shown, mut room, mut is_quoted, mut is_escaped) = (String::new(), MOST_CHARS, false, false);
    for c in json.chars() {
        let mut piece = String::new();
        visible::push(&mut piece, c);
        let Some(left) = room.checked_sub(piece.chars().count()) else {
            shown.push_str(MORE);
            if is_quoted {
                shown.push('"');
            }
            break;
        };
        room = left;
        shown.push_str(&piece);
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
    }
    shown
}

/// A path, without hidden characters and without its middle where it is long.
pub(super) fn path(path: &str) -> String {
    let escaped = visible::escape(path);
    let (start, end) = PATH_ENDS;
    let count = escaped.chars().count();
    if count <= start + end {
        return escaped;
    }
    let head: String = escaped.chars().take(start).collect();
    let tail: String = escaped.chars().skip(count - end).collect();
    head + MORE + &tail
}
