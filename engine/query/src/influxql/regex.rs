//! Regular expressions as Go reads them (RE2), run by Rust's `regex`, which is as safe: time linear
//! in the text, sizes bounded. Where the two languages differ, Go's text is rewritten.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use regex::bytes::RegexBuilder;

/// Compiled size of one expression, bytes.
const SIZE_MAX: usize = 1 << 20;

/// A compiled regular expression with its source. Matches anywhere in the bytes it is asked about.
#[derive(Clone)]
pub struct Regex {
    source: Arc<str>,
    compiled: regex::bytes::Regex,
    literals: Option<Arc<[Box<[u8]>]>>,
    prefix: Arc<str>,
}

impl Regex {
    /// Compiles what stands between the slashes, `\/` already made `/`.
    ///
    /// # Errors
    /// What is wrong, in Go's words where they are known.
    pub fn new(source: &str) -> Result<Regex, String> {
        let compiled = RegexBuilder::new(&translate(source))
            .size_limit(SIZE_MAX)
            .dfa_size_limit(2 * SIZE_MAX)
            .build()
            .map_err(|error| explain(source, &error))?;
        Ok(Regex {
            source: source.into(),
            compiled,
            literals: literals(source),
            prefix: prefix(source).into(),
        })
    }

    /// The text between the slashes, `\/` already made `/`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All values that match, sorted, where the expression is a list of them: `^(a|b)$`, as
    /// dashboards write a choice of several.
    pub fn literals(&self) -> Option<&[Box<[u8]>]> {
        self.literals.as_deref()
    }

    /// What everything that matches begins with: `web-` of `^web-[0-9]+$`. Empty where that is
    /// nothing, or not seen at a glance.
    pub fn prefix(&self) -> &[u8] {
        self.prefix.as_bytes()
    }

    /// Whether it matches anywhere in `bytes`.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.compiled.is_match(bytes)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "/{}/", self.source)
    }
}

/// Values that an expression is taken apart into at most, and the bytes of all of them.
const LITERALS_MAX: usize = 10_000;
const LITERAL_BYTES_MAX: usize = 1 << 20;
/// Groups within groups that are taken apart.
const LITERAL_DEPTH_MAX: usize = 8;

fn literals(source: &str) -> Option<Arc<[Box<[u8]>]>> {
    let mut rest = source.chars().peekable();
    let mut values = Vec::new();
    loop {
        rest.next_if_eq(&'^')?;
        values.append(&mut sequence(&mut rest, LITERAL_DEPTH_MAX)?);
        rest.next_if_eq(&'$')?;
        match rest.next() {
            None => break,
            Some('|') => {}
            Some(_) => return None,
        }
    }
    values.sort_unstable();
    values.dedup();
    let bytes = values.into_iter().map(|value| value.into_bytes().into());
    Some(bytes.collect())
}

