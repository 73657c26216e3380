//! The hand-written statements: `tests/oracle/<category>.sql` read into [`Case`]s.
//!
//! Blocks are separated by blank lines. A block is one statement, or with `-- script` several, each ended by `;` at the end
//! of a line and sent as a message of its own. Directives are comment lines of the form `-- word: rest`:
//! `params` values for $1, $2, ... as SQL literals; `types` their declared types (default: undeclared);
//! `forms` where not all of `simple, text, binary, portal` make sense; `script`; `multi` (one simple query of several
//! statements); `ties` (ORDER BY leaves ties: rows are compared as a multiset); `subset-of` a query whose rows contain any
//! right answer (LIMIT without a total order); `stdin` the data of COPY FROM, with `\n` and `\t` spelled so.
//! Other comments are remarks. What the cases of a file write is seen by those behind them; in the files whose names begin with `write`
//! each case begins with the tables as they were loaded.

use std::path::Path;

/// In which way a statement goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Simple query; parameters are written into the text.
    Simple,
    /// Extended, parameters and results in text.
    Text,
    /// Extended, parameters and results in binary.
    Binary,
    /// Named statement, described first, then executed three rows at a time.
    Portal,
}

impl Form {
    pub const ALL: [Form; 4] = [Form::Simple, Form::Text, Form::Binary, Form::Portal];

    pub fn name(self) -> &'static str {
        match self {
            Form::Simple => "simple",
            Form::Text => "text",
            Form::Binary => "binary",
            Form::Portal => "portal",
        }
    }
}

/// How the rows of two answers are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Exact,
    Any,
    /// As many rows as the oracle's, all of them among the rows of this query.
    SubsetOf(String),
}

/// One parameter value as text; `None` is NULL.
pub type Param = Option<String>;

/// One block of a file.
#[derive(Clone, Debug)]
pub struct Case {
    /// `file.sql:line`.
    pub place: String,
    /// One, or the steps of a script.
    pub statements: Vec<String>,
    pub script: bool,
    pub params: Vec<Param>,
    pub types: Vec<u32>,
    pub forms: Vec<Form>,
    pub order: Order,
    pub stdin: Option<Vec<u8>>,
    /// The written tables are afterwards what they were in the beginning.
    pub resets: bool,
    /// SQLSTATEs, one of which the oracle must give; empty: the oracle must succeed. Not checked for scripts.
    pub errors: Vec<String>,
}

impl Case {
    /// One question that changes nothing.
    pub fn is_read(&self) -> bool {
        const WRITES: [&str; 5] = ["insert", "update", "delete", "merge", "share"];
        let [statement] = &self.statements[..] else { return false };
        let text = statement.to_ascii_lowercase();
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        ["select", "with", "values", "table"].contains(&first) && !words.any(|word| WRITES.contains(&word))
    }

    /// A single statement without parameters.
    pub fn plain(place: String, sql: String) -> Self {
        let order = if has_outer_order(&sql) { Order::Exact } else { Order::Any };
        Self {
            place,
            statements: vec![sql],
            script: false,
            params: Vec::new(),
            types: Vec::new(),
            forms: Form::ALL.to_vec(),
            order,
            stdin: None,
            resets: false,
            errors: Vec::new(),
        }
    }
}

/// The files of `dir` in order, each with its category and cases.
pub fn read_all(dir: &Path) -> Vec<(String, Vec<Case>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sql"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let category = path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut cases = read(&category, &std::fs::read_to_string(path).unwrap());
            cases.iter_mut().for_each(|case| case.resets = is_of_scenarios(&category));
            (category, cases)
        })
        .collect()
}

/// Whether each case of a file begins with the tables as they were loaded.
pub fn is_of_scenarios(category: &str) -> bool {
    category.starts_with("write")
}

fn read(category: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for (index, line) in text.lines().chain([""]).enumerate() {
        if !line.trim().is_empty() {
            block.push(line);
            continue;
        }
        let place = format!("{category}.sql:{}", index + 1 - block.len());
        cases.extend(read_block(place, &block));
        block.clear();
    }
    cases
}

