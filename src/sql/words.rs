//! Statements as runs of tokens, for what is decided without a parse: which names occur, where the rows of a VALUES list lie.

use std::ops::Range;

use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::names::fold;

/// Every token of a text; `None` where it cannot be cut into tokens with certainty.
pub(crate) fn tokens(text: &str, standard_strings: bool) -> Option<Vec<Token>> {
    let mut lexer = Lexer::new(text, standard_strings);
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next().ok()? {
        tokens.push(token);
    }
    Some(tokens)
}

/// The bytes of a token.
pub(crate) fn text_of<'a>(text: &'a str, token: &Token) -> &'a str {
    text.get(token.start..token.end).unwrap_or_default()
}

/// Where the first `$n` of a text is.
pub fn first_parameter(text: &str, standard_strings: bool) -> Option<Range<usize>> {
    let tokens = tokens(text, standard_strings)?;
    tokens.iter().find(|token| token.kind == TokenKind::Parameter).map(|token| token.start..token.end)
}

/// The name that a word or quoted token stands for.
pub(crate) fn name_of(text: &str, token: &Token) -> Option<String> {
    let written = text_of(text, token);
    match token.kind {
        TokenKind::Word => Some(fold(written, false).into_owned()),
        TokenKind::Quoted => {
            let inner = written.strip_prefix('"')?.strip_suffix('"')?;
            Some(fold(&inner.replace("\"\"", "\""), true).into_owned())
        }
        _ => None,
    }
}

/// Every name and keyword in a text, folded. `None` where one of them cannot be read.
pub(crate) fn identifiers(text: &str, standard_strings: bool) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for token in tokens(text, standard_strings)? {
        match token.kind {
            TokenKind::Word | TokenKind::Quoted => names.push(name_of(text, &token)?),
            TokenKind::UnicodeQuoted => return None,
            _ => {}
        }
    }
    Some(names)
}

/// The same, each with the name before it, where there is one and a dot between them.
pub(crate) fn qualified(text: &str, standard_strings: bool) -> Option<Vec<(Option<String>, String)>> {
    let tokens = tokens(text, standard_strings)?;
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Word | TokenKind::Quoted => {
                let dot = at.checked_sub(1).and_then(|before| tokens.get(before)).filter(|before| before.is(b'.'));
                let of = dot.and_then(|_| tokens.get(at.checked_sub(2)?)).and_then(|of| name_of(text, of));
                names.push((of, name_of(text, token)?));
            }
            TokenKind::UnicodeQuoted => return None,
            _ => {}
        }
    }
    Some(names)
}

/// The rows of the VALUES list of an INSERT, parentheses included; at least one.
pub(crate) fn value_rows(text: &str) -> Option<Vec<Range<usize>>> {
    let mut lexer = Lexer::new(text, true);
    let mut depth = 0usize;
    let mut in_list = false;
    let mut rows: Vec<Range<usize>> = Vec::new();
    let mut start = None;
    while let Some(token) = lexer.next().ok()? {
        let opens = token.is(b'(') || token.is(b'[');
        if in_list && depth == 0 && !opens && !(token.is(b',') && start.is_none() && !rows.is_empty()) {
            break;
        }
        if opens {
            if in_list && depth == 0 {
                start = Some(token.start);
            }
            depth += 1;
        } else if token.is(b')') || token.is(b']') {
            depth = depth.checked_sub(1)?;
            if depth == 0
                && let Some(start) = start.take()
            {
                rows.push(start..token.end);
            }
        } else if depth == 0 && token.kind == TokenKind::Word && text_of(text, &token).eq_ignore_ascii_case("values") {
            in_list = true;
        }
    }
    (!rows.is_empty()).then_some(rows)
}

/// The statement with NULL in the place of each parameter.
pub(crate) fn without_parameters(text: &str, standard_strings: bool) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut done = 0;
    for token in tokens(text, standard_strings)?.iter().filter(|token| token.kind == TokenKind::Parameter) {
        plain.push_str(text.get(done..token.start)?);
        plain.push_str("NULL");
        done = token.end;
    }
    plain.push_str(text.get(done..)?);
    Some(plain)
}

