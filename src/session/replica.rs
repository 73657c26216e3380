//! Reads that replicas answer: which statements may, which server is asked, and what is done when it does not answer.
//!
//! A statement goes to a replica where the client, the user or the configuration asks for it, if it provably only reads, and what it reads
//! cannot be moved to other shards by SQL: a replica that lags knows nothing of the fence (see [`crate::backend::rules`]). It goes by
//! itself, or with a whole READ ONLY transaction, which reads from one server of each shard.

use std::time::Instant;

use smallvec::SmallVec;

use crate::backend::breakers::chance;
use crate::backend::connector::Aim;
use crate::backend::servers::{Freshness, score};
use crate::backend::turns::Place;
use crate::config::ReadPreference;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::session::held::{Finishing, Held, Unlent};
use crate::session::transaction::TxState;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::utility::StatementKind;

/// The setting of the session.
pub(super) const SETTING: &str = "pgloom.read_preference";

/// Which servers of a shard a statement may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Servers {
    Primaries,
    /// Replicas that are fresh enough, else the primary.
    Replicas,
}

impl Session {
    /// What the client asks for now.
    pub(super) fn read_preference(&self) -> Option<ReadPreference> {
        let settings = self.tx.with_locals(&self.settings);
        settings.get(SETTING).map_or_else(|| Some(self.database.prefers(&self.user)), preference)
    }

    /// The same for the statement at hand.
    fn wanted_servers(&self) -> Option<ReadPreference> {
        self.hint.or_else(|| self.read_preference())
    }

    /// On which servers a statement that begins now may run; in a READ ONLY transaction, it and all that follow.
    ///
    /// # Errors
    /// `0A000` where its transaction reads from replicas, and it cannot.
    pub(super) fn servers_for(&mut self, analysis: &Analysis) -> Result<Servers, Fault> {
        if !self.pools.has_replicas() {
            return Ok(Servers::Primaries);
        }
        if self.asks_primaries && self.tx.on_replicas.is_none() {
            return Ok(Servers::Primaries);
        }
        let may = |session: &Self| {
            analysis.on_replicas
                && session.wanted_servers().is_some_and(|wanted| wanted != ReadPreference::Primary)
                && !is_serializable(session.settings.get("default_transaction_isolation"))
        };
        match self.tx.state {
            TxState::None if may(self) && self.held.iter().all(|held| held.is_replica()) => Ok(Servers::Replicas),
            TxState::None | TxState::Implicit | TxState::Failed => Ok(Servers::Primaries),
            TxState::Block => match self.tx.on_replicas {
                None if self.tx.is_read_only() && may(self) && self.held.is_empty() => {
                    self.tx.on_replicas = Some(true);
                    Ok(Servers::Replicas)
                }
                None | Some(false) => Ok(Servers::Primaries),
                Some(true)
                    if analysis.on_replicas
                        || analysis.is_refused_read_only
                        || matches!(analysis.kind, StatementKind::Show(_)) =>
                {
                    Ok(Servers::Replicas)
                }
                Some(true) => Err(Fault::unsupported(
                    "the statement is not supported in a transaction that reads from replicas",
                    "Whether a replica would answer it as the primary does is not known: it may do more than read, or names more than tables whose placement is the configuration's.",
                    "SET pgloom.read_preference = 'primary' before the transaction begins.",
                )),
            },
        }
    }

    /// Whether the statement may run in the transaction, if there is one that reads from replicas, or is to from now on. One that only
    /// the primaries can run takes the transaction there, where its statements need not see one moment.
    ///
    /// # Errors
    /// As [`Self::servers_for`].
    pub(super) async fn check_replicas(&mut self, analysis: &Analysis) -> Result<(), Failure> {
        if !self.tx.in_block() {
            return Ok(());
        }
        let Err(refused) = self.servers_for(analysis) else { return Ok(()) };
        if self.leave_replicas().await? { Ok(()) } else { Err(refused.into()) }
    }

    /// Lets a READ ONLY transaction go on on the primaries, which have all that the replicas had. False: it has to stay where it is,
    /// for its snapshot or for what it has open there.
    async fn leave_replicas(&mut self) -> Result<bool, Failure> {
        let stays = |held: &Held| held.pin.is_some() || held.finishing != Finishing::No;
        if self.tx.has_failed()
            || !self.cursors.is_empty()
            || self.statements.has_portals()
            || self.held.iter().any(stays)
        {
            return Ok(false);
        }
        self.settle_parse().await?;
        self.leave_open().await?;
        let shard = self.shard_of_time();
        let Some(at) = self.held.position(shard) else { return Ok(false) };
        let level = self.ask_held(at, "SHOW transaction_isolation").await?;
        if !matches!(&level[..], [row] if matches!(row[..], [Some(ref level)] if level.starts_with("read "))) {
            return Ok(false);
        }
        if self.tx.time.is_none() {
            self.moment_at(at, shard).await?;
        }
        self.end_readers().await?;
        self.tx.leave_replicas();
        Ok(true)
    }

