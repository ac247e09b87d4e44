//! Calico's selectors: the grammar of libcalico-go/lib/selector (tokenizer and parser), without recursion and without a
//! bound on nesting or length, as there.

use std::str::Chars;

/// Checks a selector; the error says what is wrong, and where from which character on.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut scanner = Scanner { rest: text.chars() };
    let checked = scanner.selector();
    checked.map_err(|expected| {
        let at = text.chars().count() - scanner.rest.as_str().chars().count();
        let found: String = scanner.rest.as_str().chars().take(20).collect();
        let found = if found.is_empty() {
            "the end".to_owned()
        } else {
            format!("{found:?}")
        };
        format!(
            "this is no selector: expected {expected} at character {}, found {found}",
            at + 1
        )
    })
}

/// What was expected where the scanner stands.
type Scan = Result<(), &'static str>;

const OPERAND: &str = "a label, `has(…)`, `all()` or `(`";
const OPERATOR: &str = "`==`, `!=`, `in {…}`, `not in {…}`, `contains`, `starts with` or `ends with`";
const STRING: &str = "a string in quotes";

struct Scanner<'a> {
    rest: Chars<'a>,
}

impl Scanner<'_> {
    /// Operands joined by `&&` and `||`, with parentheses counted: which binds tighter does not matter here.
    fn selector(&mut self) -> Scan {
        let mut open = 0_usize;
        self.space();
        if self.is_done() {
            return Ok(());
        }
        loop {
            open += self.prefixes();
            self.operand()?;
            self.space();
            while open > 0 && self.take(")") {
                open -= 1;
                self.space();
            }
            if self.take("&&") || self.take("||") {
                continue;
            }
            return match (self.is_done(), open) {
                (true, 0) => Ok(()),
                (_, 0) => Err("`&&`, `||` or the end"),
                (_, _) => Err("`&&`, `||` or `)`"),
            };
        }
    }

    /// Negations and opening parentheses; how many of the latter.
    fn prefixes(&mut self) -> usize {
        let mut open = 0;
        loop {
            self.space();
            // `!=` is one token, even where it makes no sense.
            if self.take("(") {
                open += 1;
            } else if self.rest.as_str().starts_with("!=") || !self.take("!") {
                return open;
            }
        }
    }

    fn operand(&mut self) -> Scan {
        if self.take("has(") {
            self.space();
            self.label()?;
            self.space();
            return self.expect(")", "`)`");
        }
        if self.take("all(") || self.take("global(") {
            self.space();
            return self.expect(")", "`)`");
        }
        self.label()?;
        self.space();
        self.comparison()
    }

    fn comparison(&mut self) -> Scan {
        if self.take("==") || self.take("!=") {
            self.space();
            return self.string();
        }
        if self.take_words(&["not", "in"]) || self.take_words(&["in"]) {
            self.space();
            return self.strings();
        }
        if self.take_words(&["contains"]) || self.take_words(&["starts", "with"]) || self.take_words(&["ends", "with"])
        {
            self.space();
            return self.string();
        }
        Err(OPERATOR)
    }

    fn strings(&mut self) -> Scan {
        self.expect("{", "`{`")?;
        self.space();
        while !self.take("}") {
            self.string()?;
            self.space();
            if self.take(",") {
                self.space();
            } else {
                return self.expect("}", "`,` or `}`");
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Scan {
        let rest = self.rest.as_str();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(STRING)?;
        let inside = rest.get(1..).unwrap_or_default();
        let end = inside.find(quote).ok_or("a string with its closing quote")?;
        self.rest = inside.get(end + 1..).unwrap_or_default().chars();
        Ok(())
    }

    fn label(&mut self) -> Scan {
        let rest = self.rest.as_str();
        let length = rest.len() - rest.trim_start_matches(is_label_char).len();
        if length == 0 || length > 512 {
            return Err(OPERAND);
        }
        self.rest = rest.get(length..).unwrap_or_default().chars();
        Ok(())
    }

    /// Words with space or nothing between them; the last one ends where no label character follows.
    fn take_words(&mut self, words: &[&str]) -> bool {
        let before = self.rest.clone();
        let all = words.iter().all(|word| {
            self.space();
            self.take(word)
        });
        let taken = all && !self.rest.as_str().starts_with(is_label_char);
        if !taken {
            self.rest = before;
        }
        taken
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Scan {
        if self.take(token) { Ok(()) } else { Err(expected) }
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.as_str().strip_prefix(token);
        if let Some(rest) = rest {
            self.rest = rest.chars();
        }
        rest.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.as_str().trim_start_matches([' ', '\t']).chars();
    }

    fn is_done(&self) -> bool {
        self.rest.as_str().is_empty()
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn selectors_that_calico_accepts() {
        for text in [
            "",
            " \t",
            "all()",
            "all( )",
            "a=='b'",
            "!a == \"b\"",
            "has(a/b.c)",
            "!!has(a)",
            "a in {}",
            "a in {'b',}",
            "a notin{'b','c'}",
            "a not in {\"b\"}",
            "a startswith 'b'",
            "a contains'b'",
            "has == 'x'",
            "in in {'in'}",
            "(a == 'b' || (has(c))) && global()",
            "a == 'any\n\"text\"'",
            "- != 'x'",
        ] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn selectors_that_calico_refuses() {
        for text in [
            "a",
            "a = 'b'",
            "a == b",
            "a == 'b",
            "has('a')",
            "has (a)",
            "all ()",
            "has()",
            "()",
            "a == 'b' &&",
            "&& a == 'b'",
            "(has(a)",
            "has(a))",
            "a ! = 'b'",
            "a !!= 'b'",
            "!in {'a'}",
            "a in 'b'",
            "a in {,}",
            "a in {'b',,}",
            "all()\n",
            "a IN {'b'}",
            "not has(a)",
            "a == 'b' and has(c)",
            "a containsx 'b'",
            "*",
            "a == 'it''s'",
        ] {
            assert!(check(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_error_says_what_was_expected_and_where() {
        assert_eq!(
            check("a == b"),
            Err("this is no selector: expected a string in quotes at character 6, found \"b\"".to_owned())
        );
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let deep = "(".repeat(100_000) + "all()" + &")".repeat(100_000);
        assert_eq!(check(&deep), Ok(()));
    }
}
