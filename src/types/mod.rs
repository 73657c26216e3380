//! PURE. Which types, orders and equalities the router can prove to be Postgres's own; the rest is not ours to compare.

pub mod canonical;
pub mod compare;
pub mod datetime;
mod input;
pub mod numeric;
pub mod postgres_hash;

use crate::ids::Oid;

/// Type OIDs that the router knows by number (Postgres: `pg_type.dat`; they never change).
pub mod oid {
    use crate::ids::Oid;
    pub const BOOL: Oid = 16;
    pub const BYTEA: Oid = 17;
    pub const NAME: Oid = 19;
    pub const INT8: Oid = 20;
    pub const INT2: Oid = 21;
    pub const INT4: Oid = 23;
    pub const TEXT: Oid = 25;
    pub const OID: Oid = 26;
    pub const JSON: Oid = 114;
    pub const CIDR: Oid = 650;
    pub const FLOAT4: Oid = 700;
    pub const FLOAT8: Oid = 701;
    pub const UNKNOWN: Oid = 705;
    pub const MONEY: Oid = 790;
    pub const INET: Oid = 869;
    pub const BPCHAR: Oid = 1042;
    pub const VARCHAR: Oid = 1043;
    pub const DATE: Oid = 1082;
    pub const TIME: Oid = 1083;
    pub const TIMESTAMP: Oid = 1114;
    pub const TIMESTAMPTZ: Oid = 1184;
    pub const INTERVAL: Oid = 1186;
    pub const NUMERIC: Oid = 1700;
    pub const REGCLASS: Oid = 2205;
    pub const REGTYPE: Oid = 2206;
    pub const REGTYPE_ARRAY: Oid = 2211;
    pub const RECORD: Oid = 2249;
    pub const RECORD_ARRAY: Oid = 2287;
    pub const UUID: Oid = 2950;
    pub const JSONB: Oid = 3802;
    pub const TIMETZ: Oid = 1266;

    /// One of `regclass` and its like, by its name.
    pub fn of_name_of_catalog(name: &str) -> Option<Oid> {
        Some(match name {
            "regproc" => 24,
            "regprocedure" => 2202,
            "regoper" => 2203,
            "regoperator" => 2204,
            "regclass" => REGCLASS,
            "regtype" => REGTYPE,
            "regconfig" => 3734,
            "regdictionary" => 3769,
            "regnamespace" => 4089,
            "regrole" => 4096,
            "regcollation" => 4191,
            _ => return None,
        })
    }

    /// `regclass` and its like, and arrays of them: values are numbers of a server's catalog, in text the names.
    pub fn is_name_of_catalog(of: Oid) -> bool {
        NAMES_OF_CATALOG.contains(&of)
    }

    /// `regclass` and its like, and arrays of them.
    pub const NAMES_OF_CATALOG: [Oid; 22] = [
        24,
        2202,
        2203,
        2204,
        2205,
        REGTYPE,
        3734,
        3769,
        4089,
        4096,
        4191, // their arrays
        1008,
        2207,
        2208,
        2209,
        2210,
        REGTYPE_ARRAY,
        3735,
        3770,
        4090,
        4097,
        4192,
    ];

    /// Whether values of the type are dates or times.
    pub fn is_time(of: Oid) -> bool {
        matches!(of, DATE | TIME | TIMESTAMP | TIMESTAMPTZ | TIMETZ)
    }

    /// The same, or arrays, ranges or multiranges of such.
    pub fn holds_time(of: Oid) -> bool {
        const ARRAYS: [Oid; 5] = [1115, 1182, 1183, 1185, 1270];
        const RANGES: [Oid; 12] = [3908, 3909, 3910, 3911, 3912, 3913, 4533, 4534, 4535, 6152, 6153, 6155];
        is_time(of) || ARRAYS.contains(&of) || RANGES.contains(&of)
    }

    /// The first one of what users create (Postgres: `FirstNormalObjectId`): on each server such a type has another.
    pub const FIRST_NORMAL: Oid = 16_384;
}

/// Array types and their elements (`pg_type.typelem`), of the types that can be sharding keys.
const ARRAYS: [(Oid, Oid); 14] = [
    (1000, oid::BOOL),
    (1001, oid::BYTEA),
    (1005, oid::INT2),
    (1007, oid::INT4),
    (1009, oid::TEXT),
    (1014, oid::BPCHAR),
    (1015, oid::VARCHAR),
    (1016, oid::INT8),
    (1041, oid::INET),
    (1115, oid::TIMESTAMP),
    (1182, oid::DATE),
    (1185, oid::TIMESTAMPTZ),
    (1231, oid::NUMERIC),
    (2951, oid::UUID),
];

