//! `TABLESAMPLE`: whose rows are sampled. Which rows make a sample is left to the method and to where they lie in their files, so the samples
//! of the shards together are one of the whole table.

use sqlparser::ast::{TableSample, TableSampleKind, TableSampleMethod, TableSampleModifier};

use crate::sql::exprs::{At, note};
use crate::sql::from::JoinTree;
use crate::sql::model::{Model, Obstacle, Spread, Stop};

/// What a statement samples; the later, the less can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sample {
    /// Rows that lie on one shard each, every one or every page by itself.
    Rows,
    /// Rows that every shard has, or one shard alone: each would take others of them.
    Copies,
    /// By a method that may count rows.
    Unknown,
}

impl Model<'_> {
    /// `tree`: the table that is sampled.
    pub fn note_sample<'q>(&mut self, at: &At<'q>, tree: &JoinTree, sample: &'q TableSampleKind) -> Result<(), Stop> {
        let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample;
        let TableSample { modifier, name, quantity, bucket, offset, seed } = &**sample;
        self.uses.sample_repeats |= seed.is_some();
        let known = matches!(name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System))
            && *modifier == TableSampleModifier::TableSample
            && bucket.is_none()
            && offset.is_none();
        let Some(quantity) = quantity.as_ref().filter(|of| of.parenthesized && of.unit.is_none() && known) else {
            self.uses.sample = Some(Sample::Unknown);
            return Ok(());
        };
        self.walk(at, &quantity.value)?;
        let parted = matches!(tree, JoinTree::Leaf(leaf) if matches!(self.leaves[*leaf].spread, Spread::Parted { .. }));
        let found = if parted { Sample::Rows } else { Sample::Copies };
        self.uses.sample = self.uses.sample.max(Some(found));
        if !parted {
            note(&mut self.uses.volatile, "tablesample");
        }
        Ok(())
    }
}

/// Rows that are put together lie otherwise each time.
pub(crate) fn other_sample() -> Obstacle {
    Obstacle::new("TABLESAMPLE ... REPEATABLE of rows that a Postgres puts together")
        .hint("Leave out REPEATABLE, or sample in a subquery that every shard can answer by itself.")
}

pub(crate) fn unknown_sample() -> Obstacle {
    Obstacle::new("TABLESAMPLE by a method that is neither BERNOULLI nor SYSTEM").hint("Use BERNOULLI or SYSTEM.")
}
