//! Text to tokens with places. Knows signs, not grammar: what may follow what is the parser's.
//!
//! Places in errors are `InfluxDB`'s, which clients show: a reader that gives back at most two
//! characters, counts the end of the text once as a character when it is passed, and calls a string
//! or a regular expression by the place before its first quote.

use crate::influxql::ast::Span;
use crate::influxql::token::{Token, keyword};

/// Line and character, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pos {
    pub(crate) line: usize,
    pub(crate) char: usize,
}

/// A token, where it is, and its text where its kind does not say it.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) token: Token,
    pub(crate) pos: Pos,
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What a written regular expression turned out to be.
#[derive(Debug)]
pub(crate) enum ScannedRegex {
    Regex(String),
    Unfinished,
}

#[derive(Clone, Copy, Default)]
struct Read {
    /// `None` at the end of the text.
    ch: Option<char>,
    pos: Pos,
    /// Byte offset of the character, and of what follows it.
    start: usize,
    end: usize,
}

const BACK_MAX: usize = 3;

/// Characters, of which the last two can be given back.
struct Reader<'a> {
    text: &'a str,
    next: usize,
    pos: Pos,
    passed_end: bool,
    last: [Read; BACK_MAX],
    newest: usize,
    given_back: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
        Reader {
            text,
            next: 0,
            pos: Pos::default(),
            passed_end: false,
            last: [Read::default(); BACK_MAX],
            newest: 0,
            given_back: 0,
        }
    }

    fn current(&self) -> Read {
        self.last[(self.newest + BACK_MAX - self.given_back) % BACK_MAX]
    }

    fn give_back(&mut self) {
        self.given_back += 1;
    }

    fn read(&mut self) -> Read {
        if self.given_back > 0 {
            self.given_back -= 1;
            return self.current();
        }
        let start = self.next;
        let rest = self.text.get(start..).unwrap_or_default();
        let mut ch = rest.chars().next();
        self.next += ch.map_or(0, char::len_utf8);
        if ch == Some('\r') {
            if rest.as_bytes().get(1) == Some(&b'\n') {
                self.next += 1;
            }
            ch = Some('\n');
        }
        self.newest = (self.newest + 1) % BACK_MAX;
        self.last[self.newest] = Read {
            ch,
            pos: self.pos,
            start,
            end: self.next,
        };
        if ch == Some('\n') {
            self.pos.line += 1;
            self.pos.char = 0;
        } else if !self.passed_end {
            self.pos.char += 1;
        }
        self.passed_end |= ch.is_none();
        self.current()
    }
}

pub(crate) fn is_ident_start(ch: char) -> bool {
    ch.is_ascii_alphabetic() || ch == '_'
}

pub(crate) fn is_ident_char(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || ch == '_'
}

fn is_unit_char(ch: char) -> bool {
    ch.is_ascii_alphabetic() || ch == '\u{b5}'
}

