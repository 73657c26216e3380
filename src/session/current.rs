//! A prepared statement under a newer catalog or another search path: what its names mean now, and that its columns are still the same.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::exec::scatter::FIRST_NORMAL_OID;
use crate::fault::{Fault, SqlState};
use crate::ids::Oid;
use crate::session::control::is_local;
use crate::session::prepared::ClientStatement;
use crate::session::{Failure, Session};
use crate::wire::frame::{Fields, HEADER};
use crate::wire::row::read_row_description;

/// Scopes in which a statement was found to have the columns that the client knows.
const REMEMBERED: usize = 64;

/// What was found of one statement, whatever it means from time to time.
#[derive(Debug, Default)]
pub struct Checked(Mutex<Vec<(u64, u64)>>);

impl Checked {
    fn has(&self, scope: (u64, u64)) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&scope)
    }

    fn add(&self, scope: (u64, u64)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.push(scope);
    }
}

impl Session {
    /// The statement of this name as it is to be run now. As in Postgres it is analysed anew when the search path has changed, and
    /// fails if the client knows it with other columns.
    pub(super) async fn current_statement(&mut self, name: &[u8]) -> Result<Arc<ClientStatement>, Failure> {
        let statement = Arc::clone(self.statements.get(name)?);
        let scope = self.scope.names(&self.view, &self.tx, &self.held).fingerprint;
        let newer = statement.generation != self.view.catalog.generation || statement.epoch != self.view.topology.epoch;
        let local = is_local(&statement.analysis.kind);
        if statement.scope == scope && !newer || local {
            return Ok(statement);
        }
        if statement.scope == scope {
            return self.renew(name, &statement);
        }
        if statement.standard_strings != self.scope.standard_strings() && statement.text.contains('\\') {
            return Err(Fault::unsupported(
                "the prepared statement was made under other settings",
                "A backslash in its strings means something else under the settings that the session has now.",
                "Prepare the statement again.",
            )
            .into());
        }
        let renewed = self.renew(name, &statement)?;
        if renewed.names == statement.names && !newer {
            if let Some((parameters, rows)) = statement.described() {
                renewed.set_described(parameters, rows);
            }
            return Ok(renewed);
        }
        match self.check_columns(name, &statement, renewed).await {
            Ok(checked) => Ok(checked),
            Err(failure) => {
                // Under the old search path it is what it was.
                self.statements.replace(name, statement);
                Err(failure)
            }
        }
    }

    /// That the statement has the parameters and columns with which the client knows it.
    async fn check_columns(
        &mut self,
        name: &[u8],
        old: &Arc<ClientStatement>,
        renewed: Arc<ClientStatement>,
    ) -> Result<Arc<ClientStatement>, Failure> {
        let Some((parameters, rows)) = old.described() else {
            // Nobody has been told anything of it, but what its Parse has made of its parameters cannot be known any more.
            return Err(Fault::unsupported(
                "the prepared statement was made under another search_path",
                "Its names mean other tables now, which could have other columns.",
                "Prepare the statement again.",
            )
            .into());
        };
        let types = parameter_types(&parameters)?;
        let fixed = match types.iter().any(|oid| *oid >= FIRST_NORMAL_OID) {
            // The numbers of such types are those of one server.
            true => renewed,
            false => self.with_types(name, &renewed, types),
        };
        let scope = (fixed.scope, fixed.generation);
        if !old.checked.has(scope) {
            self.columns_of(&fixed).await?;
            let same = match fixed.described() {
                Some((_, theirs)) => same_rows(&rows, &theirs)?,
                None => false,
            };
            if !same {
                let message = "cached plan must not change result type";
                return Err(Fault::new(SqlState::FEATURE_NOT_SUPPORTED, message).into());
            }
            old.checked.add(scope);
        }
        fixed.set_described(parameters, rows);
        Ok(fixed)
    }

    /// After the Parse of a named statement, where the search path can lead it elsewhere: its columns are asked for, so that they can
    /// be compared then.
    pub(super) async fn learn_columns(&mut self, name: &[u8], statement: &Arc<ClientStatement>) -> Result<(), Failure> {
        let matters = !name.is_empty()
            && self.view.topology.places_schemas()
            && !is_local(&statement.analysis.kind)
            && !matches!(statement.analysis.kind, crate::sql::utility::StatementKind::Empty);
        if !matters || statement.described().is_some() {
            return Ok(());
        }
        self.settle_parse().await?;
        self.columns_of(statement).await.map(drop)
    }
}

/// The types in a ParameterDescription.
pub(super) fn parameter_types(frame: &Bytes) -> Result<Vec<Oid>, Fault> {
    let mut fields = Fields::new(frame.get(HEADER..).unwrap_or_default());
    Ok((0..fields.count()?).map(|_| fields.u32()).collect::<Result<_, _>>()?)
}

/// Whether two descriptions say the same of every column. Types that users have made are never the same on two servers.
fn same_rows(ours: &Bytes, theirs: &Bytes) -> Result<bool, Fault> {
    let columns = |frame: &Bytes| match frame.first() {
        Some(b'T') => read_row_description(frame.get(HEADER..).unwrap_or_default()).map(Some),
        _ => Ok(None),
    };
    Ok(match (columns(ours)?, columns(theirs)?) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(a, b)| {
                    let users = a.type_oid >= FIRST_NORMAL_OID || b.type_oid >= FIRST_NORMAL_OID;
                    a.name == b.name && a.type_oid == b.type_oid && a.typmod == b.typmod && !users
                })
        }
        _ => false,
    })
}