    /// On which servers the open transaction runs; outside of one, those that everything may run on.
    pub(super) fn servers_of_transaction(&self) -> Servers {
        match self.tx.on_replicas {
            Some(true) => Servers::Replicas,
            Some(false) | None => Servers::Primaries,
        }
    }

    /// Connections to all these shards at once, none of which the session holds.
    pub(super) async fn hold_all(&mut self, shards: &[ShardId], servers: Servers) -> Result<(), Failure> {
        let mut without: SmallVec<[Place; 2]> = SmallVec::new();
        loop {
            let places: SmallVec<[Place; 4]> =
                shards.iter().map(|shard| self.choose(*shard, servers, &without)).collect();
            match self.try_checkout(&places).await {
                Ok(lent) => {
                    for (shard, server) in shards.iter().zip(lent) {
                        self.hold(*shard, server);
                    }
                    return Ok(());
                }
                // Nothing was sent: another one will do.
                Err(Unlent::Connect(place, fault)) => match &self.pools.at(place).connector.aim {
                    Aim::Replica(of, _) => {
                        of.doubt();
                        self.shared.metrics.retry("replica");
                        without.push(place);
                    }
                    Aim::One(_) | Aim::Primary(_) => return Err(fault.into()),
                },
                Err(Unlent::Failure(failure)) => return Err(failure),
            }
        }
    }

    /// The pool of the server that is asked.
    fn choose(&self, shard: ShardId, servers: Servers, without: &[Place]) -> Place {
        self.able(shard, servers, without).unwrap_or(self.pools.pool(shard).place())
    }

    /// That of one that may be read, which the primary is only to `nearest`: taken by lot, with the more of a chance the sooner an answer is
    /// to be expected.
    pub(super) fn able(&self, shard: ShardId, servers: Servers, without: &[Place]) -> Option<Place> {
        let primary = self.pools.pool(shard);
        let of = primary.connector.aim.several().filter(|_| servers == Servers::Replicas)?;
        let needs = Freshness {
            longest: self.limits.max_replica_lag,
            bytes: self.limits.max_replica_lag_bytes,
            // What the router plans by, and what the session has written, is there.
            since: self.wrote_at.map_or(self.view.since, |wrote| wrote.max(self.view.since)),
        };
        let nearest = self.wanted_servers() == Some(ReadPreference::Nearest);
        let mut able: SmallVec<[(Place, f64); 4]> = SmallVec::new();
        for (at, member) in of.readable(&needs, Instant::now()) {
            let pool = self.pools.replica(shard, at).filter(|pool| !without.contains(&pool.place()));
            able.extend(pool.map(|pool| (pool.place(), score(member, pool))));
        }
        if nearest && of.has_answering_primary() && !without.contains(&primary.place()) {
            able.extend(of.primary().map(|member| (primary.place(), score(member, primary))));
        }
        let chances: f64 = able.iter().map(|(_, score)| 1.0 / score).sum();
        let mut lot = chance() * chances;
        let chosen = able.iter().find(|(_, score)| {
            lot -= 1.0 / score;
            lot <= 0.0
        });
        chosen.or(able.last()).map(|(place, _)| *place)
    }

    /// Ends what a pipeline has on a replica, where it goes on on the primary: it was a read of its own.
    pub(super) async fn leave_replica(&mut self) -> Result<(), Failure> {
        let reads = self.open_at().is_some_and(|at| self.held[at].is_replica());
        if reads && !self.tx.is_open() { self.leave_open().await } else { Ok(()) }
    }

    /// The end of a message: what it has written is to be seen by the session's next reads.
    pub(super) fn note_written(&mut self) {
        if self.wrote && !self.tx.is_open() {
            self.wrote = false;
            if self.limits.read_your_writes && self.pools.has_replicas() {
                self.wrote_at = Some(Instant::now());
            }
        }
    }
}

/// The value of the setting, as it is written in SQL.
pub(super) fn preference(value: &str) -> Option<ReadPreference> {
    let word = value.trim().trim_matches(['\'', '"']);
    ReadPreference::ALL.into_iter().find(|known| known.word().eq_ignore_ascii_case(word))
}

/// Postgres's own words for a value that the setting does not take.
pub(super) fn check_preference(value: &str) -> Result<(), Fault> {
    if preference(value).is_some() {
        return Ok(());
    }
    let value = value.trim().trim_matches('\'');
    Err(Fault::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{SETTING}\": \"{value}\""),
    )
    .hint("Available values: primary, replica, nearest."))
}

fn is_serializable(isolation: Option<&str>) -> bool {
    isolation.is_some_and(|isolation| isolation.to_ascii_lowercase().contains("serializable"))
}
