//! Both sides against each other, and each against a peer that cheats.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::client::{Binding, Offered, ScramClientFinal};
use super::scram::DEFAULT_ITERATIONS;
use super::server::ScramServerFinal;
use super::*;
use crate::fault::Result;

const BOTH: Offered = Offered { scram: true, scram_plus: true };
const PLAIN: Offered = Offered { scram: true, scram_plus: false };

fn mock() -> MockKey {
    MockKey::new(&Secret::new("process secret"))
}

fn verifier(password: &str) -> ScramVerifier {
    ScramVerifier::generate(password.as_bytes(), b"0123456789abcdef", DEFAULT_ITERATIONS)
}

fn server(password: Option<&str>, end_point: Option<Vec<u8>>) -> ScramServer {
    ScramServer::new(password.map(verifier).as_ref(), &mock(), "u", end_point, [7; 18])
}

fn client(password: &str, offered: Offered, binding: Binding) -> (ScramClient, &'static str, Vec<u8>) {
    ScramClient::start(&Secret::new(password), offered, binding, [9; 18]).unwrap()
}

/// Up to the client's proof, which the caller may spoil.
fn proof(server: ScramServer, binding: Binding) -> Result<(ScramServerFinal, ScramClientFinal, Vec<u8>)> {
    let offered = Offered { scram: true, scram_plus: server.mechanisms().len() == 2 };
    let (client, mechanism, first) = client("pencil", offered, binding);
    let (server, challenge) = server.client_first(mechanism, &first)?;
    let (client, proof) = client.server_first(&challenge)?;
    Ok((server, client, proof))
}

fn exchange(server: ScramServer, binding: Binding) -> Result<bool> {
    let (server, client, proof) = proof(server, binding)?;
    match server.client_final(&proof)? {
        Some(proven) => client.server_final(&proven.signature).map(|()| true),
        None => Ok(false),
    }
}

#[test]
fn right_password_logs_in_and_no_other() {
    assert!(exchange(server(Some("pencil"), None), Binding::Unsupported).unwrap());
    assert!(!exchange(server(Some("Pencil"), None), Binding::Unsupported).unwrap());
    assert!(!exchange(server(None, None), Binding::Unsupported).unwrap());
}

/// The keys that a right proof reveals.
fn keys() -> ScramKeys {
    let (server, _, proof) = proof(server(Some("pencil"), None), Binding::Unsupported).unwrap();
    let proven = server.client_final(&proof).unwrap().unwrap();
    ScramKeys::new(&verifier("pencil"), proven.client_key).unwrap()
}

#[test]
fn keys_of_a_proof_log_in_where_the_same_verifier_is_and_nowhere_else() {
    let log_in = |server: ScramServer, binding: Binding| {
        let offered = Offered { scram: true, scram_plus: server.mechanisms().len() == 2 };
        let (client, mechanism, first) = ScramClient::start(client::Means::Keys(keys()), offered, binding, [8; 18])?;
        let (server, challenge) = server.client_first(mechanism, &first)?;
        let (client, proof) = client.server_first(&challenge)?;
        match server.client_final(&proof)? {
            Some(proven) => client.server_final(&proven.signature).map(|()| true),
            None => Ok(false),
        }
    };
    assert!(log_in(server(Some("pencil"), None), Binding::Unsupported).unwrap());
    assert!(log_in(server(Some("pencil"), Some(vec![3; 32])), Binding::EndPoint(vec![3; 32])).unwrap());
    assert!(!log_in(server(Some("another"), None), Binding::Unsupported).unwrap());
    let salted = |salt: &[u8], iterations| {
        let verifier = ScramVerifier::generate(b"pencil", salt, iterations);
        ScramServer::new(Some(&verifier), &mock(), "u", None, [7; 18])
    };
    let few = std::num::NonZeroU32::new(1000).unwrap();
    for other in [salted(b"another salt....", DEFAULT_ITERATIONS), salted(b"0123456789abcdef", few)] {
        let fault = log_in(other, Binding::Unsupported).unwrap_err();
        assert!(fault.message.starts_with("the server has another SCRAM verifier than the config"), "{fault}");
        assert_eq!(fault.blame, crate::fault::Blame::Router);
    }
    assert_eq!(format!("{:?}", keys()), "ScramKeys(...)");
    assert!(ScramKeys::new(&verifier("another"), keys().client_key).is_none());
}

