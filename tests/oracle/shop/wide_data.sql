-- Rows for a table of wide.sql; `~` is its name and `#` says which of the rows it gets. What is equal looks alike (no 1.0 beside 1.00, no
-- minus zero, no 30 days beside a month), and sums of floats are exact in any order (with both infinities, it would depend on the
-- order whether the NaN has a sign, which binary shows): else one Postgres would have several answers.
INSERT INTO ~
SELECT CASE WHEN g % 2 = 0 THEN 'eu' WHEN g % 5 = 1 THEN 'us' WHEN g % 7 = 1 THEN 'asia' WHEN g % 11 = 1 THEN '' ELSE 'uk' END,
       g % 97, CASE WHEN g % 9 = 0 THEN NULL ELSE g * 37 % 300 - 150 END, CASE WHEN g % 8 = 0 THEN NULL ELSE g * 7 % 23 - 5 END,
       CASE g % 10 WHEN 0 THEN NULL WHEN 1 THEN 9223372036854775807 WHEN 2 THEN -9223372036854775807 ELSE ((g % 12)::bigint << 33) # g % 12 END,
       CASE WHEN g % 13 = 0 THEN NULL WHEN g % 29 = 0 THEN 'NaN'::real WHEN g % 31 = 0 THEN 'Infinity'::real ELSE ((g % 19 - 6) * 0.25)::real END,
       CASE WHEN g % 11 = 0 THEN NULL WHEN g % 41 = 0 THEN 'Infinity'::float8
            WHEN g % 47 = 0 THEN 'NaN'::float8 ELSE ((g * 3 % 50 - 20) * 0.125)::float8 END,
       CASE WHEN g % 12 = 0 THEN NULL WHEN g % 53 = 0 THEN 'NaN'::numeric ELSE (g % 40) * 7.0625 - 100 END,
       (ARRAY['0', '0.10', '12345678901234567890.123456789', '-7.5', '0.00000000000000000001', NULL, '3', 'Infinity', '-0.000001'])[1 + g % 9]::numeric,
       CASE WHEN g % 5 = 0 THEN NULL ELSE g % 3 = 0 END,
       (ARRAY['Ann', 'ann', 'Zoë', 'zoe', '', 'O''Brien', E'tab\there', '李雷', NULL, 'a_b%'])[1 + g % 10],
       CASE WHEN g % 6 = 0 THEN NULL ELSE substr(md5((g % 30)::text), 1, 1 + g % 30 % 7) END,
       CASE WHEN g % 14 = 0 THEN NULL ELSE 'v' || g % 15 || CASE WHEN g % 2 = 0 THEN '  ' ELSE '' END END,
       (ARRAY['ab', 'AB', 'abc ', 'x', '', NULL, 'zzzzzz'])[1 + g % 7],
       CASE WHEN g % 7 = 0 THEN NULL ELSE decode(substr(md5((g % 25)::text), 1, 2 * (g % 25 % 5)), 'hex') END,
       CASE WHEN g % 10 = 3 THEN NULL ELSE date '2023-12-20' + g % 70 END,
       CASE WHEN g % 6 = 1 THEN NULL ELSE timestamp '2024-02-28 22:30:00' + (g % 45) * interval '7 hours 13 minutes 0.000123 seconds' END,
       CASE WHEN g % 9 = 4 THEN NULL WHEN g % 37 = 0 THEN 'infinity'::timestamptz WHEN g % 38 = 0 THEN '-infinity'::timestamptz
            ELSE timestamptz '2024-03-30 20:00:00+00' + (g % 60) * interval '1 hour' END,
       CASE WHEN g % 8 = 5 THEN NULL ELSE time '00:00' + (g % 23) * interval '61 minutes 1.5 seconds' END,
       CASE WHEN g % 9 = 2 THEN NULL ELSE ('10:' || lpad((g % 40)::text, 2, '0') || CASE WHEN g % 3 = 0 THEN '+02' ELSE '-03:30' END)::timetz END,
       (ARRAY['1 mon', '31 days', '-2 days', '00:00:01.5', NULL, '1 year 2 mons', '-3 mons 5 days', '100:00:00', '00:00:00'])[1 + g % 9]::interval,
       CASE WHEN g % 11 = 5 THEN NULL ELSE md5((g % 60)::text)::uuid END,
       CASE g % 8 WHEN 0 THEN NULL WHEN 1 THEN '{}'::jsonb WHEN 2 THEN 'null' WHEN 3 THEN '[1, "a", null]' WHEN 4 THEN '"text"'
            WHEN 5 THEN jsonb_build_object('k', g % 6, 's', 'v' || g % 4) WHEN 6 THEN '{"a": {"b": [1, 2]}}' ELSE to_jsonb(g % 9) END,
       CASE g % 6 WHEN 0 THEN NULL WHEN 1 THEN '{}'::int[] WHEN 2 THEN ARRAY[1, NULL, 3] WHEN 3 THEN ARRAY[g % 4, g % 3]
            WHEN 4 THEN '[2:3]={7,8}'::int[] ELSE ARRAY[g % 5] END,
       CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN '{}'::text[] WHEN 2 THEN ARRAY['a', NULL, 'c d'] WHEN 3 THEN ARRAY['x"y', 'NULL', '{}'] ELSE ARRAY['t' || g % 6] END,
       CASE g % 7 WHEN 0 THEN NULL WHEN 1 THEN 'empty'::int4range WHEN 2 THEN int4range(NULL, (g % 9)::int) WHEN 3 THEN int4range((g % 20)::int, NULL)
            ELSE int4range((g % 20)::int, (g % 20 + g % 6)::int) END,
       (ARRAY['sad', 'ok', 'happy', NULL])[1 + g % 4]::mood,
       (ARRAY['10.0.0.1', '10.0.0.0/8', '192.168.1.' || g % 20, NULL, '::1', 'fe80::/10'])[1 + g % 6]::inet
FROM generate_series(1, 160) g WHERE #;
