//! The commands of README.md do what it says. Its fenced blocks marked `sh test` run, in order, beside a running
//! `pgloom demo`; those marked `sh test alone` run after it was stopped. Each must exit 0. In the text, the port 6432 and the
//! directory .demo stand for ones that are free here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pgloom::config::Settings;
use support::cluster::free_port;

/// For the demo to load its data, with the machine busy.
const DEMO_LIMIT: Duration = Duration::from_secs(150);
const STOP_LIMIT: Duration = Duration::from_secs(30);

struct Readme {
    root: PathBuf,
    text: String,
    port: u16,
    dir: PathBuf,
}

impl Readme {
    fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        let text = fs::read_to_string(root.join("README.md")).unwrap();
        let port = free_port();
        // Outside of the checkout, which user postgres may not be allowed into.
        let dir = PathBuf::from(format!("/tmp/pgloom-readme-{}", std::process::id()));
        Self { root, text, port, dir }
    }

    /// The blocks whose fence opens with exactly this.
    fn blocks(&self, marks: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line == format!("```{marks}") {
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                blocks.push(block.join("\n"));
            }
        }
        blocks
    }

    fn shell(&self, block: &str) {
        let text = block.replace("6432", &self.port.to_string()).replace(".demo", self.dir.to_str().unwrap());
        let mut command = self.command("bash");
        let output = command.args(["-euo", "pipefail", "-c", &text]).stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "README.md says\n{block}\nbut that ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A command that finds this build's `pgloom` on its PATH.
    fn command(&self, program: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_pgloom")).parent().unwrap();
        let path = std::env::join_paths(
            std::iter::once(built.to_path_buf()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", path.unwrap());
        command.env("PGLOOM_PORT", self.port.to_string()).env("PGLOOM_DEMO_DIR", &self.dir);
        command
    }

    /// Starts the demo and returns when it has printed its psql line.
    fn start_demo(&self) -> Child {
        let mut child =
            self.command("pgloom").arg("demo").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, receive) = mpsc::channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let (start, mut seen) = (Instant::now(), Vec::new());
        loop {
            match receive.recv_timeout(DEMO_LIMIT.saturating_sub(start.elapsed())) {
                Ok(line) if line.trim_start().starts_with("psql ") => return child,
                Ok(line) => seen.push(line),
                Err(_) => {
                    let _ = child.kill();
                    let mut errors = String::new();
                    let _ = child.stderr.take().unwrap().read_to_string(&mut errors);
                    panic!("`pgloom demo` did not print its psql line:\n{}\n{errors}", seen.join("\n"));
                }
            }
        }
    }

    /// Processes whose command line names the demo's directory.
    fn leftovers(&self) -> Vec<String> {
        let dir = self.dir.to_str().unwrap();
        let own = std::process::id().to_string();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let line = fs::read(entry.path().join("cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                (line.contains(dir) && entry.file_name().to_str() != Some(&own)).then_some(line)
            })
            .collect()
    }
}

impl Drop for Readme {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < limit, "still running after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until no process of the demo is left: a killed one needs a moment.
fn assert_nothing_left(readme: &Readme) {
    let start = Instant::now();
    while !readme.leftovers().is_empty() {
        assert!(start.elapsed() < STOP_LIMIT, "left behind:\n{}", readme.leftovers().join("\n"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let blocks = Readme::open().blocks("toml");
    assert!(!blocks.is_empty(), "README.md has lost its configuration");
    for text in blocks {
        let read = Settings::parse("README.md", &text, Path::new("/"), HashMap::new());
        let settings = read.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    }
}

#[test]
fn the_files_that_the_readme_links_to_are_there() {
    let readme = Readme::open();
    let links: Vec<&str> = readme.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() >= 5, "{links:?}");
    for link in links {
        assert!(readme.root.join(link).exists(), "README.md links to {link}");
    }
}

#[test]
fn the_commands_of_the_readme_work_and_the_demo_leaves_nothing_behind() {
    let readme = Readme::open();
    let (beside, alone) = (readme.blocks("sh test"), readme.blocks("sh test alone"));
    assert!(beside.len() >= 2 && !alone.is_empty(), "README.md has lost its tested commands");

    let mut demo = readme.start_demo();
    for block in &beside {
        readme.shell(block);
    }
    signal(&demo, Signal::TERM);
    let status = wait(&mut demo, STOP_LIMIT);
    assert!(status.success(), "the demo, asked to end, ended with {status}");
    assert_eq!(readme.leftovers(), Vec::<String>::new());

    // They start over the same data.
    for block in &alone {
        readme.shell(block);
    }
    assert_nothing_left(&readme);

    // Killed, it can do nothing itself, and still nothing stays.
    let mut demo = readme.start_demo();
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert_nothing_left(&readme);
}
