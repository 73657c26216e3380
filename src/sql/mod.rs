//! PURE. Text -> statement -> analysis. The only door to sqlparser.

pub mod advice;
mod alone;
pub mod analyze;
mod arms;
mod asked;
mod attributes;
pub mod block_time;
mod called;
mod carried;
pub mod changes;
pub mod claim;
mod clock;
mod closed;
mod collations;
mod colnames;
pub mod combine;
mod compared;
mod conflicts;
mod constants;
mod constraints;
mod copying;
pub mod create_as;
pub(crate) mod ddl;
mod defaults;
pub mod delivery;
mod distinct;
mod drawing;
mod elsewhere;
mod escapes;
mod exprs;
mod facts;
mod failing;
mod families;
mod filled;
mod finish;
mod fixed;
mod from;
pub mod functions;
mod groups;
mod homeward;
mod implicit;
mod infer;
mod inner;
mod insert;
mod insert_keys;
mod inserting;
mod keyed;
pub mod keys;
mod left_out;
pub(crate) mod lexer;
mod limit;
mod literals;
pub mod locked;
pub mod locking;
mod made;
mod matches;
mod members;
mod merge_keys;
mod merge_values;
mod merging;
mod model;
mod modify;
mod modifying;
mod moment;
mod moving;
mod moving_from;
mod moving_supply;
mod named;
mod names;
pub mod normal;
pub mod numbered;
mod once;
mod operators;
pub mod outcome;
mod outer_joins;
mod partners;
pub mod pattern;
mod percall;
pub mod pieces;
pub(crate) mod positioned;
pub(crate) mod pulls;
pub(crate) mod pushdown;
mod query;
mod ragged;
mod reached;
mod regroup;
mod replace;
mod returned;
pub(crate) mod rewrite;
mod sampling;
pub mod sequences;
mod sets;
mod shape;
pub mod shorten;
mod spelling;
mod splice;
pub mod split;
pub mod stamp;
mod stored;
pub mod supply;
mod supply_text;
mod supplying;
pub mod template;
pub mod temporary;
mod through;
mod tied;
mod top;
pub mod utility;
mod views;
mod whole;
pub(crate) mod words;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{DataType, Expr, Ident, Query, Statement, visit_expressions};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::catalog::Catalog;
use crate::ids::{QualifiedName, ShardId};
use crate::topology::Topology;

pub use analyze::Analysis;
pub use called::is_known_safe;
pub use changes::Change;
pub use implicit::refused_by_code;
pub use temporary::Temporaries;

/// Whether a statement can change data. Anything not known to only read counts as a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    /// It reads, and locks rows until its transaction ends.
    Lock,
    Write,
}

/// What the names and literals in a statement mean for one session at one moment. Part of the cache key by `fingerprint`.
#[derive(Clone, Copy)]
pub struct NameScope<'a> {
    pub catalog: &'a Catalog,
    pub topology: &'a Topology,
    /// Schemas in search order; `$user` already replaced, pg_catalog implied.
    pub search_path: &'a [Box<str>],
    /// `standard_conforming_strings`; when off, a statement with a backslash in a plain string is not understood.
    pub standard_strings: bool,
    /// What the transaction has made and dropped so far; empty where no schemas are placed.
    pub changes: &'a [Change],
    /// Whether it may have made or dropped anything.
    pub defines: bool,
    /// The shard on whose connection the session may have temporary tables.
    pub temporary: Option<ShardId>,
    /// The temporary tables that the session has on the home shard, as far as they are known; `None`: it can have none there.
    pub temporaries: Option<&'a Temporaries>,
    /// The temporary things that go before others of their names, on whichever shard the session has them.
    pub own: Option<&'a Temporaries>,
    /// Hash of all that is not catalog or topology.
    pub fingerprint: u64,
    /// Names that were looked for and that nobody knows are noted here.
    pub unknown: Option<&'a Unknown>,
}

/// What an analysis could not know of the names that it has met.
#[derive(Debug, Default)]
pub struct Unknown {
    /// Relations that a name could mean and that neither the catalog nor the topology knows: another router may have made one.
    names: RefCell<BTreeSet<QualifiedName>>,
    /// A name can be one of the session's temporary things.
    temporary: Cell<bool>,
    /// One that is, and was taken for another.
    hidden: RefCell<Option<Box<str>>>,
}

/// How deep expressions and queries may nest. The parser counts a level for each pair of parentheses and each subquery.
const MAX_DEPTH: usize = 64;
/// Most tokens between two commas of one pair of parentheses, which bounds how deep a chain of operators makes the tree.
const MAX_CHAIN: usize = 5000;
/// Chains up to this one are handled on the caller's stack, longer ones on one of their own of [`LONG_STACK`] bytes.
const SHORT_CHAIN: usize = 200;
/// The same of all tokens: a list of tables is a tree that is as deep as the list is long.
const SHORT_STATEMENT: usize = 600;
const LONG_STACK: usize = 64 << 20;

/// Parses exactly one statement.
fn parse(text: &str) -> Option<Statement> {
    parse_tokens(tokenize(text)?)
}

/// The same of a statement that is cut into tokens.
fn parse_tokens(tokens: Vec<TokenWithSpan>) -> Option<Statement> {
    let mut parser = parser_of(tokens);
    let statement = parser.parse_statement().ok()?;
    while parser.consume_token(&Token::SemiColon) {}
    (parser.peek_token().token == Token::EOF && !is_misread(&statement)).then_some(statement)
}