#[test]
fn server_that_has_only_what_clients_show_cannot_prove_itself() {
    // It knows the stored key, and not the server's.
    let mut stolen = verifier("pencil");
    stolen.server_key = Secret::new([1; 32]);
    let server = ScramServer::new(Some(&stolen), &mock(), "u", None, [7; 18]);
    let (client, mechanism, first) =
        ScramClient::start(client::Means::Keys(keys()), PLAIN, Binding::Unsupported, [8; 18]).unwrap();
    let (server, challenge) = server.client_first(mechanism, &first).unwrap();
    let (client, proof) = client.server_first(&challenge).unwrap();
    let proven = server.client_final(&proof).unwrap().unwrap();
    assert!(client.server_final(&proven.signature).unwrap_err().message.contains("does not know the password"));
}

#[test]
fn channel_is_bound_to_the_servers_certificate() {
    let hash = vec![3; 32];
    assert!(exchange(server(Some("pencil"), Some(hash.clone())), Binding::EndPoint(hash.clone())).unwrap());
    let fault = exchange(server(Some("pencil"), Some(hash.clone())), Binding::EndPoint(vec![4; 32])).unwrap_err();
    assert_eq!((fault.code.as_str(), &*fault.message), ("28000", "SCRAM channel binding check failed"));
    // A client that cannot bind may come over TLS, one that can be bound must be where it is offered.
    assert!(exchange(server(Some("pencil"), Some(hash.clone())), Binding::Unsupported).unwrap());
    assert!(exchange(server(Some("pencil"), None), Binding::EndPoint(hash)).unwrap());
}

#[test]
fn downgrade_from_plus_is_noticed() {
    let (_, mechanism, first) = client("pencil", PLAIN, Binding::EndPoint(vec![3; 32]));
    assert_eq!(mechanism, SCRAM_SHA_256);
    let fault = server(Some("pencil"), Some(vec![3; 32])).client_first(mechanism, &first).unwrap_err();
    assert_eq!((fault.code.as_str(), &*fault.message), ("28000", "SCRAM channel binding negotiation error"));
    let (_, mechanism, _) = client("pencil", BOTH, Binding::EndPoint(vec![3; 32]));
    assert_eq!(mechanism, SCRAM_SHA_256_PLUS);
    let fault = server(Some("pencil"), None).client_first(mechanism, b"n,,n=,r=x").unwrap_err();
    assert_eq!(fault.message, "client selected an invalid SASL authentication mechanism");
}

#[test]
fn unknown_user_sees_the_messages_of_a_known_one() {
    let first = |password| {
        let (_, challenge) = server(password, None).client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap();
        String::from_utf8(challenge).unwrap()
    };
    let (known, unknown) = (first(Some("pencil")), first(None));
    assert_eq!(known.len(), unknown.len());
    assert_eq!(unknown, first(None), "the salt of a name does not change");
    assert_ne!(mock().salt("u"), mock().salt("v"));
    assert_ne!(mock().salt("u"), MockKey::new(&Secret::new("another")).salt("u"));
    // A known user with a plain password has the salt that a stranger is shown anyway.
    let plain = Verifier::parse("pencil").unwrap();
    assert_eq!(plain.scram(&mock(), "u").unwrap().salt, mock().salt("u"));
}

#[test]
fn first_messages_that_break_the_rules_are_refused() {
    let refuse = |message: &str| {
        server(Some("pencil"), None)
            .client_first(SCRAM_SHA_256, message.as_bytes())
            .unwrap_err()
            .code
            .as_str()
            .to_owned()
    };
    assert_eq!(refuse("n,a=other,n=,r=abc"), "0A000");
    assert_eq!(refuse("n,,m=x,n=,r=abc"), "0A000");
    let malformed = [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=abc",
        "n,,r=abc",
        "n,,n=,r=a\tb",
        "n,,n=,r=é",
        "n,,n=",
        "n,,n=,r=a,!",
        "p=tls-server-end-point,,n=,r=abc",
        "p=,,n=,r=a",
        "n,,n=,r=a\0b",
    ];
    for message in malformed {
        assert_eq!(refuse(message), "08P01", "{message}");
    }
    let long = format!("n,,n=,r={}", "a".repeat(MAX_SASL_MESSAGE));
    assert_eq!(refuse(&long), "08P01");
    for message in ["n,,n=,r=abc", "y,,n=,r=abc", "p=tls-unique,,n=,r=abc"] {
        let bound = server(Some("pencil"), Some(vec![3; 32]));
        assert!(bound.client_first(SCRAM_SHA_256_PLUS, message.as_bytes()).is_err(), "{message}");
    }
    // Postgres takes an empty nonce, too.
    for message in [&b"n,,n=,r=abc,x=1,y=,z=2"[..], b"n,,n=,r="] {
        assert!(server(Some("pencil"), None).client_first(SCRAM_SHA_256, message).is_ok());
    }
}

