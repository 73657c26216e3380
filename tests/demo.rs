//! `pgloom demo --etcd`: the demo with a real etcd that has the shard map, twice over the same directory.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use support::cluster::{data_root, free_port};

struct Demo {
    dir: PathBuf,
    port: u16,
}

impl Demo {
    fn new() -> Self {
        let dir = PathBuf::from(format!("{}/pgloom-demo-{}", data_root(), std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self { dir, port: free_port() }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut pgloom = Command::new(env!("CARGO_BIN_EXE_pgloom"));
        pgloom.args(["demo", "--exit", "--shards", "2", "--rows", "4000", "--port", &self.port.to_string(), "--dir"]);
        pgloom.arg(&self.dir).args(args).output().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_demo_runs_with_its_map_in_etcd_and_goes_on_with_it() {
    let demo = Demo::new();
    for round in ["first", "second"] {
        let output = demo.run(&["--etcd"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{round}: {said}");
        assert!(said.contains("has the shard map"), "{round}: {said}");
        assert_eq!(said.contains("not loaded again"), round == "second", "{said}");
    }
    let config = fs::read_to_string(demo.dir.join("pgloom.toml")).unwrap();
    assert!(config.contains("source = \"etcd\"") && !config.contains("shards]]"), "{config}");
    // The router has kept a copy of what it was given.
    assert!(fs::read_to_string(demo.dir.join("map.json")).unwrap().contains("shard2"));
    // Whose map is in etcd is not a demo without it.
    let output = demo.run(&[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("the map in etcd"), "{output:?}");
}
