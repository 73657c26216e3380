//! Entries of an HBA file, and certificates of clients, as psql meets them.

use std::path::PathBuf;
use std::process::Command;

use crate::support::sharded::config;
use crate::support::{Database, Router};
use crate::tls_files::TlsFiles;
use crate::{assert_says, psql};

const ENTRIES: &str = "# TYPE DATABASE USER ADDRESS METHOD\n\
    local all all peer\n\
    host all banned all reject\n\
    hostssl all ann,nobody all cert\n\
    hostssl all bob 127.0.0.0/8 cert map=staff\n\
    hostssl all both all scram-sha-256 clientcert=verify-full\n\
    hostssl all any all scram-sha-256 clientcert=verify-ca\n\
    hostnossl all plain 127.0.0.1 255.255.255.255 scram-sha-256\n\
    host all old all md5\n\
    host all trusted all trust\n\
    host elsewhere late all trust\n";

struct World {
    router: Router,
    db: Database,
    files: TlsFiles,
    hba: PathBuf,
}

impl World {
    fn create(label: &str) -> Self {
        let db = Database::create(label);
        db.everywhere(
            "CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE parts (id int); CREATE TABLE places (x int)",
        );
        let files = TlsFiles::make_with_clients(&["ann", "robert", "both", "nobody"]);
        let hba = files.write("hba.conf", ENTRIES);
        files.write("ident.conf", "staff robert bob\nstaff ann ann\n");
        let dir = files.dir().display();
        let general = format!(
            "auth_type = \"hba\"\nautoreload = \"100ms\"\nclient_tls_sslmode = \"prefer\"\nclient_tls_cert_file = \"{dir}/server.crt\"\n\
             client_tls_key_file = \"{dir}/server.key\"\nclient_tls_ca_file = \"{dir}/ca.crt\"\n\
             auth_hba_file = \"{dir}/hba.conf\"\nauth_ident_file = \"{dir}/ident.conf\""
        );
        let user = |name: &str| {
            let password = if matches!(name, "ann" | "bob" | "trusted") { "" } else { "password = \"secret\"\n" };
            format!("[[users]]\nname = \"{name}\"\n{password}server_user = \"postgres\"\n")
        };
        let names = ["ann", "bob", "both", "any", "plain", "old", "trusted", "banned", "late"];
        let users: String = names.into_iter().map(user).collect();
        let router = Router::start_with(&config(&db.name, &db.ports(), &general, &users), &[]);
        Self { router, db, files, hba }
    }

    /// `tls`: no encryption, or the name of a client's certificate, or `""`.
    fn log_in(&self, user: &str, password: &str, tls: Option<&str>) -> Result<String, String> {
        let dir = self.files.dir().display();
        let more = match tls {
            None => "sslmode=disable".to_owned(),
            Some("") => format!("sslmode=require sslcert={dir}/none.crt sslkey={dir}/none.key"),
            Some(name) => format!("sslmode=require sslcert={dir}/{name}.crt sslkey={dir}/{name}.key"),
        };
        psql(self.router.port, user, &self.db.name, password, "SELECT 1", &more)
    }

    fn no_entry(&self, user: &str, encryption: &str) -> String {
        format!(
            "no pg_hba.conf entry for host \"127.0.0.1\", user \"{user}\", database \"{}\", {encryption}",
            self.db.name
        )
    }
}

#[test]
fn first_entry_says_who_comes_in_and_how() {
    let world = World::create("hba");
    let good =
        |user, password, tls| assert_eq!(world.log_in(user, password, tls).as_deref(), Ok("1"), "{user} {tls:?}");
    good("plain", "secret", None);
    assert_says(&world.log_in("plain", "wrong", None), "password authentication failed for user \"plain\"");
    assert_says(&world.log_in("plain", "secret", Some("")), &world.no_entry("plain", "SSL encryption"));
    good("old", "secret", None);
    good("old", "secret", Some(""));
    good("trusted", "", None);
    assert_says(
        &world.log_in("banned", "secret", None),
        &format!(
            "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"banned\", database \"{}\", no encryption",
            world.db.name
        ),
    );
    // Whether a user exists is not told by it.
    for user in ["late", "stranger"] {
        assert_says(&world.log_in(user, "secret", None), &world.no_entry(user, "no encryption"));
    }
}

