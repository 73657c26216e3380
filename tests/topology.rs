//! `pgloom topology` and `pgloom routers` against a real etcd: every change is one compare-and-swap, and none moves keys unseen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use support::EtcdCluster;

/// A configuration that names the etcd, and files beside it.
struct Desk {
    etcd: EtcdCluster,
    dir: PathBuf,
}

impl Desk {
    fn new(label: &str) -> Self {
        let etcd = EtcdCluster::start(1);
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("topology-{label}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let desk = Self { etcd, dir };
        desk.write("pgloom.toml", &format!("[topology]\nsource = 'etcd'\nendpoints = {}\n[[users]]\nname = 'a'\npassword = 'x'\n[databases.shop]\n", desk.etcd.endpoints()));
        desk
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pgloom"))
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints, which ends with this code.
    #[track_caller]
    fn says(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        text
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Two shards, a ring on both of them, and one table.
fn map(epoch: &str, port: u16, pins: &str, more: &str) -> String {
    format!(
        r#"{{"format": 1, {epoch} "databases": {{"shop": {{
  "shards": [{{"name": "s0", "host": "a", "port": {port}}}, {{"name": "s1", "host": "b"}}{more}],
  "distributions": [{{"name": "d", "key_types": ["int8"], "shards": ["s0", "s1"], "pins": [{pins}]}}],
  "tables": [{{"name": "orders", "distribution": "d", "columns": ["id"]}}]
}}}}}}
"#
    )
}

