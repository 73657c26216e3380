//! Values of parameters like `now`, which each of several shards would read at a moment of its own.

use bytes::{Bytes, BytesMut};
use std::sync::Arc;

use crate::backend::settings::quote_literal;
use crate::fault::Fault;
use crate::ids::Oid;
use crate::session::prepared::ClientStatement;
use crate::session::promise::parameter_types;
use crate::session::{Failure, Session};
use crate::sql::template::says_moment;
use crate::types::Format;
use crate::wire::encode;
use crate::wire::frame::{BindView, Fields};

/// Types of times, their arrays and ranges, by the names that they have in SQL.
const TIMES: [(Oid, &str); 16] = [
    (1082, "date"),
    (1083, "time"),
    (1114, "timestamp"),
    (1184, "timestamptz"),
    (1266, "timetz"),
    (1182, "_date"),
    (1183, "_time"),
    (1115, "_timestamp"),
    (1185, "_timestamptz"),
    (1270, "_timetz"),
    (3908, "tsrange"),
    (3910, "tstzrange"),
    (3912, "daterange"),
    (4533, "tsmultirange"),
    (4534, "tstzmultirange"),
    (4535, "datemultirange"),
];

impl Session {
    /// A Bind with such texts read once, by the shard whose time is that of the transaction; `None`: it has none.
    pub(super) async fn with_moments(
        &mut self,
        statement: &Arc<ClientStatement>,
        bind: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        let suspects: Vec<(usize, String)> = {
            let view = BindView::read(bind)?;
            let values = (0..view.parameters.len()).filter_map(|at| Some((at, view.parameters.get(at)?)));
            let texts = values.filter_map(|(at, (format, value))| match format {
                Format::Text => Some((at, value.filter(|value| says_moment(value))?)),
                Format::Binary => None,
            });
            texts.map(|(at, value)| (at, String::from_utf8_lossy(value).into_owned())).collect()
        };
        if suspects.is_empty() {
            return Ok(None);
        }
        self.check_moments(bind)?;
        let types = self.types_of_parameters(statement).await?;
        let named = |at: usize| {
            let of = types.get(at)?;
            TIMES.iter().find(|(time, _)| time == of).map(|(_, name)| *name)
        };
        let times: Vec<(usize, &str, String)> =
            suspects.into_iter().filter_map(|(at, text)| Some((at, named(at)?, text))).collect();
        if times.is_empty() {
            return Ok(None);
        }
        if !self.text_style().iso_dates {
            return Err(Fault::unsupported(
                "a parameter like 'now' is not supported over several shards under these settings",
                "It is read once and goes to the shards as text, and as DateStyle is set it may lose its time zone.",
                "Set DateStyle to ISO, or send the time itself.",
            )
            .into());
        }
        let value = |(_, name, text): &(usize, &str, String)| {
            format!("{}::pg_catalog.{name}::pg_catalog.text", quote_literal(text))
        };
        let sql = format!("SELECT {}", times.iter().map(value).collect::<Vec<_>>().join(", "));
        self.leave_open().await?;
        let (shard, within) = (self.shard_of_time(), self.tx.is_open());
        let row = self.ask(shard, &sql, within).await?.into_iter().next().unwrap_or_default();
        if within {
            self.tx.clock = Some(shard);
        }
        let places = times.iter().map(|(at, ..)| *at);
        let read: Vec<(usize, String)> = places.zip(row).filter_map(|(at, value)| Some((at, value?))).collect();
        Ok(Some(replaced(bind, &read)?))
    }

    /// Refuses such texts in a transaction whose time no server has.
    pub(super) fn check_moments(&self, bind: &[u8]) -> Result<(), Fault> {
        if !self.tx.has_moved {
            return Ok(());
        }
        let parameters = BindView::read(bind)?.parameters;
        let mut values = (0..parameters.len()).filter_map(|at| parameters.get(at));
        if !values.any(|(format, value)| matches!(format, Format::Text) && value.is_some_and(says_moment)) {
            return Ok(());
        }
        Err(Fault::unsupported(
            "a parameter like 'now' is not supported in a transaction that has read from replicas",
            "The transaction goes on on the primaries, which have another time than it began at.",
            "Send the time itself.",
        ))
    }

    async fn types_of_parameters(&mut self, statement: &Arc<ClientStatement>) -> Result<Box<[Oid]>, Failure> {
        let used = usize::from(statement.analysis.parameters);
        if statement.types.len() >= used && !statement.types.contains(&0) {
            return Ok(statement.types.clone());
        }
        if let Some(types) = statement.arguments() {
            return Ok(types);
        }
        self.columns_of(statement).await?;
        self.leave_open().await?;
        let (parameters, _) = match statement.described() {
            Some(described) => described,
            None => self.description_of(statement).await?,
        };
        Ok(parameter_types(&parameters)?)
    }
}

/// The Bind with other values for some parameters.
fn replaced(bind: &[u8], values: &[(usize, String)]) -> Result<Bytes, Fault> {
    let mut fields = Fields::new(bind);
    let mut out = BytesMut::new();
    fields.cstr()?;
    fields.cstr()?;
    let formats = fields.count()?;
    fields.bytes(formats * 2)?;
    let head = bind.len() - fields.rest().len();
    out.extend_from_slice(bind.get(..head).unwrap_or_default());
    let count = fields.count()?;
    encode::count16(&mut out, count)?;
    for at in 0..count {
        let value = fields.value()?;
        let other = values.iter().find(|(of, _)| *of == at).map(|(_, value)| value.as_bytes());
        encode::value(&mut out, other.or(value))?;
    }
    out.extend_from_slice(fields.rest());
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn other_values_leave_the_rest_of_a_bind_as_it_is() {
        let bind = b"p\0s\0\0\x01\0\0\0\x02\0\0\0\x03now\xff\xff\xff\xff\0\x01\0\x01";
        let told = replaced(bind, &[(0, "2024".to_owned())]).unwrap();
        assert_eq!(&told[..], b"p\0s\0\0\x01\0\0\0\x02\0\0\0\x042024\xff\xff\xff\xff\0\x01\0\x01");
        assert_eq!(&replaced(bind, &[]).unwrap()[..], bind);
    }
}
