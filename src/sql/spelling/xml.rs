//! The functions of XML, which have a grammar of their own: read as calls with plain arguments.

use crate::sql::spelling::Tokens;
use crate::sql::splice::Edit;

impl Tokens<'_> {
    /// The edits of an XML function whose name stands here. Its arguments are looked at for themselves: they can have others in them.
    pub(super) fn xml(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let called = self.is_punct(at + 1, b'(');
        let name = self.text_at(at).to_ascii_lowercase();
        if !called || !name.starts_with("xml") {
            return None;
        }
        let (top, close) = self.top(at + 1)?;
        let find = |word: &str| top.iter().copied().find(|at| self.is(*at, word));
        match &*name {
            // The name, and the comma behind it.
            "xmlelement" | "xmlpi" if self.is(at + 2, "name") && self.is_name(at + 3) => {
                let last = at + 3 + usize::from(self.is_punct(at + 4, b','));
                Some((vec![self.replace(at + 2, last, "")?], last))
            }
            _ => {
                let mut edits = match &*name {
                    "xmlattributes" | "xmlforest" => self.labels(&top)?,
                    "xmlserialize" => {
                        let as_type = find("as")?;
                        vec![self.replace(at + 2, at + 2, "")?, self.replace(as_type, close - 1, "")?]
                    }
                    "xmlroot" => self.root(&top, close)?,
                    "xmlexists" => self.passing(find("passing")?, close)?,
                    _ => return None,
                };
                edits.sort_by_key(|edit| edit.bytes.start);
                // What is between them is looked at too, as far as no edit meets another.
                let inner = self.within(at + 2, close, &edits);
                edits.extend(inner);
                Some((edits, close))
            }
        }
    }

    /// `AS label` behind arguments.
    fn labels(&self, top: &[usize]) -> Option<Vec<Edit>> {
        let labels = top.iter().copied().filter(|at| self.is(*at, "as") && self.is_name(at + 1));
        labels.map(|at| self.replace(at, at + 1, "")).collect()
    }

    /// `xmlroot(x, version v, standalone yes)`
    fn root(&self, top: &[usize], close: usize) -> Option<Vec<Edit>> {
        let version = top.iter().copied().find(|at| self.is(*at, "version"))?;
        let standalone = top.iter().copied().find(|at| self.is(*at, "standalone"));
        let mut edits = match self.are(version + 1, &["no", "value"]) {
            true => vec![self.replace(version - 1, version + 2, "")?],
            false => vec![self.replace(version, version, "")?],
        };
        if let Some(standalone) = standalone {
            edits.push(self.replace(standalone - 1, close - 1, "")?);
        }
        Some(edits)
    }

    /// `PASSING [BY REF] x [BY REF]`
    fn passing(&self, at: usize, close: usize) -> Option<Vec<Edit>> {
        let by = |at: usize| self.is(at, "by") && self.is_any(at + 1, &["ref", "value"]);
        let last = if by(at + 1) { at + 2 } else { at };
        let mut edits = vec![self.replace(at, last, ",")?];
        if by(close - 2) && close - 2 > last {
            edits.push(self.replace(close - 2, close - 1, "")?);
        }
        Some(edits)
    }

    /// What is to be read otherwise between two places, but for what these edits change.
    fn within(&self, first: usize, close: usize, of: &[Edit]) -> Vec<Edit> {
        let meets = |at: usize| {
            let bytes = self.get(at).map_or(0..0, |token| token.start..token.end);
            of.iter().any(|edit| edit.bytes.start < bytes.end && bytes.start < edit.bytes.end)
        };
        let mut edits = Vec::new();
        let mut at = first;
        while at < close {
            let (found, last) =
                if meets(at) { (Vec::new(), at) } else { self.looser_at(at).unwrap_or((Vec::new(), at)) };
            edits.extend(found);
            at = last + 1;
        }
        edits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::sql::spelling::{Changed, looser};

    #[test]
    fn xml_is_read_as_plain_calls() {
        for (text, other) in [
            (
                "SELECT xmlelement(name a, xmlattributes(b AS c, d), xmlforest(e, f AS g))",
                "SELECT xmlelement( xmlattributes(b , d), xmlforest(e, f ))",
            ),
            ("SELECT xmlelement(name \"a b\")", "SELECT xmlelement()"),
            ("SELECT xmlserialize(content xmlforest(a AS b) AS text)", "SELECT xmlserialize( xmlforest(a ) )"),
            ("SELECT xmlroot(a, version '1.0', standalone yes)", "SELECT xmlroot(a,  '1.0')"),
            ("SELECT xmlroot(a, version no value)", "SELECT xmlroot(a)"),
            ("SELECT xmlexists('//b' PASSING BY VALUE a)", "SELECT xmlexists('//b' , a)"),
        ] {
            let changed = Changed::of(text, looser::edits(text)).unwrap();
            assert_eq!(changed.text, other, "{text}");
        }
    }
}
