//! The words and signs of `InfluxQL`.

macro_rules! keywords {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// A word that names nothing unless it is quoted. Sorted by its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Keyword {
            $($name),*
        }

        const KEYWORDS: &[(&str, Keyword)] = &[$(($text, Keyword::$name)),*];

        impl Keyword {
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Keyword::$name => $text),*
                }
            }
        }
    };
}

keywords! {
    All = "ALL", Alter = "ALTER", Analyze = "ANALYZE", And = "AND", Any = "ANY", As = "AS",
    Asc = "ASC", Begin = "BEGIN", By = "BY", Cardinality = "CARDINALITY",
    Continuous = "CONTINUOUS", Create = "CREATE", Database = "DATABASE", Databases = "DATABASES",
    Default = "DEFAULT", Delete = "DELETE", Desc = "DESC", Destinations = "DESTINATIONS",
    Diagnostics = "DIAGNOSTICS", Distinct = "DISTINCT", Drop = "DROP", Duration = "DURATION",
    End = "END", Every = "EVERY", Exact = "EXACT", Explain = "EXPLAIN", False = "FALSE",
    Field = "FIELD", For = "FOR", From = "FROM", Grant = "GRANT", Grants = "GRANTS",
    Group = "GROUP", Groups = "GROUPS", In = "IN", Inf = "INF", Insert = "INSERT", Into = "INTO",
    Key = "KEY", Keys = "KEYS", Kill = "KILL", Limit = "LIMIT", Measurement = "MEASUREMENT",
    Measurements = "MEASUREMENTS", Name = "NAME", Offset = "OFFSET", On = "ON", Or = "OR",
    Order = "ORDER", Password = "PASSWORD", Policies = "POLICIES", Policy = "POLICY",
    Privileges = "PRIVILEGES", Queries = "QUERIES", Query = "QUERY", Read = "READ",
    Replication = "REPLICATION", Resample = "RESAMPLE", Retention = "RETENTION",
    Revoke = "REVOKE", Select = "SELECT", Series = "SERIES", Set = "SET", Shard = "SHARD",
    Shards = "SHARDS", Show = "SHOW", Slimit = "SLIMIT", Soffset = "SOFFSET", Stats = "STATS",
    Subscription = "SUBSCRIPTION", Subscriptions = "SUBSCRIPTIONS", Tag = "TAG", To = "TO",
    True = "TRUE", User = "USER", Users = "USERS", Values = "VALUES", Verbose = "VERBOSE",
    Where = "WHERE", With = "WITH", Write = "WRITE",
}

/// The keyword that `word` is, in any case of its letters.
pub(crate) fn keyword(word: &str) -> Option<Keyword> {
    const LONGEST: usize = 13;
    if word.len() > LONGEST {
        return None;
    }
    let upper = word.to_ascii_uppercase();
    let index = KEYWORDS
        .binary_search_by(|(text, _)| (*text).cmp(&upper))
        .ok()?;
    Some(KEYWORDS[index].1)
}

/// What kind of thing a token is; its text stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Eof,
    Space,
    Comment,
    /// A sign that means nothing here; its text is the sign.
    Illegal,
    Ident,
    /// `$name`, not substituted.
    Param,
    Number,
    Integer,
    Duration,
    String,
    /// A string without an end.
    BadString,
    /// A `\x` that is no escape.
    BadEscape,
    /// Only by way of a parameter: written ones are asked for where one may stand.
    Regex,
    Word(Keyword),
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    Equal,
    NotEqual,
    Matches,
    NotMatches,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    OpenParen,
    CloseParen,
    Comma,
    Colon,
    DoubleColon,
    Semicolon,
    Dot,
}

impl Token {
    /// How an error calls it where it has no text of its own.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Token::Eof => "EOF",
            Token::Space => "WS",
            Token::Comment => "COMMENT",
            Token::Illegal => "ILLEGAL",
            Token::Ident => "IDENT",
            Token::Param => "BOUNDPARAM",
            Token::Number => "NUMBER",
            Token::Integer => "INTEGER",
            Token::Duration => "DURATIONVAL",
            Token::String => "STRING",
            Token::BadString => "BADSTRING",
            Token::BadEscape => "BADESCAPE",
            Token::Regex => "REGEX",
            Token::Word(keyword) => keyword.text(),
            Token::Add => "+",
            Token::Sub => "-",
            Token::Mul => "*",
            Token::Div => "/",
            Token::Mod => "%",
            Token::BitAnd => "&",
            Token::BitOr => "|",
            Token::BitXor => "^",
            Token::Equal => "=",
            Token::NotEqual => "!=",
            Token::Matches => "=~",
            Token::NotMatches => "!~",
            Token::Less => "<",
            Token::LessEqual => "<=",
            Token::Greater => ">",
            Token::GreaterEqual => ">=",
            Token::OpenParen => "(",
            Token::CloseParen => ")",
            Token::Comma => ",",
            Token::Colon => ":",
            Token::DoubleColon => "::",
            Token::Semicolon => ";",
            Token::Dot => ".",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_is_found_in_any_case() {
        for (text, word) in KEYWORDS {
            assert_eq!(keyword(text), Some(*word));
            assert_eq!(keyword(&text.to_lowercase()), Some(*word));
            assert_eq!(word.text(), *text);
        }
        assert_eq!(keyword("time"), None);
        assert_eq!(keyword("SUBSCRIPTIONSX"), None);
    }
}
