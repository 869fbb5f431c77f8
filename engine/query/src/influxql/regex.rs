//! Regular expressions as Go reads them (RE2), run by Rust's `regex`, which is as safe: time linear
//! in the text, sizes bounded. Where the two languages differ, Go's text is rewritten.

use std::fmt;
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

fn literals(source: &str) -> Option<Arc<[Box<[u8]>]>> {
    let inside = source.strip_prefix('^')?.strip_suffix('$')?;
    let grouped = inside
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    let listed = grouped.map(|rest| rest.strip_prefix("?:").unwrap_or(rest));
    let mut values = vec![String::new()];
    let mut rest = listed.unwrap_or(inside).chars();
    while let Some(ch) = rest.next() {
        let ch = match ch {
            '|' if listed.is_some() => {
                values.push(String::new());
                continue;
            }
            '\\' => rest.next().filter(char::is_ascii_punctuation)?,
            _ if "^$.|?*+()[]{}".contains(ch) => return None,
            ch => ch,
        };
        values.last_mut()?.push(ch);
    }
    values.sort_unstable();
    values.dedup();
    Some(
        values
            .into_iter()
            .map(|value| value.into_bytes().into())
            .collect(),
    )
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

fn copy_named_class(out: &mut String, rest: &mut std::str::Chars<'_>) {
    out.push('[');
    for ch in rest.by_ref() {
        out.push(ch);
        if ch == ']' {
            break;
        }
    }
}

fn escape(out: &mut String, rest: &mut std::str::Chars<'_>, in_class: bool) {
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

fn copy_braces(out: &mut String, rest: &mut std::str::Chars<'_>) {
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
