//! The catalog as the open transaction sees it: what its own DDL has made is there for its later statements.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::cluster::Cluster;
use crate::backend::settings::quote_literal;
use crate::catalog::Catalog;
use crate::catalog::numbers::{Numbered, Numbers};
use crate::control::catalog;
use crate::control::numbers::read_within;
use crate::fault::Fault;
use crate::ids::{ShardId, ShardSet};
use crate::session::{Failure, Session};
use crate::sql::Analysis;

/// Generations of catalogs that one transaction alone sees: beyond all others, and none is used twice.
static GENERATION: AtomicU64 = AtomicU64::new(OWN);
const OWN: u64 = 1 << 63;

/// Whether one transaction alone sees this catalog.
pub(super) fn is_own(catalog: &Catalog) -> bool {
    catalog.generation >= OWN
}

/// Names mean what `pg_catalog` says while the catalog is read, and what the client says afterwards.
pub(super) const BEFORE: &str = "SAVEPOINT pgloom_catalog; SET LOCAL search_path TO ''";
pub(super) const AFTER: &str = "ROLLBACK TO SAVEPOINT pgloom_catalog; RELEASE SAVEPOINT pgloom_catalog";

impl Session {
    /// The catalog is another one in the open transaction, on this shard alone, or wherever the transaction has been.
    pub(super) fn note_unread(&mut self, shard: Option<ShardId>) {
        let home = self.view.topology.home;
        let mut shards = shard.map_or_else(|| self.tx.touched().clone(), ShardSet::one);
        if shard.is_none() {
            shards.insert(home);
        }
        let placed = self.view.topology.places_schemas();
        for shard in shards.iter().filter(|shard| placed || *shard == home) {
            self.batch.unread.insert(shard);
        }
    }

    /// Before a statement is analyzed: what DDL of its own transaction has changed is looked at.
    pub(super) async fn see_own_changes(&mut self) -> Result<(), Failure> {
        if self.batch.unread.is_empty() || !self.tx.is_open() || self.tx.has_failed() {
            return Ok(());
        }
        self.rest_open().await?;
        let shards = std::mem::take(&mut self.batch.unread);
        self.read_own_catalog(&shards).await
    }

    /// What these shards have, as the transaction sees it; of the others, what was known before.
    async fn read_own_catalog(&mut self, shards: &ShardSet) -> Result<(), Failure> {
        let topology = Arc::clone(&self.view.topology);
        let mut parts = Vec::new();
        for shard in shards.iter() {
            let at = self.enlist(shard).await?;
            let server = &mut self.held[at].server;
            let mut readings = 0..catalog::READINGS;
            let part = loop {
                server.query(BEFORE).await?;
                let part = catalog::read_from(server, &topology, shard, &self.database.safe_functions).await;
                match part {
                    Err(fault) if catalog::is_overtaken(&fault) && readings.next().is_some() => {}
                    part => break part?,
                }
                server.query(AFTER).await?;
            };
            server.query(AFTER).await?;
            parts.push((shard, part));
        }
        let read = |schema: &str| topology.place_of_schema(schema).is_some_and(|(_, shard)| shards.contains(shard));
        let mut before = Catalog::clone(&self.view.catalog).without_placed(read);
        if let Some((_, part)) = parts.iter().find(|(shard, _)| *shard == topology.home) {
            self.read_own_numbers(&part.numbered, &mut before).await?;
        }
        let catalog = match parts.iter().position(|(shard, _)| *shard == topology.home) {
            Some(at) => {
                let (home, part) = parts.swap_remove(at);
                Catalog {
                    unread: before.unread.clone(),
                    numbers: before.numbers.clone(),
                    others: before.others.clone(),
                    ..part.with_placed([(home, Some(&before))])
                }
            }
            None => before,
        };
        let catalog = catalog.with_placed(parts.iter().map(|(shard, part)| (*shard, Some(part))));
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        let (catalog, turn) = (Arc::new(Catalog { generation, ..catalog }), self.view.turn);
        self.view = Arc::new(Cluster { topology, catalog, catalog_known: true, turn, since: self.view.since });
        Ok(())
    }