/// The element type of an array type.
pub fn element_of(array: Oid) -> Option<Oid> {
    ARRAYS.iter().find(|(of, _)| *of == array).map(|(_, element)| *element)
}

/// The type of arrays of a type.
pub fn array_of(element: Oid) -> Option<Oid> {
    ARRAYS.iter().find(|(_, of)| *of == element).map(|(array, _)| *array)
}

/// The two representations of a value on the wire (protocol: format codes 0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    #[default]
    Text,
    Binary,
}

impl Format {
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    pub fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// What is known of a column's collation (Postgres: `pg_collation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Collation {
    /// The type has none (integers, dates, ...).
    #[default]
    None,
    /// `C` or `POSIX`: byte order, byte equality.
    Bytes,
    /// Deterministic: equality is byte equality, the order is the operating system's or ICU's.
    Deterministic,
    /// Not even equality is byte equality.
    Nondeterministic,
}

impl Collation {
    /// Whether equal values are equal byte for byte.
    pub fn equality_is_bytes(self) -> bool {
        !matches!(self, Self::Nondeterministic)
    }

    pub fn order_is_bytes(self) -> bool {
        matches!(self, Self::None | Self::Bytes)
    }
}

/// A column type that can carry a sharding key: equality of values is equality of canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    Int2,
    Int4,
    Int8,
    Text,
    Varchar,
    Bpchar,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Numeric,
    Bytea,
    Bool,
    Inet,
}

impl KeyType {
    pub const ALL: [KeyType; 14] = [
        Self::Int2,
        Self::Int4,
        Self::Int8,
        Self::Text,
        Self::Varchar,
        Self::Bpchar,
        Self::Uuid,
        Self::Date,
        Self::Timestamp,
        Self::Timestamptz,
        Self::Numeric,
        Self::Bytea,
        Self::Bool,
        Self::Inet,
    ];

    pub fn from_oid(oid: Oid) -> Option<Self> {
        Some(match oid {
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::TEXT => Self::Text,
            oid::VARCHAR => Self::Varchar,
            oid::BPCHAR => Self::Bpchar,
            oid::UUID => Self::Uuid,
            oid::DATE => Self::Date,
            oid::TIMESTAMP => Self::Timestamp,
            oid::TIMESTAMPTZ => Self::Timestamptz,
            oid::NUMERIC => Self::Numeric,
            oid::BYTEA => Self::Bytea,
            oid::BOOL => Self::Bool,
            oid::INET => Self::Inet,
            _ => return None,
        })
    }

    pub fn oid(self) -> Oid {
        match self {
            Self::Int2 => oid::INT2,
            Self::Int4 => oid::INT4,
            Self::Int8 => oid::INT8,
            Self::Text => oid::TEXT,
            Self::Varchar => oid::VARCHAR,
            Self::Bpchar => oid::BPCHAR,
            Self::Uuid => oid::UUID,
            Self::Date => oid::DATE,
            Self::Timestamp => oid::TIMESTAMP,
            Self::Timestamptz => oid::TIMESTAMPTZ,
            Self::Numeric => oid::NUMERIC,
            Self::Bytea => oid::BYTEA,
            Self::Bool => oid::BOOL,
            Self::Inet => oid::INET,
        }
    }

    /// Postgres's name of the type, as in `format_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Text => "text",
            Self::Varchar => "character varying",
            Self::Bpchar => "character",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Numeric => "numeric",
            Self::Bytea => "bytea",
            Self::Bool => "boolean",
            Self::Inet => "inet",
        }
    }

    /// The type called `name` in SQL or in a config file (`int`, `bigint`, `varchar`, `timestamptz`, ...).
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "int2" | "smallint" => Self::Int2,
            "int4" | "int" | "integer" => Self::Int4,
            "int8" | "bigint" => Self::Int8,
            "text" => Self::Text,
            "varchar" | "character varying" => Self::Varchar,
            "bpchar" | "char" | "character" => Self::Bpchar,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "timestamp" | "timestamp without time zone" => Self::Timestamp,
            "timestamptz" | "timestamp with time zone" => Self::Timestamptz,
            "numeric" | "decimal" => Self::Numeric,
            "bytea" => Self::Bytea,
            "bool" | "boolean" => Self::Bool,
            "inet" => Self::Inet,
            _ => return None,
        })
    }
}
