//! Rows of the eight tables, made from a seed: small, and skewed so that what the queries look for is there.

use std::fmt::Write;

use crate::support::Random;

/// Name, distribution and sharding key; without one, a reference table. Parents before children.
pub const TABLES: &[(&str, Option<(&str, &str)>)] = &[
    ("region", None),
    ("nation", None),
    ("supplier", Some(("supplier", "s_suppkey"))),
    ("part", Some(("part", "p_partkey"))),
    ("partsupp", Some(("part", "ps_partkey"))),
    ("customer", Some(("customer", "c_custkey"))),
    ("orders", Some(("order", "o_orderkey"))),
    ("lineitem", Some(("order", "l_orderkey"))),
];

const SUPPLIERS: usize = 20;
const PARTS: usize = 200;
const CUSTOMERS: usize = 150;
const ORDERS: usize = 1_500;

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
/// With the number of their region.
const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
/// Nations that the queries name, among them those of all suppliers.
const NAMED_NATIONS: [usize; 10] = [2, 3, 6, 7, 8, 12, 18, 20, 21, 24];
const WORDS: [&str; 16] = [
    "forest", "green", "azure", "coral", "ivory", "khaki", "lemon", "navy", "olive", "peach", "plum", "rose", "sienna",
    "tan", "violet", "wheat",
];
const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];
const CONTAINERS: [&[&str]; 2] =
    [&["SM", "LG", "MED", "JUMBO", "WRAP"], &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"]];
const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const INSTRUCTIONS: [&str; 5] = ["DELIVER IN PERSON", "DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
/// Days since 1970-01-01.
const FIRST_ORDER: usize = 8_035; // 1992-01-01
const LAST_ORDER: usize = 10_440; // 1998-08-02
/// Lines received by this day have come back or been accepted; later ones are open.
const TODAY: usize = 9_298; // 1995-06-17

fn words(random: &mut Random, count: usize) -> String {
    (0..count).map(|_| *random.pick(&WORDS)).collect::<Vec<_>>().join(" ")
}

fn phone(random: &mut Random, nation: usize) -> String {
    let (area, exchange, line) = (random.within(100, 999), random.within(100, 999), random.within(1000, 9999));
    format!("{}-{area}-{exchange}-{line}", nation + 10)
}

/// The rows of each table of [`TABLES`] as COPY text.
pub fn rows() -> Vec<(&'static str, String)> {
    let mut random = Random::new(22);
    let (orders, lines) = orders(&mut random);
    let texts = [
        regions(),
        nations(),
        suppliers(&mut random),
        parts(&mut random),
        stock(&mut random),
        customers(&mut random),
        orders,
        lines,
    ];
    TABLES.iter().map(|(name, _)| *name).zip(texts).collect()
}

fn regions() -> String {
    REGIONS.iter().enumerate().fold(String::new(), |out, (key, name)| out + &format!("{key}\t{name}\tpart of it\n"))
}

fn nations() -> String {
    let row = |(key, (name, region)): (usize, &(&str, usize))| format!("{key}\t{name}\t{region}\t\\N\n");
    NATIONS.iter().enumerate().map(row).collect()
}

fn suppliers(random: &mut Random) -> String {
    let mut out = String::new();
    for key in 1..=SUPPLIERS {
        let nation = NAMED_NATIONS[key % NAMED_NATIONS.len()];
        let comment = if key % 7 == 0 { "slow Customer service, many Complaints" } else { "quick" };
        let (phone, balance) = (phone(random, nation), cents(random.within(0, 1_000_000)));
        let _ =
            writeln!(out, "{key}\tSupplier#{key:09}\t{}\t{nation}\t{phone}\t{balance}\t{comment}", words(random, 2));
    }
    out
}

fn parts(random: &mut Random) -> String {
    let mut out = String::new();
    for key in 1..=PARTS {
        let maker = random.within(1, 5);
        let brand = if random.chance(50) {
            (*random.pick(&["12", "23", "34", "45"])).to_owned()
        } else {
            format!("{maker}{}", random.within(1, 5))
        };
        let kind = if random.chance(15) {
            "ECONOMY ANODIZED STEEL".to_owned()
        } else {
            TYPES.map(|words| *random.pick(words)).join(" ")
        };
        let size = if random.chance(50) {
            *random.pick(&[49, 14, 23, 45, 19, 3, 36, 9, 15, 15, 15])
        } else {
            random.within(1, 50)
        };
        let container = if random.chance(50) {
            (*random.pick(&["SM CASE", "MED BOX", "LG BOX"])).to_owned()
        } else {
            CONTAINERS.map(|words| *random.pick(words)).join(" ")
        };
        let (name, comment) = (words(random, 5), words(random, 2));
        let price = cents(price(key));
        let _ = writeln!(
            out,
            "{key}\t{name}\tManufacturer#{maker}\tBrand#{brand}\t{kind}\t{size}\t{container}\t{price}\t{comment}"
        );
    }
    out
}

/// What a part costs, in cents.
fn price(part: usize) -> usize {
    90_000 + part % 1_000 * 100 + part / 10
}

/// The four suppliers of a part.
fn supplier_of(part: usize, nth: usize) -> usize {
    (part + nth * (SUPPLIERS / 4 + part / SUPPLIERS % 2)) % SUPPLIERS + 1
}

fn stock(random: &mut Random) -> String {
    let mut out = String::new();
    for (part, nth) in (1..=PARTS).flat_map(|part| (0..4).map(move |nth| (part, nth))) {
        // Some quantities are small, so that a year's sales use them up.
        let available = if random.chance(20) { random.within(1, 20) } else { random.within(21, 9_999) };
        let cost = cents(random.within(100, 100_000));
        let _ = writeln!(out, "{part}\t{}\t{available}\t{cost}\t{}", supplier_of(part, nth), words(random, 6));
    }
    out
}

fn customers(random: &mut Random) -> String {
    let mut out = String::new();
    for key in 1..=CUSTOMERS {
        let nation = if random.chance(40) { *random.pick(&NAMED_NATIONS) } else { random.below(NATIONS.len()) };
        let balance = random.within(0, 1_099_998);
        let sign = if balance < 100_000 { "-" } else { "" };
        let balance = format!("{sign}{}", cents(balance.abs_diff(100_000)));
        let (phone, segment) = (phone(random, nation), random.pick(&SEGMENTS));
        let address = words(random, 2);
        let comment = words(random, 4);
        let _ =
            writeln!(out, "{key}\tCustomer#{key:09}\t{address}\t{nation}\t{phone}\t{balance}\t{segment}\t{comment}");
    }
    out
}

/// Orders and their lines. A third of the customers has none; keys have gaps.
fn orders(random: &mut Random) -> (String, String) {
    let (mut orders, mut lines) = (String::new(), String::new());
    for index in 0..ORDERS {
        let key = index / 8 * 32 + index % 8 + 1;
        let customer = random.below(CUSTOMERS / 3) * 3 + random.within(1, 2);
        let ordered = random.within(FIRST_ORDER, LAST_ORDER - 151);
        let large = index % 100 == 7;
        let count = if large { 7 } else { random.within(1, 7) };
        let (mut total, mut open) = (0, 0);
        for line in 1..=count {
            let (part, nth) = (random.within(1, PARTS), random.below(4));
            let quantity = if large { random.within(44, 50) } else { random.within(1, 50) };
            let (discount, tax) = (random.below(11), random.below(9));
            let shipped = ordered + random.within(1, 121);
            let promised = ordered + random.within(30, 90);
            let received = shipped + random.within(1, 30);
            let returned = if received > TODAY { "N" } else { random.pick(&["R", "A"]) };
            let status = if shipped > TODAY { "O" } else { "F" };
            open += usize::from(shipped > TODAY);
            let extended = quantity * price(part);
            total += extended * (100 - discount) * (100 + tax) / 10_000;
            let (instruction, mode) = (random.pick(&INSTRUCTIONS), random.pick(&MODES));
            let _ = writeln!(
                lines,
                "{key}\t{part}\t{}\t{line}\t{quantity}\t{}\t0.{discount:02}\t0.{tax:02}\t{returned}\t{status}\t{}\t{}\t{}\t\
                 {instruction}\t{mode}\t{}",
                supplier_of(part, nth),
                cents(extended),
                date(shipped),
                date(promised),
                date(received),
                words(random, 3),
            );
        }
        let status = if open == 0 { "F" } else { ["P", "O"][usize::from(open == count)] };
        let (priority, clerk) = (random.pick(&PRIORITIES), random.within(1, 10));
        let comment = if random.chance(10) { "special packages, urgent requests".to_owned() } else { words(random, 4) };
        let _ = writeln!(
            orders,
            "{key}\t{customer}\t{status}\t{}\t{}\t{priority}\tClerk#{clerk:09}\t0\t{comment}",
            cents(total),
            date(ordered),
        );
    }
    (orders, lines)
}

fn cents(value: usize) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// A day since 1970-01-01 in ISO spelling; for the years of the benchmark, where every fourth is a leap year.
fn date(day: usize) -> String {
    // Days since 1968-01-01, the first day of a leap year.
    let day = day + 731;
    let (cycle, day) = (day / 1_461, day % 1_461);
    let (year, mut day) = if day < 366 { (0, day) } else { ((day - 1) / 365, (day - 1) % 365) };
    let february = if year == 0 { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    format!("{}-{:02}-{:02}", 1_968 + 4 * cycle + year, month + 1, day + 1)
}

#[test]
fn days_are_spelled_as_dates() {
    let days = [(0, "1970-01-01"), (8_035, "1992-01-01"), (8_094, "1992-02-29"), (9_298, "1995-06-17")];
    for (day, text) in days.into_iter().chain([(10_440, "1998-08-02"), (8_400, "1992-12-31"), (8_401, "1993-01-01")]) {
        assert_eq!(date(day), text);
    }
}