#[test]
fn a_map_is_made_changed_and_rolled_back() {
    let desk = Desk::new("life");
    desk.write("old.toml", "[general]\nport = 1\n[databases.shop]\npool_size = 3\n[[databases.shop.shards]]\nname = 's0'\nhost = 'a'\nport = 1\n[[databases.shop.shards]]\nname = 's1'\nhost = 'b'\n[[databases.shop.distributions]]\nname = 'd'\nkey_types = ['int8']\nshards = ['s0', 's1']\n[[databases.shop.tables]]\nname = 'orders'\ndistribution = 'd'\ncolumns = ['id']\n");
    assert!(desk.says(2, &["topology", "get"]).contains("there is no map in etcd"));
    let made = desk.says(0, &["topology", "init", "--from", "old.toml", "-m", "first", "--by", "ada@ops"]);
    assert_eq!(made, "epoch 1 is in force\n");
    assert!(desk.says(1, &["topology", "init", "--from", "old.toml"]).contains("there is a map already"));

    // What is printed is a map that can be checked, and applied again without a change.
    let printed = desk.says(0, &["topology", "get"]);
    assert!(printed.contains("\"changed_by\": \"ada@ops\"") && !printed.contains("pool_size"), "{printed}");
    desk.write("got.json", &printed);
    assert!(desk.says(0, &["topology", "validate", "got.json"]).contains("shop: 2 shards, 1 distributions, 1 tables"));
    assert_eq!(desk.says(0, &["topology", "apply", "got.json"]), "nothing changes\n");

    // The same map by hand; another port moves nothing.
    desk.write("same.json", &map("", 1, "", ""));
    assert_eq!(desk.says(0, &["topology", "diff", "same.json"]), "nothing changes\n");
    desk.write("port.json", &map("\"epoch\": 1,", 9, "", ""));
    assert_eq!(desk.says(1, &["topology", "diff", "port.json"]), "shop: shard s0: a:9/shop instead of a:1/shop\n");
    let dry = desk.says(0, &["topology", "apply", "port.json", "--dry-run"]);
    assert!(!dry.contains("in force"), "{dry}");
    assert!(desk.says(0, &["topology", "apply", "port.json", "-m", "s0 has moved"]).ends_with("epoch 2 is in force\n"));

    // It was made from epoch 1.
    let stale = desk.says(1, &["topology", "apply", "port.json"]);
    assert!(stale.contains("was made from epoch 1, and the map has epoch 2 by now"), "{stale}");

    // A pin and a shard for the whole ring place rows elsewhere: not unseen.
    desk.write("pin.json", &map("", 9, r#"{"value": 1, "shard": "s0"}, {"value": 2, "shard": "s0"}"#, ""));
    let pins = desk.says(1, &["topology", "apply", "pin.json"]);
    assert!(pins.contains("MOVES") && pins.contains("refused: keys that may have rows"), "{pins}");
    let whole = map("", 9, "", r#", {"name": "s2", "host": "c"}"#).replace(r#""shards": ["s0", "s1"], "#, "");
    desk.write("ring.json", &whole);
    let ring = desk.says(1, &["topology", "apply", "ring.json"]);
    assert!(ring.contains("MOVES 3") && ring.contains("-> s2"), "{ring}");
    assert!(desk.says(0, &["topology", "apply", "ring.json", "--allow-moves"]).ends_with("epoch 3 is in force\n"));

    // Back to the second, as a fourth.
    assert!(desk.says(1, &["topology", "rollback", "2"]).contains("shard s2 is removed"));
    assert!(desk.says(0, &["topology", "rollback", "2", "--allow-moves"]).ends_with("epoch 4 is in force\n"));
    let shown = |text: String| text[text.find("\"databases\"").unwrap()..].to_owned();
    assert_eq!(shown(desk.says(0, &["topology", "get"])), shown(desk.says(0, &["topology", "get", "--epoch", "2"])));
    let history = desk.says(0, &["topology", "history"]);
    let lines: Vec<&str> = history.lines().skip(1).collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert!(lines[0].contains("rollback to epoch 2") && lines[3].contains("ada@ops") && lines[3].ends_with("first"));
    assert!(desk.says(2, &["topology", "rollback", "77"]).contains("epoch 77 is not kept"));
    assert!(desk.says(2, &["topology", "get", "--epoch", "77"]).contains("epoch 77 is not kept"));
    assert_eq!(desk.says(0, &["routers", "--json"]), "[]\n");

    // What somebody else has put there is replaced, as what no router follows.
    let put = |text: &str| desk.etcd.ask(async |mut client| client.put("/pgloom/map", text, None).await.map(drop));
    put("{\"format\": 1, \"epoch\": 9, \"databases\": {\"shop\": {\"home_shard\": \"nope\"}}}");
    desk.write("back.json", &desk.says(0, &["topology", "get", "--epoch", "4"]).replace("\"epoch\": 4,", ""));
    let told = desk.says(0, &["topology", "diff", "back.json"]);
    assert!(told.contains("routers do not follow what is in etcd") && told.ends_with("nothing changes\n"), "{told}");
    assert!(desk.says(0, &["topology", "apply", "back.json"]).ends_with("nothing changes\nepoch 5 is in force\n"));
    put("not even JSON");
    assert!(desk.says(0, &["topology", "rollback", "1", "--allow-moves"]).ends_with("epoch 6 is in force\n"));
    put(&desk.says(0, &["topology", "get", "--epoch", "4"]));
    let behind = desk.says(0, &["topology", "rollback", "6"]);
    assert!(
        behind.contains("has epoch 4, and there was epoch 6") && behind.ends_with("epoch 7 is in force\n"),
        "{behind}"
    );
}

/// Bytes that are no text, and a map in parts that are not there: told as they are, and replaced like any map that no router follows.
#[test]
fn what_is_no_text_is_replaced() {
    let desk = Desk::new("bytes");
    desk.write("map.json", &map("", 1, "", ""));
    desk.says(0, &["topology", "init", "--from", "map.json"]);
    let put = |key: &str, value: &[u8]| desk.etcd.ask(async |mut client| client.put(key, value, None).await.map(drop));
    let nowhere = br#"{"in_parts": {"parts_at": "parts/9/", "parts": 2, "bytes": 7, "sha256": ""}}"#;
    let wrong = [
        (&b"\xff\xfe{}"[..], "it is not UTF-8"),
        (&b"{\"in_parts\": 7}"[..], "where its parts are cannot be read"),
        (&nowhere[..], "its part 1 of 2 is not there"),
    ];
    for (round, (value, why)) in wrong.into_iter().enumerate() {
        let epoch = 2 * round + 2;
        put("/pgloom/map", value);
        let got = desk.run(&["topology", "get"]);
        let said = String::from_utf8_lossy(&got.stderr).into_owned();
        assert_eq!((got.status.code(), &*got.stdout), (Some(1), value), "{said}");
        assert!(said.contains(why), "{said}");
        let told = desk.says(0, &["topology", "diff", "map.json"]);
        assert!(told.contains(&format!("routers do not follow what is in etcd: {why}")), "{told}");
        assert!(told.ends_with("nothing changes\n"), "{told}");
        assert_eq!(desk.says(1, &["topology", "init", "--from", "map.json"]).lines().count(), 1);
        let applied = desk.says(0, &["topology", "apply", "map.json"]);
        assert!(applied.ends_with(&format!("epoch {epoch} is in force\n")), "{applied}");
        put("/pgloom/map", value);
        let back = desk.says(0, &["topology", "rollback", "1"]);
        assert!(back.ends_with(&format!("epoch {} is in force\n", epoch + 1)), "{back}");
    }
    // Also in the history.
    put("/pgloom/history/00000000000000000007", b"\xff");
    assert!(desk.says(0, &["topology", "history"]).contains("cannot be used: it is not UTF-8"));
    assert!(desk.says(2, &["topology", "rollback", "7"]).contains("epoch 7 cannot be used"));
    put("/pgloom/map", b"\xff");
    assert!(desk.says(0, &["topology", "diff", "map.json"]).contains("epoch 6 is what the change is compared with"));
    // There is nothing to compare with: whoever knows where the rows are says so.
    desk.etcd.ask(async |mut client| {
        let all = etcd_client::DeleteOptions::new().with_prefix();
        client.delete("/pgloom/history/", Some(all)).await.map(drop)
    });
    assert!(desk.says(2, &["topology", "diff", "map.json"]).contains("there is no map to compare with"));
    assert!(desk.says(1, &["topology", "apply", "map.json"]).contains("--allow-moves"));
    assert!(!desk.says(0, &["topology", "apply", "map.json", "--allow-moves", "--dry-run"]).contains("in force"));
    desk.write("late.json", &map("\"epoch\": 7,", 1, "", ""));
    let applied = desk.says(0, &["topology", "apply", "late.json", "--allow-moves"]);
    assert!(applied.ends_with("epoch 8 is in force\n"), "{applied}");
}

/// `pgloom topology history | head -1`: who reads no further ends the command, and no more is said.
#[test]
fn a_pipe_that_nobody_reads_ends_a_command_quietly() {
    let desk = Desk::new("pipe");
    desk.write("map.json", &map("", 1, "", ""));
    desk.says(0, &["topology", "init", "--from", "map.json"]);
    for args in [
        &["topology", "history"][..],
        &["topology", "history", "--json"],
        &["topology", "get"],
        &["topology", "validate", "map.json"],
        &["topology", "diff", "map.json"],
        &["topology", "diff", "map.json", "--json"],
        &["topology", "apply", "map.json"],
        &["routers"],
        &["routers", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut pgloom = Command::new(env!("CARGO_BIN_EXE_pgloom"));
        pgloom.args(args).current_dir(&desk.dir).stdin(Stdio::null()).stdout(writer);
        let output = pgloom.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // As a shell shows a tool that SIGPIPE has ended.
        assert_eq!((output.status.code(), &*said), (Some(141), ""), "{args:?}");
    }
    // Nobody reads what went wrong either.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut pgloom = Command::new(env!("CARGO_BIN_EXE_pgloom"));
    pgloom.args(["topology", "validate", "none.json"]).current_dir(&desk.dir).stdin(Stdio::null());
    assert_eq!(pgloom.stderr(writer).status().unwrap().code(), Some(2));
}

#[test]
fn what_is_no_map_is_told_and_not_stored() {
    let desk = Desk::new("wrong");
    desk.write(
        "bad.json",
        "{\"format\": 1,\n \"databases\": {\"shop\": {\"shards\": [{\"name\": \"s0\", \"hots\": \"a\"}]}}}",
    );
    let bad = desk.says(1, &["topology", "validate", "bad.json"]);
    assert!(bad.contains("bad.json:2: unknown key `hots` in [[databases.shop.shards]]; did you mean `host`?"), "{bad}");
    for command in [["topology", "init", "--from", "bad.json"].as_slice(), &["topology", "apply", "bad.json"]] {
        assert!(desk.says(2, command).contains("bad.json:2: unknown key"));
    }
    assert!(desk.says(2, &["topology", "validate", "none.json"]).contains("none.json: cannot be read"));
    assert!(desk.says(2, &["topology", "get"]).contains("there is no map in etcd"));
    // Nobody answers.
    desk.write("pgloom.toml", "[topology]\nsource = 'etcd'\nrequest_timeout = '500ms'\nendpoints = ['http://127.0.0.1:1', 'http://127.0.0.1:2']\n[[users]]\nname = 'a'\npassword = 'x'\n[databases.shop]\n");
    let nobody = desk.says(2, &["topology", "get"]);
    assert!(
        nobody.contains("http://127.0.0.1:1: Connection refused") && nobody.contains("http://127.0.0.1:2:"),
        "{nobody}"
    );
    desk.write("pgloom.toml", "[[users]]\nname = 'a'\npassword = 'x'\n");
    assert!(desk.says(2, &["topology", "get"]).contains("no router has served a map of this file yet"));
    assert!(desk.says(2, &["topology", "init", "--from", "bad.json"]).contains("bad.json:2: unknown key"));
    // Nobody has told of himself.
    assert_eq!(desk.says(0, &["routers"]).lines().count(), 1);
}

/// Ten at a time change the map from the same epoch: one of them wins.
#[test]
fn of_two_changes_at_once_one_is_lost_and_says_so() {
    let desk = Desk::new("race");
    desk.write("map.json", &map("", 1, "", ""));
    desk.says(0, &["topology", "init", "--from", "map.json"]);
    for round in 1..=3u16 {
        let names: Vec<String> = (0..10).map(|n| format!("{round}-{n}.json")).collect();
        for (n, name) in names.iter().enumerate() {
            desk.write(name, &map(&format!("\"epoch\": {round},"), 100 * round + n as u16, "", ""));
        }
        let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
            let runs: Vec<_> =
                names.iter().map(|name| scope.spawn(|| desk.run(&["topology", "apply", name]))).collect();
            runs.into_iter().map(|run| run.join().unwrap().status.code()).collect()
        });
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    }
    assert_eq!(desk.says(0, &["topology", "history", "--json"]).matches("\"epoch\"").count(), 4);
}

/// More than etcd takes in one request.
#[test]
fn a_large_map_lies_in_parts() {
    let desk = Desk::new("large");
    let pins = |from: u32| {
        let pins: Vec<String> =
            (from..from + 60_000).map(|n| format!("{{\"value\": {n}, \"shard\": \"s0\"}}")).collect();
        pins.join(",\n")
    };
    desk.write("large.json", &map("", 1, &pins(0), ""));
    desk.says(0, &["topology", "init", "--from", "large.json"]);
    let printed = desk.says(0, &["topology", "get"]);
    assert!(printed.len() > 1_800_000 && printed.contains("\"value\": 59999"), "{} bytes", printed.len());
    desk.write("other.json", &map("", 1, &pins(1), ""));
    let changed = desk.says(0, &["topology", "apply", "other.json", "--allow-moves"]);
    assert!(changed.contains("shop: distribution d: 2 pins are others"), "{changed}");
    assert_eq!(desk.says(0, &["topology", "get", "--epoch", "1"]), printed);
}
