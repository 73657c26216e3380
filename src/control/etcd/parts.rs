//! A document that does not fit into one request: in pieces beside its key, which then says what they are.

use etcd_client::{DeleteOptions, KeyValue};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{Connection, StoreError, Unreadable};

pub(super) const PART: usize = 1 << 20;
/// A map in parts that says it has more is none.
const MOST_PARTS: usize = 1024;
/// How a value begins that is no document, but says where one lies.
const MARK: &[u8] = b"{\"in_parts\"";

/// What stands in the place of a document in parts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    parts_at: String,
    parts: usize,
    bytes: usize,
    sha256: String,
}

#[derive(Deserialize)]
struct InParts {
    in_parts: Contents,
}

impl Contents {
    fn read(value: &[u8]) -> Result<Self, String> {
        let InParts { in_parts } =
            serde_json::from_slice(value).map_err(|error| format!("where its parts are cannot be read: {error}"))?;
        if in_parts.parts > MOST_PARTS || in_parts.bytes > in_parts.parts * PART {
            return Err(format!("{} bytes in {} parts are no map", in_parts.bytes, in_parts.parts));
        }
        Ok(in_parts)
    }

    fn part(&self, number: usize) -> String {
        format!("{}{number:05}", self.parts_at)
    }
}

impl Connection {
    /// What is to stand in `map` when the parts are there, and where they are.
    pub(super) async fn put_parts(&mut self, epoch: u64, text: &str) -> Result<(String, String), StoreError> {
        let mut attempt = [0; 8];
        SystemRandom::new().fill(&mut attempt).map_err(|_| StoreError("no random number".to_owned()))?;
        let parts_at = format!("{}{:016x}/", of(epoch), u64::from_be_bytes(attempt));
        let mut kv = self.client.kv_client();
        let parts = text.as_bytes().chunks(PART);
        let contents = Contents { parts: parts.len(), bytes: text.len(), sha256: sha256(text.as_bytes()), parts_at };
        for (number, part) in parts.enumerate() {
            if let Err(error) = self.ask(kv.put(self.key(&contents.part(number)), part, None)).await {
                self.forget_parts(&contents.parts_at).await;
                return Err(error);
            }
        }
        Ok((serde_json::json!({ "in_parts": contents }).to_string(), contents.parts_at))
    }

    /// An attempt has come to nothing. Parts that cannot be removed go with their epoch.
    pub(super) async fn forget_parts(&mut self, parts_at: &str) {
        let mut kv = self.client.kv_client();
        let all = DeleteOptions::new().with_prefix();
        let _ = self.ask(kv.delete(self.key(parts_at), Some(all))).await;
    }

    /// The document of a value; where it is none, why. Somebody else may have written it.
    pub(super) async fn whole(&mut self, value: &[u8]) -> Result<Result<String, Unreadable>, StoreError> {
        let bytes = if value.starts_with(MARK) { self.gather(value).await? } else { Ok(value.to_vec()) };
        let text =
            bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {error}")));
        Ok(text.map_err(|why| Unreadable { value: value.to_vec(), why }))
    }

    async fn gather(&mut self, value: &[u8]) -> Result<Result<Vec<u8>, String>, StoreError> {
        let contents = match Contents::read(value) {
            Ok(contents) => contents,
            Err(why) => return Ok(Err(why)),
        };
        let mut bytes = Vec::with_capacity(contents.bytes);
        let mut kv = self.client.kv_client();
        for number in 0..contents.parts {
            let found = self.ask(kv.get(self.key(&contents.part(number)), None)).await?;
            let Some(part) = found.kvs().first().map(KeyValue::value) else {
                return Ok(Err(format!("its part {} of {} is not there", number + 1, contents.parts)));
            };
            bytes.extend_from_slice(part);
        }
        if bytes.len() != contents.bytes || sha256(&bytes) != contents.sha256 {
            return Ok(Err("its parts are not those that were written".to_owned()));
        }
        Ok(Ok(bytes))
    }
}

/// Where the parts of an epoch's documents lie.
pub(super) fn of(epoch: u64) -> String {
    format!("parts/{epoch:020}/")
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_parts_are_is_believed_within_bounds() {
        let value = |parts: usize, bytes: usize| {
            format!(
                "{{\"in_parts\": {{\"parts_at\": \"p/\", \"parts\": {parts}, \"bytes\": {bytes}, \"sha256\": \"\"}}}}"
            )
        };
        let read = |value: &str| Contents::read(value.as_bytes()).map(|contents| contents.part(7));
        assert_eq!(read(&value(2, 2 << 20)).as_deref(), Ok("p/00007"));
        assert!(read(&value(2, (2 << 20) + 1)).is_err_and(|why| why.contains("are no map")));
        assert!(read(&value(1025, 1)).is_err());
        assert!(read("{\"in_parts\": 7}").is_err_and(|why| why.contains("cannot be read")));
        assert!(value(1, 1).as_bytes().starts_with(MARK));
    }
}