    /// What the shards of the transaction have, with what it has made there, and how they number it.
    async fn read_own_numbers(&mut self, of_home: &Numbered, known: &mut Catalog) -> Result<(), Failure> {
        if *of_home == *self.view.catalog.numbered {
            return Ok(());
        }
        let home = self.view.topology.home;
        let others: Vec<ShardId> = self.tx.touched().iter().filter(|of| *of != home && !of.is_combine()).collect();
        for shard in &others {
            self.enlist(*shard).await?;
        }
        let reads = self.held.select(&others).into_iter().map(|(shard, server)| async move {
            server.query(BEFORE).await?;
            let read = read_within(server).await;
            server.query(AFTER).await?;
            let read = Arc::new(read?);
            let numbers = Numbers::between(of_home, Some(&read));
            server.numbers.clone_from(&numbers);
            Ok::<_, Fault>((shard, read, numbers))
        });
        for read in futures::future::join_all(reads).await {
            let (shard, read, numbers) = read?;
            known.numbers.retain(|(of, _)| *of != shard);
            known.numbers.extend(numbers.map(|numbers| (shard, numbers)));
            known.others.retain(|(of, _)| *of != shard);
            known.others.push((shard, read));
        }
        Ok(())
    }

    /// The catalog is another one than this: what was known of sequences is so of those that are still there, by whatever name.
    pub(super) fn follow_sequences(&mut self, before: &Catalog) {
        let (before, now) = (&before.numbered.tables, &self.view.catalog.numbered.tables);
        if before.is_empty() || now.is_empty() {
            return;
        }
        self.memory.follow(|sequence, oid| {
            let was = oid.or_else(|| before.get(sequence).map(|was| was.oid));
            match (was, now.get(sequence)) {
                (Some(was), Some(is)) if was == is.oid => Some(sequence.clone()),
                (Some(was), _) => now.iter().find(|(_, is)| is.oid == was).map(|(name, _)| name.clone()),
                (None, _) => Some(sequence.clone()),
            }
        });
    }

    /// The analysis of a statement that writes a distributed table; one that the catalog does not know is looked for once more, because
    /// another router may have made it.
    pub(super) async fn seen(&mut self, text: &str, analysis: Arc<Analysis>) -> Result<Arc<Analysis>, Failure> {
        let mut analysis = self.beside_temporaries(text, analysis).await?;
        if analysis.closed && self.wait_for_moves().await? {
            self.scan_one(text)?;
            analysis = self.analysis(text);
        }
        if analysis.closed || self.tx.has_failed() || !analysis.unseen && !self.is_made_elsewhere(&analysis).await? {
            return Ok(analysis);
        }
        let home = ShardSet::one(self.view.topology.home);
        if self.tx.is_open() {
            self.rest_open().await?;
            self.read_own_catalog(&home).await?;
        } else {
            // Somebody else has made it, on whichever shards.
            catalog::reload(&self.database, false, None).await.map_err(unreadable)?;
            self.refresh_view();
        }
        self.scan_one(text)?;
        let analysis = self.analysis(text);
        // Its rows have begun to move while it was looked for.
        if analysis.closed && self.wait_for_moves().await? {
            self.scan_one(text)?;
            return Ok(self.analysis(text));
        }
        Ok(analysis)
    }
}

impl Session {
    /// Whether the home shard has something of a name that nobody here knows: a partition that counted as a table of the home shard would be
    /// read and written in the wrong place.
    async fn is_made_elsewhere(&mut self, analysis: &Analysis) -> Result<bool, Failure> {
        if analysis.unknown.is_empty() {
            return Ok(false);
        }
        let generation = self.view.catalog.generation;
        if self.temporaries.0 != generation {
            self.temporaries = (generation, HashSet::new());
        }
        let names: Vec<String> = analysis
            .unknown
            .iter()
            .filter(|name| !self.temporaries.1.contains(*name))
            .map(|name| format!("({}, {})", quote_literal(&name.schema), quote_literal(&name.name)))
            .collect();
        if names.is_empty() {
            return Ok(false);
        }
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (n.nspname, c.relname) IN ({}) LIMIT 1",
            names.join(", ")
        );
        let home = self.view.topology.home;
        // What the session's own connection is at is not disturbed, and a transaction there may see an older catalog.
        let found = match self.tx.is_open() || self.batch.open.is_some() {
            true => crate::control::connect(&self.database, home).await?.query(&sql).await?,
            false => self.ask(home, &sql, false).await?,
        };
        if found.is_empty() && self.held.iter().any(|held| held.temporary) {
            self.temporaries.1.extend(analysis.unknown.iter().cloned());
        }
        Ok(!found.is_empty())
    }
}

fn unreadable(fault: Fault) -> Fault {
    fault.hint("The table is not known to the router, which looks for it on the home shard.")
}
