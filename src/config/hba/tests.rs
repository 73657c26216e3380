//! Files in, entries or messages out; and who comes in by them.

use proptest::prelude::*;

use super::*;

fn hba(text: &str) -> Hba {
    Hba::parse(text).unwrap_or_else(|e| panic!("{e:?}"))
}

/// The line of the entry that counts.
fn line(hba: &Hba, database: &str, user: &str, from: &str, tls: bool) -> Option<u32> {
    hba.first(&Knock { database, user, from: from.parse().unwrap(), tls }).map(|entry| entry.line)
}

#[test]
fn first_entry_that_fits_counts() {
    let hba = hba("# TYPE  DATABASE  USER  ADDRESS  METHOD\n\
         local   all all peer\n\
         hostssl shop ann,bob 10.0.0.0/8 scram-sha-256\n\
         hostnossl shop ann 10.1.0.0 255.255.0.0 reject\n\
         host sameuser all ::1/128 md5\n\
         host \"all\", \"Other\" \"all\" all trust # not everybody\n\
         host replication all all trust\n\
         hostgssenc all all all gss include_realm=0\n\
         host all, x bob all scram-sha-256\n");
    assert_eq!(line(&hba, "shop", "ann", "10.9.9.9", true), Some(3));
    assert_eq!(line(&hba, "shop", "bob", "10.9.9.9", true), Some(3));
    assert_eq!(line(&hba, "shop", "ann", "10.1.9.9", false), Some(4));
    assert_eq!(line(&hba, "shop", "ann", "10.2.9.9", false), None);
    assert_eq!(line(&hba, "ann", "ann", "::1", false), Some(5));
    assert_eq!(line(&hba, "shop", "ann", "::1", false), None);
    assert_eq!(line(&hba, "all", "all", "8.8.8.8", false), Some(6));
    assert_eq!(line(&hba, "Other", "all", "::2", true), Some(6));
    assert_eq!(line(&hba, "other", "all", "::2", true), None);
    assert_eq!(line(&hba, "replication", "ann", "8.8.8.8", false), None);
    assert_eq!(line(&hba, "anything", "bob", "8.8.8.8", false), Some(9));
}

#[test]
fn addresses_are_those_of_their_family_and_mask() {
    let fits = |network: &str, from: &str| {
        let hba = hba(&format!("host all all {network} trust"));
        line(&hba, "d", "u", from, false).is_some()
    };
    // Bits behind the mask say nothing, as in Postgres.
    assert!(fits("10.1.2.3/8", "10.200.0.1") && !fits("10.1.2.3/8", "11.1.2.3"));
    assert!(
        fits("0.0.0.0/0", "1.2.3.4") && !fits("0.0.0.0/0", "::1") && fits("::/0", "::1") && !fits("::/0", "1.2.3.4")
    );
    assert!(fits("1.2.3.4/32", "1.2.3.4") && !fits("1.2.3.4/32", "1.2.3.5"));
    assert!(fits("fe80::/10", "fe80::1") && !fits("fe80::/10", "2001:db8::1"));
    assert!(fits("::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"));
    // An IPv4 client of a socket for both.
    assert!(fits("10.0.0.0/8", "::ffff:10.1.1.1") && !fits("::/0", "::ffff:10.1.1.1"));
    assert!(fits("all", "::1") && fits("all", "1.2.3.4"));
}

#[test]
fn options_say_what_a_certificate_is_for() {
    let hba = hba("hostssl all a all cert map=staff\n\
         hostssl all b all scram-sha-256 clientcert=verify-ca\n\
         hostssl all c all scram-sha-256 clientcert=verify-full clientname=CN\n\
         hostssl all d all \\\n  scram-sha-256\n\
         host all e all trust\n");
    let rules: Vec<_> = hba.entries().iter().map(|e| (e.line, e.certificate, e.map.as_deref())).collect();
    assert_eq!(
        rules,
        [
            (1, CertificateRule::OfUser, Some("staff")),
            (2, CertificateRule::Verified, None),
            (3, CertificateRule::OfUser, None),
            (4, CertificateRule::Any, None),
            (6, CertificateRule::Any, None)
        ]
    );
    assert!(hba.wants_certificates() && hba.entries()[4].trusts_strangers());
    assert!(
        !self::hba("host all all 127.0.0.1/8 trust\nhost all all ::1/128 trust")
            .entries()
            .iter()
            .any(Entry::trusts_strangers)
    );
}

