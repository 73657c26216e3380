//! The secret of which the salts are made that strangers are shown: the same at every start, and of all routers of a deployment. Else whoever
//! asks twice knows by the salts who is somebody.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use crate::app::map::SharedMap;
use crate::config::{MapSettings, Settings};
use crate::control::etcd::LEAST_MOCK_KEY;
use crate::control::map::copy;
use crate::secret::Secret;

/// The one of this router. `config`: the configuration file; `map`: where the map is in etcd.
///
/// # Errors
/// The file that the configuration names can neither be read nor made; the system has no random numbers.
pub async fn mock_key(settings: &Settings, config: &Path, map: Option<&SharedMap>) -> Result<Secret, String> {
    let made = random().map_err(|error| format!("no random numbers: {error}"))?;
    if let Some(path) = &settings.auth.mock_key_file {
        return kept(path, &made).map_err(|error| format!("auth_mock_key_file {}: {error}", path.display()));
    }
    let told = match (map, &settings.map) {
        (Some(map), MapSettings::Etcd(etcd)) => {
            let path = beside(&etcd.copy_file);
            let asked = map.mock_key(&made).await;
            if let Ok(told) = asked.clone() {
                let path = path.clone();
                // A disk that hangs holds nobody up.
                std::thread::spawn(move || keep(&path, &told));
            }
            asked.or_else(|error| kept_before(&path, error))
        }
        (Some(_) | None, _) => {
            let path = beside(config);
            kept(&path, &made).map_err(|error| format!("{}: {error}", path.display()))
        }
    };
    Ok(told.unwrap_or_else(|error| {
        tracing::warn!(%error, "strangers are shown salts of this run alone: who asks another router, or behind a restart, can tell them from users. Set auth_mock_key_file");
        made
    }))
}

/// Keeps what etcd has told for a start without it.
fn keep(path: &Path, told: &Secret) {
    if read(path).ok().as_ref() == Some(told) {
        return;
    }
    let kept = std::str::from_utf8(told.reveal()).map_err(io::Error::other);
    if let Err(error) = kept.and_then(|text| copy::replace(path, text)) {
        tracing::warn!(file = %path.display(), %error, "the secret of the salts of strangers cannot be kept: a start without etcd shows others");
    }
}

/// Where etcd does not tell, what was kept.
fn kept_before(path: &Path, error: String) -> Result<Secret, String> {
    match read(path) {
        Ok(kept) => {
            tracing::warn!(%error, "etcd does not tell the secret of the salts of strangers: that of the last run is used");
            Ok(kept)
        }
        Err(_) => Err(error),
    }
}

/// The file that has the secret, where it is a file, and whether that can be used; `None`: nothing is wrong with one that nobody has named.
pub fn look(settings: &Settings, config: &Path) -> Option<(PathBuf, io::Result<()>)> {
    let named = settings.auth.mock_key_file.clone();
    let (path, is_named) = match (named, &settings.map) {
        (Some(path), _) => (path, true),
        (None, MapSettings::File { .. }) => (beside(config), false),
        (None, MapSettings::Etcd(_)) => return None,
    };
    match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => is_named.then(|| (path.clone(), copy::check(&path))),
        Ok(_) => is_named.then_some((path, Ok(()))),
        Err(error) => Some((path, Err(error))),
    }
}

fn random() -> io::Result<Secret> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has none"))?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn beside(config: &Path) -> PathBuf {
    let mut name = config.file_name().unwrap_or_default().to_owned();
    name.push(".mock_key");
    config.with_file_name(name)
}

/// What the file has; where there is none, `made` is put into it first. Of two that make it at once, one has made it.
fn kept(path: &Path, made: &Secret) -> io::Result<Secret> {
    match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read,
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", copy::unique()?));
    let unfinished = PathBuf::from(unfinished);
    let put = write(&unfinished, made).and_then(|()| match std::fs::hard_link(&unfinished, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // Not every file system has links. Who reads it in this moment finds it too short, and says so.
        Err(_) => write(path, made),
        Ok(()) => Ok(()),
    });
    let _ = std::fs::remove_file(&unfinished);
    match put {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read(path),
    }
}

/// A file that is not there yet, for its owner alone.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.reveal())?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<Secret> {
    let bytes = std::fs::read(path)?;
    let bytes = bytes.trim_ascii();
    if bytes.len() < LEAST_MOCK_KEY {
        return Err(io::Error::other(format!("it has fewer than {LEAST_MOCK_KEY} bytes")));
    }
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o004 != 0 {
        tracing::warn!(file = %path.display(), "everybody on this machine can read the secret of the salts of strangers: who does can tell them from users");
    }
    Ok(Secret::new(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_is_the_owners_alone() {
        let directory = std::env::temp_dir().join(format!("pgloom-mock-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = beside(&directory.join("pgloom.toml"));
        assert_eq!(path, directory.join("pgloom.toml.mock_key"));
        let made: Vec<Secret> = std::thread::scope(|scope| {
            let each: Vec<_> = (0..8).map(|_| scope.spawn(|| kept(&path, &random().unwrap()).unwrap())).collect();
            each.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(made.iter().all(|secret| secret.reveal() == made[0].reveal() && secret.reveal().len() == 64));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::write(&path, "short\n").unwrap();
        assert!(kept(&path, &random().unwrap()).is_err());
        // What etcd has told is there when it does not tell.
        let path = beside(&directory.join("map.json"));
        let away = || kept_before(&path, "away".to_owned());
        assert_eq!(away().unwrap_err(), "away");
        keep(&path, &made[0]);
        assert_eq!(away().unwrap(), made[0]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!((&path, mode & 0o777), (&directory.join("map.json.mock_key"), 0o600));
        let other = random().unwrap();
        keep(&path, &other);
        assert_eq!(away().unwrap(), other);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
