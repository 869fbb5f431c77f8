//! Expressions. Operands and operators of one level are read into two lists and joined level by
//! level: no recursion over chains. `AND` and `OR` chains become balanced trees, the others lean to
//! the left, as they must; the height of every tree is bounded.

use crate::influxql::ast::{
    BinaryOp, Cast, EXPRESSION_HEIGHT_MAX, Expr, ExprKind, Name, Span, WildcardKind,
};
use crate::influxql::duration::parse_duration;
use crate::influxql::lexer::{Pos, Scanned};
use crate::influxql::parse::{Fault, Parsed, Parser};
use crate::influxql::regex::Regex;
use crate::influxql::token::{Keyword, Token};

/// An expression and how many nodes high it is.
struct Tall {
    expr: Expr,
    height: usize,
}

impl Tall {
    fn leaf(kind: ExprKind, span: Span) -> Tall {
        Tall {
            expr: Expr { kind, span },
            height: 1,
        }
    }
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.tall_expr().map(|tall| tall.expr)
    }

    fn tall_expr(&mut self) -> Parsed<Tall> {
        let mut operands = vec![self.operand()?];
        let mut operators: Vec<(BinaryOp, Pos)> = Vec::new();
        loop {
            let found = self.next();
            let Some(op) = binary_op(found.token) else {
                self.give_back();
                break;
            };
            let operand = if matches!(op, BinaryOp::Matches | BinaryOp::NotMatches) {
                self.regex_operand()?
            } else {
                self.operand()?
            };
            operators.push((op, found.pos));
            operands.push(operand);
        }
        join(operands, operators)
    }

    fn regex_operand(&mut self) -> Parsed<Tall> {
        if let Some((regex, span)) = self.regex()? {
            return Ok(Tall::leaf(ExprKind::Regex(regex), span));
        }
        let found = self.next();
        if found.token == Token::Param {
            return Err(self.param_fault(&found));
        }
        Err(Fault::unexpected(&found, &["regex"]))
    }
    fn operand(&mut self) -> Parsed<Tall> {
        let found = self.next();
        let span = found.span;
        let leaf = |kind| Ok(Tall::leaf(kind, span));
        match found.token {
            Token::OpenParen => {
                self.enter(found.pos)?;
                let inner = self.tall_expr()?;
                let end = self.expect(Token::CloseParen)?;
                self.leave();
                let span = Span {
                    start: span.start,
                    end: end.span.end,
                };
                higher(
                    inner,
                    found.pos,
                    |expr| ExprKind::Paren(Box::new(expr)),
                    span,
                )
            }
            Token::Ident => {
                if self.scan().token == Token::OpenParen {
                    return self.call(&found.text, &found);
                }
                self.give_back();
                self.give_back();
                self.variable()
            }
            Token::Word(Keyword::Distinct) => self.distinct(&found),
            Token::String => leaf(ExprKind::String(found.text.into())),
            Token::Number | Token::Integer | Token::Duration => number(&found, false),
            Token::Word(Keyword::True) => leaf(ExprKind::Boolean(true)),
            Token::Word(Keyword::False) => leaf(ExprKind::Boolean(false)),
            Token::Mul => self.wildcard(span),
            Token::Regex => {
                let regex = Regex::new(&found.text).map_err(|text| Fault::at(text, found.pos))?;
                leaf(ExprKind::Regex(regex))
            }
            Token::Param => Err(self.param_fault(&found)),
            Token::Add | Token::Sub => self.signed(&found),
            _ => Err(Fault::unexpected(
                &found,
                &["identifier", "string", "number", "bool"],
            )),
        }
    }

    /// What follows a sign: a literal takes it in, anything else is multiplied by it.
    fn signed(&mut self, sign: &Scanned) -> Parsed<Tall> {
        let negative = sign.token == Token::Sub;
        let found = self.next();
        let mut operand = match found.token {
            Token::Number | Token::Integer | Token::Duration => number(&found, negative)?,
            Token::OpenParen | Token::Ident => {
                self.give_back();
                let operand = self.operand()?;
                let factor = if negative { -1 } else { 1 };
                let factor = Tall::leaf(ExprKind::Integer(factor), sign.span);
                return binary(factor, (BinaryOp::Multiply, sign.pos), operand);
            }
            _ => {
                return Err(Fault::unexpected(
                    &found,
                    &["identifier", "number", "duration", "("],
                ));
            }
        };
        operand.expr.span.start = sign.span.start;
        Ok(operand)
    }

    fn wildcard(&mut self, mut span: Span) -> Parsed<Tall> {
        if self.scan().token != Token::DoubleColon {
            self.give_back();
            return Ok(Tall::leaf(ExprKind::Wildcard(None), span));
        }
        let found = self.scan();
        let kind = match found.token {
            Token::Word(Keyword::Field) => WildcardKind::Field,
            Token::Word(Keyword::Tag) => WildcardKind::Tag,
            _ => return Err(Fault::unexpected(&found, &["field", "tag"])),
        };
        span.end = found.span.end;
        Ok(Tall::leaf(ExprKind::Wildcard(Some(kind)), span))
    }

    fn distinct(&mut self, word: &Scanned) -> Parsed<Tall> {
        let found = self.scan();
        match found.token {
            Token::OpenParen => self.call("distinct", word),
            Token::Space => {
                let (name, span) = self.spanned_ident()?;
                let span = Span {
                    start: word.span.start,
                    end: span.end,
                };
                Ok(Tall::leaf(ExprKind::Distinct(name), span))
            }
            _ => Err(Fault::unexpected(&found, &["(", "identifier"])),
        }
    }

    fn variable(&mut self) -> Parsed<Tall> {
        let segments = self.segments()?;
        let mut span = segments.span;
        if segments.open {
            let found = self.next();
            return Err(Fault::unexpected(&found, &["identifier"]));
        }
        let names: Vec<&[u8]> = segments.names.iter().map(|name| &**name).collect();
        let name = Name(names.join(&b"."[..]).into());
        let mut cast = None;
        if self.scan().token == Token::DoubleColon {
            let found = self.scan();
            cast = Some(cast_of(&found)?);
            span.end = found.span.end;
        } else {
            self.give_back();
        }
        Ok(Tall::leaf(ExprKind::Variable { name, cast }, span))
    }

    /// A call behind its opening bracket.
    fn call(&mut self, name: &str, word: &Scanned) -> Parsed<Tall> {
        self.enter(word.pos)?;
        let mut args = Vec::new();
        let mut height = 0;
        let mut first = true;
        loop {
            if let Some((regex, span)) = self.regex()? {
                args.push(Tall::leaf(ExprKind::Regex(regex), span));
            } else {
                if first && self.accept(Token::CloseParen).is_some() {
                    self.give_back();
                    break;
                }
                args.push(self.tall_expr()?);
            }
            first = false;
            if self.accept(Token::Comma).is_none() {
                break;
            }
        }
        let end = self.expect(Token::CloseParen)?;
        self.leave();
        for arg in &args {
            height = height.max(arg.height);
        }
        let name = name.to_ascii_lowercase().into();
        let args = args.into_iter().map(|arg| arg.expr).collect();
        let span = Span {
            start: word.span.start,
            end: end.span.end,
        };
        check_height(height + 1, word.pos)?;
        Ok(Tall {
            expr: Expr {
                kind: ExprKind::Call { name, args },
                span,
            },
            height: height + 1,
        })
    }
}

