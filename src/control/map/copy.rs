//! The last map on disk, for a start while the store cannot be reached.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A map as it was kept.
#[derive(Debug)]
pub struct Kept {
    pub text: String,
    pub since: SystemTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Copied<'a> {
    prefix: Box<str>,
    #[serde(borrow)]
    map: &'a RawValue,
}

/// Keeps the map of a prefix.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, prefix: &str, map: &str) -> io::Result<()> {
    replace(path, &format!("{{\"prefix\": {}, \"map\": {}}}", serde_json::Value::from(prefix), map.trim()))
}

/// Whose a file is, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub mode: u32,
    /// The user and the group; `None`: those of this process.
    pub owner: Option<(u32, u32)>,
}

impl Rights {
    /// Those of a file that is there.
    pub fn of(file: &Metadata) -> Self {
        Self { mode: file.mode(), owner: Some((file.uid(), file.gid())) }
    }
}

/// Writes a file of the router's own, in place of what it was. Whatever happens meanwhile, there is the one or the other.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    replace_as(path, &format!("{text}\n"), Rights { mode: 0o600, owner: None })
}

/// The same of any file, with these rights and no line end more.
///
/// # Errors
/// Those of the file system. Where it cannot have these rights, the file stays as it is.
pub fn replace_as(path: &Path, text: &str, rights: Rights) -> io::Result<()> {
    put(path, text, rights, File::sync_all)
}

/// The same of a file of the router's own that need not outlive the machine: it is soon written again.
///
/// # Errors
/// Those of the file system.
pub fn replace_for_now(path: &Path, text: &str) -> io::Result<()> {
    put(path, text, Rights { mode: 0o600, owner: None }, |_| Ok(()))
}

fn put(path: &Path, text: &str, rights: Rights, settle: fn(&File) -> io::Result<()>) -> io::Result<()> {
    let (directory, beside) = beside(path, &unique()?)?;
    let written = (|| {
        let mut file = new(&beside)?;
        let now = file.metadata()?;
        if let Some((user, group)) = rights.owner.filter(|owner| *owner != (now.uid(), now.gid())) {
            fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(rights.mode & 0o7777))?;
        file.write_all(text.as_bytes())?;
        settle(&file)?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    settle(&File::open(directory)?)
}

/// Whether [`replace`] could write this file: told before there is something to be kept.
///
/// # Errors
/// Those of the file system.
pub fn check(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let (_, beside) = beside(path, &unique()?)?;
    let tried = new(&beside);
    let _ = std::fs::remove_file(&beside);
    tried.map(drop)
}

/// Nobody else who asks for this file has it until the value is dropped. The file itself may be replaced meanwhile: what is locked stands
/// beside it, and stays there.
///
/// # Errors
/// Those of the file system.
pub fn lock(path: &Path) -> io::Result<File> {
    let (_, beside) = beside(path, "lock")?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside)?;
    file.lock()?;
    Ok(file)
}

/// A name that nobody else has: in containers every router is process 1.
///
/// # Errors
/// The system has no random numbers.
pub fn unique() -> io::Result<String> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// The directory of a file, and another one there.
fn beside<'a>(path: &'a Path, label: &str) -> io::Result<(&'a Path, PathBuf)> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok((directory, directory.join(format!(".{name}.{label}"))))
}

/// A file that is not there yet, for its owner alone.
fn new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The map that was kept for this prefix; `None`: there is no copy, or it is of another map.
///
/// # Errors
/// Those of the file system, and a file that is no copy.
pub fn read(path: &Path, prefix: &str) -> io::Result<Option<Kept>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let since = std::fs::metadata(path)?.modified()?;
    let copied: Copied<'_> = serde_json::from_str(&text).map_err(io::Error::other)?;
    Ok((&*copied.prefix == prefix).then(|| Kept { text: copied.map.get().to_owned(), since }))
}

/// The map of a text that is such a copy.
pub fn map_of(text: &str) -> Option<String> {
    serde_json::from_str::<Copied<'_>>(text).ok().map(|copied| copied.map.get().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_copy_is_of_one_prefix_and_for_its_owner_alone() {
        let directory = std::env::temp_dir().join(format!("pgloom-copy-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("map.json");
        assert!(read(&path, "/a").unwrap().is_none());
        for map in ["{\"format\": 1, \"databases\": {}}", "{\"format\": 1,\n \"databases\": {} }\n"] {
            write(&path, "/a", map).unwrap();
            assert_eq!(read(&path, "/a").unwrap().unwrap().text, map.trim());
        }
        assert!(read(&path, "/b").unwrap().is_none());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::write(&path, "{\"prefix\": \"/a\", \"map\":").unwrap();
        assert!(read(&path, "/a").is_err());
        assert!(write(&directory.join("none/map.json"), "/a", "{}").is_err());
        assert!(check(&path).is_ok() && check(&directory.join("new.json")).is_ok());
        assert!(check(&directory.join("none/map.json")).is_err() && check(&directory).is_err());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
    #[test]
    fn who_replaces_a_file_leaves_it_to_whose_it_is() {
        let directory = std::env::temp_dir().join(format!("pgloom-rights-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("pgloom.toml");
        std::fs::write(&path, "a").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // As root another group can be given to it, as it is for a service that may read it and nothing else.
        let may_chown = std::os::unix::fs::chown(&path, None, Some(54_321)).is_ok();
        let before = Rights::of(&std::fs::metadata(&path).unwrap());
        assert!(!may_chown || before.owner.unwrap().1 == 54_321);
        replace_as(&path, "b", before).unwrap();
        assert_eq!(Rights::of(&std::fs::metadata(&path).unwrap()), before);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        // What somebody has put there under a name of before is not written into.
        std::fs::write(directory.join(format!(".pgloom.toml.{}", std::process::id())), "planted").unwrap();
        replace_as(&path, "c", before).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn one_at_a_time_has_the_lock() {
        let path = std::env::temp_dir().join(format!("pgloom-lock-{}.json", std::process::id()));
        let held = lock(&path).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| lock(&path).map(|_| std::time::Instant::now()).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            let freed = std::time::Instant::now();
            drop(held);
            assert!(other.join().unwrap() >= freed);
        });
        std::fs::remove_file(beside(&path, "lock").unwrap().1).unwrap();
    }
}
