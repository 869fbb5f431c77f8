//! `InfluxQL`: text to a tree with spans and back. Knows the language, never data: which names exist
//! and what they mean is for whoever runs a statement.

pub mod ast;
mod compile;
mod condition;
mod duration;
mod fold;
mod lexer;
mod parse;
mod print;
mod regex;
pub mod select;
mod time;
mod token;

pub use condition::{Condition, conjuncts, split_condition, tag_predicate};
pub use duration::{duration_text, go_duration_text};
pub use parse::{parse_expression, parse_query};
