-- One table with a column of each common type; `~` is its name. Who holds which rows is the config's to say (see ../wide.rs).
CREATE TABLE ~ (
    a text COLLATE "C" NOT NULL, n bigint NOT NULL, i2 smallint, i4 int, i8 bigint, f4 real, f8 float8,
    num numeric(14,4), free numeric, b boolean, t text, tc text COLLATE "C", vc varchar(12), c char(6), raw bytea,
    d date, ts timestamp, tz timestamptz, tm time, tmz timetz, iv interval, u uuid, j jsonb, ai int[], ta text[],
    r int4range, e mood, ip inet, PRIMARY KEY (a, n));