/// A walk over the tokens of one statement, for the forms of DDL.
pub(crate) struct Words<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    pub at: usize,
}

impl<'a> Words<'a> {
    pub fn new(text: &'a str, standard_strings: bool) -> Option<Self> {
        Some(Self { text, tokens: tokens(text, standard_strings)?, at: 0 })
    }

    pub fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    pub fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Whether the word `ahead` tokens on is this keyword.
    pub fn is(&self, ahead: usize, keyword: &str) -> bool {
        self.peek(ahead)
            .is_some_and(|t| t.kind == TokenKind::Word && text_of(self.text, t).eq_ignore_ascii_case(keyword))
    }

    /// Goes past the keyword, if it stands here.
    pub fn take(&mut self, keyword: &str) -> bool {
        let found = self.is(0, keyword);
        self.at += usize::from(found);
        found
    }

    /// Goes past all of the keywords, if they stand here in this order.
    pub fn take_all(&mut self, keywords: &[&str]) -> bool {
        let found = keywords.iter().enumerate().all(|(i, keyword)| self.is(i, keyword));
        if found {
            self.at += keywords.len();
        }
        found
    }

    pub fn is_punct(&self, byte: u8) -> bool {
        self.peek(0).is_some_and(|t| t.is(byte))
    }

    pub fn take_punct(&mut self, byte: u8) -> bool {
        let found = self.is_punct(byte);
        self.at += usize::from(found);
        found
    }

    /// Goes past the operator, if it stands here.
    pub fn take_operator(&mut self, operator: &str) -> bool {
        let found = self.peek(0).is_some_and(|t| t.kind == TokenKind::Operator && text_of(self.text, t) == operator);
        self.at += usize::from(found);
        found
    }

    /// Tokens that are left.
    pub fn len(&self) -> usize {
        self.tokens.len().saturating_sub(self.at)
    }

    /// Where the next token begins, in bytes.
    pub fn position(&self) -> usize {
        self.peek(0).map_or(self.text.len(), |token| token.start)
    }

