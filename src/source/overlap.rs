//! Whether two sources can speak for the same object: whether there is a name that two globs both match.

/// A part of a glob. What is finer than this (sets of signs, alternatives) is taken for more than it is, so that an
/// overlap may be told where there is none, and never the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sign(char),
    AnySign,
    AnySigns,
}

/// Whether any pattern of one list meets any of the other.
pub(super) fn meet(some: &[String], others: &[String]) -> bool {
    let others: Vec<Vec<Part>> = others.iter().map(|pattern| parts(pattern)).collect();
    some.iter()
        .map(|pattern| parts(pattern))
        .any(|a| others.iter().any(|b| have_common_match(&a, b)))
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        parts.push(match sign {
            '*' => Part::AnySigns,
            '?' => Part::AnySign,
            // Sets and alternatives may be nested and escaped: from here on it may be anything.
            '[' | '{' => {
                parts.push(Part::AnySigns);
                return parts;
            }
            '\\' => Part::Sign(signs.next().unwrap_or(sign)),
            _ => Part::Sign(sign),
        });
    }
    parts
}

/// From the ends to the beginnings: `row[j]` says whether what is left of `a` and `b[j..]` have a match in common.
fn have_common_match(a: &[Part], b: &[Part]) -> bool {
    let mut row: Vec<bool> = (0..=b.len())
        .map(|j| b.iter().skip(j).all(|part| *part == Part::AnySigns))
        .collect();
    for left in a.iter().rev() {
        let after = row.clone();
        let at = |row: &[bool], j: usize| row.get(j).copied().unwrap_or(false);
        for j in (0..=b.len()).rev() {
            let here = match (left, b.get(j)) {
                (Part::AnySigns, None) => at(&after, j),
                (_, None) => false,
                (Part::AnySigns, Some(_)) | (_, Some(Part::AnySigns)) => at(&after, j) || at(&row, j + 1),
                (Part::Sign(one), Some(Part::Sign(other))) => one == other && at(&after, j + 1),
                _ => at(&after, j + 1),
            };
            if let Some(cell) = row.get_mut(j) {
                *cell = here;
            }
        }
    }
    row.first().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::Glob;
    use proptest::prelude::*;

    fn both(a: &str, b: &str) -> bool {
        let (a, b) = ([a.to_owned()], [b.to_owned()]);
        assert_eq!(meet(&a, &b), meet(&b, &a), "{a:?} {b:?}");
        meet(&a, &b)
    }

    #[test]
    fn globs_meet_where_a_name_fits_both() {
        for (a, b) in [
            ("payments", "payments"),
            ("pay-*", "*-eu"),
            ("pay-*", "pay-eu"),
            ("*", "x"),
            ("a?c", "ab*"),
            ("team-[ab]", "team-b"),
            ("{a,b}-x", "b-x"),
            ("{x,{a,b}}-eu", "b-eu"),
        ] {
            assert!(both(a, b), "{a} {b}");
        }
    }

    #[test]
    fn globs_that_no_name_fits_do_not_meet() {
        for (a, b) in [
            ("payments", "payment"),
            ("pay-*", "shop-*"),
            ("*-eu", "*-us"),
            ("a?c", "ac"),
            ("a*b*c", "a-c"),
            ("", "x*"),
        ] {
            assert!(!both(a, b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn two_globs_that_match_a_name_meet(name in "[ab]{0,4}", a in "[ab*?{},\\[\\]\\\\]{0,6}", b in "[ab*?{},\\[\\]\\\\]{0,6}") {
            let matches = |pattern: &str| Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(&name));
            if matches(&a) && matches(&b) {
                prop_assert!(both(&a, &b));
            }
        }

        #[test]
        fn two_globs_that_meet_match_some_name(a in "[ab*?]{0,3}", b in "[ab*?]{0,3}") {
            // Whatever fits both can be cut to their lengths together.
            let names = (0..=6u32).flat_map(|length| {
                (0..1u32 << length).map(move |bits| {
                    (0..length).map(|i| if bits >> i & 1 == 0 { 'a' } else { 'b' }).collect::<String>()
                })
            });
            let matcher = |pattern: &str| Glob::new(pattern).map(|glob| glob.compile_matcher());
            let (Ok(one), Ok(other)) = (matcher(&a), matcher(&b)) else { return Ok(()); };
            let found = names.into_iter().any(|name| one.is_match(&name) && other.is_match(&name));
            prop_assert_eq!(both(&a, &b), found);
        }
    }
}
