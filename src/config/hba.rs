//! `Hba`: who may come in from where, and how it proves who it is. A file in the format of Postgres's pg_hba.conf; the first entry that fits counts.

mod address;
mod parse;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod words;

use std::net::IpAddr;

pub use address::Network;
pub(in crate::config) use parse::no_pattern;

/// What is wrong with a line of such a file, from 1.
pub type LineError = (u32, String);

/// The entries, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hba {
    entries: Vec<Entry>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: u32,
    encryption: Encryption,
    databases: Vec<Databases>,
    users: Vec<Users>,
    network: Network,
    pub method: HbaMethod,
    pub certificate: CertificateRule,
    /// The map of the ident file by which the name in a certificate becomes that of a user.
    pub map: Option<Box<str>>,
}

/// Which connections an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    Any,
    Tls,
    Plain,
    /// A Unix socket, or GSSAPI encryption, which nobody has here.
    Nobody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Databases {
    All,
    /// The one that is called like the user.
    SameUser,
    /// Replication connections, which are refused in any case.
    Replication,
    Named(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Users {
    All,
    Named(Box<str>),
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HbaMethod {
    Trust,
    Reject,
    Md5,
    ScramSha256,
    Cert,
}

/// What is asked of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRule {
    /// Nothing.
    Any,
    /// One that an authority of ours has signed.
    Verified,
    /// And that is for the user.
    OfUser,
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    pub database: &'a str,
    pub user: &'a str,
    pub from: IpAddr,
    pub tls: bool,
}

impl Hba {
    /// # Errors
    /// All that is wrong, with the lines.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        parse::entries(text).map(|entries| Self { entries })
    }

    /// Everybody over TLS, each by a certificate for the user.
    pub fn by_certificates() -> Self {
        let entry = Entry {
            line: 0,
            encryption: Encryption::Tls,
            databases: vec![Databases::All],
            users: vec![Users::All],
            network: Network::All,
            method: HbaMethod::Cert,
            certificate: CertificateRule::OfUser,
            map: None,
        };
        Self { entries: vec![entry] }
    }

    /// The entry that counts for somebody.
    pub fn first(&self, knock: &Knock<'_>) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.fits(knock))
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether some entry asks for a client's certificate.
    pub fn wants_certificates(&self) -> bool {
        self.entries.iter().any(|entry| entry.certificate != CertificateRule::Any)
    }
}

impl Entry {
    fn fits(&self, knock: &Knock<'_>) -> bool {
        let encrypted = match self.encryption {
            Encryption::Any => true,
            Encryption::Tls => knock.tls,
            Encryption::Plain => !knock.tls,
            Encryption::Nobody => false,
        };
        let database = |database: &Databases| match database {
            Databases::All => true,
            Databases::SameUser => knock.database == knock.user,
            Databases::Replication => false,
            Databases::Named(name) => **name == *knock.database,
        };
        let user = |user: &Users| match user {
            Users::All => true,
            Users::Named(name) => **name == *knock.user,
        };
        encrypted
            && self.databases.iter().any(database)
            && self.users.iter().any(user)
            && self.network.contains(knock.from)
    }

    /// Whether it is about connections with TLS alone.
    pub fn needs_tls(&self) -> bool {
        self.encryption == Encryption::Tls
    }

    /// Whether it lets anybody in without a proof, from other machines too.
    pub fn trusts_strangers(&self) -> bool {
        self.method == HbaMethod::Trust && self.encryption != Encryption::Nobody && !self.network.is_loopback()
    }
}