fn cast_of(found: &Scanned) -> Parsed<Cast> {
    let cast = match found.token {
        Token::Word(Keyword::Field) => Some(Cast::Field),
        Token::Word(Keyword::Tag) => Some(Cast::Tag),
        Token::Ident => [
            Cast::Float,
            Cast::Integer,
            Cast::Unsigned,
            Cast::String,
            Cast::Boolean,
        ]
        .into_iter()
        .find(|cast| found.text.eq_ignore_ascii_case(cast.text())),
        _ => None,
    };
    let expected = [
        "float", "integer", "unsigned", "string", "boolean", "field", "tag",
    ];
    cast.ok_or_else(|| Fault::unexpected(found, &expected))
}

/// A literal of digits, negated where a minus stands before it.
fn number(found: &Scanned, negative: bool) -> Parsed<Tall> {
    let kind = match found.token {
        Token::Number => {
            let value: Option<f64> = found.text.parse().ok();
            let value = value.filter(|value| value.is_finite());
            let value = value.ok_or_else(|| Fault::at("unable to parse number", found.pos))?;
            ExprKind::Number(if negative { -value } else { value })
        }
        Token::Duration => {
            let value = parse_duration(&found.text)?;
            ExprKind::Duration(if negative { -value } else { value })
        }
        _ => integer(found, negative)?,
    };
    Ok(Tall::leaf(kind, found.span))
}

fn integer(found: &Scanned, negative: bool) -> Parsed<ExprKind> {
    if let Ok(value) = found.text.parse::<i64>() {
        return Ok(ExprKind::Integer(if negative {
            value.wrapping_neg()
        } else {
            value
        }));
    }
    let Ok(value) = found.text.parse::<u64>() else {
        return Err(Fault::at("unable to parse integer", found.pos));
    };
    if !negative {
        return Ok(ExprKind::Unsigned(value));
    }
    match 0_i64.checked_sub_unsigned(value) {
        Some(value) => Ok(ExprKind::Integer(value)),
        None => Err(Fault::plain(format!("constant -{value} underflows int64"))),
    }
}

