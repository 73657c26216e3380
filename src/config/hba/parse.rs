//! A line of pg_hba.conf -> `Entry`. What Postgres would take and we cannot do is refused: an entry that is left out could let somebody in.

use std::net::IpAddr;

use super::words::{self, Field, Word};
use super::{CertificateRule, Databases, Encryption, Entry, HbaMethod, LineError, Network, Users};

pub(super) fn entries(text: &str) -> Result<Vec<Entry>, Vec<LineError>> {
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    for (line, fields) in words::lines(text) {
        match fields.and_then(|fields| entry(line, &fields)) {
            Ok(entry) => entries.push(entry),
            Err(error) => errors.push((line, error)),
        }
    }
    if entries.is_empty() && errors.is_empty() {
        errors.push((1, "no entry: nobody could log in".to_owned()));
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

fn entry(line: u32, fields: &[Field]) -> Result<Entry, String> {
    let mut rest = fields.iter();
    let kind = single(rest.next(), "the type of connection")?;
    let encryption = match kind.bare() {
        Some("host" | "hostnogssenc") => Encryption::Any,
        Some("hostssl") => Encryption::Tls,
        Some("hostnossl") => Encryption::Plain,
        Some("local" | "hostgssenc") => Encryption::Nobody,
        Some("include" | "include_if_exists" | "include_dir") => {
            return Err(format!("`{}` is not read here; write the entries into this file", kind.text));
        }
        Some(_) | None => {
            // What it says is not repeated: it could be another file, with secrets.
            return Err("no type of connection; use host, hostssl, hostnossl or local".to_owned());
        }
    };
    let databases = each(rest.next(), "a database", database)?;
    let users = each(rest.next(), "a user", user)?;
    let local = kind.text == "local";
    let network = if local { Network::All } else { network(&mut rest)? };
    let method = single(rest.next(), "a method")?;
    // What nobody ever meets may be by any method, as in the file that Postgres begins with.
    let method = if encryption == Encryption::Nobody { HbaMethod::Reject } else { self::method(method)? };
    let mut entry = Entry {
        line,
        encryption,
        databases,
        users,
        network,
        method,
        certificate: if method == HbaMethod::Cert { CertificateRule::OfUser } else { CertificateRule::Any },
        map: None,
    };
    if encryption == Encryption::Nobody {
        return Ok(entry);
    }
    if method == HbaMethod::Cert && encryption != Encryption::Tls {
        return Err("the method cert needs the type hostssl".to_owned());
    }
    for word in rest.flatten() {
        option(&mut entry, word)?;
    }
    Ok(entry)
}

fn single<'a>(field: Option<&'a Field>, what: &str) -> Result<&'a Word, String> {
    match field.map(Vec::as_slice) {
        Some([word]) => Ok(word),
        Some(_) => Err(format!("a list where one word is expected, {what}")),
        None => Err(format!("the line ends before {what}")),
    }
}

fn each<T>(field: Option<&Field>, what: &str, read: impl Fn(&Word) -> Result<T, String>) -> Result<Vec<T>, String> {
    let field = field.ok_or_else(|| format!("the line ends before {what}"))?;
    field.iter().map(read).collect()
}

fn database(word: &Word) -> Result<Databases, String> {
    no_pattern(word)?;
    match word.bare() {
        Some("all") => Ok(Databases::All),
        Some("sameuser") => Ok(Databases::SameUser),
        Some("replication") => Ok(Databases::Replication),
        Some("samerole" | "samegroup") => {
            Err(format!("`{}`: who belongs to a role is known to the servers alone; write names", word.text))
        }
        Some(_) | None => Ok(Databases::Named(word.text.as_str().into())),
    }
}

fn user(word: &Word) -> Result<Users, String> {
    no_pattern(word)?;
    match word.bare() {
        Some("all") => Ok(Users::All),
        Some(text) if text.starts_with('+') => {
            Err(format!("`{text}`: who belongs to a role is known to the servers alone; write names"))
        }
        Some(_) | None => Ok(Users::Named(word.text.as_str().into())),
    }
}

/// Neither names in another file nor a regular expression, which is one in quotes, too (`regcomp_auth_token`).
pub(in crate::config) fn no_pattern(word: &Word) -> Result<(), String> {
    let text = &word.text;
    match word.bare() {
        Some(bare) if bare.starts_with('@') => {
            Err(format!("`{text}`: names in other files are not read; write them here"))
        }
        Some(_) | None if text.starts_with('/') => {
            Err(format!("`{text}`: regular expressions are not understood; write names"))
        }
        Some(_) | None => Ok(()),
    }
}

fn network<'a>(rest: &mut impl Iterator<Item = &'a Field>) -> Result<Network, String> {
    let address = single(rest.next(), "an address")?;
    match address.bare() {
        Some("all") => return Ok(Network::All),
        Some("samehost" | "samenet") => {
            return Err(format!("`{}` is not looked up here; write the addresses", address.text));
        }
        Some(_) | None => {}
    }
    if address.text.contains('/') {
        return Network::cidr(&address.text);
    }
    match address.text.parse::<IpAddr>() {
        Ok(ip) => Network::masked(ip, &single(rest.next(), "the mask of the address")?.text),
        Err(_) => {
            Err(format!("`{}`: names of hosts are not looked up; write the address, such as 10.0.0.0/8", address.text))
        }
    }
}

fn method(word: &Word) -> Result<HbaMethod, String> {
    match &*word.text {
        "trust" => Ok(HbaMethod::Trust),
        "reject" => Ok(HbaMethod::Reject),
        "md5" => Ok(HbaMethod::Md5),
        "scram-sha-256" => Ok(HbaMethod::ScramSha256),
        "cert" => Ok(HbaMethod::Cert),
        "password" => Err("the method password asks for it in clear text; use scram-sha-256".to_owned()),
        other => Err(format!("the method `{other}` is not built; use scram-sha-256, md5, cert, trust or reject")),
    }
}

fn option(entry: &mut Entry, word: &Word) -> Result<(), String> {
    let (name, value) =
        word.text.split_once('=').ok_or_else(|| format!("`{}` is no option in the form name=value", word.text))?;
    match (name, value) {
        ("map", "") => Err("the option map names no map".to_owned()),
        ("map", map) if entry.method == HbaMethod::Cert => {
            entry.map = Some(map.into());
            Ok(())
        }
        ("map", _) => Err("the option map is for the method cert".to_owned()),
        ("clientcert", _) if entry.encryption != Encryption::Tls => {
            Err("the option clientcert needs the type hostssl".to_owned())
        }
        ("clientcert", "verify-full") => {
            entry.certificate = CertificateRule::OfUser;
            Ok(())
        }
        ("clientcert", "verify-ca") if entry.method == HbaMethod::Cert => {
            Err("the method cert always checks the name: clientcert can only be verify-full".to_owned())
        }
        ("clientcert", "verify-ca") => {
            entry.certificate = CertificateRule::Verified;
            Ok(())
        }
        ("clientcert", other) => Err(format!("clientcert is `{other}`; use verify-ca or verify-full")),
        ("clientname", "CN") => Ok(()),
        ("clientname", _) => Err("clientname: only the common name of a certificate is read; use CN".to_owned()),
        (other, _) => Err(format!("the option `{other}` is not known")),
    }
}
