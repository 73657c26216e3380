//! What places each table, and distributions that place none.

use std::collections::{HashMap, HashSet};

use super::{Work, boxed_schemas};
use crate::ids::{DistributionId, QualifiedName};
use crate::topology::TableRule;
use crate::topology::error::{At, TopologyError, TopologyWarning};
use crate::topology::spec::{MethodSpec, RuleSpec, Site};

impl<'a> Work<'a> {
    pub(super) fn tables(&mut self) -> HashMap<QualifiedName, TableRule> {
        let mut tables = HashMap::new();
        let mut used = HashSet::new();
        for (i, spec) in self.spec.distributions.iter().enumerate() {
            let MethodSpec::Schemas { schemas, except, .. } = &spec.method else { continue };
            used.insert(spec.name.as_str());
            let placed = boxed_schemas(schemas, except);
            for at in (0..self.spec.tables.len()).filter(|at| placed.has(&self.spec.tables[*at].name.schema)) {
                let (table, distribution) =
                    (self.spec.tables[at].name.clone(), self.spec.distributions[i].name.clone());
                self.fail(Site::Table(at), TopologyError::TableOfPlacedSchema { table, distribution });
            }
        }
        for (i, table) in self.spec.tables.iter().enumerate() {
            let rule = match &table.rule {
                RuleSpec::Reference => Some(TableRule::Reference),
                RuleSpec::Sharded { distribution, columns } => {
                    used.insert(distribution.as_str());
                    self.sharded(i, &table.name, distribution, columns)
                }
            };
            if tables.insert(table.name.clone(), rule).is_some() {
                self.fail(Site::Table(i), TopologyError::DuplicateTable { table: table.name.clone() });
            }
        }
        for (i, spec) in
            self.spec.distributions.iter().enumerate().filter(|(_, spec)| !used.contains(spec.name.as_str()))
        {
            let finding = TopologyWarning::UnusedDistribution { distribution: spec.name.clone() };
            self.warnings.push(At { site: Site::Distribution(i), finding });
        }
        tables.into_iter().filter_map(|(name, rule)| Some((name, rule?))).collect()
    }

    pub(super) fn sharded(
        &mut self,
        i: usize,
        table: &QualifiedName,
        name: &str,
        columns: &[String],
    ) -> Option<TableRule> {
        let site = Site::Table(i);
        let Some(place) = self.spec.distributions.iter().position(|spec| spec.name == name) else {
            let known = self.spec.distributions.iter().map(|spec| spec.name.clone()).collect();
            self.fail(site, TopologyError::UnknownDistribution { table: table.clone(), name: name.to_owned(), known });
            return None;
        };
        if let MethodSpec::Schemas { .. } = self.spec.distributions.get(place)?.method {
            self.fail(site, TopologyError::TableBySchema { table: table.clone(), distribution: name.to_owned() });
            return None;
        }
        let (expected, found) = (self.spec.distributions.get(place)?.key_types.len(), columns.len());
        if expected != found && expected > 0 {
            let (table, distribution) = (table.clone(), name.to_owned());
            self.fail(site, TopologyError::ColumnArity { table, distribution, expected, found });
        }
        let mut seen = HashSet::new();
        for column in columns.iter().filter(|column| !seen.insert(*column)) {
            self.fail(site, TopologyError::DuplicateColumn { table: table.clone(), column: column.clone() });
        }
        let columns = columns.iter().map(|column| column.as_str().into()).collect();
        Some(TableRule::Sharded { distribution: DistributionId(u16::try_from(place).ok()?), columns })
    }
}