fn binary_op(token: Token) -> Option<BinaryOp> {
    Some(match token {
        Token::Word(Keyword::Or) => BinaryOp::Or,
        Token::Word(Keyword::And) => BinaryOp::And,
        Token::Equal => BinaryOp::Equal,
        Token::NotEqual => BinaryOp::NotEqual,
        Token::Matches => BinaryOp::Matches,
        Token::NotMatches => BinaryOp::NotMatches,
        Token::Less => BinaryOp::Less,
        Token::LessEqual => BinaryOp::LessEqual,
        Token::Greater => BinaryOp::Greater,
        Token::GreaterEqual => BinaryOp::GreaterEqual,
        Token::Add => BinaryOp::Add,
        Token::Sub => BinaryOp::Subtract,
        Token::BitOr => BinaryOp::BitOr,
        Token::BitXor => BinaryOp::BitXor,
        Token::Mul => BinaryOp::Multiply,
        Token::Div => BinaryOp::Divide,
        Token::Mod => BinaryOp::Modulo,
        Token::BitAnd => BinaryOp::BitAnd,
        _ => return None,
    })
}

type Operator = (BinaryOp, Pos);

/// One tree of `operands` with `operators` between them, the tightest first.
fn join(mut operands: Vec<Tall>, mut operators: Vec<Operator>) -> Parsed<Tall> {
    for precedence in [5, 4, 3] {
        (operands, operators) = join_left(operands, operators, precedence)?;
    }
    for precedence in [2, 1] {
        (operands, operators) = join_balanced(operands, operators, precedence)?;
    }
    Ok(operands.pop().expect("every operator has been joined"))
}

type Lists = (Vec<Tall>, Vec<Operator>);

fn join_left(operands: Vec<Tall>, operators: Vec<Operator>, precedence: u8) -> Parsed<Lists> {
    let mut rest = operands.into_iter();
    let mut joined = Vec::new();
    let mut left_over = Vec::new();
    let mut left = rest.next().expect("there is an operand");
    for (operator, right) in operators.into_iter().zip(rest) {
        if operator.0.precedence() == precedence {
            left = binary(left, operator, right)?;
        } else {
            joined.push(std::mem::replace(&mut left, right));
            left_over.push(operator);
        }
    }
    joined.push(left);
    Ok((joined, left_over))
}

/// As [`join_left`] for operators that are associative.
fn join_balanced(operands: Vec<Tall>, operators: Vec<Operator>, precedence: u8) -> Parsed<Lists> {
    let mut rest = operands.into_iter();
    let mut joined = Vec::new();
    let mut left_over = Vec::new();
    let mut run = vec![rest.next().expect("there is an operand")];
    let mut run_operator = None;
    for (operator, right) in operators.into_iter().zip(rest) {
        if operator.0.precedence() == precedence {
            run_operator = Some(operator);
        } else {
            joined.push(balance(std::mem::take(&mut run), run_operator)?);
            left_over.push(operator);
        }
        run.push(right);
    }
    joined.push(balance(run, run_operator)?);
    Ok((joined, left_over))
}

fn balance(mut run: Vec<Tall>, operator: Option<Operator>) -> Parsed<Tall> {
    while run.len() > 1 {
        let operator = operator.expect("several operands have an operator between them");
        let mut pairs = Vec::with_capacity(run.len().div_ceil(2));
        let mut rest = run.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => binary(left, operator, right)?,
                None => left,
            });
        }
        run = pairs;
    }
    Ok(run.pop().expect("a run has an operand"))
}

fn binary(left: Tall, (op, pos): Operator, right: Tall) -> Parsed<Tall> {
    let height = left.height.max(right.height) + 1;
    check_height(height, pos)?;
    let span = Span {
        start: left.expr.span.start,
        end: right.expr.span.end,
    };
    let kind = ExprKind::Binary {
        op,
        left: Box::new(left.expr),
        right: Box::new(right.expr),
    };
    Ok(Tall {
        expr: Expr { kind, span },
        height,
    })
}

fn higher(inner: Tall, pos: Pos, kind: impl FnOnce(Expr) -> ExprKind, span: Span) -> Parsed<Tall> {
    let height = inner.height + 1;
    check_height(height, pos)?;
    Ok(Tall {
        expr: Expr {
            kind: kind(inner.expr),
            span,
        },
        height,
    })
}

fn check_height(height: usize, pos: Pos) -> Parsed<()> {
    if height > EXPRESSION_HEIGHT_MAX {
        let text = format!("expression has more than {EXPRESSION_HEIGHT_MAX} operators in a row");
        return Err(Fault::at(text, pos));
    }
    Ok(())
}
