//! Certificates for one test, in a directory of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An authority, and a certificate that it signed for `localhost` and `127.0.0.1`. Removed with the value.
pub struct TlsFiles {
    dir: PathBuf,
}

impl TlsFiles {
    pub fn make() -> Self {
        Self::make_for(&["localhost", "127.0.0.1"])
    }

    /// And certificates of clients with these common names: `<name>.crt` and `<name>.key`.
    pub fn make_with_clients(clients: &[&str]) -> Self {
        Self::make_all(&["localhost", "127.0.0.1"], clients)
    }

    pub fn make_for(names: &[&str]) -> Self {
        Self::make_all(names, &[])
    }

    fn make_all(names: &[&str], clients: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("pgloom-tls-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let files = Self { dir: std::env::temp_dir().join(unique) };
        fs::create_dir(&files.dir).unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "pgloom login test authority");
        files.write("ca.crt", &ca.self_signed(&ca_key).unwrap().pem());
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        files.write("server.crt", &certificate.pem());
        files.write("server.key", &key.serialize_pem());
        for name in clients {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, *name);
            files.write(&format!("{name}.crt"), &params.signed_by(&key, &issuer).unwrap().pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    /// A certificate that signed itself and calls itself an authority, as `openssl req -x509` makes it.
    pub fn self_signed() -> Self {
        let files = Self::make();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        files.write("server.crt", &params.self_signed(&key).unwrap().pem());
        files.write("server.key", &key.serialize_pem());
        fs::copy(files.certificate(), files.ca()).unwrap();
        files
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        // psql takes no key that others may read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("server.key")
    }
}

impl Drop for TlsFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
