//! Who is connected, on both sides: CLIENTS, SERVERS, SOCKETS, FDS, USERS, LISTS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::pools::{PoolAt, mode, pools_of};
use super::{ClientView, Look, flag, moment, parts, text};
use crate::backend::cancel::CancelHandle;
use crate::backend::pool::MemberState;

/// The name of a client or of a server connection, to be found in a `link`.
fn client_name(id: u32) -> String {
    format!("c{id}")
}

fn server_name(id: u64) -> String {
    format!("s{id}")
}

impl Look<'_> {
    pub(super) fn clients(&self) -> Vec<Vec<Option<String>>> {
        self.clients.iter().map(client_row).collect()
    }

    pub(super) fn servers(&self) -> Vec<Vec<Option<String>>> {
        let pairs = self.clients.iter().flat_map(|client| client.servers.iter().map(move |id| (*id, client)));
        let by_server: HashMap<u64, &ClientView> = pairs.collect();
        let mut rows = Vec::new();
        for seen in &self.databases {
            for (user, pools) in self.users_pools(seen) {
                for PoolAt { pool, shard, role } in pools_of(seen, &pools) {
                    let retired = pool.retired();
                    for (member, state) in pool.members() {
                        let client = by_server.get(&member.facts.id).copied();
                        let address = pool.connector.address();
                        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
                        let ends = retired.is_some_and(|before| member.facts.connected.0 < before);
                        let mut row = vec![text("S"), text(&user), text(&seen.database.name)];
                        row.extend(server_cells(&member, state, client, port, ends));
                        row.extend([text(&shard), text(role)]);
                        rows.push(row);
                    }
                }
            }
        }
        rows
    }

    /// Both sides; or only what is at work.
    pub(super) fn sockets(&self, active: bool) -> Vec<Vec<Option<String>>> {
        const STATE: usize = 4;
        const SHARD: usize = 21;
        let none = || vec![text(0); 6];
        let clients = self.clients.iter().map(|client| {
            let mut row = client_row(client);
            row.extend(none());
            row.extend([text(i32::try_from(client.unsent).unwrap_or(i32::MAX)), None, None]);
            row
        });
        let servers = self.servers().into_iter().map(|mut row| {
            let of_shard = row.split_off(SHARD);
            row.extend(none());
            row.push(text(0));
            row.extend(of_shard);
            row
        });
        let rests = |row: &Vec<Option<String>>| matches!(row[STATE].as_deref(), Some("idle" | "used"));
        clients.chain(servers).filter(|row| !(active && rests(row))).collect()
    }

    /// The sockets of SOCKETS by their numbers in this process.
    pub(super) fn fds(&self) -> Vec<Vec<Option<String>>> {
        let mut servers = HashMap::new();
        let mut server_rows = Vec::new();
        let linked: HashMap<u64, RawFd> =
            self.clients.iter().flat_map(|client| client.servers.iter().map(move |id| (*id, client.fd))).collect();
        for seen in &self.databases {
            for (user, pools) in self.users_pools(seen) {
                for PoolAt { pool, .. } in pools_of(seen, &pools) {
                    for (member, _) in pool.members() {
                        let facts = &member.facts;
                        let Some(fd) = facts.fd else { continue };
                        servers.insert(facts.id, fd);
                        let link = linked.get(&facts.id).copied().unwrap_or_default();
                        server_rows.push(fd_row(fd, "server", (&*user, &*seen.database.name), facts.peer, link));
                    }
                }
            }
        }
        let client_rows = self.clients.iter().map(|client| {
            let link = client.servers.iter().find_map(|id| servers.get(id)).copied().unwrap_or_default();
            fd_row(client.fd, "client", (&*client.user, &*client.database), client.peer, link)
        });
        client_rows.chain(server_rows).collect()
    }

    pub(super) fn users(&self) -> Vec<Vec<Option<String>>> {
        let mut connections: HashMap<Box<str>, usize> = HashMap::new();
        for seen in &self.databases {
            for (user, pools) in seen.database.all_pools() {
                let own: usize = pools.all().iter().map(|pool| pool.members().len()).sum();
                *connections.entry(user).or_default() += own;
            }
        }
        let rows = self.users.iter().map(|user| {
            let clients = self.clients.iter().filter(|client| *client.user == *user.name).count();
            let own = connections.get(&user.name).copied().unwrap_or_default();
            vec![
                text(&user.name),
                text(user.pool_size.map(|size| size.to_string()).unwrap_or_default()),
                text(""),
                user.session_mode.and_then(|session| text(mode(session))),
                text(0),
                text(own),
                text(user.max_clients),
                text(clients),
                user.console.and_then(|access| text(access.label())),
            ]
        });
        rows.collect()
    }

    pub(super) fn lists(&self) -> Vec<Vec<Option<String>>> {
        let pools: Vec<_> = self.databases.iter().flat_map(|seen| seen.database.all_pools()).collect();
        let servers = pools.iter().flat_map(|(_, pools)| pools.all()).map(|pool| pool.members().len()).sum();
        let lists = [
            ("databases", self.databases.len()),
            ("users", self.users.len()),
            ("pools", pools.len()),
            ("free_clients", 0),
            ("used_clients", self.clients.len()),
            ("login_clients", self.knocking),
            ("free_servers", 0),
            ("used_servers", servers),
            ("peers", self.peers.len()),
            ("peer_pools", self.peer_pools().len()),
            ("dns_names", self.dns_hosts().len()),
            ("dns_zones", 0),
            ("dns_queries", 0),
            ("dns_pending", 0),
        ];
        lists.map(|(list, items)| vec![text(list), text(items)]).to_vec()
    }
}