#[test]
fn proofs_that_are_spoilt_are_refused() {
    let spoil = |change: fn(String) -> String| {
        let (server, _, proof) = proof(server(Some("pencil"), None), Binding::Unsupported).unwrap();
        server.client_final(change(String::from_utf8(proof).unwrap()).as_bytes())
    };
    assert!(spoil(|proof| proof).unwrap().is_some());
    let code = |change| spoil(change).unwrap_err().code.as_str().to_owned();
    assert_eq!(code(|proof| proof.replace("c=biws", "c=eSws")), "08P01");
    assert_eq!(code(|proof| proof.replace("r=", "r=x")), "08P01");
    assert_eq!(code(|proof| proof.replace(",p=", ",q=")), "08P01");
    assert_eq!(code(|proof| proof + "="), "08P01");
    assert_eq!(code(|proof| proof + ",x=y"), "08P01");
    assert_eq!(code(|_| String::new()), "08P01");
    assert!(spoil(|proof| proof.replace(",p=", ",x=1,p=")).unwrap().is_none(), "an extension changes what is signed");
    assert!(spoil(|proof| format!("{}AAAA=", &proof[..proof.len() - 5])).unwrap().is_none());
}

#[test]
fn client_refuses_a_server_that_cheats() {
    let answer = |challenge: &str| {
        let (client, _, first) = client("pencil", PLAIN, Binding::Unsupported);
        let nonce = String::from_utf8(first).unwrap().split_once("r=").unwrap().1.to_owned();
        client.server_first(challenge.replace('N', &nonce).as_bytes()).map(|_| ())
    };
    answer("r=Nx,s=AAAA,i=4096").unwrap();
    answer("r=Nx,s=AAAA,i=1,x=y").unwrap();
    let bad = [
        "",
        "r=Nx",
        "r=Nx,s=AAAA",
        "r=N,s=AAAA,i=1",
        "r=x,s=AAAA,i=1",
        "r=Nx,s=,i=1",
        "r=Nx,s=A,i=1",
        "r=Nx,s=AAAA,i=0",
        "r=Nx,s=AAAA,i=-1",
        "r=Nx,s=AAAA,i=+1",
        "r=Nx,s=AAAA,i=4294967296",
        "r=Nx,s=AAAA,i=10000001",
        "m=1,r=Nx,s=AAAA,i=1",
        "r=Nx,s=AAAA,i=",
        "r=N\u{7f},s=AAAA,i=1",
    ];
    for challenge in bad {
        assert!(answer(challenge).is_err(), "{challenge}");
    }

    let last = |message: &str| {
        let (_, client, _) = proof(server(Some("pencil"), None), Binding::Unsupported).unwrap();
        client.server_final(message.as_bytes())
    };
    for message in ["", "v=", "v=AAAA", "e=other-error", "x=1"] {
        assert!(last(message).is_err(), "{message}");
    }
    assert!(ScramClient::start(&Secret::new("p"), Offered::default(), Binding::Unsupported, [0; 18]).is_err());
    assert!(last("e=invalid-proof").unwrap_err().message.contains("invalid-proof"));
    assert_eq!(Offered::parse(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), BOTH);
    assert_eq!(Offered::parse(b"X\0SCRAM-SHA-256"), PLAIN);
}

#[test]
fn verifiers_are_read_as_postgres_stores_them() {
    // Postgres 15: SET password_encryption = 'scram-sha-256'; ALTER ROLE .. PASSWORD 'secret'.
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let Ok(Verifier::Scram(parsed)) = Verifier::parse(text) else { panic!("not a verifier") };
    assert_eq!(parsed.to_text().reveal(), text.as_bytes());
    let generated = ScramVerifier::generate(b"pencil", &parsed.salt, parsed.iterations);
    assert_eq!(generated, parsed, "RFC 7677's user has the password pencil");

    for text in [
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:AAAA$AAAA:AAAA",
        &text.replace("4096", "+96"),
        &text.replace("W22Z", "W2*Z"),
    ] {
        assert_eq!(Verifier::parse(text).unwrap_err(), VerifierError::MalformedScram);
    }
    assert_eq!(Verifier::parse("").unwrap_err(), VerifierError::Empty);
    assert_eq!(Verifier::parse("a\0b").unwrap_err(), VerifierError::Nul);
    assert!(matches!(Verifier::parse("md5 is a word"), Ok(Verifier::Plain(_))));
    assert!(matches!(Verifier::parse("md5a3556571e93b0d20722ba62be61e8c2d"), Ok(Verifier::Md5(_))));
    assert!(!format!("{:?}", Verifier::parse("hunter2")).contains("hunter2"));
    assert!(!format!("{:?}", Verifier::parse("md5a3556571e93b0d20722ba62be61e8c2d")).contains("a355"));
}