#[test]
fn certificates_are_for_their_users() {
    let world = World::create("hbacert");
    let good =
        |user, password, tls| assert_eq!(world.log_in(user, password, tls).as_deref(), Ok("1"), "{user} {tls:?}");
    let failed = |user: &str| format!("certificate authentication failed for user \"{user}\"");
    good("ann", "", Some("ann"));
    good("bob", "", Some("robert"));
    assert_says(&world.log_in("ann", "", Some("robert")), &failed("ann"));
    assert_says(&world.log_in("bob", "", Some("ann")), &failed("bob"));
    // A certificate for somebody who is no user.
    assert_says(&world.log_in("nobody", "", Some("nobody")), &failed("nobody"));
    for user in ["ann", "nobody", "both", "any"] {
        assert_says(&world.log_in(user, "secret", Some("")), "connection requires a valid client certificate");
    }
    assert_says(&world.log_in("ann", "", None), &world.no_entry("ann", "no encryption"));
    good("both", "secret", Some("both"));
    assert_says(&world.log_in("both", "wrong", Some("both")), "password authentication failed");
    assert_says(&world.log_in("both", "secret", Some("ann")), &failed("both"));
    good("any", "secret", Some("ann"));
    assert_says(&world.log_in("any", "wrong", Some("ann")), "password authentication failed");
    // One that another authority has signed.
    let strangers = TlsFiles::make_with_clients(&["ann"]);
    for name in ["ann.crt", "ann.key"] {
        std::fs::copy(strangers.dir().join(name), world.files.dir().join(name)).unwrap();
    }
    assert!(world.log_in("ann", "", Some("ann")).is_err());
    assert!(world.log_in("any", "secret", Some("ann")).is_err());
}

#[test]
fn every_user_by_certificate() {
    let world = World::create("cert");
    let text = world.router.config_text().replace("auth_type = \"hba\"", "auth_type = \"cert\"");
    let text = text.replace("\"prefer\"", "\"verify-full\"");
    assert_eq!(world.router.reload(&text), "applied");
    assert_eq!(world.log_in("ann", "", Some("ann")).as_deref(), Ok("1"));
    assert_eq!(world.log_in("both", "", Some("both")).as_deref(), Ok("1"));
    assert_says(&world.log_in("bob", "secret", Some("robert")), "certificate authentication failed for user \"bob\"");
    assert!(world.log_in("ann", "", Some("")).is_err(), "TLS demands one");
    assert_says(&world.log_in("plain", "secret", None), "this server requires TLS");
}

#[test]
fn changed_entries_are_read_again_and_broken_ones_are_not_taken() {
    let world = World::create("hbalive");
    assert_says(&world.log_in("late", "secret", None), &world.no_entry("late", "no encryption"));
    let add = |entry: &str| {
        let before = world.router.reloads();
        std::fs::write(&world.hba, format!("{ENTRIES}{entry}\n")).unwrap();
        world.router.next_reload(&before)
    };
    assert_eq!(add("host all late all scram-sha-256"), "applied");
    assert_eq!(world.log_in("late", "secret", None).as_deref(), Ok("1"));
    assert_eq!(add("host all late all ldap"), "rejected");
    assert_eq!(world.log_in("late", "secret", None).as_deref(), Ok("1"));
    assert!(world.router.log_text().contains("line 12: the method `ldap` is not built"), "the line is told");
    let check = Command::new(env!("CARGO_BIN_EXE_pgloom"))
        .args(["check", "--offline", "--config"])
        .arg(&world.router.config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
    assert!(!check.status.success() && said.contains("line 12: the method `ldap` is not built"), "{said}");
}
