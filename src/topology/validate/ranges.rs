//! Ranges of one column: typed, disjoint, and the gaps between them told.

use std::cmp::Ordering;

use super::Work;
use crate::topology::error::{At, TopologyError, TopologyWarning};
use crate::topology::key_order::compare;
use crate::topology::shard_map::{Interval, RangeMap, compare_from};
use crate::topology::spec::{DistributionSpec, RangeSpec, Site};
use crate::types::KeyType;

impl<'a> Work<'a> {
    pub(super) fn ranges(&mut self, i: usize, spec: &'a DistributionSpec, ranges: &[RangeSpec]) -> RangeMap {
        let distribution = || spec.name.clone();
        let [key_type] = spec.key_types[..] else {
            let count = spec.key_types.len();
            self.fail(
                Site::Distribution(i),
                TopologyError::RangeOverSeveralColumns { distribution: distribution(), count },
            );
            return RangeMap::default();
        };
        if ranges.is_empty() {
            self.fail(Site::Distribution(i), TopologyError::NoRanges { distribution: distribution() });
        }
        self.ranges_of(i, spec, key_type, ranges, |work, site, entry| work.shard(site, &ranges.get(entry)?.shard))
    }

    /// Ranges of one column, each with what `owner` says of it.
    pub(super) fn ranges_of<T: Copy>(
        &mut self,
        i: usize,
        spec: &DistributionSpec,
        key_type: KeyType,
        ranges: &[RangeSpec],
        owner: impl Fn(&mut Self, Site, usize) -> Option<T>,
    ) -> RangeMap<T> {
        if key_type == KeyType::Bool {
            let distribution = spec.name.clone();
            self.fail(Site::Distribution(i), TopologyError::RangeOverBool { distribution, key_type });
            return RangeMap::default();
        }
        let mut parsed: Vec<(Interval<T>, usize)> = Vec::new();
        for (entry, range) in ranges.iter().enumerate() {
            let site = Site::Entry { distribution: i, entry };
            let shard = owner(self, site, entry);
            let mut bound = |text: &Option<String>| match text {
                Some(text) => self.value(site, key_type, text).map(Some),
                None => Some(None),
            };
            let (from, to) = (bound(&range.from), bound(&range.to));
            let (Some(shard), Some(from), Some(to)) = (shard, from, to) else { continue };
            if let (Some(low), Some(high)) = (&from, &to)
                && compare(low, high).is_ge()
            {
                self.fail(site, empty_range(range));
                continue;
            }
            parsed.push((Interval { from, to, shard }, entry));
        }
        parsed.sort_by(|(a, _), (b, _)| compare_from(a.from.as_ref(), b.from.as_ref()));
        self.check_neighbours(i, spec, &parsed, ranges);
        RangeMap::new(parsed.into_iter().map(|(interval, _)| interval).collect())
    }

    /// Overlaps are errors, gaps are warnings. `sorted` is by start, each with its place in `ranges`.
    pub(super) fn check_neighbours<T>(
        &mut self,
        i: usize,
        spec: &DistributionSpec,
        sorted: &[(Interval<T>, usize)],
        ranges: &[RangeSpec],
    ) {
        let mut gaps = Vec::new();
        for pair in sorted.windows(2) {
            let [(a, first), (b, second)] = pair else { continue };
            let (end, start) = (text_of(ranges, *first, |r| &r.to), text_of(ranges, *second, |r| &r.from));
            let order = match (&a.to, &b.from) {
                (Some(to), Some(from)) => compare(to, from),
                _ => Ordering::Greater,
            };
            match order {
                Ordering::Greater => self.overlap(i, spec, ranges.get(*first), *second, ranges),
                Ordering::Less => gaps.push(format!("from `{end}` to `{start}`")),
                Ordering::Equal => {}
            }
        }
        if let Some((Interval { from: Some(_), .. }, first)) = sorted.first() {
            gaps.push(format!("below `{}`", text_of(ranges, *first, |r| &r.from)));
        }
        if let Some((Interval { to: Some(_), .. }, last)) = sorted.last() {
            gaps.push(format!("from `{}` on", text_of(ranges, *last, |r| &r.to)));
        }
        for gap in gaps {
            let finding = TopologyWarning::Gap { distribution: spec.name.clone(), gap };
            self.warnings.push(At { site: Site::Distribution(i), finding });
        }
    }

    pub(super) fn overlap(
        &mut self,
        i: usize,
        spec: &DistributionSpec,
        first: Option<&RangeSpec>,
        second: usize,
        ranges: &[RangeSpec],
    ) {
        let finding = TopologyError::OverlappingRanges {
            distribution: spec.name.clone(),
            first: first.map(show_range).unwrap_or_default(),
            second: ranges.get(second).map(show_range).unwrap_or_default(),
        };
        self.fail(Site::Entry { distribution: i, entry: second }, finding);
    }
}

pub(super) fn empty_range(range: &RangeSpec) -> TopologyError {
    let text = |bound: &Option<String>| bound.clone().unwrap_or_default();
    TopologyError::EmptyRange { from: text(&range.from), to: text(&range.to) }
}

fn text_of<'r>(ranges: &'r [RangeSpec], place: usize, bound: impl Fn(&'r RangeSpec) -> &'r Option<String>) -> &'r str {
    let Some(range) = ranges.get(place) else { return "" };
    bound(range).as_deref().unwrap_or("")
}

fn show_range(range: &RangeSpec) -> String {
    let bound = |text: &Option<String>, open: &str| text.as_ref().map_or(open.to_owned(), |text| format!("`{text}`"));
    format!("{} to {} (shard `{}`)", bound(&range.from, "the lowest"), bound(&range.to, "the highest"), range.shard)
}
