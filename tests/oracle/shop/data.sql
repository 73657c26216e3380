-- The rows, made on the oracle without any randomness; tests copy them through the router. Tenant 1 has four in ten.
INSERT INTO tenants
SELECT i, (ARRAY['Acme', 'Zoë & Co', 'Ω-Works', 'émile', 'O''Brien', '李雷', 'Acme', ''])[1 + i % 8] || CASE WHEN i % 3 = 0 THEN '' ELSE ' ' || i END,
       (ARRAY['free', 'Pro', 'pro', NULL])[1 + i % 4], CASE WHEN i % 7 = 0 THEN NULL ELSE i * 3 END,
       CASE WHEN i % 5 = 0 THEN NULL ELSE i * 99.95 END, date '2020-01-31' + i * 11
FROM generate_series(1, 40) i;
INSERT INTO countries SELECT code, name FROM (VALUES ('DE', 'Deutschland'), ('US', 'United States'), ('FR', 'France'),
    ('CN', '中国'), ('AX', 'Åland'), ('X ', 'One letter')) AS c (code, name);
INSERT INTO products
SELECT i, 'SKU-' || lpad(i::text, 4, '0'), (ARRAY['bolt', 'Nut', 'gear', 'Ångström meter', 'wheel'])[1 + i % 5] || ' ' || i % 9,
       CASE WHEN i % 11 = 0 THEN NULL ELSE round(i * 1.37, 2) END, i * 0.25
FROM generate_series(1, 60) i;
INSERT INTO customers
SELECT CASE WHEN i % 10 < 4 THEN 1 ELSE 1 + (i * 7) % 40 END, i, 'user' || i || '@example.com',
       CASE WHEN i % 13 = 0 THEN NULL ELSE (ARRAY['Ann', 'Bob', 'Zoë', 'Åsa', '李雷', 'émile', 'O''Brien', '  pad ', '', E'tab\there', E'back\\slash', '"quoted"', 'İstanbul', 'ß', 'ann'])[1 + i % 15] END,
       CASE WHEN i % 6 = 0 THEN NULL ELSE substr(md5(i::text), 1, 1 + i % 12) END,
       (ARRAY['DE', 'US', 'FR', 'CN', 'AX', 'X', NULL, 'ZZ'])[1 + i % 8],
       CASE WHEN i % 9 = 0 THEN NULL ELSE (i * 37 % 1000) - 300 + (i % 100) / 100.0 END,
       CASE WHEN i % 12 = 0 THEN NULL ELSE (i * 13 % 97) * 0.25 END, CASE WHEN i % 14 = 0 THEN NULL ELSE (i % 11) * 0.5 END,
       CASE WHEN i % 5 = 0 THEN NULL ELSE i % 3 = 0 END, CASE WHEN i % 8 = 0 THEN NULL ELSE i % 6 END,
       CASE WHEN i % 10 = 0 THEN NULL ELSE date '1950-03-01' + (i * 83) % 20000 END,
       timestamptz '2023-10-29 00:30:00+00' + i * interval '7 hours 13 minutes 0.123456 seconds',
       CASE WHEN i % 4 = 0 THEN NULL ELSE timestamp '2024-02-28 23:59:59' + i * interval '1 day' END,
       time '00:00' + (i % 86400) * interval '61 seconds', make_interval(months => i % 14, days => i % 40, secs => i % 50),
       CASE WHEN i % 7 = 0 THEN NULL ELSE md5(i::text)::uuid END, ('10.' || i % 4 || '.' || i % 200 || '.1/' || 16 + i % 17)::inet,
       CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}'::text[] WHEN 2 THEN ARRAY['a', NULL, 'c d'] ELSE ARRAY['vip', 'x"y', i::text] END,
       CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '{"a": 1}'::jsonb ELSE jsonb_build_object('n', i, 'tags', ARRAY[i % 3, i % 5], 'deep', jsonb_build_object('k', i % 7)) END,
       CASE WHEN i % 3 = 0 THEN NULL ELSE decode(md5((i % 50)::text), 'hex') END
FROM generate_series(1, 400) i;
INSERT INTO orders
SELECT c.tenant_id, c.id * 10 + k, CASE WHEN (c.id + k) % 17 = 0 THEN NULL ELSE c.id END,
       (ARRAY['new', 'paid', 'Paid', 'shipped', 'cancelled'])[1 + (c.id * 3 + k) % 5],
       CASE WHEN (c.id + k) % 19 = 0 THEN NULL ELSE (c.id * 91 + k * 17) % 1200 + ((c.id + k) % 4) * 0.25 END,
       CASE (c.id + k) % 5 WHEN 0 THEN NULL WHEN 1 THEN 0.1 WHEN 2 THEN 0.125 WHEN 3 THEN 1.50 ELSE 12345678901234567890.5 END,
       CASE WHEN (c.id + k) % 23 = 0 THEN NULL ELSE (c.id + k) % 9 END,
       timestamptz '2024-01-01 00:00:00+00' + ((c.id * 7 + k) % 500) * interval '11 hours',
       CASE WHEN k % 2 = 0 THEN NULL ELSE date '2024-01-02' + ((c.id + k) % 200)::int END,
       CASE WHEN k = 2 THEN NULL ELSE repeat('n', ((c.id + k) % 5)::int) END