#[test]
fn what_cannot_be_done_is_refused_with_its_line() {
    for (line, start) in [
        ("host", "the line ends before a database"),
        ("host all", "the line ends before a user"),
        ("host all all", "the line ends before an address"),
        ("host all all all", "the line ends before a method"),
        ("host all all 10.0.0.1 trust", "`trust` is no mask"),
        ("host all all 10.0.0.1", "the line ends before the mask"),
        ("host all all 10.0.0.1 ffff:: trust", "`ffff::` is a mask of the other family"),
        ("host all all 10.0.0.0/33 trust", "`10.0.0.0/33` is no address"),
        ("host all all 10.0.0.0/+8 trust", "`10.0.0.0/+8` is no address"),
        ("host all all ::1/129 trust", "`::1/129` is no address"),
        ("host all all 10.0.0/8 trust", "`10.0.0/8` is no address"),
        ("host all all db.example.com trust", "`db.example.com`: names of hosts"),
        ("host all all .example.com trust", "`.example.com`: names of hosts"),
        ("host all all samenet trust", "`samenet` is not looked up"),
        ("host all all samehost trust", "`samehost` is not looked up"),
        ("host all +staff all trust", "`+staff`: who belongs to a role"),
        ("host samerole all all trust", "`samerole`: who belongs to a role"),
        ("host @dbs all all trust", "`@dbs`: names in other files"),
        ("host all /^a all trust", "`/^a`: regular expressions"),
        ("host all all all password", "the method password asks"),
        ("host all all all ldap", "the method `ldap` is not built"),
        ("host all all all trust,reject", "a list where one word"),
        ("host all all all cert", "the method cert needs the type hostssl"),
        ("host all all all md5 clientcert=verify-ca", "the option clientcert needs"),
        ("hostssl all all all cert clientcert=verify-ca", "the method cert always"),
        ("hostssl all all all md5 clientcert=1", "clientcert is `1`"),
        ("hostssl all all all md5 map=x", "the option map is for the method cert"),
        ("hostssl all all all cert clientname=DN", "clientname: only"),
        ("host all all all md5 x=y", "the option `x` is not known"),
        ("host all all all md5 nonsense", "`nonsense` is no option"),
        ("host all \"/^a\" all reject", "`/^a`: regular expressions"),
        ("host \"/^db\" all all reject", "`/^db`: regular expressions"),
        ("host all +\"staff\" all reject", "`+staff`: who belongs to a role"),
        ("host @\"dbs\" all all reject", "`@dbs`: names in other files"),
        ("host all all ::ffff:10.0.0.0/104 reject", "`::ffff:10.0.0.0/104`: clients of such"),
        ("hosts all all all md5", "no type of connection"),
        ("\"host\" all all all md5", "no type of connection"),
        ("include other.conf", "`include` is not read"),
        ("host all,, all all md5", "a comma without a name"),
        ("host all, ", "a comma without a name"),
        ("host \"all all all md5", "a quote is not closed"),
    ] {
        let errors = Hba::parse(&format!("host all all 127.0.0.1/32 trust\n\n{line}\n")).unwrap_err();
        assert!(errors.len() == 1 && errors[0].0 == 3 && errors[0].1.starts_with(start), "{line}: {errors:?}");
    }
    assert_eq!(Hba::parse("# nothing\n").unwrap_err(), [(1, "no entry: nobody could log in".to_owned())]);
    assert_eq!(Hba::parse("x\nhost all all all trust\ny").unwrap_err().len(), 2, "all of them are told");
}

/// `next_token` of Postgres: only a word that begins with a quote is a name whatever it says.
#[test]
fn a_quote_within_a_word_makes_no_name_of_it() {
    let read = hba("host a\"ll\" \"\"all all trust\n");
    assert_eq!(line(&read, "d", "all", "10.0.0.1", false), Some(1));
    assert_eq!(line(&read, "d", "u", "10.0.0.1", false), None);
}

#[test]
fn file_that_postgres_begins_with_is_understood() {
    let hba = hba("# TYPE  DATABASE        USER            ADDRESS                 METHOD\n\
         local   all             all                                     peer\n\
         host    all             all             127.0.0.1/32            scram-sha-256\n\
         host    all             all             ::1/128                 scram-sha-256\n\
         local   replication     all                                     peer\n\
         host    replication     all             127.0.0.1/32            scram-sha-256\n");
    assert_eq!(line(&hba, "d", "u", "127.0.0.1", false), Some(3));
    assert_eq!(line(&hba, "d", "u", "10.0.0.1", false), None);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\\t\"#,\\\\/é\\x00]{0,120}") {
        let _ = Hba::parse(&text);
    }

    #[test]
    fn any_words_of_the_format_are_read_or_refused(
        words in proptest::collection::vec("host|hostssl|local|all|\"a\"\"b\"|,|10.0.0.0/8|::1|255.0.0.0|trust|cert|md5|map=m|clientcert=verify-ca|\\\\|\\n|#", 0..14),
        from in any::<u128>(),
        tls in any::<bool>(),
    ) {
        if let Ok(hba) = Hba::parse(&words.join(" ")) {
            let from = std::net::Ipv6Addr::from_bits(from).into();
            let _ = hba.first(&Knock { database: "d", user: "u", from, tls });
        }
    }

    /// A mask of so many bits is the same as its length.
    #[test]
    fn mask_and_length_say_the_same(address in any::<u32>(), from in any::<u32>(), length in 0..=32u32) {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        let (address, mask) = (std::net::Ipv4Addr::from_bits(address), std::net::Ipv4Addr::from_bits(mask));
        let (one, other) = (Network::cidr(&format!("{address}/{length}")), Network::masked(address.into(), &mask.to_string()));
        prop_assert_eq!(&one, &other);
        let fits = (address.to_bits() ^ from) & mask.to_bits() == 0;
        prop_assert_eq!(one.unwrap().contains(std::net::Ipv4Addr::from_bits(from).into()), fits);
    }
}