#[test]
fn md5_answers_match_the_stored_hash() {
    let salt = [0x2a, 0x3d, 0x8f, 0xe0];
    let answer = md5::answer(b"password", "md5_user", salt);
    assert_eq!(answer.reveal(), b"md562af4dd09bbb41884907a838a3233294");
    let hash = md5::hash(b"password", "md5_user");
    assert_eq!(md5::answer_from_hash(&hash, salt), answer);
    assert!(md5::verify(Some(&hash), salt, answer.reveal()));
    assert!(!md5::verify(Some(&hash), [0; 4], answer.reveal()));
    let nobody = md5::answer_from_hash(&Secret::new([b'0'; 35]), salt);
    assert!(!md5::verify(None, salt, nobody.reveal()));
    assert!(Verifier::parse("password").unwrap().md5("md5_user").unwrap() == hash);
}

#[test]
fn passwords_are_prepared_as_libpq_prepares_them() {
    // SASLprep maps the ligature and drops the soft hyphen; what it forbids stays as it is.
    let salt = b"0123456789abcdef";
    let make = |password: &[u8]| ScramVerifier::generate(password, salt, DEFAULT_ITERATIONS);
    assert_eq!(make("ﬁx\u{ad}".as_bytes()), make(b"fix"));
    assert_ne!(make(b"a\x07"), make(b"a"));
    assert_ne!(make(b"\xff"), make(b""));
}

proptest! {
    #[test]
    fn any_client_message_is_answered_or_refused(first in ".{0,80}", last in ".{0,80}") {
        for mechanism in [SCRAM_SHA_256, SCRAM_SHA_256_PLUS, &first] {
            let _ = server(None, Some(vec![1])).client_first(mechanism, first.as_bytes());
        }
        let (server, _) = server(None, None).client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap();
        prop_assert!(!matches!(server.client_final(last.as_bytes()), Ok(Some(_))));
    }

    #[test]
    fn any_server_message_is_answered_or_refused(parts in proptest::collection::vec("[rsivem]?=?[0-9A-Za-z+/=]{0,9}", 0..5)) {
        let (client, _, _) = client("p", PLAIN, Binding::Unsupported);
        prop_assert!(client.server_first(parts.join(",").as_bytes()).is_err());
    }

    #[test]
    fn any_verifier_text_is_read_or_refused(text in "(SCRAM-SHA-256[$])?[0-9A-Za-z:$=]{0,60}") {
        let _ = Verifier::parse(&text);
    }
}

#[test]
fn strangers_are_asked_for_as_many_iterations_as_users() {
    let verifier = |iterations: u32| {
        Verifier::Scram(ScramVerifier::generate(b"x", b"0123456789abcdef", iterations.try_into().unwrap()))
    };
    let users = [verifier(10), verifier(10), verifier(10), verifier(7)];
    let (mock, other) = (MockKey::new(&Secret::new("a")), MockKey::new(&Secret::new("b")));
    let names: Vec<String> = (0..400).map(|at| format!("stranger {at}")).collect();
    let asked = |mock: &MockKey| names.iter().map(|name| mock.iterations(name).get()).collect::<Vec<_>>();
    assert!(asked(&mock).iter().all(|iterations| *iterations == DEFAULT_ITERATIONS.get()));
    let among = mock.among(users.iter());
    let found = asked(&among);
    let few = found.iter().filter(|iterations| **iterations == 7).count();
    assert!(found.iter().all(|iterations| [7, 10].contains(iterations)) && (60..140).contains(&few), "{few}");
    // Of one name always the same, and of another router with the secret; of other secrets others.
    assert_eq!(found, asked(&MockKey::new(&Secret::new("a")).among(users.iter())));
    assert_ne!(found, asked(&other.among(users.iter())));
    assert_eq!(mock.salt("x"), among.salt("x"));
}
