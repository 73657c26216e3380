//! `SELECT pgloom.distribute(...)`, `pgloom.reference(...)`, `pgloom.undistribute(...)`: what the call asks for, and whether it may.

use std::sync::Arc;

use crate::backend::settings::quote_literal;
use crate::catalog::name_parts;
use crate::config::TwoPhaseCommit;
use crate::control::definition::fits::Target;
use crate::control::{catalog, rules};
use crate::fault::{Fault, SqlState};
use crate::ids::{DistributionId, QualifiedName};
use crate::session::local::LocalRows;
use crate::session::prepared::ClientStatement;
use crate::session::simple::utf8;
use crate::session::{Failure, Session};
use crate::sql::utility::{PlacementCall, PlacementQuery, Verb, placement_bound, placement_call};
use crate::topology::TableRule;
use crate::wire::frame::BindValues;

/// One change of one table.
pub(super) struct Move {
    pub table: QualifiedName,
    /// Where its rows are.
    pub from: Target,
    pub to: Target,
}

impl Session {
    /// Runs the statement to its end; its row.
    pub(super) async fn place(&mut self, text: &str, query: &PlacementQuery) -> Result<LocalRows, Failure> {
        let function = format!("pgloom.{}()", query.verb.name());
        if let Some(wrong) = query.wrong {
            return Err(unreadable(&function, wrong).into());
        }
        if self.tx.is_open() || self.batch.open.is_some() && self.batch.bound {
            return Err(Fault::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{function} cannot run inside a transaction block"),
            )
            .hint("Run it as a statement of its own.")
            .into());
        }
        self.leave_open().await?;
        let call = placement_call(text).map_err(|wrong| unreadable(&function, wrong))?;
        if self.database.two_phase_commit != TwoPhaseCommit::On {
            return Err(Fault::unsupported(
                format!("{function} is not supported here"),
                "two_phase_commit is not on for this database, and without it rows and rules could not change together.",
                "Turn two_phase_commit on, or name the table in the configuration.",
            )
            .into());
        }
        self.look_around().await?;
        let wanted = self.wanted(&call)?;
        self.check_owner(&wanted).await?;
        let told = self.change_placement(&wanted).await?;
        Ok(LocalRows::of(&query.column, vec![told], "SELECT 1"))
    }

    /// Rules and catalog as they are now.
    async fn look_around(&mut self) -> Result<(), Failure> {
        rules::reload(&self.database).await?;
        catalog::reload(&self.database, false, None).await?;
        self.refresh_view();
        Ok(())
    }

    /// What the call asks for.
    fn wanted(&self, call: &PlacementCall) -> Result<Move, Fault> {
        let topology = &self.view.topology;
        let table = self.table_named(&call.table)?;
        if topology.closed.contains_key(&table) {
            return Err(Fault::new(SqlState::LOCK_NOT_AVAILABLE, format!("table \"{}\" is being moved", table.name))
                .hint("Try again when it is done."));
        }
        if topology.place_of_schema(&table.schema).is_some() {
            return Err(Fault::unsupported(
                format!("changing the placement of table \"{}\" is not supported", table.name),
                format!("schema \"{}\" lies whole on one shard by the configuration", table.schema),
                "Make the table in another schema.",
            ));
        }
        let rule = topology.rule(&table);
        if rule.is_some() && !topology.from_sql.contains(&table) {
            return Err(Fault::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the placement of table \"{}\" is the configuration's", table.name),
            )
            .hint("Change it there."));
        }
        let from = match rule {
            None => Target::Home,
            Some(TableRule::Reference) => Target::Reference,
            Some(TableRule::Sharded { distribution, columns }) => {
                Target::Sharded { distribution: *distribution, columns: columns.clone() }
            }
        };
        let placed = from != Target::Home;
        if placed != (call.verb == Verb::Undistribute) {
            let message = match placed {
                true => format!("table \"{}\" is distributed already", table.name),
                false => format!("table \"{}\" is not distributed", table.name),
            };
            let fault = Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
            return Err(match placed {
                true => fault.hint("SELECT pgloom.undistribute() first brings its rows back to the home shard."),
                false => fault,
            });
        }
        let to = match call.verb {
            Verb::Undistribute => Target::Home,
            Verb::Reference => Target::Reference,
            Verb::Distribute => {
                Target::Sharded { distribution: self.distribution_for(&table, call)?, columns: call.columns.clone() }
            }
        };
        Ok(Move { table, from, to })
    }

    /// The table of this name, as `regclass` reads it; one that has a rule need not be there.
    fn table_named(&self, name: &str) -> Result<QualifiedName, Fault> {
        let names = self.names();
        let parts = name_parts(name).unwrap_or_default();
        let known = |table: &QualifiedName| {
            let (catalog, topology) = (&self.view.catalog, &self.view.topology);
            catalog.table(table).is_some() || topology.rule(table).is_some() || topology.closed.contains_key(table)
        };
        let found = match &parts[..] {
            [table] => {
                let paths = names.search_path.iter().map(|schema| QualifiedName::new(schema.clone(), table.as_str()));
                paths.into_iter().find(known)
            }
            [schema, table] => Some(QualifiedName::new(schema.as_str(), table.as_str())).filter(known),
            _ => {
                return Err(Fault::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid name of a table: \"{name}\""),
                ));
            }
        };
        found.ok_or_else(|| Fault::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")))
    }

    /// The distribution that the call names, or the only one that its columns fit.
    fn distribution_for(&self, table: &QualifiedName, call: &PlacementCall) -> Result<DistributionId, Fault> {
        let topology = &self.view.topology;
        if let Some(name) = &call.colocate_with {
            let other = self.table_named(name)?;
            return match topology.rule(&other) {
                Some(TableRule::Sharded { distribution, .. }) => Ok(*distribution),
                Some(TableRule::Reference) | None => Err(Fault::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("table \"{}\" is not sharded", other.name),
                )
                .hint("Name a sharded table, or a distribution.")),
            };
        }
        let known = || {
            let known = topology.distributions.iter().filter(|distribution| distribution.schemas.is_none());
            known.map(|known| {
                let types: Vec<&str> = known.key_types.iter().map(|of| of.name()).collect();
                format!("{} ({})", known.name, types.join(", "))
            })
        };
        let listed = |fault: Fault| match known().collect::<Vec<_>>() {
            names if names.is_empty() => {
                fault.hint("Add a distribution to the configuration: [[databases.NAME.distributions]].")
            }
            names => fault.detail(format!("There are: {}.", names.join("; "))),
        };
        if let Some(name) = &call.distribution {
            let found = topology.distribution_named(name).filter(|id| topology.distribution(*id).schemas.is_none());
            let missing = || Fault::new(SqlState::UNDEFINED_OBJECT, format!("distribution \"{name}\" does not exist"));
            return found.ok_or_else(|| listed(missing()));
        }
        let types: Option<Vec<u32>> = self.view.catalog.table(table).and_then(|table| {
            call.columns.iter().map(|name| table.column(name).map(|(_, column)| column.type_oid)).collect()
        });
        let fits = |id: &DistributionId| {
            let distribution = topology.distribution(*id);
            let theirs: Vec<u32> = distribution.key_types.iter().map(|of| of.oid()).collect();
            distribution.schemas.is_none() && types.as_ref().is_none_or(|types| *types == theirs)
        };
        let all = (0..topology.distributions.len()).filter_map(|at| u16::try_from(at).ok().map(DistributionId));
        match &all.filter(fits).collect::<Vec<_>>()[..] {
            [one] => Ok(*one),
            [] => Err(listed(Fault::new(
                SqlState::UNDEFINED_OBJECT,
                format!("no distribution fits the columns of table \"{}\"", table.name),
            ))),
            _ => Err(listed(Fault::new(SqlState::INVALID_PARAMETER_VALUE, "several distributions fit"))
                .hint("Name one: distribution => 'name', or colocate_with => 'table'.")),
        }
    }

    /// `42501` for everybody but the table's owner. A rule whose table was dropped may be forgotten by anybody.
    async fn check_owner(&mut self, wanted: &Move) -> Result<(), Failure> {
        let table = &wanted.table;
        let home = self.view.topology.home;
        let at = self.enlist(home).await?;
        let owns = self.held[at]
            .server
            .query(&format!(
                "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}",
                quote_literal(&table.schema),
                quote_literal(&table.name)
            ))
            .await;
        self.release_idle();
        let owns = owns?;
        match owns.first().and_then(|row| row.first()?.as_deref()) {
            Some("t") => Ok(()),
            Some(_) => {
                let message = format!("must be owner of table {}", table.name);
                Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into())
            }
            None if wanted.from != Target::Home => Ok(()),
            None => {
                let message = format!("relation \"{}\" does not exist", table.name);
                Err(Fault::new(SqlState::UNDEFINED_TABLE, message).into())
            }
        }
    }
}

fn unreadable(function: &str, wrong: &'static str) -> Fault {
    Fault::unsupported(
        format!("this form of {function} is not supported"),
        wrong,
        "SELECT pgloom.distribute('table', 'column'), SELECT pgloom.reference('table') and SELECT pgloom.undistribute('table') are statements of their own.",
    )
}

/// The text with the values of its parameters in it.
pub(super) fn bound(
    statement: &ClientStatement,
    query: &PlacementQuery,
    values: &BindValues<'_>,
) -> Result<Arc<str>, Fault> {
    if query.parameters == 0 {
        return Ok(Arc::clone(&statement.text));
    }
    let mut texts = Vec::new();
    for index in 0..usize::from(query.parameters) {
        texts.push(match values.get(index) {
            // Text is the same in both formats.
            Some((_, Some(bytes))) => quote_literal(utf8(bytes)?),
            Some((_, None)) | None => "NULL".to_owned(),
        });
    }
    let bound = placement_bound(&statement.text, &texts);
    bound.map(Arc::from).ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "parameters were not found in a call"))
}
