//! Definitions that a server has once, for all its databases: roles, and what is granted to them beside the objects of a database. Shards
//! can be databases of one server, which then gets the statement once.

use crate::fault::Fault;
use crate::ids::ShardId;
use crate::sql::ddl::places::Belongs;
use crate::sql::ddl::{Definition, unsupported};
use crate::topology::{Role, Server};

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
            let primary =
                |shard: &crate::topology::Shard| shard.servers.iter().find(|server| is_primary(server)).cloned();
            let same = topology.shards.iter().filter_map(primary).all(|server| *server.dbname == *name);
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

fn is_primary(server: &Server) -> bool {
    server.role == Role::Primary
}

/// One shard of each server: the home shard, and the first of the others.
fn one_of_each_server(topology: &crate::topology::Topology) -> Vec<ShardId> {
    let address = |shard: ShardId| {
        let primary = topology.shard(shard).servers.iter().find(|server| is_primary(server));
        primary.map(|server| (&server.host, server.port))
    };
    let others = topology.all_shards();
    let mut found: Vec<ShardId> = vec![topology.home];
    for shard in others.iter().filter(|shard| *shard != topology.home) {
        let known = address(shard).is_some() && found.iter().any(|other| address(*other) == address(shard));
        if !known {
            found.push(shard);
        }
    }
    found
}
