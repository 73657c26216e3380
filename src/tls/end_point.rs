//! `tls-server-end-point` (RFC 5929): the hash of a certificate, by the hash function of its own signature.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use ring::digest::{self, SHA256, SHA384, SHA512};

use super::der::{CONTEXT_0, OBJECT_IDENTIFIER, SEQUENCE, take};

/// The body of an OID in DER.
mod oid {
    /// 1.2.840.113549.1.1: RSA with PKCS#1 padding; one byte follows.
    pub const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    /// 1.2.840.10045.4: ECDSA.
    pub const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    /// 2.16.840.1.101.3.4.2: the SHA-2 family; one byte follows.
    pub const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
}

/// The hash of a certificate in DER. `None` where the standard defines none (Ed25519), or for a hash that nobody should
/// use: then there is no channel binding, on either side.
pub fn hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }`.
fn signature_hash(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    let (body, _) = take(certificate, SEQUENCE)?;
    let (_, rest) = take(body, SEQUENCE)?;
    let (algorithm, _) = take(rest, SEQUENCE)?;
    let (id, parameters) = take(algorithm, OBJECT_IDENTIFIER)?;
    match (id.strip_prefix(oid::RSA), id.strip_prefix(oid::ECDSA)) {
        // RSASSA-PSS names its hash in the parameters.
        (Some([10]), _) => pss_hash(parameters),
        // md5 and SHA-1 are raised to SHA-256 by the standard.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(&SHA512),
        _ => None,
    }
}

/// `SEQUENCE { [0] EXPLICIT SEQUENCE { OID } DEFAULT sha1, ... }`.
fn pss_hash(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let (fields, _) = take(parameters, SEQUENCE)?;
    let Some((explicit, _)) = take(fields, CONTEXT_0) else { return Some(&SHA256) };
    let (algorithm, _) = take(explicit, SEQUENCE)?;
    let (id, _) = take(algorithm, OBJECT_IDENTIFIER)?;
    match id.strip_prefix(oid::SHA2) {
        Some([1]) => Some(&SHA256),
        Some([2]) => Some(&SHA384),
        Some([3]) => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    /// The skeleton of a certificate with this signature algorithm.
    fn certificate(id: &[u8], parameters: &[u8]) -> Vec<u8> {
        let algorithm = [tlv(OBJECT_IDENTIFIER, id), parameters.to_vec()].concat();
        tlv(SEQUENCE, &[tlv(SEQUENCE, b"to be signed"), tlv(SEQUENCE, &algorithm), tlv(3, b"signature")].concat())
    }

    fn length(id: &[u8], parameters: &[u8]) -> Option<usize> {
        hash(&certificate(id, parameters)).map(|hash| hash.len())
    }

    #[test]
    fn hash_is_that_of_the_signature_and_at_least_sha256() {
        let rsa = |last| length(&[oid::RSA, &[last]].concat(), b"\x05\0");
        assert_eq!(
            [rsa(4), rsa(5), rsa(11), rsa(12), rsa(13), rsa(14)],
            [Some(32), Some(32), Some(32), Some(48), Some(64), None]
        );
        let ecdsa = |last: &[u8]| length(&[oid::ECDSA, last].concat(), b"");
        assert_eq!(
            [ecdsa(&[1]), ecdsa(&[3, 2]), ecdsa(&[3, 3]), ecdsa(&[3, 4])],
            [Some(32), Some(32), Some(48), Some(64)]
        );
        let pss = |parameters: &[u8]| length(&[oid::RSA, &[10]].concat(), &tlv(SEQUENCE, parameters));
        let sha2 = |last| {
            let id = tlv(OBJECT_IDENTIFIER, &[oid::SHA2, &[last]].concat());
            tlv(CONTEXT_0, &tlv(SEQUENCE, &id))
        };
        assert_eq!(
            [pss(&[]), pss(&sha2(1)), pss(&sha2(2)), pss(&sha2(3)), pss(&sha2(4))],
            [Some(32), Some(32), Some(48), Some(64), None]
        );
        // Ed25519 has no hash function of its own.
        assert_eq!(length(&[0x2b, 0x65, 0x70], b""), None);
    }

    #[test]
    fn real_certificates_are_understood() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate =
                rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
            assert_eq!(hash(certificate.der()).map(|hash| hash.len()), length);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_hash_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0..80usize) {
            let _ = hash(&bytes);
            let mut real = certificate(&[oid::RSA, &[11]].concat(), b"");
            real.truncate(cut);
            real.append(&mut bytes);
            let _ = hash(&real);
        }
    }
}
