//! The secret of which the salts are made that strangers are shown: the same at every start, and of all routers of a deployment. Else whoever
//! asks twice knows by the salts who is somebody.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use crate::app::map::SharedMap;
use crate::config::Settings;
use crate::secret::Secret;

/// Bytes of a secret that could not be guessed.
const LEAST: usize = 16;

/// The one of this router. `config`: the configuration file; `map`: where the map is in etcd.
///
/// # Errors
/// The file that the configuration names can neither be read nor made; the system has no random numbers.
pub async fn mock_key(settings: &Settings, config: &Path, map: Option<&SharedMap>) -> Result<Secret, String> {
    let made = random().map_err(|error| format!("no random numbers: {error}"))?;
    if let Some(path) = &settings.auth.mock_key_file {
        return kept(path, &made).map_err(|error| format!("auth_mock_key_file {}: {error}", path.display()));
    }
    let told = match map {
        Some(map) => map.mock_key(&made).await,
        None => {
            let path = beside(config);
            kept(&path, &made).map_err(|error| format!("{}: {error}", path.display()))
        }
    };
    Ok(told.unwrap_or_else(|error| {
        tracing::warn!(%error, "strangers are shown salts of this run alone: who asks another router, or behind a restart, can tell them from users. Set auth_mock_key_file");
        made
    }))
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
    unfinished.push(format!(".{}.{}", std::process::id(), &String::from_utf8_lossy(made.reveal())[..8]));
    let unfinished = PathBuf::from(unfinished);
    let put = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(made.reveal())?;
        file.sync_all()?;
        std::fs::hard_link(&unfinished, path)
    })();
    let _ = std::fs::remove_file(&unfinished);
    match put {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read(path),
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let bytes = std::fs::read(path)?;
    let bytes = bytes.trim_ascii();
    if bytes.len() < LEAST {
        return Err(io::Error::other(format!("it has fewer than {LEAST} bytes")));
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
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
