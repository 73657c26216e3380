//! STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS, HOT_KEYS.

use super::{Look, text};
use crate::backend::hot_keys::RATE;
use crate::backend::stats::{Count, Counts};

fn cells(counts: &Counts) -> impl Iterator<Item = Option<String>> + '_ {
    counts.iter().map(|count| text((*count).min(i64::MAX as u64)))
}

impl Look<'_> {
    /// Each database with what `of` says of it.
    fn each(&self, of: impl Fn(&crate::backend::stats::Stats) -> Vec<Counts>) -> Vec<Vec<Option<String>>> {
        let row = |seen: &super::Seen| {
            let mut row = vec![text(&seen.database.name)];
            of(&seen.database.stats).iter().for_each(|counts| row.extend(cells(counts)));
            row
        };
        self.databases.iter().map(row).collect()
    }

    pub(super) fn stats(&self) -> Vec<Vec<Option<String>>> {
        self.each(|stats| vec![stats.totals(), stats.averages()])
    }

    pub(super) fn stats_totals(&self) -> Vec<Vec<Option<String>>> {
        self.each(|stats| vec![stats.totals()])
    }

    pub(super) fn stats_averages(&self) -> Vec<Vec<Option<String>>> {
        self.each(|stats| vec![stats.averages()])
    }

    pub(super) fn hot_keys(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = Vec::new();
        for seen in &self.databases {
            let topology = &seen.cluster.topology;
            for (hot, share) in seen.database.hot_keys.most(usize::MAX) {
                // A configuration from before may have had others.
                let distribution = topology.distributions.get(usize::from(hot.distribution.0));
                let (Some(distribution), Some(shard)) = (distribution, topology.shards.get(hot.shard.index())) else {
                    continue;
                };
                let estimate = |count: u64| text(count.saturating_mul(u64::from(RATE)).min(i64::MAX as u64));
                rows.push(vec![
                    text(&seen.database.name),
                    text(&distribution.name),
                    self.sees_keys.then(|| hot.key.to_string()),
                    text(&shard.name),
                    estimate(hot.count),
                    estimate(hot.count - hot.error),
                    text(format!("{:.1}", 100.0 * share)),
                ]);
            }
        }
        rows
    }

    pub(super) fn totals(&self) -> Vec<Vec<Option<String>>> {
        let stats = || self.databases.iter().map(|seen| &seen.database.stats);
        let totals = sum(stats().map(|stats| stats.totals()));
        let each: Vec<Counts> = stats().map(|stats| stats.averages()).collect();
        let mut averages = sum(each.iter().copied());
        // An average of averages, by how many of them there are.
        for (time, number) in [(Count::XactTime, Count::Xacts), (Count::QueryTime, Count::Queries)] {
            let weight = |counts: &Counts| u128::from(counts[number as usize]);
            let weighed: u128 = each.iter().map(|counts| u128::from(counts[time as usize]) * weight(counts)).sum();
            let mean = weighed.checked_div(each.iter().map(weight).sum()).unwrap_or(0);
            averages[time as usize] = u64::try_from(mean).unwrap_or(u64::MAX);
        }
        let names = super::What::StatsTotals.show().fields.iter().skip(1).map(|field| field.name);
        let named = |what: &str, counts: &Counts| {
            let rows = names.clone().zip(cells(counts)).map(|(name, cell)| vec![text(format!("{what}_{name}")), cell]);
            rows.collect::<Vec<_>>()
        };
        [named("total", &totals), named("avg", &averages)].concat()
    }
}

fn sum(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |mut sum, counts| {
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(count));
        sum
    })
}