    /// Where the last token before this place ends.
    pub fn end_before(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.end)
    }

    /// Where `WITH [NO] DATA` begins that ends the text, or else its end.
    pub fn before_with_data(&self) -> usize {
        let word = |back: usize, keyword: &str| {
            let token = self.tokens.len().checked_sub(back).and_then(|at| self.tokens.get(at));
            token.is_some_and(|token| text_of(self.text, token).eq_ignore_ascii_case(keyword))
        };
        let back = match (word(1, "data"), word(2, "with"), word(2, "no") && word(3, "with")) {
            (true, true, _) => 2,
            (true, _, true) => 3,
            _ => return self.tokens.last().map_or(0, |token| token.end),
        };
        self.tokens.get(self.tokens.len() - back).map_or(self.text.len(), |token| token.start)
    }

    /// Goes on to a comma or one of these keywords outside of parentheses, or to the end.
    pub fn skip_to_comma(&mut self, keywords: &[&str]) {
        let mut depth = 0usize;
        while let Some(token) = self.peek(0) {
            if depth == 0 && (token.is(b',') || token.is(b';') || keywords.iter().any(|keyword| self.is(0, keyword))) {
                return;
            }
            if token.is(b'(') || token.is(b'[') {
                depth += 1;
            } else if token.is(b')') || token.is(b']') {
                depth = depth.saturating_sub(1);
            }
            self.at += 1;
        }
    }

    /// Goes on to one of these keywords outside of parentheses, or to the end.
    pub fn skip_to(&mut self, keywords: &[&str]) {
        while !self.is_done() && !keywords.iter().any(|keyword| self.is(0, keyword)) {
            self.skip_one();
        }
    }

    /// Goes past one token, or past parentheses with all that is in them.
    pub fn skip_one(&mut self) {
        let mut depth = 0usize;
        while let Some(token) = self.peek(0) {
            if token.is(b'(') {
                depth += 1;
            } else if token.is(b')') {
                depth = depth.saturating_sub(1);
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// What is left, cut at the commas outside of parentheses.
    pub fn cut_at_commas(&self) -> Vec<Words<'a>> {
        let mut rest = Words { text: self.text, tokens: self.tokens.clone(), at: self.at };
        let mut parts = Vec::new();
        loop {
            let start = rest.at;
            rest.skip_to_comma(&[]);
            parts.push(rest.part(start..rest.at));
            if !rest.take_punct(b',') {
                return parts;
            }
        }
    }

    /// What stands in the parentheses that begin here, cut at its commas; goes past them. `None`: none begin here.
    pub fn take_list(&mut self) -> Option<Vec<Words<'a>>> {
        if !self.is_punct(b'(') {
            return None;
        }
        let start = self.at + 1;
        self.skip_one();
        Some(self.part(start..self.at.saturating_sub(1).max(start)).cut_at_commas())
    }

    /// Some of the tokens, by themselves.
    pub fn part(&self, range: Range<usize>) -> Words<'a> {
        Words { text: self.text, tokens: self.tokens.get(range).unwrap_or_default().to_vec(), at: 0 }
    }

    /// The bytes of the tokens from this place on.
    pub fn rest(&self) -> &'a str {
        let end = self.tokens.last().map_or(0, |token| token.end);
        self.text.get(self.position()..end).unwrap_or_default()
    }

    /// The same without `WITH [CASCADED | LOCAL] CHECK OPTION`, which no query has.
    pub fn before_check_option(&self) -> &'a str {
        let word = |back: usize, keyword: &str| {
            let token = self.tokens.len().checked_sub(back).and_then(|at| self.tokens.get(at));
            token.is_some_and(|token| text_of(self.text, token).eq_ignore_ascii_case(keyword))
        };
        let back = match (word(1, "option") && word(2, "check"), word(3, "with"), word(4, "with")) {
            (true, true, _) => 3,
            (true, false, true) if word(3, "cascaded") || word(3, "local") => 4,
            _ => return self.rest(),
        };
        let end = self.tokens.get(self.tokens.len() - back).map_or(0, |token| token.start);
        self.text.get(self.position()..end).unwrap_or_default()
    }

    /// Where the tokens between two places stand in the text.
    pub fn bytes_of(&self, range: Range<usize>) -> Range<usize> {
        match self.tokens.get(range).unwrap_or_default() {
            [first, .., last] => first.start..last.end,
            [only] => only.start..only.end,
            [] => 0..0,
        }
    }

    /// The bytes of the tokens between two places.
    pub fn text_of(&self, range: Range<usize>) -> &'a str {
        match self.tokens.get(range).unwrap_or_default() {
            [first, .., last] => self.text.get(first.start..last.end).unwrap_or_default(),
            [only] => text_of(self.text, only),
            [] => "",
        }
    }

    /// The name `ahead` tokens on.
    pub fn name_at(&self, ahead: usize) -> Option<String> {
        name_of(self.text, self.peek(ahead)?)
    }

    /// A name with its parts.
    pub fn parts(&mut self) -> Option<Vec<String>> {
        let mut parts = Vec::new();
        loop {
            parts.push(self.name_at(0)?);
            self.at += 1;
            if !self.take_punct(b'.') {
                return Some(parts);
            }
        }
    }

    /// A name of one or two parts (three with the database).
    pub fn name(&mut self) -> Option<(Option<String>, String)> {
        let mut parts = self.parts()?;
        let name = parts.pop()?;
        Some((parts.pop(), name))
    }

    /// Whether the keyword occurs anywhere from here on.
    pub fn has(&self, keyword: &str) -> bool {
        (0..self.tokens.len().saturating_sub(self.at)).any(|ahead| self.is(ahead, keyword))
    }

    /// The names in the parentheses that begin here, or `None` where there is more than names.
    pub fn name_list(&mut self) -> Option<Vec<String>> {
        let start = self.at;
        let list = self.read_name_list();
        if list.is_none() {
            self.at = start;
        }
        list
    }

    fn read_name_list(&mut self) -> Option<Vec<String>> {
        if !self.take_punct(b'(') {
            return None;
        }
        let mut names = Vec::new();
        loop {
            names.push(name_of(self.text, self.peek(0)?)?);
            self.at += 1;
            if self.take_punct(b',') {
                continue;
            }
            return self.take_punct(b')').then_some(names);
        }
    }
}