FROM customers c, generate_series(1, 3) k WHERE (c.id + k) % 4 <> 0;
INSERT INTO order_items
SELECT o.tenant_id, o.id, l, CASE WHEN (o.id + l) % 29 = 0 THEN NULL ELSE 1 + (o.id + l * 7) % 70 END, 1 + (o.id * l) % 5, round((o.id % 500 + l) * 0.75, 2)
FROM orders o, generate_series(1, 3) l WHERE (o.id + l) % 3 <> 0;
INSERT INTO events
SELECT md5('device' || i % 25)::uuid, i, (ARRAY['open', 'close', 'Open', NULL])[1 + i % 4], timestamptz '2024-05-01 00:00+00' + i * interval '17 minutes',
       CASE WHEN i % 8 = 0 THEN NULL ELSE i * 1.1 END, CASE WHEN i % 9 = 0 THEN NULL ELSE (i::bigint << 33) # i END, CASE WHEN i % 2 = 0 THEN NULL ELSE jsonb_build_object('i', i) END
FROM generate_series(1, 300) i;
INSERT INTO kv
SELECT k, CASE WHEN i % 6 = 0 THEN NULL ELSE 'value ' || i % 20 END, i % 10, CASE WHEN i % 4 = 0 THEN NULL ELSE decode(md5(i::text), 'hex') END
FROM (SELECT i, CASE i WHEN 1 THEN '' WHEN 2 THEN ' ' WHEN 3 THEN 'Key' WHEN 4 THEN 'key' WHEN 5 THEN 'key ' WHEN 6 THEN 'ключ' WHEN 7 THEN E'it''s' WHEN 8 THEN E'a\\b' WHEN 9 THEN 'NULL' WHEN 10 THEN 'e' || chr(769)
    ELSE 'key' || i END AS k FROM generate_series(1, 200) i) s;
INSERT INTO metrics
SELECT date '2023-12-15' + i % 100, i / 100, CASE WHEN i % 10 = 0 THEN NULL ELSE (i * 7919) % 1000 - 500 END, CASE WHEN i % 7 = 0 THEN NULL ELSE round(i / 7.0, i % 5) END
FROM generate_series(0, 299) i;
INSERT INTO region_stats SELECT r, y, CASE WHEN (y + length(r)) % 5 = 0 THEN NULL ELSE y * length(r) * 1000000000::bigint END
FROM unnest(ARRAY['eu', 'us', 'asia', 'EU', 'nowhere', '']) r, generate_series(2018, 2024) y;
INSERT INTO sparse SELECT 3, i, CASE WHEN i % 3 = 0 THEN NULL ELSE i % 5 END, chr(96 + i) FROM generate_series(1, 12) i;
INSERT INTO settings VALUES ('currency', 'EUR'), ('empty', ''), ('none', NULL), ('limit', '10');
INSERT INTO audit SELECT i, (ARRAY['ann', 'bob', NULL])[1 + i % 3], 'did ' || i % 4, timestamp '2024-01-01' + i * interval '1 hour' FROM generate_series(1, 30) i;
INSERT INTO accounts SELECT 1 + i % 12, i, 'owner' || i, i * 10.5, CASE WHEN i % 3 = 0 THEN NULL ELSE 'note ' || i % 4 END, i % 7 FROM generate_series(1, 60) i;
INSERT INTO transfers SELECT a.tenant_id, a.id * 2, a.id, a.amount / 4 FROM accounts a WHERE a.id % 2 = 0;
INSERT INTO sessions SELECT md5('s' || i)::uuid, 'who' || i % 5, timestamptz '2024-01-01 00:00+00' + i * interval '1 minute' FROM generate_series(1, 20) i;
INSERT INTO words SELECT 'word' || i, i FROM generate_series(1, 20) i;
INSERT INTO readings SELECT date '2024-01-01' + i * 5, i, i * 0.5 FROM generate_series(1, 30) i;
INSERT INTO labels SELECT 'L' || i, 'Label ' || i, i % 4 FROM generate_series(1, 10) i;
INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1, 10) i;

INSERT INTO odd ("Id", "select", feel, feels, part, two, span, mask, cash, ci, "od""d name", note)
SELECT i, CASE WHEN i % 4 = 0 THEN NULL ELSE 'sel ' || i % 6 END, (ARRAY['sad', 'ok', 'happy', NULL])[1 + i % 4]::mood,
       CASE WHEN i % 3 = 0 THEN NULL ELSE ARRAY['ok', NULL, 'sad']::mood[] END, i % 101, ROW(i % 5, 'happy')::pair,
       int4range(i, i + i % 7), (i % 8)::bit(3), (i * 3.5)::numeric::money, (ARRAY['abc', 'ABC', 'Abd', NULL])[1 + i % 4],
       'x' || i % 9, (ARRAY['Zoë', 'zoe', E'tab\t\\n', '', NULL])[1 + i % 5]
FROM generate_series(1, 60) i;
INSERT INTO parted SELECT 1 + i % 20, date '2023-12-20' + i, CASE WHEN i % 6 = 0 THEN NULL ELSE i * 1.25 END FROM generate_series(1, 120) i;
INSERT INTO tickets
SELECT 1 + i % 12, i, (ARRAY['sad', 'ok', NULL])[1 + i % 3]::mood, CASE WHEN i % 4 > 0 THEN ARRAY['t' || i % 5, NULL, 'a"b'] END, i % 101,
       i * 1.25, 'c' || i % 7, 'l' || i % 9
FROM generate_series(1, 36) i;