/// Whether a word that begins a clause was read as a column: behind a label that the parser takes for an operator (`SELECT a xor FROM t`),
/// the clause would be missing. Or a label as a part of a type that is another system's (`SELECT a::int unsigned`).
fn is_misread(statement: &Statement) -> bool {
    const CLAUSES: [&str; 24] = [
        "and",
        "as",
        "else",
        "end",
        "except",
        "fetch",
        "for",
        "from",
        "group",
        "having",
        "intersect",
        "into",
        "join",
        "limit",
        "offset",
        "or",
        "order",
        "returning",
        "then",
        "union",
        "using",
        "when",
        "where",
        "window",
    ];
    let is_clause = |name: &Ident| {
        name.quote_style.is_none() && CLAUSES.iter().any(|clause| name.value.eq_ignore_ascii_case(clause))
    };
    let met = visit_expressions(statement, |expr| match expr {
        Expr::Identifier(name) if is_clause(name) => ControlFlow::Break(()),
        Expr::CompoundIdentifier(names) if names.first().is_some_and(is_clause) => ControlFlow::Break(()),
        Expr::Cast { data_type, .. } if is_unsigned(data_type) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    met.is_break()
}

fn is_unsigned(of: &DataType) -> bool {
    use DataType::{
        BigIntUnsigned, DecUnsigned, DecimalUnsigned, DoublePrecisionUnsigned, DoubleUnsigned, FloatUnsigned,
        Int2Unsigned,
    };
    use DataType::{
        Int4Unsigned, Int8Unsigned, IntUnsigned, IntegerUnsigned, MediumIntUnsigned, RealUnsigned, Signed,
        SignedInteger,
    };
    use DataType::{SmallIntUnsigned, TinyIntUnsigned, Unsigned, UnsignedInteger};
    matches!(
        of,
        BigIntUnsigned(_)
            | DecUnsigned(_)
            | DecimalUnsigned(_)
            | DoublePrecisionUnsigned
            | DoubleUnsigned(_)
            | FloatUnsigned(_)
            | Int2Unsigned(_)
            | Int4Unsigned(_)
            | Int8Unsigned(_)
            | IntUnsigned(_)
            | IntegerUnsigned(_)
            | MediumIntUnsigned(_)
            | RealUnsigned
            | Signed
            | SignedInteger
            | SmallIntUnsigned(_)
            | TinyIntUnsigned(_)
            | Unsigned
            | UnsignedInteger
    )
}

/// Whether it is only for its depth that a text is not parsed.
fn is_too_deep(text: &str) -> bool {
    let parsed = tokenize(text).map(|tokens| parser_of(tokens).parse_statement());
    matches!(parsed, Some(Err(ParserError::RecursionLimitExceeded)))
}

fn parse_query(text: &str) -> Option<Box<Query>> {
    match parse(text)? {
        Statement::Query(query) => Some(query),
        _ => None,
    }
}

fn parse_expr(text: &str) -> Option<Expr> {
    parser(text)?.parse_expr().ok()
}

fn parse_data_type(text: &str) -> Option<sqlparser::ast::DataType> {
    let mut parser = parser(text)?;
    let ty = parser.parse_data_type().ok()?;
    (parser.peek_token().token == Token::EOF).then_some(ty)
}

fn parser(text: &str) -> Option<Parser<'static>> {
    Some(parser_of(tokenize(text)?))
}

fn parser_of(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&PostgreSqlDialect {}).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens)
}

fn tokenize(text: &str) -> Option<Vec<TokenWithSpan>> {
    Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()
}

/// Runs `work`, which parses and walks a statement of these tokens, on a stack that is deep enough; `None` for a statement whose
/// tree no stack should have to hold.
fn on_deep_stack<T>(text: &str, tokens: &[lexer::Token], work: impl FnOnce() -> T) -> Option<T> {
    match longest_chain(tokens) {
        chain if chain > MAX_CHAIN && !spelling::is_shortened(text, longest_chain, MAX_CHAIN) => None,
        chain if chain > SHORT_CHAIN || tokens.len() > SHORT_STATEMENT => Some(stacker::grow(LONG_STACK, work)),
        _ => Some(work()),
    }
}

/// Most tokens between two commas of one pair of parentheses; a pair inside counts as one.
fn longest_chain(tokens: &[lexer::Token]) -> usize {
    let mut open = vec![0usize];
    let mut longest = 0;
    for token in tokens {
        if token.is(b')') && open.len() > 1 {
            open.pop();
        }
        if let Some(chain) = open.last_mut() {
            *chain = if token.is(b',') { 0 } else { *chain + 1 };
            longest = longest.max(*chain);
        }
        if token.is(b'(') {
            open.push(0);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_read_as_another_part() {
        for label in ["like", "ilike", "xor", "and"] {
            for text in ["SELECT count(*) LABEL FROM t", "SELECT (SELECT a LABEL FROM t)", "SELECT 1 LABEL WHERE true"]
            {
                let text = text.replace("LABEL", label);
                assert!(parse(&text).is_none(), "{text}");
            }
        }
        assert!(
            parse("SELECT a::int unsigned FROM t").is_none() && parse("SELECT a::int AS unsigned FROM t").is_some()
        );
        for text in ["SELECT \"from\", t.\"from\" FROM t", "INSERT INTO t VALUES (default)", "SELECT a LIKE 'x' FROM t"]
        {
            assert!(parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_known_from_what_is_no_syntax() {
        let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(20)).is_some());
        assert!(is_too_deep(&nested(100)));
        assert!(!is_too_deep(&nested(20)));
        assert!(!is_too_deep("SELECT ((1)"));
    }
}
