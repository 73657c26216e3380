//! The last map on disk, for a start while the store cannot be reached.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

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

/// Writes a file of the router's own, in place of what it was. Whatever happens meanwhile, there is the one or the other.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    replace_as(path, &format!("{text}\n"), 0o600)
}

/// The same of any file, with these rights and no line end more.
///
/// # Errors
/// Those of the file system.
pub fn replace_as(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let beside = directory.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    File::open(directory)?.sync_all()
}

/// Whether [`replace`] could write this file: told before there is something to be kept.
///
/// # Errors
/// Those of the file system.
pub fn check(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let beside = directory.join(format!(".{name}.{}.check", std::process::id()));
    let tried = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let _ = std::fs::remove_file(&beside);
    tried.map(drop)
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
}