fn read_block(place: String, lines: &[&str]) -> Option<Case> {
    let sql_lines: Vec<&str> = lines.iter().filter(|l| !l.starts_with("--")).copied().collect();
    if sql_lines.is_empty() {
        return None;
    }
    let sql = sql_lines.join("\n");
    let mut case = Case::plain(place.clone(), sql.trim_end().trim_end_matches(';').to_owned());
    for line in lines.iter().filter_map(|l| l.strip_prefix("-- ")) {
        let (word, rest) = line.split_once(':').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "params" => case.params = literals(rest),
            "types" => case.types = rest.split(',').map(|t| type_oid(t.trim())).collect(),
            "forms" => {
                let named = |name: &str| Form::ALL.into_iter().find(|f| f.name() == name);
                case.forms =
                    rest.split(',').map(|f| named(f.trim()).unwrap_or_else(|| panic!("{place}: {f}"))).collect();
            }
            "script" => {
                case.script = true;
                case.statements = steps(&sql_lines);
                case.forms.retain(|f| *f != Form::Portal);
            }
            "multi" => {
                case.statements = vec![sql.clone()];
                case.forms = vec![Form::Simple];
            }
            // The last one counts.
            "error" => case.errors = rest.split('|').map(|code| code.trim().to_owned()).collect(),
            "ties" => case.order = Order::Any,
            "subset-of" => case.order = Order::SubsetOf(rest.to_owned()),
            "stdin" => case.stdin = Some(rest.replace("\\n", "\n").replace("\\t", "\t").into_bytes()),
            remark => {
                // A directive that is misspelled must not pass as a remark.
                let is_word = remark.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                assert!(remark.contains(' ') || !is_word, "{place}: unknown directive {remark:?}");
            }
        }
    }
    let first = case.statements[0].trim_start().to_ascii_uppercase();
    let reads = ["SELECT", "WITH", "VALUES", "TABLE", "("].iter().any(|w| first.starts_with(w));
    if !reads {
        case.forms.retain(|f| *f != Form::Portal);
    }
    Some(case)
}

fn steps(lines: &[&str]) -> Vec<String> {
    let mut steps = vec![String::new()];
    for line in lines {
        let step = steps.last_mut().unwrap();
        if !step.is_empty() {
            step.push('\n');
        }
        match line.trim_end().strip_suffix(';') {
            Some(end) => {
                step.push_str(end);
                steps.push(String::new());
            }
            None => step.push_str(line),
        }
    }
    steps.retain(|s| !s.is_empty());
    steps
}

/// `5, 'it''s', NULL` as values.
fn literals(text: &str) -> Vec<Param> {
    let mut values = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        match chars.peek() {
            None => return values,
            Some('\'') => {
                chars.next();
                let mut value = String::new();
                while let Some(c) = chars.next() {
                    if c == '\'' && chars.next_if_eq(&'\'').is_none() {
                        break;
                    }
                    value.push(c);
                }
                values.push(Some(value));
            }
            Some(_) => {
                let mut value = String::new();
                while let Some(c) = chars.next_if(|c| *c != ',') {
                    value.push(c);
                }
                let value = value.trim().to_owned();
                values.push((!value.eq_ignore_ascii_case("null")).then_some(value));
            }
        }
    }
}

fn type_oid(name: &str) -> u32 {
    match name {
        "-" => 0,
        "bool" => 16,
        "bytea" => 17,
        "int8" => 20,
        "int2" => 21,
        "int4" => 23,
        "text" => 25,
        "float8" => 701,
        "bpchar" => 1042,
        "varchar" => 1043,
        "date" => 1082,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        "int4[]" => 1007,
        "int8[]" => 1016,
        "text[]" => 1009,
        "uuid[]" => 2951,
        other => panic!("type {other} is not known to the corpus"),
    }
}

/// Whether the statement has an ORDER BY outside of all parentheses and quotes.
pub fn has_outer_order(sql: &str) -> bool {
    // COPY (SELECT ...) TO: the order of what is in the parentheses.
    if let Some(inner) = sql.trim_start().strip_prefix("COPY (") {
        return has_outer_order(inner);
    }
    let mut depth = 0;
    let mut outer = String::new();
    let mut quote: Option<char> = None;
    for c in sql.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, c) if depth == 0 => outer.push(c.to_ascii_uppercase()),
            (None, _) => {}
        }
    }
    outer.split_whitespace().collect::<Vec<_>>().join(" ").contains("ORDER BY")
}