/// All that a sequence of characters and groups can be, up to what ends it; `None` where that is
/// too much, or anything else stands there.
fn sequence(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Vec<String>> {
    let mut values = vec![String::new()];
    while let Some(ch) = rest.next_if(|ch| !"|)$".contains(*ch)) {
        let ch = match ch {
            '(' => {
                let group = group(rest, depth.checked_sub(1)?)?;
                values = product(&values, &group)?;
                continue;
            }
            '\\' => rest.next().filter(char::is_ascii_punctuation)?,
            _ if "^.?*+[]{}".contains(ch) => return None,
            ch => ch,
        };
        for value in &mut values {
            value.push(ch);
        }
    }
    Some(values)
}

/// All that the alternatives of a group can be, whose parenthesis has been read.
fn group(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Vec<String>> {
    if rest.next_if_eq(&'?').is_some() {
        rest.next_if_eq(&':')?;
    }
    let mut values = Vec::new();
    loop {
        values.append(&mut sequence(rest, depth)?);
        match rest.next()? {
            ')' => return Some(values),
            '|' if values.len() <= LITERALS_MAX => {}
            _ => return None,
        }
    }
}

/// Each of `values` before each of `endings`.
fn product(values: &[String], endings: &[String]) -> Option<Vec<String>> {
    let bytes = |strings: &[String]| strings.iter().map(String::len).sum::<usize>();
    let size = bytes(values) * endings.len() + bytes(endings) * values.len();
    if values.len() * endings.len() > LITERALS_MAX || size > LITERAL_BYTES_MAX {
        return None;
    }
    let each = values.iter().flat_map(|value| {
        let ended = endings.iter();
        ended.map(move |ending| format!("{value}{ending}"))
    });
    Some(each.collect())
}

/// The literal text behind a leading `^`, where nothing stands beside the whole of it.
fn prefix(source: &str) -> String {
    let mut prefix = String::new();
    let Some(rest) = source.strip_prefix('^') else {
        return prefix;
    };
    let mut rest = rest.chars();
    loop {
        let before = rest.as_str();
        let ch = match rest.next() {
            Some('\\') => rest.next().filter(char::is_ascii_punctuation),
            Some(ch) if "^$.|?*+()[]{}".contains(ch) => None,
            other => other,
        };
        let Some(ch) = ch else {
            // What may be repeated no times is no part of it.
            if before.starts_with(['?', '*', '{']) {
                prefix.pop();
            }
            if has_alternative(before) {
                prefix.clear();
            }
            return prefix;
        };
        prefix.push(ch);
    }
}

/// Whether a `|` may stand outside all groups of `rest`.
fn has_alternative(rest: &str) -> bool {
    if !rest.contains('|') {
        return false;
    }
    let mut depth = 0_usize;
    let mut chars = rest.chars();
    while let Some(ch) = chars.next() {
        match ch {
            '\\' if chars.next() == Some('Q') => return true,
            '[' => return true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

fn explain(source: &str, error: &regex::Error) -> String {
    let text = match error {
        regex::Error::Syntax(text) => text.clone(),
        regex::Error::CompiledTooBig(_) => {
            return format!("error parsing regexp: expression too large: `{source}`");
        }
        other => other.to_string(),
    };
    let last = text.lines().last().unwrap_or_default();
    let reason = last.strip_prefix("error: ").unwrap_or(last);
    let reason = match reason {
        "unclosed group" => format!("missing closing ): `{source}`"),
        "unopened group" => format!("unexpected ): `{source}`"),
        "unclosed character class" => {
            let at = source.find('[').unwrap_or_default();
            format!(
                "missing closing ]: `{}`",
                source.get(at..).unwrap_or_default()
            )
        }
        "repetition operator missing expression" => {
            let operator = source.chars().find(|ch| "*+?".contains(*ch));
            format!(
                "missing argument to repetition operator: `{}`",
                operator.unwrap_or('*')
            )
        }
        other => format!("{other}: `{source}`"),
    };
    format!("error parsing regexp: {reason}")
}

/// Go's text in Rust's language: `\d \w \s \b` are ASCII, braces that repeat nothing are
/// literal, `\Q...\E` quotes, and a class has no classes and no set operators inside.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut rest = source.chars();
    let mut in_class = false;
    while let Some(ch) = rest.next() {
        match ch {
            '\\' => escape(&mut out, &mut rest, in_class),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                let mut ahead = rest.clone();
                let mut next = ahead.next();
                if next == Some('^') {
                    out.push('^');
                    rest = ahead.clone();
                    next = ahead.next();
                }
                if next == Some(']') {
                    out.push_str(r"\]");
                    rest = ahead;
                }
            }
            '[' => match rest.as_str().strip_prefix(':').and_then(|t| t.find(":]")) {
                Some(_) => copy_named_class(&mut out, &mut rest),
                None => out.push_str(r"\["),
            },
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', ch]),
            '{' if !in_class && !is_repetition(rest.as_str()) => out.push_str(r"\{"),
            '}' if !in_class && !closes_repetition(&out) => out.push_str(r"\}"),
            other => out.push(other),
        }
    }
    out
}

fn copy_named_class(out: &mut String, rest: &mut Chars<'_>) {
    out.push('[');
    for ch in rest.by_ref() {
        out.push(ch);
        if ch == ']' {
            break;
        }
    }
}

fn escape(out: &mut String, rest: &mut Chars<'_>, in_class: bool) {
    let Some(ch) = rest.next() else {
        out.push('\\');
        return;
    };
    let replaced = match (ch, in_class) {
        ('d', _) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', _) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', _) => r"[\t\n\f\r ]",
        ('S', _) => r"[^\t\n\f\r ]",
        ('b', false) => r"(?-u:\b)",
        ('B', false) => r"(?-u:\B)",
        ('Q', false) => {
            let text = rest.as_str();
            let (quoted, behind) = text.split_once(r"\E").unwrap_or((text, ""));
            out.push_str(&regex::escape(quoted));
            *rest = behind.chars();
            return;
        }
        _ => {
            out.extend(['\\', ch]);
            if matches!(ch, 'p' | 'P' | 'x') && rest.as_str().starts_with('{') {
                copy_braces(out, rest);
            }
            return;
        }
    };
    out.push_str(replaced);
}

fn copy_braces(out: &mut String, rest: &mut Chars<'_>) {
    for ch in rest.by_ref() {
        out.push(ch);
        if ch == '}' {
            break;
        }
    }
}

/// Whether `{` before `text` opens `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(text: &str) -> bool {
    let Some((inside, _)) = text.split_once('}') else {
        return false;
    };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Whether `out` ends in an open `{n`.
fn closes_repetition(out: &str) -> bool {
    let Some(at) = out.rfind('{') else {
        return false;
    };
    let inside = out.get(at + 1..).unwrap_or_default();
    !inside.contains('}') && !out.get(..at).unwrap_or_default().ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax_means_what_it_means_in_go() {
        for (source, yes, no) in [
            (r"^\d+$", "123", "\u{661}"),
            (r"^[\w.]+$", "a.b", "\u{e9}"),
            (r"{{x}}", "{{x}}", "x"),
            (r"a{2}", "aa", "a"),
            (r"^a{2,}$", "aaa", "a"),
            (r"a{,2}", "a{,2}", "aa"),
            (r"^[[a]$", "[", "]"),
            (r"^[]a]$", "]", "b"),
            (r"^[^]a]$", "b", "]"),
            (r"^[a&&b]$", "&", "c"),
            (r"^[[:digit:]x]$", "7", "y"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^\x{41}$", "A", "B"),
            (r"^\p{Greek}$", "\u{3b1}", "a"),
            (r"(?i)CPU", "my cpu", "mem"),
            (r"\bcpu\b", "a cpu b", "acpub"),
            (r"^\S+$", "ab", "a b"),
        ] {
            let regex = Regex::new(source).unwrap_or_else(|error| panic!("{source}: {error}"));
            assert!(regex.is_match(yes.as_bytes()), "{source} on {yes}");
            assert!(!regex.is_match(no.as_bytes()), "{source} on {no}");
            assert_eq!(regex.source(), source);
        }
    }

    #[test]
    fn a_choice_of_values_is_known_as_such() {
        for (source, values) in [
            ("^(b|a|b)$", Some(vec!["a", "b"])),
            ("^(?:a\\.b|c-d)$", Some(vec!["a.b", "c-d"])),
            ("^a$", Some(vec!["a"])),
            ("^$", Some(vec![""])),
            ("^(a|)$", Some(vec!["", "a"])),
            ("^a|b$", None),
            ("^(a)|(b)$", None),
            ("(a|b)", None),
            ("^(a.|b)$", None),
            ("^(\\d|b)$", None),
            ("^(a\\)$", None),
        ] {
            let values: Option<Vec<Box<[u8]>>> =
                values.map(|values| values.iter().map(|value| value.as_bytes().into()).collect());
            assert_eq!(literals(source).as_deref(), values.as_deref(), "{source}");
        }
        let regex = Regex::new("^(a|b)$").unwrap();
        assert!(regex.is_match(b"a") && !regex.is_match(b"a\n"));
    }

    #[test]
    fn alternatives_of_literals_are_taken_apart_wherever_they_stand() {
        let listed = |source: &str| {
            let values = literals(source)?;
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            Some(values.iter().map(|value| text(value)).collect::<Vec<_>>())
        };
        let cases = [
            ("^web-(a|b)$", "web-a web-b"),
            ("^(a|b)(1|2)x$", "a1x a2x b1x b2x"),
            (r"^(?:db|web(-(a|b))?)$", ""),
            ("^(db|web(-1|-2))$", "db web-1 web-2"),
            (r"^a\.b$|^c$", "a.b c"),
            ("^a$|^(b|c)$", "a b c"),
            ("^a|b$", ""),
            ("^(a|b)+$", ""),
            ("^a$|b", ""),
            ("^(a$|b)$", ""),
            ("^(?i:a|b)$", ""),
        ];
        for (source, expected) in cases {
            let expected: Vec<&str> = expected.split_whitespace().collect();
            let found = listed(source).unwrap_or_default();
            assert_eq!(found, expected, "{source}");
            let regex = Regex::new(source).unwrap();
            assert!(
                found.iter().all(|value| regex.is_match(value.as_bytes())),
                "{source}"
            );
        }
        let many = format!("^{}$", "(a|b)".repeat(14));
        assert_eq!(listed(&many), None, "16384 values are too many");
        let deep = format!("^{}a{}$", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(listed(&deep), None);
    }

    #[test]
    fn what_is_taken_apart_matches_its_literals_and_nothing_else() {
        let pieces = ["a", "b", "|", "(", ")", "?", "$", "^", "+", ".", "$|^"];
        let texts = ["", "a", "b", "ab", "ba", "aa", "bb", "aab", "abb", "aba"];
        let mut seen = 0;
        for number in 0..pieces.len().pow(5) {
            let mut source = String::from("^");
            let mut left = number;
            for _ in 0..5 {
                source.push_str(pieces[left % pieces.len()]);
                left /= pieces.len();
            }
            source.push('$');
            let Some(values) = literals(&source) else {
                continue;
            };
            let regex = Regex::new(&source).unwrap_or_else(|error| panic!("{source}: {error}"));
            for text in texts {
                let is_listed = values.iter().any(|value| **value == *text.as_bytes());
                assert_eq!(
                    is_listed,
                    regex.is_match(text.as_bytes()),
                    "{source}, {text:?}"
                );
            }
            seen += 1;
        }
        assert!(seen > 500, "{seen} expressions were taken apart");
    }

    #[test]
    fn errors_are_worded_as_go_words_them() {
        for (source, text) in [
            ("(", "error parsing regexp: missing closing ): `(`"),
            (")", "error parsing regexp: unexpected ): `)`"),
            ("a[b", "error parsing regexp: missing closing ]: `[b`"),
            (
                "*",
                "error parsing regexp: missing argument to repetition operator: `*`",
            ),
        ] {
            assert_eq!(Regex::new(source).unwrap_err(), text);
        }
        let large = "(a{1000}){1000}";
        assert!(Regex::new(large).unwrap_err().contains("too large"));
        Regex::new(&"(".repeat(100_000)).unwrap_err();
    }
}

#[cfg(test)]
mod prefix_tests {
    use super::*;

    #[test]
    fn a_prefix_is_seen_and_never_too_long() {
        let cases = [
            ("^web-[0-9]+$", "web-"),
            ("^web", "web"),
            ("^web$", "web"),
            ("web", ""),
            ("^", ""),
            ("^ab?c", "a"),
            ("^ab*c", "a"),
            ("^ab{0,2}c", "a"),
            ("^ab+c", "ab"),
            ("^ab|c", ""),
            ("^ab(c|d)e", "ab"),
            ("^ab(c|d)|e", ""),
            ("^ab[(]|e", ""),
            (r"^ab\Q(\E|e", ""),
            (r"^a\.b.*", "a.b"),
            (r"^a\d", "a"),
            ("(?m)^ab", ""),
            ("^(?i)ab", ""),
            ("^a\u{e9}?b", "a"),
        ];
        for (source, expected) in cases {
            let regex = Regex::new(source).unwrap();
            assert_eq!(regex.prefix(), expected.as_bytes(), "{source}");
        }
    }

    #[test]
    fn whatever_matches_begins_with_the_prefix() {
        let pieces = [
            "a", "b", "^", "$", "|", "(", ")", "?", "*", "{0}", "[ab]", ".", r"\.",
        ];
        let texts = [
            "", "a", "b", "ab", "ba", "aa", "bb", "aba", "abb", "a.", ".", ".a",
        ];
        let mut seen = 0;
        for number in 0..pieces.len().pow(4) {
            let mut source = String::from("^");
            let mut left = number;
            for _ in 0..4 {
                source.push_str(pieces[left % pieces.len()]);
                left /= pieces.len();
            }
            let Ok(regex) = Regex::new(&source) else {
                continue;
            };
            for text in texts.iter().filter(|text| regex.is_match(text.as_bytes())) {
                assert!(
                    text.as_bytes().starts_with(regex.prefix()),
                    "{source} and {text:?}"
                );
                seen += usize::from(!regex.prefix().is_empty());
            }
        }
        assert!(seen > 1000, "{seen} prefixes were tried");
    }
}
