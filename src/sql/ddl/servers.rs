//! Definitions that a server has once, for all its databases: roles, and what is granted to them beside the objects of a database. Shards
//! can be databases of one server, which then gets the statement once.

use crate::fault::Fault;
use crate::ids::ShardId;
use crate::sql::ddl::places::Belongs;
use crate::sql::ddl::{Definition, unsupported};
use crate::topology::Topology;

impl Definition<'_, '_> {
    /// Whether the statement is about what a server has once. The words stand at its beginning.
    pub(super) fn is_of_servers(&self) -> bool {
        let words = &self.words;
        let verb = ["create", "alter", "drop"].iter().any(|verb| words.is(0, verb));
        let is_role = |at: usize| {
            words.is(at, "role") || words.is(at, "group") || words.is(at, "user") && !words.is(at + 1, "mapping")
        };
        if verb {
            return is_role(1);
        }
        if words.is(0, "comment") {
            return words.is(1, "on") && words.is(2, "role");
        }
        if words.is(0, "security") {
            return (2..words.len()).any(|at| words.is(at, "on") && words.is(at + 1, "role"));
        }
        let grants = words.is(0, "grant") || words.is(0, "revoke");
        // Without ON it is a role that is granted.
        let on = (1..words.len()).find(|at| words.is(*at, "on"));
        grants && on.is_none_or(|at| words.is(at + 1, "parameter"))
    }

    pub(super) fn on_servers(&mut self) -> Result<Belongs, Fault> {
        let topology = self.of.scope.topology;
        let words = &self.words;
        let database = (0..words.len()).find(|at| words.is(*at, "in") && words.is(at + 1, "database"));
        if let Some(name) = database.and_then(|at| words.name_at(at + 2)) {
            let mut servers = topology.shards.iter().flat_map(|shard| &shard.servers);
            let same = servers.all(|server| *server.dbname == *name);
            if !same {
                return Err(unsupported(
                    format!("settings of a role in database \"{name}\""),
                    "a shard's database has another name",
                )
                .hint("Leave IN DATABASE out, or run the command on each shard directly."));
            }
        }
        let servers = one_of_each_server(topology);
        if servers.len() == topology.shards.len() {
            return Ok(Belongs::EVERYWHERE);
        }
        Ok(Belongs::Each(servers.into_iter().map(|shard| (shard, self.text.to_owned())).collect()))
    }
}

/// One shard of each server: the home shard, and the first of the others. Shards on one primary share its replicas as well.
pub(super) fn one_of_each_server(topology: &Topology) -> Vec<ShardId> {
    let addresses = |shard: ShardId| topology.shard(shard).servers.iter().map(|server| (&server.host, server.port));
    let share = |one: ShardId, other: ShardId| addresses(one).any(|address| addresses(other).any(|its| its == address));
    let others = topology.all_shards();
    let mut found: Vec<ShardId> = vec![topology.home];
    for shard in others.iter().filter(|shard| *shard != topology.home) {
        if !found.iter().any(|other| share(*other, shard)) {
            found.push(shard);
        }
    }
    found
}
