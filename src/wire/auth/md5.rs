//! md5 passwords, for clients and servers that have nothing better. A stolen hash is as good as the password.

use postgres_protocol::authentication::md5_hash;

use crate::secret::Secret;

const HASH_LENGTH: usize = 35;

/// `md5` and 32 lower-case hexadecimal digits: how Postgres keeps such a password.
pub fn is_hash(text: &str) -> bool {
    text.len() == HASH_LENGTH
        && text.strip_prefix("md5").is_some_and(|hex| hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

/// The stored form of `password` for `user`.
pub fn hash(password: &[u8], user: &str) -> Secret {
    Secret::new(postgres_protocol::password::md5(password, user))
}

/// The answer to a challenge, from the password itself.
pub fn answer(password: &[u8], user: &str, salt: [u8; 4]) -> Secret {
    Secret::new(md5_hash(user.as_bytes(), password, salt))
}

/// The answer to a challenge, from the stored form of the password.
pub fn answer_from_hash(hash: &Secret, salt: [u8; 4]) -> Secret {
    let hex = hash.reveal().get(3..).unwrap_or_default();
    Secret::new(postgres_protocol::password::md5(&[hex, &salt].concat(), ""))
}

/// Whether a client's answer is right. Without a hash it never is, and takes as long.
pub fn verify(hash: Option<&Secret>, salt: [u8; 4], answer: &[u8]) -> bool {
    let nobody = Secret::new([b'0'; HASH_LENGTH]);
    let right = answer_from_hash(hash.unwrap_or(&nobody), salt).matches(answer);
    right & hash.is_some()
}
