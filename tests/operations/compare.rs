//! Whether a command printed what the page shows. Commits, ages, times and made-up ends of names are other ones each time;
//! `…` stands for anything within a line, and on a line of its own for any number of lines.

/// Whether what was printed is what is shown.
pub(crate) fn is_as_shown(shown: &[String], printed: &str) -> bool {
    let plain = |line: &str| plain(line);
    let shown: Vec<String> = shown.iter().map(|line| plain(line)).collect();
    let printed: Vec<String> = printed.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let shown: Vec<&str> = shown
        .iter()
        .map(String::as_str)
        .filter(|line| !line.is_empty())
        .collect();
    lines_match(&shown, &printed)
}

fn lines_match(shown: &[&str], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), None) => lines_match(rest, printed),
        (Some((&"…", rest)), Some((_, later))) => lines_match(rest, printed) || lines_match(shown, later),
        (Some((line, rest)), Some((first, later))) => line_matches(line, first) && lines_match(rest, later),
        _ => false,
    }
}

fn line_matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

/// A line with one space where there are many, and marks for what is another each time.
fn plain(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(without_time).collect();
    let line = words.join(" ");
    let mut text = String::new();
    let mut word = String::new();
    for sign in line.chars().chain([' ']) {
        if sign.is_ascii_alphanumeric() {
            word.push(sign);
            continue;
        }
        text.push_str(&mark(&word, text.ends_with('-')));
        word.clear();
        text.push(sign);
    }
    text.trim_end().to_owned()
}

/// A time as Kubernetes writes it is a mark.
fn without_time(word: &str) -> String {
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    let end = word.find('Z').map_or(word.len(), |at| at + 1);
    match word.split_at_checked(end) {
        Some((time, rest)) if is_time(time) => format!("<time>{rest}"),
        _ => word.to_owned(),
    }
}

fn mark(word: &str, after_hyphen: bool) -> String {
    let is_hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let ages = word.trim_start_matches(|sign: char| sign.is_ascii_digit() || "smhd".contains(sign));
    let is_age = ages.is_empty()
        && word.starts_with(|sign: char| sign.is_ascii_digit())
        && !word.ends_with(|sign: char| sign.is_ascii_digit());
    // The letters of names that the API server or the command line makes up.
    let is_made_up = word.len() == 5 && word.chars().all(|sign| "bcdfghjklmnpqrstvwxz2456789".contains(sign));
    match word.len() {
        40 if is_hex => "<commit>".to_owned(),
        7 if is_hex => "<short>".to_owned(),
        _ if is_age => "<age>".to_owned(),
        _ if after_hyphen && is_made_up => "<random>".to_owned(),
        _ => word.to_owned(),
    }
}

#[test]
fn what_changes_each_time_is_no_difference_and_everything_else_is() {
    let shown = |lines: &[&str]| -> Vec<String> { lines.iter().map(ToString::to_string).collect() };
    let table = shown(&["NAME   COMMIT   AGE", "shop   21d783f  12s", "…", "last one"]);
    assert!(is_as_shown(
        &table,
        "NAME COMMIT AGE\nshop  abcdef0   2m3s\na\nb\nlast one\n"
    ));
    assert!(is_as_shown(&table, "NAME COMMIT AGE\nshop  abcdef0   5h\nlast one\n"));
    assert!(!is_as_shown(&table, "NAME COMMIT AGE\nship  abcdef0   5h\nlast one\n"));
    assert!(!is_as_shown(
        &table,
        "NAME COMMIT AGE\nshop  abcdef0   5h\nlast one\nmore\n"
    ));
    assert!(!is_as_shown(&table, "NAME COMMIT AGE\nshop  abcdef0   5\nlast one\n"));
    assert!(is_as_shown(
        &shown(&["made web-x7k2q until 2026-05-01T12:30:00Z (…), by …"]),
        "made web-bcdfg until 2027-01-01T00:00:00Z (soon), by me"
    ));
    assert!(!is_as_shown(&shown(&["a … c"]), "a b"));
    assert!(is_as_shown(&shown(&[]), "\n"));
    assert!(!is_as_shown(&shown(&[]), "something"));
}
