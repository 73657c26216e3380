//! The common name of a certificate's subject: who a client is by `cert`.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use super::der::{CONTEXT_0, OBJECT_IDENTIFIER, SEQUENCE, take, take_any};

const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// `None` where there is none, or more than one: it is not for us to say which one counts. Nor is a name with a zero byte one, behind
/// which others have stopped to read.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    let mut rest = subject(certificate)?;
    while !rest.is_empty() {
        let (mut set, behind) = take(rest, SET)?;
        rest = behind;
        while !set.is_empty() {
            let (pair, behind) = take(set, SEQUENCE)?;
            set = behind;
            let (id, value) = take(pair, OBJECT_IDENTIFIER)?;
            if id == COMMON_NAME {
                names.push(text(value)?);
            }
        }
    }
    let [_] = names.as_slice() else { return None };
    names.pop()
}

/// `tbsCertificate SEQUENCE { [0] version, serialNumber, signature, issuer, validity, subject, ... }`.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = take(certificate, SEQUENCE)?;
    let (mut fields, _) = take(body, SEQUENCE)?;
    if let Some((_, behind)) = take(fields, CONTEXT_0) {
        fields = behind;
    }
    for _ in ["serialNumber", "signature", "issuer", "validity"] {
        let (_, _, behind) = take_any(fields)?;
        fields = behind;
    }
    take(fields, SEQUENCE).map(|(subject, _)| subject)
}

fn text(value: &[u8]) -> Option<String> {
    let (tag, content, rest) = take_any(value)?;
    let known = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
    let sound = known && rest.is_empty() && !content.is_empty() && !content.contains(&0);
    let text = std::str::from_utf8(content).ok().filter(|_| sound)?;
    (tag == UTF8_STRING || text.is_ascii()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, DnValue)]) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn common_name_is_found_among_others() {
        let organization = (DnType::OrganizationName, utf8("not this"));
        let of = |value| common_name(&certificate(&[organization.clone(), (DnType::CommonName, value)]));
        assert_eq!(of(utf8("Jürgen")).as_deref(), Some("Jürgen"));
        assert_eq!(of(DnValue::PrintableString("ann".try_into().unwrap())).as_deref(), Some("ann"));
        assert_eq!(of(DnValue::Ia5String("a@b.c".try_into().unwrap())).as_deref(), Some("a@b.c"));
        assert_eq!(common_name(&certificate(std::slice::from_ref(&organization))), None);
        assert_eq!(common_name(&certificate(&[])), None);
    }

    #[test]
    fn names_that_could_be_read_in_two_ways_are_none() {
        let of = |text: &str| common_name(&certificate(&[(DnType::CommonName, utf8(text))]));
        assert_eq!(of("ann\0.example.com"), None);
        assert_eq!(of(""), None);
        // A second name, under the number of the first.
        let second = DnType::CustomDnType(vec![2, 5, 4, 3]);
        assert_eq!(common_name(&certificate(&[(DnType::CommonName, utf8("ann")), (second, utf8("bob"))])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_name_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0..400usize) {
            let _ = common_name(&bytes);
            let mut real = certificate(&[(DnType::CommonName, utf8("ann"))]);
            real.truncate(cut);
            real.append(&mut bytes);
            let _ = common_name(&real);
        }
    }
}
