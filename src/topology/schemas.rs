//! `Schemas`: which schemas a distribution places whole, by patterns of their names.

/// The schemas of a distribution whose method is `schema`: those that match one of the patterns and no exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemas {
    pub patterns: Vec<Box<str>>,
    pub except: Vec<Box<str>>,
}

impl Schemas {
    /// Whether a schema of this name, as the catalog has it, belongs to the distribution.
    pub fn has(&self, schema: &str) -> bool {
        let any = |patterns: &[Box<str>]| patterns.iter().any(|pattern| matches(pattern, schema));
        !is_reserved(schema) && any(&self.patterns) && !any(&self.except)
    }
}

/// Schemas that every shard has for itself.
pub fn is_reserved(schema: &str) -> bool {
    matches!(schema, "public" | "pgloom" | "information_schema") || schema.starts_with("pg_")
}

/// Whether the whole name matches: `*` stands for any characters, `?` for one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands, and up to where the name is taken by it.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    p = *at + 1;
                    n = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition, letter by letter.
    fn by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                by_definition(rest, name) || !name.is_empty() && by_definition(pattern, &name[1..])
            }
            (['?', rest @ ..], [_, others @ ..]) => by_definition(rest, others),
            ([c, rest @ ..], [d, others @ ..]) => c == d && by_definition(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_by_their_definition(pattern in "[ab*?]{0,7}", name in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), by_definition(&chars(&pattern), &chars(&name)));
        }
    }

    #[test]
    fn exceptions_and_the_shards_own_schemas_belong_to_nobody() {
        let all = Schemas { patterns: vec!["*".into()], except: vec!["tenant_old*".into()] };
        assert!(all.has("tenant_7") && all.has("Odd name"));
        for other in ["public", "pgloom", "pg_catalog", "pg_temp_3", "information_schema", "tenant_old", "tenant_old_2"]
        {
            assert!(!all.has(other), "{other}");
        }
    }
}
