//! What two-phase commits have prepared on the shards now, for those who look: `SHOW pgloom.transactions` and `pgloom txn list`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::backend::cluster::Database;
use crate::commit::Gid;
use crate::commit::decision::verdict;
use crate::control::resolver::by_tag;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::topology::Topology;

/// What the anchor's row says of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Committed,
    RolledBack,
    /// There is no row: the transaction is being committed, or its router is gone.
    None,
    /// The anchor cannot be asked, or is not in the configuration.
    Unknown,
}

impl Decision {
    pub fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// One part that is prepared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prepared {
    /// As in pg_prepared_xacts of its shard.
    pub gid: String,
    pub shard: String,
    pub database: String,
    /// Who prepared it.
    pub owner: String,
    pub age_seconds: f64,
    /// The shard that decides.
    pub anchor: String,
    pub decision: Decision,
}

/// What was found, oldest first, and who could not be asked.
#[derive(Debug, Default)]
pub struct Listing {
    pub prepared: Vec<Prepared>,
    pub failed: Vec<(String, Fault)>,
}

/// Asks every shard, all at once.
pub async fn list(database: &Arc<Database>) -> Listing {
    let topology = Arc::clone(&database.cluster.load().topology);
    let shards = (0..topology.shards.len()).map(|at| ShardId(at as u16));
    let asked = shards.map(|shard| {
        let topology = &topology;
        async move { (shard, parts(database, topology, shard).await) }
    });
    let mut listing = Listing::default();
    let mut of_anchor: BTreeMap<ShardId, Vec<Gid>> = BTreeMap::new();
    for (shard, found) in futures::future::join_all(asked).await {
        match found {
            Ok(parts) => {
                for (prepared, gid) in parts {
                    listing.prepared.push(prepared);
                    if let Some(anchor) = by_tag(&topology, &gid.anchor) {
                        of_anchor.entry(anchor).or_default().push(gid);
                    }
                }
            }
            Err(fault) => listing.failed.push((topology.shard(shard).name.to_string(), fault)),
        }
    }
    let asked = of_anchor.iter().map(|(anchor, gids)| decisions(database, &topology, *anchor, gids));
    let mut known: HashMap<String, Decision> = HashMap::new();
    for (asked, found) in of_anchor.iter().zip(futures::future::join_all(asked).await) {
        match found {
            Ok(decisions) => {
                known.extend(asked.1.iter().map(|gid| (gid.to_string(), Decision::None)));
                known.extend(decisions);
            }
            Err(fault) => {
                let name = topology.shard(*asked.0).name.to_string();
                if !listing.failed.iter().any(|(failed, _)| *failed == name) {
                    listing.failed.push((name, fault));
                }
            }
        }
    }
    for part in &mut listing.prepared {
        let gid = Gid::parse(&part.gid).map(|(gid, _)| gid.to_string());
        part.decision = gid.and_then(|gid| known.get(&gid).copied()).unwrap_or(Decision::Unknown);
    }
    listing.prepared.sort_by(|a, b| b.age_seconds.total_cmp(&a.age_seconds).then_with(|| a.gid.cmp(&b.gid)));
    listing
}

async fn parts(database: &Database, topology: &Topology, shard: ShardId) -> Result<Vec<(Prepared, Gid)>, Fault> {
    let mut server = super::connect_as(database, topology, shard, &database.own).await?;
    let rows = server
        .query(&format!(
            "SELECT gid, owner, extract(epoch FROM pg_catalog.clock_timestamp() - prepared) \
             FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() \
             AND pg_catalog.starts_with(gid, '{}')",
            Gid::prefix_of(&database.name)
        ))
        .await?;
    let parts = rows.into_iter().filter_map(|row| {
        let [Some(name), Some(owner), Some(age)] = <[Option<String>; 3]>::try_from(row).ok()? else { return None };
        let (gid, _) = Gid::parse(&name)?;
        let anchor = by_tag(topology, &gid.anchor).map_or(gid.anchor.clone(), |id| topology.shard(id).name.to_string());
        let part = Prepared {
            gid: name,
            shard: topology.shard(shard).name.to_string(),
            database: database.name.to_string(),
            owner,
            age_seconds: age.parse().unwrap_or(0.0),
            anchor,
            decision: Decision::Unknown,
        };
        Some((part, gid))
    });
    Ok(parts.collect())
}

async fn decisions(
    database: &Database,
    topology: &Topology,
    anchor: ShardId,
    gids: &[Gid],
) -> Result<Vec<(String, Decision)>, Fault> {
    let mut server = super::connect_as(database, topology, anchor, &database.own).await?;
    let asks: Vec<String> = gids.iter().map(verdict).collect();
    let rows = server.query(&asks.join(" UNION ALL ")).await?;
    let decisions = rows.into_iter().filter_map(|row| match <[Option<String>; 2]>::try_from(row).ok()? {
        [Some(committed), Some(gid)] if committed == "t" => Some((gid, Decision::Committed)),
        [Some(_), Some(gid)] => Some((gid, Decision::RolledBack)),
        _ => None,
    });
    Ok(decisions.collect())
}