/// Reads tokens one after another; after the end there are only ends.
pub(crate) struct Lexer<'a> {
    reader: Reader<'a>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Lexer<'a> {
        Lexer {
            reader: Reader::new(text),
        }
    }

    /// The next token, spaces and comments included.
    pub(crate) fn scan(&mut self) -> Scanned {
        let first = self.reader.read();
        let start = first.start;
        let mut scanned = self.scan_from(first);
        scanned.span = Span {
            start,
            end: self.end_of_last(),
        };
        scanned
    }

    fn end_of_last(&self) -> usize {
        self.reader.current().end
    }

    fn scan_from(&mut self, first: Read) -> Scanned {
        let Some(ch) = first.ch else {
            return token(Token::Eof, first.pos);
        };
        match ch {
            ' ' | '\t' | '\n' => {
                let mut text = String::from(ch);
                while let Some(space @ (' ' | '\t' | '\n')) = self.reader.read().ch {
                    text.push(space);
                }
                if self.reader.current().ch.is_some() {
                    self.reader.give_back();
                }
                with_text(Token::Space, first.pos, text)
            }
            _ if is_ident_start(ch) => {
                self.reader.give_back();
                self.word()
            }
            '"' => self.quoted_ident(),
            _ if ch.is_ascii_digit() => self.number(first),
            '\'' => self.string(first),
            '.' => {
                let digit = self.peek().is_some_and(|ch| ch.is_ascii_digit());
                if digit {
                    self.number(first)
                } else {
                    token(Token::Dot, first.pos)
                }
            }
            '$' => self.param(first.pos),
            _ => self.sign(ch, first.pos),
        }
    }

    /// Whether a regular expression, and not a comment, would follow right here.
    pub(crate) fn at_regex(&mut self) -> bool {
        if self.reader.read().ch != Some('/') {
            if self.reader.current().ch.is_some() {
                self.reader.give_back();
            }
            return false;
        }
        let second = self.reader.read().ch;
        self.reader.give_back();
        self.reader.give_back();
        second != Some('*')
    }

    /// The next character, not consumed. Passing the end counts.
    pub(crate) fn peek(&mut self) -> Option<char> {
        let ch = self.reader.read().ch;
        if ch.is_some() {
            self.reader.give_back();
        }
        ch
    }

    /// The regular expression that [`Lexer::at_regex`] saw, its place and span.
    pub(crate) fn regex(&mut self) -> (ScannedRegex, Pos, Span) {
        let pos = self.reader.current().pos;
        let start = self.reader.read().start;
        let mut text = String::new();
        loop {
            match self.reader.read().ch {
                Some('/') => {
                    let end = self.end_of_last();
                    return (ScannedRegex::Regex(text), pos, Span { start, end });
                }
                None | Some('\n') => {
                    let end = self.end_of_last();
                    return (ScannedRegex::Unfinished, pos, Span { start, end });
                }
                Some('\\') => {
                    if self.reader.read().ch == Some('/') {
                        text.push('/');
                    } else {
                        self.reader.give_back();
                        text.push('\\');
                    }
                }
                Some(other) => text.push(other),
            }
        }
    }

    fn word(&mut self) -> Scanned {
        let first = self.reader.read();
        let mut text: String = first.ch.into_iter().collect();
        loop {
            match self.reader.read().ch {
                Some(ch) if is_ident_char(ch) => text.push(ch),
                Some(_) => {
                    self.reader.give_back();
                    break;
                }
                None => break,
            }
        }
        match keyword(&text) {
            Some(keyword) => token(Token::Word(keyword), first.pos),
            None => with_text(Token::Ident, first.pos, text),
        }
    }

    fn quoted_ident(&mut self) -> Scanned {
        let first = self.reader.current();
        let mut scanned = self.string(first);
        if scanned.token == Token::String {
            scanned.token = Token::Ident;
            scanned.pos = first.pos;
        }
        scanned
    }

    /// A string behind its opening quote `first`.
    fn string(&mut self, first: Read) -> Scanned {
        self.reader.give_back();
        let pos = self.reader.current().pos;
        self.reader.read();
        let mut text = String::new();
        loop {
            let read = self.reader.read();
            match read.ch {
                ch if ch == first.ch => return with_text(Token::String, pos, text),
                None | Some('\n') => return with_text(Token::BadString, pos, text),
                Some('\\') => match self.reader.read().ch {
                    Some('n') => text.push('\n'),
                    Some(ch @ ('\\' | '"' | '\'')) => text.push(ch),
                    other => {
                        let escape = ['\\'].into_iter().chain(other).collect();
                        let pos = self.reader.current().pos;
                        return with_text(Token::BadEscape, pos, escape);
                    }
                },
                Some(other) => text.push(other),
            }
        }
    }

    fn param(&mut self, pos: Pos) -> Scanned {
        let mut name = if self.peek() == Some('"') {
            self.reader.read();
            self.quoted_ident()
        } else {
            let mut text = String::new();
            while let Some(ch) = self.reader.read().ch {
                if is_ident_char(ch) {
                    text.push(ch);
                } else {
                    self.reader.give_back();
                    break;
                }
            }
            with_text(Token::Ident, pos, text)
        };
        if name.token == Token::Ident {
            name.token = Token::Param;
        }
        name.text.insert(0, '$');
        name.pos = pos;
        name
    }

    /// Digits, a fraction, or digits and units, from `first`: a digit, or a dot before one.
    fn number(&mut self, first: Read) -> Scanned {
        self.reader.give_back();
        let mut text = String::new();
        self.take_while(&mut text, |ch| ch.is_ascii_digit());
        if self.reader.read().ch == Some('.') {
            if self.peek().is_some_and(|ch| ch.is_ascii_digit()) {
                text.push('.');
                self.take_while(&mut text, |ch| ch.is_ascii_digit());
            }
            return with_text(Token::Number, first.pos, text);
        }
        self.reader.give_back();
        let digits = text.len();
        self.take_while(&mut text, is_unit_char);
        if text.len() == digits {
            return with_text(Token::Integer, first.pos, text);
        }
        self.take_while(&mut text, |ch| is_unit_char(ch) || ch.is_ascii_digit());
        with_text(Token::Duration, first.pos, text)
    }

    fn take_while(&mut self, text: &mut String, wanted: impl Fn(char) -> bool) {
        while let Some(ch) = self.reader.read().ch.filter(|ch| wanted(*ch)) {
            text.push(ch);
        }
        self.reader.give_back();
    }

    fn sign(&mut self, ch: char, pos: Pos) -> Scanned {
        let kind = match ch {
            '+' => Token::Add,
            '-' if self.follows('-') => return self.line_comment(pos),
            '-' => Token::Sub,
            '*' => Token::Mul,
            '/' if self.follows('*') => return self.block_comment(pos),
            '/' => Token::Div,
            '%' => Token::Mod,
            '&' => Token::BitAnd,
            '|' => Token::BitOr,
            '^' => Token::BitXor,
            '=' if self.follows('~') => Token::Matches,
            '=' => Token::Equal,
            '!' if self.follows('=') => Token::NotEqual,
            '!' if self.follows('~') => Token::NotMatches,
            '>' if self.follows('=') => Token::GreaterEqual,
            '>' => Token::Greater,
            '<' if self.follows('=') => Token::LessEqual,
            '<' if self.follows('>') => Token::NotEqual,
            '<' => Token::Less,
            '(' => Token::OpenParen,
            ')' => Token::CloseParen,
            ',' => Token::Comma,
            ';' => Token::Semicolon,
            ':' if self.follows(':') => Token::DoubleColon,
            ':' => Token::Colon,
            other => return with_text(Token::Illegal, pos, other.into()),
        };
        token(kind, pos)
    }

    /// Consumes the next character if it is `wanted`.
    fn follows(&mut self, wanted: char) -> bool {
        let found = self.reader.read().ch == Some(wanted);
        if !found {
            self.reader.give_back();
        }
        found
    }

    fn line_comment(&mut self, pos: Pos) -> Scanned {
        while !matches!(self.reader.read().ch, None | Some('\n')) {}
        token(Token::Comment, pos)
    }

    fn block_comment(&mut self, pos: Pos) -> Scanned {
        let mut star = false;
        loop {
            match self.reader.read().ch {
                None => return token(Token::Illegal, pos),
                Some('/') if star => return token(Token::Comment, pos),
                Some(ch) => star = ch == '*',
            }
        }
    }
}

fn token(token: Token, pos: Pos) -> Scanned {
    with_text(token, pos, String::new())
}

fn with_text(token: Token, pos: Pos, text: String) -> Scanned {
    Scanned {
        token,
        pos,
        text,
        span: Span::default(),
    }
}
