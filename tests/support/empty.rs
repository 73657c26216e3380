//! Databases with nothing in them, for servers that finish statements.

use super::cluster::Server;
use super::raw::Raw;

/// A database of one name on some of the shared servers, dropped with the value. Stop the router before.
#[derive(Debug)]
pub struct Empty(Vec<(Server, String)>);

impl Empty {
    pub fn create(servers: &[&Server], name: &str) -> Self {
        for server in servers {
            server.connect("postgres").must(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        }
        Self(servers.iter().map(|server| ((*server).clone(), name.to_owned())).collect())
    }

    pub fn connect(&self, at: usize) -> Raw {
        self.0[at].0.connect(&self.0[at].1)
    }

    pub fn name(&self, at: usize) -> &str {
        &self.0[at].1
    }

    /// `host:port` of each server.
    pub fn addresses(&self) -> Vec<String> {
        self.0.iter().map(|(server, _)| format!("127.0.0.1:{}", server.port)).collect()
    }

    /// The value of `servers` in `[combine]`.
    pub fn toml(&self) -> String {
        let servers: Vec<String> = self.0.iter().map(|(server, name)| combine_server(server.port, name)).collect();
        format!("[{}]", servers.join(", "))
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        for (server, name) in &self.0 {
            let _ = server.connect("postgres").simple(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// One member of `servers` in `[combine]`.
pub fn combine_server(port: u16, name: &str) -> String {
    format!("{{ host = \"127.0.0.1\", port = {port}, dbname = \"{name}\" }}")
}