/// What PgBouncer has behind `link` (settings of the session, and secrets) is told of no socket.
fn fd_row(fd: RawFd, task: &str, of: (&str, &str), peer: Option<SocketAddr>, link: RawFd) -> Vec<Option<String>> {
    const NOT_TOLD: usize = 7;
    let (user, database) = of;
    let address = peer.map_or_else(|| "unix".to_owned(), |peer| peer.ip().to_canonical().to_string());
    let port = peer.map_or(0, |peer| peer.port());
    let mut row = vec![text(fd), text(task), text(user), text(database), text(address), text(port), None, text(link)];
    row.extend(std::iter::repeat_n(None, NOT_TOLD));
    row
}

fn client_row(client: &ClientView) -> Vec<Option<String>> {
    let state = match (client.waited, client.servers.is_empty()) {
        (Some(_), _) => "waiting",
        (None, false) => "active",
        (None, true) => "idle",
    };
    let links: Vec<String> = client.servers.iter().map(|id| server_name(*id)).collect();
    let mut row = vec![text("C"), text(&client.user), text(&client.database), text("none"), text(state)];
    for address in [client.peer, client.local] {
        row.push(text(address.map(|address| address.ip().to_canonical().to_string()).unwrap_or_default()));
        row.push(text(address.map_or(0, |address| address.port())));
    }
    row.extend([text(moment(client.connected)), client.request.map(moment)]);
    row.extend(parts(client.waited.unwrap_or_default()));
    row.extend([flag(client.to_be_closed), text(client_name(client.id)), text(links.join(",")), text(0)]);
    row.extend([text(&client.tls), text(&client.application), text(client.prepared), text(client.id)]);
    row
}

/// From `replication` to `id`.
fn server_cells(
    member: &CancelHandle,
    state: MemberState,
    client: Option<&ClientView>,
    port: u16,
    ends: bool,
) -> Vec<Option<String>> {
    let facts = &member.facts;
    let state = match state {
        MemberState::Active => "active",
        MemberState::BeingCanceled => "being_canceled",
        MemberState::Idle => "idle",
        MemberState::Used => "used",
    };
    let host = |address: std::net::SocketAddr| address.ip().to_canonical().to_string();
    let mut cells = vec![text("none"), text(state)];
    cells.push(text(facts.peer.map_or_else(|| "unix".to_owned(), host)));
    cells.push(text(facts.peer.map_or(port, |peer| peer.port())));
    cells.push(text(facts.local.map_or_else(|| "unix".to_owned(), host)));
    cells.push(text(facts.local.map_or(0, |local| local.port())));
    cells.extend([text(moment(facts.connected.1)), client.and_then(|client| client.request).map(moment)]);
    cells.extend([text(0), text(0), flag(ends)]);
    cells.push(text(server_name(facts.id)));
    cells.push(text(client.map(|client| client_name(client.id)).unwrap_or_default()));
    cells.extend([text(member.key.pid), text(&facts.tls)]);
    let application = client.map_or("pgloom", |client| &client.application);
    cells.extend([text(application), text(facts.prepared()), text(facts.id)]);
    cells
}
