//! Multi-row INSERT cut by shard: each shard gets the client's own text with its own rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::combine::{Combine, Gather};
use crate::plan::{PlanKind, ShardSql};
use crate::sql::outcome::Split;
use crate::sql::rewrite::renumber;
use crate::sql::words::value_rows;

/// The text that a shard gets, and which of the parameters it uses, as [`renumber`] says.
pub(crate) type Part = (ShardId, String, Option<Arc<[u16]>>);

/// The text of each shard. `shards`: where each row of the VALUES list goes.
pub(crate) fn cut(text: &str, shards: &[ShardId], parameters: u16) -> Result<Vec<Part>, Fault> {
    let lost = || {
        Fault::new(SqlState::INTERNAL_ERROR, "the rows of the VALUES list were not found again").blame(Blame::Router)
    };
    let rows = value_rows(text).filter(|rows| rows.len() == shards.len()).ok_or_else(lost)?;
    let (first, last) = (rows.first().ok_or_else(lost)?, rows.last().ok_or_else(lost)?);
    let (before, behind) = (text.get(..first.start).ok_or_else(lost)?, text.get(last.end..).ok_or_else(lost)?);
    let mut texts: BTreeMap<ShardId, String> = BTreeMap::new();
    for (row, shard) in rows.iter().zip(shards) {
        let row = text.get(row.clone()).ok_or_else(lost)?;
        let part = texts.entry(*shard).or_default();
        part.push_str(if part.is_empty() { before } else { ", " });
        part.push_str(row);
    }
    let mut parts = Vec::with_capacity(texts.len());
    for (shard, mut part) in texts {
        part.push_str(behind);
        let (text, used) = renumber(&part, parameters).ok_or_else(lost)?;
        parts.push((shard, text, used));
    }
    Ok(parts)
}

/// `shards`: where each row of the VALUES list goes.
pub(crate) fn split(text: &str, split: Split, shards: &[ShardId], parameters: u16) -> Result<PlanKind, Fault> {
    let parts: Vec<(ShardId, ShardSql)> = cut(text, shards, parameters)?
        .into_iter()
        .map(|(shard, text, used)| (shard, ShardSql::Rewritten { text: text.into(), parameters: used }))
        .collect();
    let gather = match split.returns {
        false => Gather::Concat,
        true => {
            let place = |shard: &ShardId| parts.iter().position(|(part, _)| part == shard).unwrap_or(0) as u16;
            Gather::Interleave(shards.iter().map(place).collect())
        }
    };
    Ok(PlanKind::Split { parts, combine: Arc::new(Combine { gather, ..Combine::CONCAT }) })
}
